"""MPII in the form that the HRNet authors gave it: a JSON list of persons, and the ground truth of PCKh beside it.

    annotations = read_mpii("annot/valid.json")
    annotations.instances()              # the persons to train on or to crop, as the official code makes them
    annotations.truth("annot/gt_valid.mat")  # keypoints and head boxes, for PCKh

Convention:
    MPII counts pixels from 1, its files do, and so does its ground truth. Persons leave here counted from 0, as everything in
    hrpose; the ground truth stays as it is, and the metric adds 1 to what it is given.
"""

from __future__ import annotations

import warnings
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrpose.annotations.coco_rows import Row, check_rows, is_text, list_first, read_json, wrong_value
from hrpose.annotations.converters.formats import advise_conversion
from hrpose.errors import DataError, DataWarning, MissingDataError
from hrpose.files import list_files
from hrpose.media.folders import check_file_name
from hrpose.skeletons import MPII
from hrpose.structures import InstanceTable, MpiiTruth, PackedStrings

PIXEL_STD = 200.0
"""A person of scale 1 is this many pixels high."""
_SHIFT = 15.0  # pixels down for each unit of scale: MPII's centers sit high on the body
_PADDING = 1.25
_NONE = -1  # x of the center where a person has none
_LARGEST = 1e9  # no coordinate of a photo is beyond
_LINKS = (
    "https://drive.google.com/drive/folders/1En_VqmStnsXMdldXA6qpqEyDQulnmS3a",
    "https://1drv.ms/f/s!AhIXJn_J-blW00SqrairNetmeVu4",
)
_ORDER = (
    *("rank", "rkne", "rhip", "lhip", "lkne", "lank", "pelv", "thor"),
    *("neck", "head", "rwri", "relb", "rsho", "lsho", "lelb", "lwri"),
)
# By what each array is called: in gt_valid.mat, where the persons are the last axis, and in files that put them first.
_OF_MAT = {
    "keypoints": "pos_gt_src",
    "missing": "jnt_missing",
    "head_boxes": "headboxes_src",
    "names": "dataset_joints",
}
_OF_NPZ = {"keypoints": "joints_1based", "missing": "missing", "head_boxes": "headboxes", "names": "joint_names"}
_NEEDED = ("keypoints", "missing", "head_boxes")


@dataclass(frozen=True, eq=False)
class MpiiAnnotations:
    """The persons of an MPII file, in its order, counted from 0.

    Attributes:
        file: where they were read.
        image_ids: (I,) int64, the photos counted in the order in which the file first names them.
        file_names: I names relative to the photo folder.
        image_index: (N,) int32 row of the photo.
        center: (N, 2) float64 in photo pixels, moved down the body as the official code does.
        side: (N,) float64 of the square box about the center, in photo pixels, without padding.
        keypoints: (N, 16, 2) float64 in photo pixels; of unlabelled ones what the file has, counted from 0 too.
        labelled: (N, 16) bool.
    """

    file: Path
    image_ids: NDArray[np.int64]
    file_names: PackedStrings
    image_index: NDArray[np.int32]
    center: NDArray[np.float64]
    side: NDArray[np.float64]
    keypoints: NDArray[np.float64]
    labelled: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.image_index)

    def instances(self) -> InstanceTable:
        """Return every person, as the official code trains and tests on all of them (`MPIIDataset._get_db`).

        With a padding of 1.25 the boxes make the official crops. `instance_ids` are rows of the file, counted from 0. The file
        states neither areas, which are those of the boxes, nor sizes of images, which are 0.

        Warns:
            DataWarning: with the number of persons that have no center, marked by -1; as in the official code they stay, and
                their crops do not show them.
        """
        count = len(self)
        lost = np.flatnonzero(self.center[:, 0] == _NONE - 1)
        if len(lost):
            warnings.warn(
                f"{self.file}: {len(lost)} of {count} persons have no center (entries {list_first(lost)}, counted from 0), so "
                "their crops show nothing of them. Remove them from the training file.",
                DataWarning,
                stacklevel=2,
            )
        corner = self.center - self.side[:, None] / 2
        return InstanceTable(
            image_ids=self.image_ids,
            image_sizes=np.zeros((len(self.image_ids), 2), np.int32),
            file_names=self.file_names,
            image_index=self.image_index,
            instance_ids=np.arange(count, dtype=np.int64),
            bbox=np.concatenate([corner, self.side[:, None], self.side[:, None]], axis=1),
            bbox_scores=np.ones(count),
            area=(self.side**2).astype(np.float32),
            keypoints=np.where(self.labelled[..., None], self.keypoints, 0).astype(np.float32),
            visibility=np.where(self.labelled, 2, 0).astype(np.uint8),
        )

    def truth(self, file: str | Path) -> MpiiTruth:
        """Read the ground truth of PCKh of these persons.

        Args:
            file: gt_valid.mat, or an .npz with the same arrays; see `read_mpii_truth`.

        Raises:
            MissingDataError: if there is no such file.
            DataError: if the file cannot be used, or is of other persons.
        """
        truth = read_mpii_truth(file)
        if len(truth) != len(self):
            raise DataError(
                f"Expected {file} to be the ground truth of {self.file}, person by person, but it has {len(truth)} persons and "
                f"the annotations have {len(self)}. Take the two files of one set: valid.json goes with gt_valid.mat."
            )
        return truth


