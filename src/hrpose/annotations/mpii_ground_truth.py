"""The ground truth of MPII's validation persons: gt_valid.mat, or an .npz with the same arrays."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrpose.errors import DataError, MissingDataError
from hrpose.skeletons import MPII
from hrpose.structures import MpiiTruth

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


def read_mpii_truth(file: str | Path) -> MpiiTruth:
    """Read what PCKh is measured against.

    Args:
        file: gt_valid.mat of the HRNet authors, with pos_gt_src (16, 2, N), jnt_missing (16, N) and headboxes_src (2, 2, N); or
            an .npz with these, or with joints_1based (N, 16, 2), missing (N, 16) and headboxes (N, 2, 2). All count pixels
            from 1. Nothing in either file is run or unpickled.

    Raises:
        MissingDataError: if there is no such file.
        DataError: if scipy is needed and not installed, or the file cannot be used.
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


def _read_npz(file: Path) -> dict[str, NDArray[Any]]:
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{file}: expected an .npz of plain arrays, but it cannot be read: {error}.") from error


def _read_mat(file: Path) -> Mapping[str, NDArray[Any]]:
    try:
        # an extra: only MPII needs it
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ImportError as error:
        raise DataError(
            f"Expected scipy, which reads {file}, but it is not installed. Install it with pip install 'hrpose[mpii]', or "
            "give an .npz with pos_gt_src, jnt_missing and headboxes_src."
        ) from error
    broken = (
        MatReadError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        OSError,
        EOFError,
        NotImplementedError,
        zlib.error,
    )
    try:
        content = loadmat(str(file), appendmat=False, variable_names=list(_OF_MAT.values()))
    except broken as error:
        raise DataError(
            f"{file}: expected a MATLAB file of version 5, as gt_valid.mat is, but it cannot be read: {error}. "
            "Copy or download it again."
        ) from error
    return {name: value for name, value in content.items() if not name.startswith("__")}


def _check_order(names: NDArray[Any] | None, file: Path) -> None:
    """Refuse keypoints in another order than MPII's, where the file names them."""
    told = _ORDER if names is None else tuple(str(np.squeeze(name)) for name in names.ravel())
    if told != _ORDER:
        raise DataError(
            f"{file}: expected keypoints in the order of MPII, {' '.join(_ORDER)}, but got {' '.join(told)}. Sort them."
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
    for wish, wrong in faults.items():
        if wrong.any():
            places = np.flatnonzero(wrong)
            raise DataError(
                f"{file}: expected every person to have {wish}, but {len(places)} of {count} have not: "
                f"{places[:5].tolist()}{' ...' if len(places) > 5 else ''}, counted from 0. Mend or download the file again."
            )
    return MpiiTruth(keypoints=keypoints, labelled=labelled, head_boxes=head_boxes)
