"""Track instances over frames by the OKS between their poses.

As in the SimpleBaseline paper, the poses of a frame are compared with earlier poses that are moved to their expected positions,
and assigned greedily. The moved poses also give boxes for the next frame, in case the detector misses an instance.
The paper moves poses by optical flow; here they continue with their last velocity.
Source: B. Xiao, H. Wu, Y. Wei, Simple Baselines for Human Pose Estimation and Tracking, ECCV 2018, section 3.

Legend of the shapes: T tracks, N poses, K keypoints, P pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrpose.errors import check_choice
from hrpose.metrics.functional.oks import Floats, Indices, keypoint_variances, oks_pairs
from hrpose.structures import GroundTruth, Poses

_COMMON = 3  # confident keypoints that two compared poses must have in common, unless one of them has fewer
_MARGIN = 0.15  # of a propagated box on every side, as a share of the extent of the keypoints (15 % in the paper)
_MEMORY = 0.15  # seconds over which velocities are averaged


@dataclass(frozen=True, eq=False)
class BodyMotion:
    """The velocity of a whole instance, from the median of its keypoints, which is robust against limbs and errors."""

    velocity: Floats = field(default_factory=lambda: np.zeros(2))  # (2,) pixels per second
    num_steps: int = 0  # number of measurements

    def measure(self, before: Floats, after: Floats, step: float) -> BodyMotion:
        """Return the motion after another step of `step` seconds, from the same keypoints (n, 2) before and after it.

        Without keypoints the motion is unchanged.
        """
        if not len(before):
            return self
        measured = np.median(after - before, axis=0) / step
        num_steps = self.num_steps + 1
        share = max(1 / num_steps, 1 - float(np.exp(-step / _MEMORY)))
        return BodyMotion(self.velocity + share * (measured - self.velocity), num_steps)


@dataclass(frozen=True, eq=False)
class Observation:
    """The pose of an instance in one frame, and its motion up to there."""

    keypoints: Floats  # (K, 2)
    confident: NDArray[np.bool_]  # (K,) whether the score of the keypoint is high enough
    time: float  # in seconds
    motion: BodyMotion = field(default_factory=BodyMotion)

    def at(self, time: float) -> Floats:
        """Return the keypoints (K, 2) expected at a time if the motion continues."""
        return self.keypoints + self.motion.velocity * (time - self.time)

    def followed_by(self, keypoints: Floats, confident: NDArray[np.bool_], time: float) -> Observation:
        """Return the next observation of the same instance."""
        common = confident & self.confident
        motion = self.motion.measure(self.keypoints[common], keypoints[common], time - self.time)
        return Observation(keypoints, confident, time, motion)


@dataclass(frozen=True, eq=False)
class _Track:
    """An instance with its last observation."""

    number: int  # id of the instance
    last: Observation
    area: float  # of the box in square pixels
    bbox_score: float  # of the last detected box, which propagated boxes keep


class OksTracker:
    """Assign the same id to an instance in every frame of a video.

    Args:
        sigmas: (K,) of the skeleton.
        matcher: "greedy", as in the paper, or "hungarian", which maximises the sum of all OKS.
        min_oks: least OKS between a moved pose and a pose of the frame; areas are those of padded boxes, so this is less strict
            than COCO's thresholds.
        max_gap: seconds after which a track without observation is removed.
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
        check_choice("matcher", matcher, _MATCHERS)
        if not 0 < min_oks <= 1 or max_gap <= 0:
            raise ValueError(
                f"Expected `min_oks` to be above 0 and at most 1 and `max_gap` to be positive, but got {min_oks} and {max_gap}."
            )
        self._variances = keypoint_variances(sigmas)
        self._match = _MATCHERS[matcher]
        self._min_oks = min_oks
        self._max_gap = max_gap
        self._score_threshold = score_threshold
        self._tracks: list[_Track] = []
        self._time = -np.inf
        self._num_instances = 0

    @property
    def num_instances(self) -> int:
        """Number of instances so far; their ids count from 1."""
        return self._num_instances

    def update(self, poses: Poses, time: float) -> Poses:
        """Return the poses of the next frame with the ids of the instances as `instance_ids`.

        Args:
            poses: one per instance; see `hrpose.metrics.functional.oks` for duplicates.
            time: of the frame in seconds.

        Raises:
            ValueError: if the time has not increased, or the numbers of keypoints and sigmas differ.
        """
        if not time > self._time:
            raise ValueError(f"Expected a time later than {self._time:g} s, but got {time:g} s.")
        self._time = time
        self._tracks = self._remembered(time)
        confident = poses.keypoint_scores >= self._score_threshold
        rows, columns = self._match(self._similarity(self._tracks, poses, confident, time), self._min_oks)
        known = dict(zip(columns.tolist(), rows.tolist(), strict=True))
        observed = []
        values = zip(poses.keypoints, confident, poses.area.tolist(), poses.bbox_scores.tolist(), strict=True)
        for row, (keypoints, is_confident, area, bbox_score) in enumerate(values):
            if row in known:
                before = self._tracks[known[row]]
                number, last = before.number, before.last.followed_by(keypoints, is_confident, time)
            else:
                self._num_instances += 1
                number, last = self._num_instances, Observation(keypoints, is_confident, time)
            observed.append(_Track(number, last, area, bbox_score))
        self._tracks = [track for row, track in enumerate(self._tracks) if row not in known.values()] + observed
        return replace(poses, instance_ids=np.array([track.number for track in observed], np.int64))

    def propagate(self, time: float) -> tuple[Floats, Floats]:
        """Return the expected boxes (T, 4) of the tracked instances at a time in seconds, xywh in pixels, and their scores (T,).

        The scores are those of the last detected boxes, 1 without a detector. Instances with fewer than three confident keypoints
        have no box.
        """
        boxes, scores = np.zeros((0, 4)), []
        for track in self._remembered(time):
            if track.last.confident.sum() >= _COMMON:
                points = track.last.at(time)[track.last.confident]
                low, high = points.min(axis=0), points.max(axis=0)
                margin = _MARGIN * np.maximum(high - low, 1.0)
                boxes = np.concatenate([boxes, [np.concatenate([low - margin, high - low + 2 * margin])]])
                scores.append(track.bbox_score)
        return boxes, np.array(scores, np.float64)

    def missing(self, poses: Poses, time: float) -> Floats:
        """Return the expected positions (L, 2) of the tracked instances that match no pose, without updating the tracks.

        A position is the mean of the keypoints in pixels, of the confident ones if there are any. For the arguments see `update`.
        """
        tracks = self._remembered(time)
        confident = poses.keypoint_scores >= self._score_threshold
        rows, _ = self._match(self._similarity(tracks, poses, confident, time), self._min_oks)
        lost = [track.last for row, track in enumerate(tracks) if row not in rows]
        shown = [last.at(time)[last.confident if last.confident.any() else slice(None)] for last in lost]
        return np.array([points.mean(axis=0) for points in shown]).reshape(-1, 2)

    def _remembered(self, time: float) -> list[_Track]:
        """Return the tracks observed less than `max_gap` ago."""
        return [track for track in self._tracks if time - track.last.time <= self._max_gap]

    def _similarity(self, tracks: Sequence[_Track], poses: Poses, confident: NDArray[np.bool_], time: float) -> Floats:
        """Return the OKS (T, N) of moved tracks and poses over the keypoints that are confident in both."""
        if poses.keypoints.shape[1:] != (len(self._variances), 2):
            raise ValueError(
                f"Expected poses of {len(self._variances)} keypoints, one per sigma, but got {poses.keypoints.shape[1]}."
            )
        if not tracks or not len(poses):
            return np.zeros((len(tracks), len(poses)))
        row, column = np.indices((len(tracks), len(poses))).reshape(2, -1)
        shown = np.stack([track.last.confident for track in tracks])[row], confident[column]
        common = shown[0] & shown[1]
        zeros = np.zeros(len(row), np.int64)
        pairs = GroundTruth(
            image_ids=zeros,
            object_image_ids=zeros,
            instance_ids=zeros,
            category_ids=zeros,
            keypoints=np.stack([track.last.at(time) for track in tracks])[row],
            visibility=common.astype(np.uint8),
            bbox=np.zeros((len(row), 4)),
            iscrowd=np.zeros(len(row), bool),
            area=(np.array([track.area for track in tracks])[row] + poses.area[column]) / 2,
        )
        similarity = oks_pairs(poses.keypoints, pairs, self._variances, column, np.arange(len(row)))
        fewest = np.minimum(shown[0].sum(axis=1), shown[1].sum(axis=1)).clip(1, _COMMON)
        similarity[common.sum(axis=1) < fewest] = 0.0
        return similarity.reshape(len(tracks), len(poses))


