"""Poses in a video: detected boxes joined with boxes propagated from earlier frames, poses, track ids, smoothing.

    frame -> boxes of the detector + boxes propagated by the tracker -> NMS -> estimator -> OKS-NMS -> tracker -> smoother

A propagated box has the score of the last detected box of its instance, or 1 without a detector. The score of the pose is not
used, because it would be multiplied by itself in every frame. If an instance is lost, the frame is estimated again with the boxes
of the detector.
Source: B. Xiao, H. Wu, Y. Wei, Simple Baselines for Human Pose Estimation and Tracking, ECCV 2018, section 3 and algorithm 1,
which move boxes and poses by optical flow; here they move with the velocity of the instance (`hrpose.tracking.OksTracker`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrpose.estimator.boxes import Boxes, Floats, read_bboxes, read_detections
from hrpose.estimator.detectors import Detector
from hrpose.estimator.pose_estimator import PoseEstimator
from hrpose.geometry import bbox_nms
from hrpose.media.video import VideoFrame
from hrpose.metrics.functional.oks import oks_nms
from hrpose.structures import Poses
from hrpose.tracking import OksTracker, PoseSmoother

_NOTHING: Boxes = (np.zeros((0, 4)), np.zeros(0))


@dataclass(frozen=True, eq=False)
class TrackedFrame:
    """A frame of a video and the instances in it."""

    image: NDArray[np.uint8]  # (H, W, 3) RGB
    index: int  # from 0
    time: float  # seconds since the first frame
    poses: Poses  # of the instances; `instance_ids` are the same in every frame, `image_ids` are the index


def track_poses(
    estimator: PoseEstimator,
    frames: Iterable[VideoFrame],
    *,
    detector: Detector | None = None,
    detect_every: int = 1,
    bbox: ArrayLike | None = None,
    tracker: OksTracker | None = None,
    smoother: PoseSmoother | None = None,
    min_score: float = 0.2,
    bbox_nms_threshold: float = 0.6,
    oks_nms_threshold: float = 0.9,
) -> Iterator[TrackedFrame]:
    """Estimate the poses in a video and track the instances; one frame is in memory at a time.

    Boxes come from the detector or are propagated from earlier frames; if both are of the same instance, the detected one
    is used. The detector is also used in a frame in which an instance is not found that was observed less than `max_gap` of the
    tracker ago and is expected inside the frame. Without a detector, the whole frame is the box if no instance is found.

    Args:
        estimator: a `PoseEstimator`; its own detector is used in frames without boxes.
        frames: a `VideoReader` or other frames in the order of their times.
        detector: image (H, W, 3) uint8 RGB -> boxes (N, 4) x, y, width, height, and scores (N,).
        detect_every: use the detector in every n-th frame, and in frames in which an instance is lost.
        bbox: (N, 4) x, y, width, height of the instances to track, in the first frame.
        tracker: assigns the ids; None uses an `OksTracker` with its defaults.
        smoother: filters the returned keypoints, not those that are tracked; None does not filter.
        min_score: instances with a lower score are dropped and not tracked.
        bbox_nms_threshold: IoU above which two boxes are of the same instance.
        oks_nms_threshold: OKS above which two poses are of the same instance.

    Yields:
        The frames with their instances.

    Raises:
        ValueError: if an argument is out of range, or the detector returns anything other than boxes and scores.
    """
    if detect_every < 1:
        raise ValueError(f"Expected `detect_every` to be at least 1, but got {detect_every}.")
    takes_boxes = not getattr(estimator, "is_bottom_up", False)
    if not takes_boxes and (detector is not None or bbox is not None):
        raise ValueError("Expected no `detector` and no `bbox` with a bottom-up network, which takes no boxes. Remove them.")
    tracker = tracker if tracker is not None else OksTracker(estimator.skeleton.sigmas)
    estimate = _FrameEstimator(estimator, min_score, bbox_nms_threshold, oks_nms_threshold)
    found = read_bboxes(bbox, None, None) or _NOTHING
    for frame in frames:
        image = frame.image
        propagated = _clip(*tracker.propagate(frame.time), image)
        due = detector is not None and frame.index % detect_every == 0
        if detector is not None and due:
            found = _join(_detect(detector, image), found)
        with_boxes = takes_boxes and (detector is not None or len(found[0]) + len(propagated[0]) > 0)
        poses = estimate(image, found, propagated) if with_boxes else estimate.whole(image)
        if detector is not None and not due and _any_inside(tracker.missing(poses, frame.time), image):
            poses = estimate(image, _join(_detect(detector, image), found), propagated)
        elif detector is None and with_boxes and not len(poses):
            poses = estimate.whole(image)
        found = _NOTHING
        poses = tracker.update(poses, frame.time)
        poses = poses if smoother is None else smoother(poses, frame.time)
        numbered = replace(poses, image_ids=np.full(len(poses), frame.index, np.int64))
        yield TrackedFrame(frame.image, frame.index, frame.time, numbered)


@dataclass(frozen=True)
class _FrameEstimator:
    """Estimates each instance of a frame once; attributes are as for `track_poses`."""

    estimator: PoseEstimator
    min_score: float
    bbox_nms_threshold: float
    oks_nms_threshold: float

    def __call__(self, image: NDArray[np.uint8], found: Boxes, propagated: Boxes) -> Poses:
        """Estimate the poses in found and propagated boxes; if two are of one instance, the found one is used."""
        boxes, scores = _join(found, propagated)
        is_found = np.arange(len(boxes)) < len(found[0])
        kept = bbox_nms(boxes, np.clip(scores, 0, 1) + is_found, self.bbox_nms_threshold)
        return self._once(self.estimator(image, bbox=boxes[kept], bbox_scores=scores[kept]))

    def whole(self, image: NDArray[np.uint8]) -> Poses:
        """Estimate the poses in a frame without boxes."""
        return self._once(self.estimator(image))

    def _once(self, poses: Poses) -> Poses:
        """Drop poses with a low score, and duplicates of better ones."""
        poses = poses[poses.scores >= self.min_score]
        one_image = np.zeros(len(poses), np.int64)
        measured = (poses.keypoints, poses.scores, poses.area, one_image, self.estimator.skeleton.sigmas)
        return poses[np.sort(oks_nms(*measured, threshold=self.oks_nms_threshold))]


def _detect(detector: Detector, image: NDArray[np.uint8]) -> Boxes:
    """Return the detected boxes of a frame."""
    return _clip(*read_detections(detector(image)), image)


def _join(one: Boxes, other: Boxes) -> Boxes:
    return np.concatenate([one[0], other[0]]), np.concatenate([one[1], other[1]])


def _clip(bbox: Floats, scores: Floats, image: NDArray[np.uint8]) -> Boxes:
    """Clip boxes to the frame, and drop those that are outside."""
    size = image.shape[1::-1]
    first = np.clip(bbox[:, :2], 0, size)
    last = np.clip(bbox[:, :2] + bbox[:, 2:], 0, size)
    inside = (last - first >= 1).all(axis=1)
    return np.concatenate([first, last - first], axis=1)[inside], scores[inside]


def _any_inside(points: Floats, image: NDArray[np.uint8]) -> bool:
    """Check whether one of the points (L, 2) is inside the frame."""
    return bool(((points >= 0) & (points < image.shape[1::-1])).all(axis=1).any())
