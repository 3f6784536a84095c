"""Poses in a video: detected boxes joined with boxes propagated from earlier frames, poses, track ids, smoothing.

    frame -> boxes of the detector + boxes propagated by the tracker -> NMS -> estimator -> OKS-NMS -> tracker -> smoother

A propagated box carries the score of the detector's box that the person was last found in, or 1 without a detector; it never
takes the score of the pose, which would be multiplied by itself from frame to frame. A frame in which somebody is lost is
estimated again at once with the detector's boxes.
Source: B. Xiao, H. Wu, Y. Wei, Simple Baselines for Human Pose Estimation and Tracking, ECCV 2018, section 3 and algorithm 1;
there boxes and poses are moved by optical flow, here by the speed of the person (`hrpose.tracking.OksTracker`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrpose.estimator.boxes import Floats, read_bboxes, read_detections
from hrpose.estimator.detectors import Detector
from hrpose.geometry import bbox_nms
from hrpose.media.video import VideoFrame
from hrpose.metrics.functional.oks import oks_nms
from hrpose.skeletons import Skeleton
from hrpose.structures import Poses
from hrpose.tracking import OksTracker, PoseSmoother

Boxes: TypeAlias = tuple[Floats, Floats]  # (N, 4) x, y, width, height in pixels, and (N,) scores

_NOTHING: Boxes = (np.zeros((0, 4)), np.zeros(0))


class Estimator(Protocol):
    """The interface of `PoseEstimator` that `track_poses` uses."""

    @property
    def skeleton(self) -> Skeleton:
        """The keypoints."""
        ...

    def __call__(self, images: Any, *, bbox: Any = None, bbox_xyxy: Any = None, bbox_scores: Any = None) -> Any:
        """Estimate the poses in an image, one for each box."""
        ...


@dataclass(frozen=True, eq=False)
class TrackedFrame:
    """A frame of a video and the people in it.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        index: of the frame, from 0.
        time: seconds since the first frame.
        poses: the people; `instance_ids` are their numbers, the same in every frame, `image_ids` the index.
    """

    image: NDArray[np.uint8]
    index: int
    time: float
    poses: Poses


def track_poses(
    estimator: Estimator,
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
    """Estimate the poses in a video and give people the same number in every frame; one frame is in memory at a time.

    Boxes come from the detector and from the people of the frames before; where both find the same person, the detector's stays.
    The detector is also asked in a frame in which somebody who was seen less than `max_gap` of the tracker ago, and would still
    be inside the frame, is not found. Without a detector, the whole frame is one box wherever nobody is found.

    Args:
        estimator: a `PoseEstimator`; its own detector is asked in frames without boxes.
        frames: a `VideoReader`, or anything that gives frames in the order of their times.
        detector: finds people: image (H, W, 3) uint8 RGB -> boxes (N, 4) x, y, width, height, and scores (N,).
        detect_every: ask the detector in every n-th frame only; in between, boxes come from the frames before, unless somebody
            is lost.
        bbox: (N, 4) x, y, width, height: who is to be followed, in the first frame.
        tracker: tells who is who; None takes one with the settings of the class.
        smoother: steadies the keypoints that are given out, not those that are tracked; None gives them as they are.
        min_score: people with a lower instance score are left out, and not followed any more.
        bbox_nms_threshold: IoU above which two boxes are taken for the same person.
        oks_nms_threshold: OKS above which two poses are.

    Yields:
        The frames with their people.

    Raises:
        ValueError: if an argument is out of range, or the detector returns anything else than boxes and scores.
    """
    if detect_every < 1:
        raise ValueError(f"Expected `detect_every` to be at least 1, but got {detect_every}.")
    takes_boxes = not getattr(estimator, "is_bottom_up", False)
    if not takes_boxes and (detector is not None or bbox is not None):
        raise ValueError(
            "Expected no `detector` and no `bbox` with a bottom-up network, which takes no boxes. Leave them out."
        )
    people = tracker if tracker is not None else OksTracker(estimator.skeleton.sigmas)
    estimate = _FrameEstimator(estimator, min_score, bbox_nms_threshold, oks_nms_threshold)
    asked, _ = read_bboxes(bbox, None, None)
    found = _NOTHING if asked is None else (asked, np.ones(len(asked)))
    for frame in frames:
        image = frame.image
        propagated = _clip(*people.propagate(frame.time), image)
        due = detector is not None and frame.index % detect_every == 0
        if detector is not None and due:
            found = _join(_detect(detector, image), found)
        with_boxes = takes_boxes and (detector is not None or len(found[0]) + len(propagated[0]) > 0)
        poses = estimate(image, found, propagated) if with_boxes else estimate.whole(image)
        if detector is not None and not due and _any_inside(people.missing(poses, frame.time), image):
            poses = estimate(image, _join(_detect(detector, image), found), propagated)
        elif detector is None and with_boxes and not len(poses):
            poses = estimate.whole(image)
        found = _NOTHING
        poses = people.update(poses, frame.time)
        poses = poses if smoother is None else smoother(poses, frame.time)
        numbered = replace(poses, image_ids=np.full(len(poses), frame.index, np.int64))
        yield TrackedFrame(frame.image, frame.index, frame.time, numbered)


@dataclass(frozen=True)
class _FrameEstimator:
    """Estimates everybody in a frame once.

    Attributes:
        estimator: a `PoseEstimator`.
        min_score: as for `track_poses`.
        bbox_nms_threshold: as for `track_poses`.
        oks_nms_threshold: as for `track_poses`.
    """

    estimator: Estimator
    min_score: float
    bbox_nms_threshold: float
    oks_nms_threshold: float

    def __call__(self, image: NDArray[np.uint8], found: Boxes, propagated: Boxes) -> Poses:
        """Estimate the poses in found and propagated boxes; where two are of one person, a found one stays."""
        boxes, scores = _join(found, propagated)
        is_found = np.arange(len(boxes)) < len(found[0])
        kept = bbox_nms(boxes, np.clip(scores, 0, 1) + is_found, self.bbox_nms_threshold)
        return self._once(self.estimator(image, bbox=boxes[kept], bbox_scores=scores[kept]))

    def whole(self, image: NDArray[np.uint8]) -> Poses:
        """Estimate the poses in a frame without boxes."""
        return self._once(self.estimator(image))

    def _once(self, poses: Poses) -> Poses:
        """Leave out poses that repeat a better one, and those that are no people."""
        poses = poses[poses.scores >= self.min_score]
        one_image = np.zeros(len(poses), np.int64)
        measured = (poses.keypoints, poses.scores, poses.area, one_image, self.estimator.skeleton.sigmas)
        return poses[np.sort(oks_nms(*measured, threshold=self.oks_nms_threshold))]


def _detect(detector: Detector, image: NDArray[np.uint8]) -> Boxes:
    """Ask the detector for the boxes in a frame."""
    boxes, scores = read_detections(detector(image))
    return _clip(boxes, scores.astype(np.float64), image)


def _join(one: Boxes, other: Boxes) -> Boxes:
    return np.concatenate([one[0], other[0]]), np.concatenate([one[1], other[1]])


def _clip(bbox: Floats, scores: Floats, image: NDArray[np.uint8]) -> Boxes:
    """Cut boxes off at the border of the frame; those of which nothing is left go."""
    size = image.shape[1::-1]
    first = np.clip(bbox[:, :2], 0, size)
    last = np.clip(bbox[:, :2] + bbox[:, 2:], 0, size)
    inside = (last - first >= 1).all(axis=1)
    return np.concatenate([first, last - first], axis=1)[inside], scores[inside]


def _any_inside(points: Floats, image: NDArray[np.uint8]) -> bool:
    """Check whether one of the points (L, 2) lies in the frame."""
    return bool(((points >= 0) & (points < image.shape[1::-1])).all(axis=1).any())