def read_mpii(file: str | Path) -> MpiiAnnotations:
    """Read train.json, valid.json or trainval.json as the HRNet authors made them.

    Args:
        file: JSON list of {image, center, scale, joints, joints_vis}, counted from 1.

    Raises:
        MissingDataError: if there is no such file.
        DataError: for the first fault, with the entry counted from 0.
    """
    path = Path(file)
    if not path.is_file():
        raise MissingDataError(f"Expected an MPII annotation file at {path}, but there is no such file.")
    rows = read_json(path)
    if not isinstance(rows, list):
        raise DataError(
            f"{path}: expected an MPII annotation file, a JSON list of persons, but got a JSON {type(rows).__name__}. "
            "COCO's form is an object: it needs no reader of its own and no skeleton=mpii."
        )
    check_rows(rows, "the persons", path)
    if not rows:
        raise DataError(f"{path}: expected persons, but the list is empty. Convert or download the annotations again.")
    if not {"image", "center"} & set(rows[0]):
        raise DataError(
            f"{path}: expected an MPII annotation file, a list of persons with image, center, scale and joints, but the first "
            f"entry has {', '.join(map(str, rows[0])) or 'no keys'}. {advise_conversion(path)}"
        )
    names = [_image(row, place, path) for place, row in enumerate(rows)]
    index_of = {name: index for index, name in enumerate(dict.fromkeys(names))}
    keypoints, labelled = _read_keypoints(rows, path)
    center, side = _read_boxes(rows, path)
    return MpiiAnnotations(
        file=path,
        image_ids=np.arange(len(index_of), dtype=np.int64),
        file_names=PackedStrings(index_of),
        image_index=np.array([index_of[name] for name in names], np.int32),
        center=center,
        side=side,
        keypoints=keypoints,
        labelled=labelled,
    )


def mpii_layout(data_dir: Path | str) -> str:
    """Return a few lines on the files that MPII training expects, which of them exist, and where to get the others.

    Args:
        data_dir: the folder of the dataset, ``paths.data`` in the configuration.
    """
    notes = {
        "annot/train.json": "(22,246 persons)",
        "annot/valid.json": "(2,958 persons)",
        "annot/gt_valid.mat": "(keypoints and head boxes of these)",
        "images/": "(24,984 photos)",
    }
    return "\n".join(
        [
            *list_files("MPII", Path(data_dir), notes),
            "Get the photos (12 GB) from http://human-pose.mpi-inf.mpg.de, and annot/, as the authors of the paper made it, from",
            *(f"  {link}" for link in _LINKS),
        ]
    )


def _image(row: Row, place: int, file: Path) -> str:
    name = row.get("image")
    if not isinstance(name, str) or not is_text(name):
        keys = ", ".join(map(str, row)) or "none"
        hint = " Detections are no annotations." if "bbox" in row else ""
        raise DataError(
            f"{file}: expected `image` of person {place} (counted from 0) to be a file name, but got {name!r}; its keys are "
            f"{keys}. MPII's persons have image, center, scale, joints and joints_vis.{hint}"
        )
    check_file_name(name, f"person {place} of {file}")
    return name


