"""Anybody's own detector, with the thresholds of the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from hrpose.estimator.boxes import read_detections
from hrpose.estimator.detectors.boxes import BoxFilter, Detections, Image


class FunctionDetector:
    """A function of an image, whose boxes may be corners, with a score threshold and box NMS.

    A function that gives x, y, width, height and needs no thresholds is a detector as it is.

    Args:
        function: image (H, W, 3) uint8 RGB -> boxes (N, 4) in its pixels, and scores (N,).
        box_format: "xyxy" for corners left, top, right, bottom, or "xywh" for x, y, width, height.
        score_threshold: boxes that score below it are left out.
        nms_threshold: of two boxes with a larger IoU the worse one goes; None keeps both.
        max_boxes: how many boxes of an image are kept at most, the best.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> import numpy as np
        >>> detector = FunctionDetector(lambda image: ([[10, 20, 50, 80]], [0.9]), box_format="xyxy")
        >>> detector(np.zeros((100, 100, 3), np.uint8))[0]
        array([[10., 20., 40., 60.]])
    """

    def __init__(
        self,
        function: Callable[[Image], Any],
        *,
        box_format: Literal["xywh", "xyxy"],
        score_threshold: float = 0.3,
        nms_threshold: float | None = 0.65,
        max_boxes: int = 100,
    ) -> None:
        if box_format not in ("xywh", "xyxy"):
            raise ValueError(f'Expected `box_format` to be "xywh" or "xyxy", but got {box_format!r}.')
        self._function, self._corners = function, box_format == "xyxy"
        self._choose = BoxFilter(score_threshold, nms_threshold, max_boxes)

    def __call__(self, image: Image) -> Detections:
        """Find persons in an image (H, W, 3) uint8 RGB.

        Returns:
            Boxes (N, 4) x, y, width, height and their scores (N,), the best first.

        Raises:
            ValueError: if the function returns anything else than boxes and scores.
        """
        return self._choose(*read_detections(self._function(image), corners=self._corners))
