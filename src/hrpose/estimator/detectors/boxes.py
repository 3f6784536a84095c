"""What a detector is, and which of its boxes are worth a crop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrpose.estimator.boxes import Floats
from hrpose.geometry import bbox_nms

Image: TypeAlias = NDArray[np.uint8]
Detections: TypeAlias = tuple[Floats, Floats]
Detector: TypeAlias = Callable[[Image], tuple[ArrayLike, ArrayLike]]
"""Finds persons: an image (H, W, 3) uint8 RGB to boxes (N, 4), x, y, width, height in its pixels, and their scores (N,)."""

_MAX_CANDIDATES = 1000  # that are compared with each other; a dense detector has ten times as many


@dataclass(frozen=True)
class BoxFilter:
    """Keeps the boxes of one image that are sure enough, and of those that overlap the best.

    Attributes:
        score_threshold: boxes that score below it are left out.
        nms_threshold: of two boxes with a larger IoU the worse one goes; None keeps both.
        max_boxes: how many boxes of an image are kept at most, the best.

    Raises:
        ValueError: if a threshold is not in 0 to 1, or `max_boxes` not positive.
    """

    score_threshold: float
    nms_threshold: float | None
    max_boxes: int

    def __post_init__(self) -> None:
        for name in ("score_threshold", "nms_threshold"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"Expected `{name}` to be from 0 to 1, but got {value}.")
        if self.max_boxes < 1:
            raise ValueError(f"Expected `max_boxes` to be at least 1, but got {self.max_boxes}.")

    def __call__(self, bbox: ArrayLike, scores: ArrayLike) -> Detections:
        """Choose among boxes (N, 4) x, y, width, height with scores (N,).

        Returns:
            The chosen boxes and scores, the best first; boxes without size are left out.
        """
        boxes = np.asarray(bbox, np.float64).reshape(-1, 4)
        sure = np.asarray(scores, np.float32).reshape(-1)
        usable = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1) & (sure >= self.score_threshold)
        rows = np.flatnonzero(usable)
        rows = rows[np.argsort(-sure[rows], kind="stable")][:_MAX_CANDIDATES]
        if self.nms_threshold is not None:
            rows = rows[bbox_nms(boxes[rows], sure[rows], self.nms_threshold)]
        rows = rows[: self.max_boxes]
        return boxes[rows], sure[rows].astype(np.float64)


def xywh_from_xyxy(corners: ArrayLike) -> Floats:
    """Turn corners (N, 4) left, top, right, bottom into x, y, width, height."""
    boxes = np.array(corners, np.float64).reshape(-1, 4)
    boxes[:, 2:] -= boxes[:, :2]
    return boxes


def xywh_from_middles(middles: ArrayLike) -> Floats:
    """Turn (N, 4) x and y of the middle, width and height into x, y, width, height."""
    boxes = np.array(middles, np.float64).reshape(-1, 4)
    boxes[:, :2] -= boxes[:, 2:] / 2
    return boxes