def _read_boxes(rows: Sequence[Row], file: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return centers (N, 2), counted from 0, and sides (N,) of the boxes."""
    for place, row in enumerate(rows):
        center, scale = row.get("center"), row.get("scale")
        if not _are_numbers(center, 2):
            raise _fault(file, place, "center", "two finite numbers x, y in pixels", row)
        if not _are_numbers([scale], 1) or (scale <= 0 and center[0] != _NONE):  # type: ignore[operator,index]
            raise _fault(file, place, "scale", f"a positive number, the height of the person / {PIXEL_STD:.0f}", row)
    center = np.array([row["center"] for row in rows], np.float64)
    scale = np.array([row["scale"] for row in rows], np.float64)
    given = center[:, 0] != _NONE
    center[:, 1] += np.where(given, _SHIFT * scale, 0.0)
    return center - 1, np.where(given, PIXEL_STD * scale, PIXEL_STD * scale / _PADDING)


def _read_keypoints(rows: Sequence[Row], file: Path) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return keypoints (N, 16, 2), counted from 0, and whether they are labelled (N, 16)."""
    number = MPII.num_keypoints
    for place, row in enumerate(rows):
        points, labels = row.get("joints"), row.get("joints_vis") or []
        if not isinstance(points, list) or len(points) != number or not all(_are_numbers(p, 2) for p in points):
            raise _fault(file, place, "joints", f"{number} pairs of finite numbers x, y in pixels", row)
        if not _are_numbers(labels, number) or any(label not in (0, 1) for label in labels):
            raise _fault(file, place, "joints_vis", f"{number} numbers, each 0 (unlabelled) or 1", row)
    points = np.array([row["joints"] for row in rows], np.float64)
    return points - 1, np.array([row["joints_vis"] for row in rows], np.float64) > 0


def _are_numbers(values: Any, count: int) -> bool:
    """Check whether this is a list of so many numbers; NaN, infinity and values outside any image are none."""
    return (
        isinstance(values, list)
        and len(values) == count
        and all(type(value) in (int, float) and -_LARGEST < value < _LARGEST for value in values)
    )


def _fault(file: Path, place: int, key: str, expected: str, row: Row) -> DataError:
    return wrong_value(file, f"person {place} (counted from 0)", key, expected, row, "Fix or remove the entry.")


def read_mpii_truth(file: str | Path) -> MpiiTruth:
    """Read the ground truth of PCKh.

    Args:
        file: gt_valid.mat of the HRNet authors, with pos_gt_src (16, 2, N), jnt_missing (16, N) and headboxes_src (2, 2, N); or
            an .npz with these, or with joints_1based (N, 16, 2), missing (N, 16) and headboxes (N, 2, 2). All count pixels from
            1. Nothing in either file is run or unpickled.

    Raises:
        MissingDataError: if there is no such file.
        DataError: if the file cannot be used.
    """
    path = Path(file)
    if not path.is_file():
        raise MissingDataError(f"Expected the ground truth of MPII at {path}, but there is no such file.")
    arrays = _read_npz(path) if path.suffix == ".npz" else _read_mat(path)
    found = next((names for names in (_OF_MAT, _OF_NPZ) if all(names[part] in arrays for part in _NEEDED)), None)
    if found is None:
        raise DataError(
            f"{path}: expected the arrays {', '.join(_OF_MAT[part] for part in _NEEDED)}, but it has "
            f"{', '.join(sorted(arrays)) or 'none'}. PCKh needs the ground truth with head boxes, gt_valid.mat."
        )
    _check_order(arrays.get(found["names"]), path)
    keypoints, missing, head_boxes = (_numbers(arrays, found[part], path) for part in _NEEDED)
    if found is _OF_MAT:
        keypoints, missing, head_boxes = (np.moveaxis(part, -1, 0) for part in (keypoints, missing, head_boxes))
    return _checked(keypoints, missing, head_boxes, path)


def read_mpii_preds(file: Path, num_persons: int) -> NDArray[np.float64]:
    """Read pred.mat as the code of the HRNet authors writes it: `preds` (N, 16, 2), counted from 1.

    Raises:
        MissingDataError: if there is no such file.
        DataError: if the file cannot be used, or is of another number of persons.
    """
    if not file.is_file():
        raise MissingDataError(f"Expected keypoints of MPII at {file}, but there is no such file.")
    arrays = _read_mat(file, ["preds"])
    shape = arrays["preds"].shape if "preds" in arrays else "no such array"
    if shape not in ((num_persons, MPII.num_keypoints, 2), (num_persons, MPII.num_keypoints, 3)):
        raise DataError(
            f"{file}: expected `preds` of {(num_persons, MPII.num_keypoints, 2)}, a row for each person of the ground truth in "
            f"its order, but got {shape}."
        )
    keypoints = _numbers(arrays, "preds", file)[..., :2]
    if not np.isfinite(keypoints).all():
        raise DataError(f"{file}: expected finite numbers in `preds`, but some are not.")
    return keypoints


def _read_npz(file: Path) -> dict[str, NDArray[Any]]:
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{file}: expected an .npz of plain arrays, but it cannot be read: {error}.") from error


def _read_mat(file: Path, names: Sequence[str] = tuple(_OF_MAT.values())) -> Mapping[str, NDArray[Any]]:
    # imported here: it is slow to load, and only MPII needs it
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    broken = (MatReadError, ValueError, TypeError, LookupError, OSError, EOFError, NotImplementedError, zlib.error)
    try:
        content = loadmat(str(file), appendmat=False, variable_names=list(names))
    except broken as error:
        raise DataError(
            f"{file}: expected a MATLAB file of version 5, as gt_valid.mat is, but it cannot be read: {error}. "
            "Copy or download it again."
        ) from error
    return {name: value for name, value in content.items() if not name.startswith("__")}


def _check_order(names: NDArray[Any] | None, file: Path) -> None:
    """Refuse keypoints in another order than MPII's, where the file names them."""
    found = _ORDER if names is None else tuple(str(np.squeeze(name)) for name in names.ravel())
    if found != _ORDER:
        raise DataError(
            f"{file}: expected keypoints in the order of MPII, {' '.join(_ORDER)}, but got {' '.join(found)}. Sort them."
        )


def _numbers(arrays: Mapping[str, NDArray[Any]], name: str, file: Path) -> NDArray[np.float64]:
    if arrays[name].dtype.kind not in "biuf":
        raise DataError(f"{file}: expected {name} to hold numbers, but got {arrays[name].dtype}.")
    return arrays[name].astype(np.float64)


def _checked(
    keypoints: NDArray[np.float64], missing: NDArray[np.float64], head_boxes: NDArray[np.float64], file: Path
) -> MpiiTruth:
    number, count = MPII.num_keypoints, keypoints.shape[0] if keypoints.ndim else 0
    shapes = keypoints.shape, missing.shape, head_boxes.shape
    if not count or shapes != ((count, number, 2), (count, number), (count, 2, 2)):
        raise DataError(
            f"{file}: expected, of N persons, keypoints (N, {number}, 2), missing (N, {number}) and head boxes (N, 2, 2), but "
            f"got {', '.join(map(str, shapes))}."
        )
    labelled = missing == 0
    faults = {
        "finite keypoints where they are labelled": (~np.isfinite(keypoints).all(axis=2) & labelled).any(axis=1),
        "0 or 1 for each keypoint that is missing or not": ~np.isin(missing, (0, 1)).all(axis=1),
        "a head box of two finite corners that differ": ~(
            np.linalg.norm(head_boxes[:, 1] - head_boxes[:, 0], axis=1) > 0
        )
        | ~np.isfinite(head_boxes).all(axis=(1, 2)),
    }
    for expected, wrong in faults.items():
        if wrong.any():
            places = np.flatnonzero(wrong)
            raise DataError(
                f"{file}: expected every person to have {expected}, but {len(places)} of {count} have not: "
                f"{places[:5].tolist()}{' ...' if len(places) > 5 else ''}, counted from 0. Fix or download the file again."
            )
    return MpiiTruth(keypoints=keypoints, labelled=labelled, head_boxes=head_boxes)
