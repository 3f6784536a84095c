"""Convert the boxes of users and detectors to one form, and check them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]
Boxes: TypeAlias = tuple[Floats, Floats]
"""Boxes (N, 4) x, y, width, height in image pixels, and their scores (N,)."""
_MAX_BEYOND = 0.1  # share of a box outside the image; detectors that do not clip have less


def read_bboxes(bbox: ArrayLike | None, bbox_xyxy: ArrayLike | None, scores: ArrayLike | None) -> Boxes | None:
    """Convert boxes and their scores to arrays; return None without boxes.

    Args:
        bbox: (N, 4) x, y, width, height in image pixels, or (4,) for one box.
        bbox_xyxy: corners left, top, right, bottom instead of `bbox`.
        scores: (N,) confidence of the boxes, or one number; by default 1.

    Raises:
        ValueError: if both forms are given, a shape is wrong, or a box is not finite or has no size.
    """
    if bbox is not None and bbox_xyxy is not None:
        raise ValueError("Expected boxes as `bbox` (x, y, width, height) or as `bbox_xyxy` (corners), but got both.")
    if bbox is None and bbox_xyxy is None:
        if scores is not None:
            raise ValueError("Expected boxes for `bbox_scores`, but got neither `bbox` nor `bbox_xyxy`.")
        return None
    name = "bbox" if bbox is not None else "bbox_xyxy"
    given = _as_rows(bbox if bbox is not None else bbox_xyxy, name)
    for row in np.flatnonzero(~np.isfinite(given).all(axis=1)):
        raise ValueError(f"Expected `{name}` to be finite, but row {row} is {given[row].tolist()}.")
    boxes = given.copy()
    expected, hint = "a positive width and height", ""
    if name == "bbox_xyxy":
        boxes[:, 2:] -= boxes[:, :2]
        expected, hint = "right > left and bottom > top", " If it is x, y, width, height, pass it as `bbox`."
    for row in np.flatnonzero((boxes[:, 2:] <= 0).any(axis=1)):
        raise ValueError(f"Expected `{name}` with {expected}, but row {row} is {given[row].tolist()}.{hint}")
    return boxes, _scores_of(scores, len(boxes))


def spread_over_images(name: str, values: Any, count: int) -> Sequence[Any]:
    """Return one entry per image; all are None if `values` is None."""
    if values is None:
        return [None] * count
    if len(values) != count:
        raise ValueError(
            f"Expected `{name}` to be a list with an entry for each of the {count} images, which may be None, but got "
            f"{len(values)}."
        )
    entries: Sequence[Any] = values
    return entries


def read_detections(found: Any, *, corners: bool = False) -> Boxes:
    """Convert the boxes and scores of a detector to arrays; raise ValueError if its result has another form.

    None instead of scores is 1. Boxes may be `corners` left, top, right, bottom.
    """
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise ValueError(
            f"Expected the detector to return a pair of boxes (N, 4) and scores (N,), but got {type(found).__name__}."
        )
    given, scores = found
    try:
        boxes = read_bboxes(None, given, scores) if corners else read_bboxes(given, None, scores)
    except ValueError as error:
        raise ValueError(f"The detector's boxes cannot be used. {error}") from error
    if boxes is None:
        raise ValueError("Expected boxes of the detector, but got None. Return [] and [] if there are no instances.")
    return boxes


def check_inside(bbox: Floats, image_size: tuple[int, int]) -> None:
    """Raise ValueError if a box (N, 4) x, y, width, height is outside the image, or the boxes are corners."""
    width, height = image_size
    for row in np.flatnonzero(~touching(bbox, image_size)):
        raise ValueError(
            f"Expected boxes in the image of {width} x {height} pixels, but row {row} (x, y, width, height = "
            f"{_show(bbox[row])}) is outside. Is it of an image of another size, or one rotated by EXIF?"
        )
    beyond = np.maximum(bbox[:, :2] + bbox[:, 2:] - image_size, 0)
    are_corners = (bbox[:, :2] >= 0) & (bbox[:, 2:] > bbox[:, :2]) & (bbox[:, 2:] <= image_size)
    too_large = np.flatnonzero((beyond > _MAX_BEYOND * bbox[:, 2:]).any(axis=1))
    if len(too_large) and are_corners.all():
        row = too_large[0]
        raise ValueError(
            f"Expected `bbox` as x, y, width, height, but row {row}, {_show(bbox[row])}, extends far outside the image of "
            f"{width} x {height} pixels, and all rows would be valid corners. Pass corners as `bbox_xyxy`, or clip the boxes."
        )


def touching(bbox: Floats, image_size: tuple[int, int]) -> NDArray[np.bool_]:
    """Check which boxes (N, 4) x, y, width, height overlap the image."""
    shared = np.minimum(bbox[:, :2] + bbox[:, 2:], image_size) - np.maximum(bbox[:, :2], 0)
    return np.asarray((shared > 0).all(axis=1))


def _as_rows(values: Any, name: str) -> Floats:
    try:
        array = _as_floats(values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Expected `{name}` to be numbers (N, 4), but got {values!r:.80}.") from error
    if array.size == 0:
        return np.zeros((0, 4))
    array = array[None] if array.ndim == 1 else array
    if array.ndim != 2 or array.shape[1] != 4:
        hint = " The score goes into `bbox_scores`." if array.ndim == 2 and array.shape[1] == 5 else ""
        raise ValueError(f"Expected `{name}` to be (N, 4), one row per box, but got the shape {array.shape}.{hint}")
    return array


def _as_floats(values: Any) -> Floats:
    values = values.detach().cpu() if hasattr(values, "detach") else values  # a tensor may be on another device
    return np.asarray(values, np.float64)


def _scores_of(scores: Any, count: int) -> Floats:
    if scores is None:
        return np.ones(count)
    array = _as_floats(scores)
    array = np.full(count, array) if array.ndim == 0 else array
    if array.shape != (count,) or not np.isfinite(array).all():
        raise ValueError(
            f"Expected `bbox_scores` to be {count} finite numbers, one per box, but got {array.tolist()!r:.80} of the shape "
            f"{array.shape}."
        )
    return array


def _show(box: Floats) -> str:
    return ", ".join(f"{value:g}" for value in box)