def match_greedy(similarity: ArrayLike, threshold: float) -> tuple[Indices, Indices]:
    """Select the most similar pair repeatedly, each row and column at most once.

    Args:
        similarity: (T, N) finite numbers; among equal ones the first row, then the first column is selected.
        threshold: least similarity of a pair, above 0.

    Returns:
        (P,) rows and (P,) columns, sorted by row.

    Raises:
        ValueError: if the similarities are not a finite matrix, or the threshold is not positive.

    Example:
        >>> match_greedy([[0.9, 0.8], [0.8, 0.1]], 0.3)
        (array([0]), array([0]))
    """
    left = _check(similarity, threshold)
    pairs = []
    while left.size and left.max() >= threshold:
        row, column = np.unravel_index(left.argmax(), left.shape)
        pairs.append((int(row), int(column)))
        left[row], left[:, column] = -np.inf, -np.inf
    found = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def match_hungarian(similarity: ArrayLike, threshold: float) -> tuple[Indices, Indices]:
    """Select the pairs with the largest sum of similarities (the assignment problem, solved by scipy); see `match_greedy`.

    Example:
        >>> match_hungarian([[0.9, 0.8], [0.8, 0.1]], 0.3)
        (array([0, 1]), array([1, 0]))
    """
    # slow to import
    from scipy.optimize import linear_sum_assignment

    matrix = _check(similarity, threshold)
    rows, columns = linear_sum_assignment(np.where(matrix >= threshold, matrix, 0.0), maximize=True)
    paired = matrix[rows, columns] >= threshold
    return rows[paired], columns[paired]


def _check(similarity: ArrayLike, threshold: float) -> Floats:
    matrix = np.array(similarity, dtype=np.float64)
    if matrix.ndim != 2 or not np.isfinite(matrix).all():
        raise ValueError(f"Expected `similarity` to be a finite matrix, but got {matrix.tolist()}.")
    if not threshold > 0:
        raise ValueError(f"Expected `threshold`, the least similarity of a pair, to be above 0, but got {threshold}.")
    return matrix


_MATCHERS: dict[str, Callable[[Floats, float], tuple[Indices, Indices]]] = {"greedy": match_greedy, "hungarian": match_hungarian}
