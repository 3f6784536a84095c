"""Boxes around the keypoints of annotations that have none."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hrpose.annotations.coco_rows import Row, list_first, read_boxes
from hrpose.errors import DataError

logger = logging.getLogger(__name__)

_PLACEHOLDER = [0, 0, 0, 0]


def read_boxes_or_keypoints(
    rows: Sequence[Row],
    keypoints: NDArray[np.generic],
    visibility: NDArray[np.uint8],
    image_sizes: NDArray[np.int32],
    margin: float | None,
    file: Path,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Collect boxes; where there is none, or one without area, take the box around the labelled keypoints.

    Args:
        rows: N annotations.
        keypoints: (N, K, 2) in pixels.
        visibility: (N, K).
        image_sizes: (N, 2) width and height of the image of each row, 0 where they are unknown.
        margin: added on each side, as a share of the longer side of the box around the keypoints; where this box has no size, as
            that of a single keypoint, as a share of the longer side of the image. None requires all boxes.
        file: of the rows.

    Returns:
        Boxes x, y, width, height (N, 4), all 0 where there is no labelled keypoint either, and whether each is the file's (N,).

    Raises:
        DataError: as `read_boxes`, or if a single keypoint needs a box in an image of unknown size.
    """
    if margin is None:
        return read_boxes(rows, "annotation", file), np.ones(len(rows), bool)
    lacking = np.array([not row.get("bbox") for row in rows], bool)
    complete = [{**row, "bbox": _PLACEHOLDER} if lacks else row for row, lacks in zip(rows, lacking, strict=True)]
    boxes = read_boxes(complete, "annotation", file)
    labelled = visibility > 0
    taken = np.flatnonzero((boxes[:, 2:] == 0).any(axis=1) & labelled.any(axis=1))
    if len(taken):
        boxes[taken] = _around(keypoints[taken], labelled[taken], image_sizes[taken], margin, taken, rows, file)
        logger.info(
            "%s: the boxes of %d of %d annotations are those around their keypoints, with a margin of %g",
            file,
            len(taken),
            len(rows),
            margin,
        )
    own = np.ones(len(rows), bool)
    own[taken] = False
    return boxes, own


def _around(
    keypoints: NDArray[np.generic],
    labelled: NDArray[np.bool_],
    image_sizes: NDArray[np.int32],
    margin: float,
    places: NDArray[np.intp],
    rows: Sequence[Row],
    file: Path,
) -> NDArray[np.float64]:
    """Return the boxes (M, 4) around labelled keypoints, with their margin."""
    points = keypoints.astype(np.float64)
    low = np.where(labelled[..., None], points, np.inf).min(axis=1)
    high = np.where(labelled[..., None], points, -np.inf).max(axis=1)
    longer = (high - low).max(axis=1)
    single = longer == 0
    unknown = np.flatnonzero(single & (image_sizes == 0).any(axis=1))
    if len(unknown):
        ids = list_first([rows[place]["id"] for place in places[unknown].tolist()])
        raise DataError(
            f"{file}: expected the `width` and `height` of images with a single keypoint and no box, because the margin is a "
            f"share of them, but {len(unknown)} have none (annotation ids {ids}). Add them, or the boxes."
        )
    pad = margin * np.where(single, image_sizes.max(axis=1), longer)[:, None]
    return np.concatenate([low - pad, high - low + 2 * pad], axis=1)
