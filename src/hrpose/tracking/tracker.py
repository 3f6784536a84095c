"""Give people the same number in every frame, by the OKS between their poses.

As the SimpleBaseline paper tracks on PoseTrack: each pose of a frame is compared with the poses of the frames before, moved to
where they would be by now, and pairs are made greedily; boxes for the next frame come from the moved poses too, so that somebody
whom the detector misses for a while is not lost. The paper moves poses by optical flow; here they move on as fast as the person
last did.
Source: B. Xiao, H. Wu, Y. Wei, Simple Baselines for Human Pose Estimation and Tracking, ECCV 2018, section 3.

Legend of the shapes: T tracks, N poses, K keypoints, P pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hrpose.metrics.functional.oks import Floats, keypoint_variances, oks_pairs
from hrpose.structures import GroundTruth, Poses
from hrpose.tracking.assignment import MATCHERS

_COMMON = 3  # keypoints that two poses must both show to be compared, unless one of them shows fewer
_MARGIN = 0.15  # of a propagated box on every side, in extents of the keypoints (the paper enlarges by 15 %)
_MEMORY = 0.15  # seconds over which speeds are averaged: a few frames


@dataclass(frozen=True, eq=False)
class _Track:
    """What is known of somebody.

    Attributes:
        number: theirs.
        keypoints: (K, 2) where they were last seen.
        sure: (K,) whether the score of the keypoint was high enough.
        area: of their box in square pixels.
        bbox_score: of the box that they were last found in; a propagated box passes it on, so it is the detector's last score.
        motion: as a whole.
        time: when they were last seen, in seconds.
    """

    number: int
    keypoints: Floats
    sure: NDArray[np.bool_]
    area: float
    bbox_score: float
    motion: BodyMotion
    time: float

    def at(self, time: float) -> Floats:
        """Give the keypoints (K, 2) as they would be at a time if the person went on alike."""
        return self.keypoints + self.motion.velocity * (time - self.time)


class OksTracker:
    """Number people through a video.

    Args:
        sigmas: (K,) of the skeleton.
        matcher: "greedy", as in the paper, or "hungarian", which makes the sum of all OKS the largest.
        min_oks: least OKS between the moved pose of a person and a pose of the frame; areas are those of padded boxes, so this is
            more lenient than COCO's thresholds.
        max_gap: seconds for which somebody who is not seen keeps their number.
        score_threshold: keypoints with a lower score are not compared.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(
        self,
        sigmas: Sequence[float],
        *,
        matcher: Literal["greedy", "hungarian"] = "greedy",
        min_oks: float = 0.3,
        max_gap: float = 1.0,
        score_threshold: float = 0.2,
    ) -> None:
        if matcher not in MATCHERS:
            raise ValueError(f"Expected `matcher` to be one of {', '.join(MATCHERS)}, but got {matcher!r}.")
        if not 0 < min_oks <= 1 or max_gap <= 0:
            raise ValueError(
                f"Expected `min_oks` to lie above 0 and up to 1 and `max_gap` to be positive, but got {min_oks} and {max_gap}."
            )
        self._variances = keypoint_variances(sigmas)
        self._match = MATCHERS[matcher]
        self._min_oks = min_oks
        self._max_gap = max_gap
        self._score_threshold = score_threshold
        self._tracks: list[_Track] = []
        self._time = -np.inf
        self._num_people = 0

    @property
    def num_people(self) -> int:
        """How many people have got a number so far; numbers go from 1."""
        return self._num_people

    def update(self, poses: Poses, time: float) -> Poses:
        """Number the people of the next frame.

        Args:
            poses: everybody once; see `hrpose.metrics.functional.oks_nms` for poses that repeat each other.
            time: of the frame in seconds.

        Returns:
            The poses, with the numbers of the people as `instance_ids`.

        Raises:
            ValueError: if the time has not gone on, or the poses have another number of keypoints than there are sigmas.
        """
        if not time > self._time:
            raise ValueError(f"Expected a time later than {self._time:g} s, but got {time:g} s.")
        self._time = time
        self._tracks = self._remembered(time)
        sure = poses.keypoint_scores >= self._score_threshold
        rows, columns = self._match(self._similarity(self._tracks, poses, sure, time), self._min_oks)
        known = dict(zip(columns.tolist(), rows.tolist(), strict=True))
        seen = []
        for row in range(len(poses)):
            before = self._tracks[known[row]] if row in known else None
            if before is None:
                self._num_people += 1
            seen.append(_observe(before, poses[[row]], sure[row], time, self._num_people))
        self._tracks = [track for row, track in enumerate(self._tracks) if row not in known.values()] + seen
        return replace(poses, instance_ids=np.array([track.number for track in seen], np.int64))

    def propagate(self, time: float) -> tuple[Floats, Floats]:
        """Give boxes where the people of the frames before would be at a time.

        Args:
            time: of the next frame in seconds.

        Returns:
            (T, 4) xywh in pixels and (T,) scores, each that of the box in which the person was last found: the detector's, or
            1 without a detector. Whoever shows fewer than three keypoints has no box.
        """
        boxes, scores = np.zeros((0, 4)), []
        for track in self._remembered(time):
            if track.sure.sum() >= _COMMON:
                points = track.at(time)[track.sure]
                low, high = points.min(axis=0), points.max(axis=0)
                margin = _MARGIN * np.maximum(high - low, 1.0)
                boxes = np.concatenate([boxes, [np.concatenate([low - margin, high - low + 2 * margin])]])
                scores.append(track.bbox_score)
        return boxes, np.array(scores, np.float64)

    def missing(self, poses: Poses, time: float) -> Floats:
        """Give where the people of the frames before whom no pose matches would be at a time; nothing is updated.

        Args:
            poses: of the next frame, as for `update`.
            time: of that frame in seconds.

        Returns:
            (L, 2) the middle of each person's keypoints in pixels, of those that are compared if there are any.
        """
        tracks = self._remembered(time)
        sure = poses.keypoint_scores >= self._score_threshold
        rows, _ = self._match(self._similarity(tracks, poses, sure, time), self._min_oks)
        lost = [track for row, track in enumerate(tracks) if row not in rows]
        shown = [track.at(time)[track.sure if track.sure.any() else slice(None)] for track in lost]
        return np.array([points.mean(axis=0) for points in shown]).reshape(-1, 2)

    def _remembered(self, time: float) -> list[_Track]:
        """The people who were seen less than `max_gap` ago."""
        return [track for track in self._tracks if time - track.time <= self._max_gap]

    def _similarity(self, tracks: Sequence[_Track], poses: Poses, sure: NDArray[np.bool_], time: float) -> Floats:
        """Compare moved tracks with poses by the keypoints that both show: (T, N) OKS."""
        if poses.keypoints.shape[1:] != (len(self._variances), 2):
            raise ValueError(
                f"Expected poses of {len(self._variances)} keypoints, one for each sigma, but got {poses.keypoints.shape[1]}."
            )
        if not tracks or not len(poses):
            return np.zeros((len(tracks), len(poses)))
        row, column = np.indices((len(tracks), len(poses))).reshape(2, -1)
        shown = np.stack([track.sure for track in tracks])[row], sure[column]
        common = shown[0] & shown[1]
        nothing = np.zeros(len(row), np.int64)
        pairs = GroundTruth(
            image_ids=nothing,
            object_image_ids=nothing,
            instance_ids=nothing,
            category_ids=nothing,
            keypoints=np.stack([track.at(time) for track in tracks])[row],
            visibility=common.astype(np.uint8),
            bbox=np.zeros((len(row), 4)),
            iscrowd=np.zeros(len(row), bool),
            area=(np.array([track.area for track in tracks])[row] + poses.area[column]) / 2,
        )
        similarity = oks_pairs(poses.keypoints, pairs, self._variances, column, np.arange(len(row)))
        fewest = np.minimum(shown[0].sum(axis=1), shown[1].sum(axis=1)).clip(1, _COMMON)
        similarity[common.sum(axis=1) < fewest] = 0.0
        return similarity.reshape(len(tracks), len(poses))


