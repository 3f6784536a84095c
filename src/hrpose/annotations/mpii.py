"""Read MPII in the format of the HRNet authors: a JSON list of persons, and a ground truth file for PCKh.

    annotations = read_mpii("annot/valid.json")
    annotations.instances()              # the persons to train on or to crop, as in the official code
    annotations.truth("annot/gt_valid.mat")  # keypoints and head boxes, for PCKh

Convention:
    The files of MPII count pixels from 1. Instances are returned with pixels counted from 0, as everywhere in hrpose. The ground
    truth still counts from 1, and the metric adds 1 to predictions.
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

from hrpose.annotations.coco_rows import LARGEST, Row, check_rows, is_text, list_first, read_json, wrong_value
from hrpose.annotations.converters.formats import advise_conversion
from hrpose.errors import DataError, DataWarning, MissingDataError
from hrpose.files import list_files
from hrpose.media.folders import check_file_name
from hrpose.skeletons import MPII
from hrpose.structures import InstanceTable, MpiiTruth, PackedStrings

PIXEL_STD = 200.0
"""A person of scale 1 is this many pixels high."""
_SHIFT = 15.0  # pixels downwards per unit of scale: MPII's centers are high on the body
_PADDING = 1.25
_NONE = -1  # x of the center of a person without center
_LINKS = (
    "https://drive.google.com/drive/folders/1En_VqmStnsXMdldXA6qpqEyDQulnmS3a",
    "https://1drv.ms/f/s!AhIXJn_J-blW00SqrairNetmeVu4",
)
_ORDER = (
    *("rank", "rkne", "rhip", "lhip", "lkne", "lank", "pelv", "thor"),
    *("neck", "head", "rwri", "relb", "rsho", "lsho", "lelb", "lwri"),
)
# Names of the arrays in gt_valid.mat, where persons are the last axis, and in .npz files, where they are the first.
_OF_MAT = {"keypoints": "pos_gt_src", "missing": "jnt_missing", "head_boxes": "headboxes_src", "names": "dataset_joints"}
_OF_NPZ = {"keypoints": "joints_1based", "missing": "missing", "head_boxes": "headboxes", "names": "joint_names"}
_NEEDED = ("keypoints", "missing", "head_boxes")


@dataclass(frozen=True, eq=False)
class MpiiAnnotations:
    """The persons of an MPII file, in its order.

    Attributes:
        file: path of the file.
        image_ids: (I,) int64, 0, 1, ... in the order in which images first occur in the file.
        file_names: I names relative to the image folder.
        image_index: (N,) int32 row of the image.
        center: (N, 2) float64 in image pixels, moved down the body as in the official code.
        side: (N,) float64 side of the square box around the center, in image pixels, without padding.
        keypoints: (N, 16, 2) float64 in image pixels; values of the file where unlabelled.
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

    @property
    def image_sizes(self) -> NDArray[np.int32]:
        """Return (I, 2) zeros, because the file does not state the sizes."""
        return np.zeros((len(self.image_ids), 2), np.int32)

    def instances(self) -> InstanceTable:
        """Return all persons, as the official code does (`MPIIDataset._get_db`).

        With a padding of 1.25 the boxes give the official crops. `instance_ids` are rows of the file, counted from 0. Areas are
        those of the boxes.

        Warns:
            DataWarning: with the number of persons without center (-1). They are kept, as in the official code, but their crops
                do not show them.
        """
        count = len(self)
        lost = np.flatnonzero(self.center[:, 0] == _NONE - 1)
        if len(lost):
            warnings.warn(
                f"{self.file}: {len(lost)} of {count} persons have no center (entries {list_first(lost)}, counted from 0), so "
                "their crops do not show them. Remove them from the training file.",
                DataWarning,
                stacklevel=2,
            )
        corner = self.center - self.side[:, None] / 2
        return InstanceTable(
            image_ids=self.image_ids,
            image_sizes=self.image_sizes,
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
        """Read the PCKh ground truth of these persons, see `read_mpii_truth`.

        Raises:
            MissingDataError: if there is no such file.
            DataError: if the file cannot be used, or has another number of persons.
        """
        truth = read_mpii_truth(file)
        if len(truth) != len(self):
            raise DataError(
                f"Expected {file} to have the {len(self)} persons of {self.file}, but it has {len(truth)}. Use two files of one "
                "set: gt_valid.mat belongs to valid.json."
            )
        return truth


def read_mpii(file: str | Path) -> MpiiAnnotations:
    """Read train.json, valid.json or trainval.json of the HRNet authors.

    Args:
        file: JSON list of {image, center, scale, joints, joints_vis}, counted from 1.

    Raises:
        MissingDataError: if there is no such file.
        DataError: for the first invalid entry, with its index from 0.
    """
    path = Path(file)
    if not path.is_file():
        raise MissingDataError(f"Expected an MPII annotation file at {path}, but there is no such file.")
    rows = read_json(path)
    if not isinstance(rows, list):
        raise DataError(
            f"{path}: expected an MPII annotation file, a JSON list of persons, but got a JSON {type(rows).__name__}. "
            "A COCO file is read without skeleton=mpii."
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
    for place, row in enumerate(rows):
        _check_row(row, place, path)
    center, scale, keypoints = (np.array([row[key] for row in rows], np.float64) for key in ("center", "scale", "joints"))
    given = center[:, 0] != _NONE
    center[:, 1] += np.where(given, _SHIFT * scale, 0.0)
    return MpiiAnnotations(
        file=path,
        image_ids=np.arange(len(index_of), dtype=np.int64),
        file_names=PackedStrings(index_of),
        image_index=np.array([index_of[name] for name in names], np.int32),
        center=center - 1,
        side=np.where(given, PIXEL_STD * scale, PIXEL_STD * scale / _PADDING),
        keypoints=keypoints - 1,
        labelled=np.array([row["joints_vis"] for row in rows], np.float64) > 0,
    )


def mpii_layout(data_dir: Path | str) -> str:
    """Describe the files that MPII training expects in `paths.data`, which of them exist, and where to download the others."""
    notes = {
        "annot/train.json": "(22,246 persons)",
        "annot/valid.json": "(2,958 persons)",
        "annot/gt_valid.mat": "(keypoints and head boxes of valid.json)",
        "images/": "(24,984 images)",
    }
    return "\n".join(
        [
            *list_files("MPII", Path(data_dir), notes),
            "Download the images (12 GB) from http://human-pose.mpi-inf.mpg.de, and annot/ of the HRNet authors from",
            *(f"  {link}" for link in _LINKS),
        ]
    )


def _image(row: Row, place: int, file: Path) -> str:
    name = row.get("image")
    if not isinstance(name, str) or not is_text(name):
        keys = ", ".join(map(str, row)) or "none"
        hint = " It seems to be a detection file." if "bbox" in row else ""
        raise DataError(
            f"{file}: expected `image` of person {place} (counted from 0) to be a file name, but got {name!r}; its keys are "
            f"{keys}. MPII annotations have image, center, scale, joints and joints_vis.{hint}"
        )
    check_file_name(name, f"person {place} of {file}")
    return name


def _check_row(row: Row, place: int, file: Path) -> None:
    """Raise DataError for the first value of a person that has another form."""
    number = MPII.num_keypoints
    values: list[Any] = [row.get(key) for key in ("joints", "joints_vis", "center", "scale")]
    points, labels, center, scale = values
    are_points = isinstance(points, list) and len(points) == number and all(_are_numbers(point, 2) for point in points)
    has_center = _are_numbers(center, 2)
    checks = {
        "joints": (are_points, f"{number} pairs of finite numbers x, y in pixels"),
        "joints_vis": (_are_numbers(labels, number) and {*labels} <= {0, 1}, f"{number} numbers, each 0 (unlabelled) or 1"),
        "center": (has_center, "two finite numbers x, y in pixels"),
        "scale": (
            has_center and _are_numbers([scale], 1) and (scale > 0 or center[0] == _NONE),
            f"a positive number, the height of the person / {PIXEL_STD:.0f}",
        ),
    }
    for key, (is_valid, expected) in checks.items():
        if not is_valid:
            raise wrong_value(file, f"person {place} (counted from 0)", key, expected, row, "Fix or remove the entry.")


def _are_numbers(values: Any, count: int) -> bool:
    """Check whether this is a list of `count` finite numbers of plausible size."""
    return (
        isinstance(values, list)
        and len(values) == count
        and all(type(value) in (int, float) and -LARGEST < value < LARGEST for value in values)
    )


def read_mpii_truth(file: str | Path) -> MpiiTruth:
    """Read the ground truth for PCKh. Nothing in the file is unpickled.

    Args:
        file: gt_valid.mat of the HRNet authors, with pos_gt_src (16, 2, N), jnt_missing (16, N) and headboxes_src (2, 2, N); or
            an .npz with these, or with joints_1based (N, 16, 2), missing (N, 16) and headboxes (N, 2, 2). Pixels count from 1.

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
            f"{', '.join(sorted(arrays)) or 'none'}. Use gt_valid.mat, which has the head boxes that PCKh needs."
        )
    _check_order(arrays.get(found["names"]), path)
    keypoints, missing, head_boxes = (_numbers(arrays, found[part], path) for part in _NEEDED)
    if found is _OF_MAT:
        keypoints, missing, head_boxes = (np.moveaxis(part, -1, 0) for part in (keypoints, missing, head_boxes))
    return _checked(keypoints, missing, head_boxes, path)


def read_mpii_preds(file: Path, num_persons: int) -> NDArray[np.float64]:
    """Read pred.mat of the HRNet authors' code: `preds` (N, 16, 2) in pixels counted from 1.

    Raises:
        MissingDataError: if there is no such file.
        DataError: if the file cannot be used, or has another number of persons.
    """
    if not file.is_file():
        raise MissingDataError(f"Expected keypoints of MPII at {file}, but there is no such file.")
    arrays = _read_mat(file, ["preds"])
    shape = arrays["preds"].shape if "preds" in arrays else "no such array"
    if shape not in ((num_persons, MPII.num_keypoints, 2), (num_persons, MPII.num_keypoints, 3)):
        raise DataError(
            f"{file}: expected `preds` of shape {(num_persons, MPII.num_keypoints, 2)}, one row per person of the ground truth "
            f"in its order, but got {shape}."
        )
    keypoints = _numbers(arrays, "preds", file)[..., :2]
    if not np.isfinite(keypoints).all():
        raise DataError(f"{file}: expected finite numbers in `preds`, but found NaN or infinity.")
    return keypoints


def _read_npz(file: Path) -> dict[str, NDArray[Any]]:
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{file}: expected an .npz of plain arrays, but it cannot be read: {error}.") from error


def _read_mat(file: Path, names: Sequence[str] = tuple(_OF_MAT.values())) -> Mapping[str, NDArray[Any]]:
    # imported here because SciPy is slow to import and only MPII needs it
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    broken = (MatReadError, ValueError, TypeError, LookupError, OSError, EOFError, NotImplementedError, zlib.error)
    try:
        content = loadmat(str(file), appendmat=False, variable_names=list(names))
    except broken as error:
        raise DataError(
            f"{file}: expected a MATLAB file of version 5, such as gt_valid.mat, but it cannot be read: {error}. "
            "Copy or download it again."
        ) from error
    return {name: value for name, value in content.items() if not name.startswith("__")}


def _check_order(names: NDArray[Any] | None, file: Path) -> None:
    """Raise DataError if the file names its keypoints in another order than MPII."""
    found = _ORDER if names is None else tuple(str(np.squeeze(name)) for name in names.ravel())
    if found != _ORDER:
        raise DataError(
            f"{file}: expected keypoints in the order of MPII, {' '.join(_ORDER)}, but got {' '.join(found)}. Reorder them."
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
            f"{file}: expected keypoints (N, {number}, 2), missing (N, {number}) and head boxes (N, 2, 2) of N persons, but got "
            f"{', '.join(map(str, shapes))}."
        )
    labelled = missing == 0
    faults = {
        "finite keypoints where they are labelled": (~np.isfinite(keypoints).all(axis=2) & labelled).any(axis=1),
        "0 or 1 for each keypoint in `missing`": ~np.isin(missing, (0, 1)).all(axis=1),
        "a head box of two finite, different corners": ~(np.linalg.norm(head_boxes[:, 1] - head_boxes[:, 0], axis=1) > 0)
        | ~np.isfinite(head_boxes).all(axis=(1, 2)),
    }
    for expected, wrong in faults.items():
        if wrong.any():
            places = np.flatnonzero(wrong)
            raise DataError(
                f"{file}: expected every person to have {expected}, but {len(places)} of {count} do not (rows "
                f"{list_first(places)}, counted from 0). Fix the file, or download it again."
            )
    return MpiiTruth(keypoints=keypoints, labelled=labelled, head_boxes=head_boxes)
