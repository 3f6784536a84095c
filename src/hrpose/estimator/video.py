"""Poses through a video: boxes of the detector joined with those of the people of the frames before, poses, numbers, smoothing.

    frame -> boxes of the detector + boxes propagated by the tracker -> NMS -> estimator -> OKS-NMS -> tracker -> smoother

Source: B. Xiao, H. Wu, Y. Wei, Simple Baselines for Human Pose Estimation and Tracking, ECCV 2018, section 3 and algorithm 1;
there boxes and poses are moved by optical flow, here by the speed of the person (`hrpose.tracking.OksTracker`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrpose.data.video import VideoFrame
from hrpose.estimator.boxes import Floats, read_bboxes, read_detections
from hrpose.estimator.detectors import Detector
from hrpose.geometry import bbox_nms
from hrpose.metrics.functional.oks_nms import oks_nms
from hrpose.skeletons import Skeleton
from hrpose.structures import Poses
from hrpose.tracking import OksTracker, PoseSmoother


class Estimator(Protocol):
    """What is needed of a `PoseEstimator`."""

    @property
    def skeleton(self) -> Skeleton:
        """The keypoints that come out."""
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

    Boxes come from the detector and from the people of the frames before; where both find the same person, one box stays.
    In frames without boxes, which without a detector are those where nobody is followed, the whole frame is one.

    Args:
        estimator: a `PoseEstimator`; its own detector is asked in frames without boxes.
        frames: a `VideoReader`, or anything that gives frames in the order of their times.
        detector: finds people: image (H, W, 3) uint8 RGB -> boxes (N, 4) x, y, width, height, and scores (N,).
        detect_every: ask the detector in every n-th frame only; in between, boxes come from the frames before.
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
    people = tracker if tracker is not None else OksTracker(estimator.skeleton.sigmas)
    asked, _ = read_bboxes(bbox, None, None)
    for frame in frames:
        size = (frame.image.shape[1], frame.image.shape[0])
        found = [_clip(*people.propagate(frame.time), size)]
        if asked is not None:
            found.append((asked, np.ones(len(asked))))
            asked = None
        if detector is not None and frame.index % detect_every == 0:
            seen, sure = read_detections(detector(frame.image))
            found.append(_clip(seen, sure.astype(np.float64), size))
        boxes, scores = (np.concatenate(part) for part in zip(*reversed(found), strict=True))
        if len(boxes) or detector is not None:
            kept = bbox_nms(boxes, scores, bbox_nms_threshold)
            poses: Poses = estimator(frame.image, bbox=boxes[kept], bbox_scores=scores[kept])
        else:
            poses = estimator(frame.image)
        poses = people.update(_once(poses, estimator.skeleton, min_score, oks_nms_threshold), frame.time)
        poses = poses if smoother is None else smoother(poses, frame.time)
        numbered = replace(poses, image_ids=np.full(len(poses), frame.index, np.int64))
        yield TrackedFrame(frame.image, frame.index, frame.time, numbered)


def _clip(bbox: Floats, scores: Floats, size: tuple[int, int]) -> tuple[Floats, Floats]:
    """Cut boxes off at the border of the frame; those of which nothing is left go."""
    first = np.clip(bbox[:, :2], 0, size)
    last = np.clip(bbox[:, :2] + bbox[:, 2:], 0, size)
    inside = (last - first >= 1).all(axis=1)
    return np.concatenate([first, last - first], axis=1)[inside], scores[inside]


def _once(poses: Poses, skeleton: Skeleton, min_score: float, threshold: float) -> Poses:
    """Leave out poses that repeat a better one, and those that are no people."""
    poses = poses[poses.scores >= min_score]
    one_photo = np.zeros(len(poses), np.int64)
    return poses[
        np.sort(oks_nms(poses.keypoints, poses.scores, poses.area, one_photo, skeleton.sigmas, threshold=threshold))
    ]