def _observe(before: _Track | None, pose: Poses, sure: NDArray[np.bool_], time: float, number: int) -> _Track:
    """Note a pose, one row, of somebody known, or of somebody new who gets the number."""
    keypoints, motion = pose.keypoints[0], BodyMotion()
    if before is not None:
        common = sure & before.sure
        number = before.number
        motion = before.motion.measure(before.keypoints[common], keypoints[common], time - before.time)
    return _Track(number, keypoints, sure, float(pose.area[0]), float(pose.bbox_scores[0]), motion, time)


@dataclass(frozen=True, eq=False)
class BodyMotion:
    """The velocity of a person; limbs that swing and keypoints that are wrong hardly matter, because the median counts.

    Attributes:
        velocity: (2,) pixels in a second.
        num_steps: how many times it was measured.
    """

    velocity: Floats = field(default_factory=lambda: np.zeros(2))
    num_steps: int = 0

    def measure(self, before: Floats, after: Floats, step: float) -> BodyMotion:
        """Take another step into account.

        Args:
            before: (n, 2) keypoints in pixels.
            after: (n, 2) the same ones `step` seconds later; if there are none, nothing is learned.
            step: seconds.
        """
        if not len(before):
            return self
        measured = np.median(after - before, axis=0) / step
        num_steps = self.num_steps + 1
        share = max(1 / num_steps, 1 - float(np.exp(-step / _MEMORY)))
        return BodyMotion(self.velocity + share * (measured - self.velocity), num_steps)
