"""The detector interface, and detectors without a network: a function and a file of boxes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrpose.annotations.detections import read_image_boxes
from hrpose.errors import DataError
from hrpose.estimator.boxes import Boxes, Floats, read_detections
from hrpose.geometry import bbox_nms

Image: TypeAlias = NDArray[np.uint8]
Detector: TypeAlias = Callable[[Image], tuple[ArrayLike, ArrayLike]]
"""An image (H, W, 3) uint8 RGB to boxes (N, 4) x, y, width, height in its pixels, and their scores (N,)."""

_MAX_CANDIDATES = 1000  # boxes that NMS compares; dense detectors return ten times as many


@dataclass(frozen=True)
class BoxFilter:
    """Selects the boxes of one image by score and NMS."""

    score_threshold: float  # boxes with a lower score are dropped
    nms_threshold: float | None  # of two boxes with a larger IoU the one with the lower score is dropped; None keeps both
    max_boxes: int  # number of boxes to keep per image, those with the highest scores

    def __post_init__(self) -> None:
        for name in ("score_threshold", "nms_threshold"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"Expected `{name}` to be from 0 to 1, but got {value}.")
        if self.max_boxes < 1:
            raise ValueError(f"Expected `max_boxes` to be at least 1, but got {self.max_boxes}.")

    def __call__(self, bbox: ArrayLike, scores: ArrayLike) -> Boxes:
        """Select boxes (N, 4) x, y, width, height by their scores (N,), the highest first, without boxes that have no size."""
        boxes = np.asarray(bbox, np.float64).reshape(-1, 4)
        given = np.asarray(scores, np.float32).reshape(-1)
        usable = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1) & (given >= self.score_threshold)
        rows = np.flatnonzero(usable)
        rows = rows[np.argsort(-given[rows], kind="stable")][:_MAX_CANDIDATES]
        if self.nms_threshold is not None:
            rows = rows[bbox_nms(boxes[rows], given[rows], self.nms_threshold)]
        rows = rows[: self.max_boxes]
        return boxes[rows], given[rows].astype(np.float64)


class FunctionDetector:
    """Make a detector from a function whose boxes may be corners; boxes are selected by score and NMS.

    A function that returns x, y, width, height and needs no thresholds is itself a detector.

    Args:
        function: image (H, W, 3) uint8 RGB -> boxes (N, 4) in its pixels, and scores (N,).
        box_format: "xyxy" for corners left, top, right, bottom, or "xywh" for x, y, width, height.
        score_threshold: as for `OnnxDetector`.
        nms_threshold: as for `OnnxDetector`.
        max_boxes: as for `OnnxDetector`.

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
        self._select = BoxFilter(score_threshold, nms_threshold, max_boxes)

    def __call__(self, image: Image) -> Boxes:
        """Find boxes (N, 4) x, y, width, height in pixels of an image (H, W, 3) uint8 RGB, and scores (N,), highest first.

        Raises:
            ValueError: if the function returns anything other than boxes and scores.
        """
        return self._select(*read_detections(self._function(image), corners=self._corners))


class BoxFile:
    """Look up the boxes of images in a COCO file by the path of the image.

    As the detector of a `PoseEstimator` it needs images as paths. They are read as stored, because the boxes are of the stored
    pixels.

    Args:
        boxes: detections as COCO results, a list of {image_id, category_id, bbox, score}; or a COCO annotation file, whose boxes
            without crowds get the score 1 and are clipped as in `hrpose test`.
        annotations: COCO file with the file names; required for detections.
        min_score: detections with a lower score are ignored.

    Raises:
        DataError: if a file cannot be used, or `annotations` is missing.

    Example:
        >>> boxes = BoxFile("detections.json", "person_keypoints_val2017.json")  # doctest: +SKIP
        >>> estimator = PoseEstimator.from_checkpoint("best.ckpt", detector=boxes)  # doctest: +SKIP
        >>> poses = estimator(["val2017/000000000785.jpg", "val2017/000000001000.jpg"])  # doctest: +SKIP
    """

    def __init__(self, boxes: str | Path, annotations: str | Path | None = None, *, min_score: float = 0.0) -> None:
        known = read_image_boxes(annotations, boxes, min_score=min_score)
        assert known is not None, "`boxes` is a file"
        self._known = known
        self._file = str(annotations or boxes)
        self._by_last_part: dict[str, list[str]] = {}
        for name in known.image_ids:
            self._by_last_part.setdefault(PurePath(name).name, []).append(name)

    def image_id(self, image: str | Path) -> int:
        """Return the id of an image by its path, which ends with the `file_name` in the file; raise DataError for others."""
        parts = Path(image).parts
        candidates = {name: PurePath(name).parts for name in self._by_last_part.get(Path(image).name, ())}
        names = [name for name, end in candidates.items() if parts[-len(end) :] == end]
        if not names:
            raise DataError(
                f"Expected {image} to be one of the {len(self._known.image_ids)} images of {self._file}, found no such name."
            )
        return self._known.image_ids[max(names, key=len)]

    def of(self, image: Any) -> Boxes:
        """Return the boxes (N, 4) x, y, width, height of an image and their scores (N,), in the order of the file.

        Raises:
            DataError: if the image is not a path, or not in the file.
        """
        if not isinstance(image, str | Path):
            raise DataError(
                f"Expected images as paths to look up their boxes in {self._file} by name, but got {type(image).__name__}."
            )
        found = self._known.boxes_of(self.image_id(image))
        assert found is not None, "the file has boxes"
        return found


def xywh_from_xyxy(corners: ArrayLike) -> Floats:
    """Convert corners (N, 4) left, top, right, bottom to x, y, width, height."""
    boxes = np.array(corners, np.float64).reshape(-1, 4)
    boxes[:, 2:] -= boxes[:, :2]
    return boxes


def xywh_from_cxcywh(centers: ArrayLike) -> Floats:
    """Convert (N, 4) center x and y, width and height to x, y, width, height."""
    boxes = np.array(centers, np.float64).reshape(-1, 4)
    boxes[:, :2] -= boxes[:, 2:] / 2
    return boxes
