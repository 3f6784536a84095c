"""Suppress poses that repeat a better pose of the same photo, measured by OKS instead of box overlap.

All photos go at once: in each round the best remaining pose of every photo is kept, and the poses of its photo that are too
similar to it go (hard) or lose score (soft). That is the sequential algorithm, with the loop over photos turned into arrays.
Source: G. Papandreou et al., Towards Accurate Multi-person Pose Estimation in the Wild, CVPR 2017; soft: N. Bodla et al.,
Soft-NMS, ICCV 2017.

Legend of the shapes: N poses, K keypoints, P pairs.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrpose.metrics.functional.oks import Floats, Indices, keypoint_variances, oks_between
from hrpose.structures import exact_int64

_MARGIN = 1e-9  # far above the rounding of a sum of K exponentials, far below any OKS that matters


def oks_nms(
    keypoints: ArrayLike,
    scores: ArrayLike,
    areas: ArrayLike,
    groups: ArrayLike,
    sigmas: ArrayLike,
    *,
    threshold: float = 0.9,
) -> Indices:
    """Keep the poses that are not more similar than the threshold to a better kept pose of their group.

    Args:
        keypoints: (N, K, 2) in image pixels.
        scores: (N,) of which higher is better; among equal scores the earlier row is better.
        areas: (N,) of the persons in square pixels; the recipe takes the padded box, width times height.
        groups: (N,) integers; only poses of one group (one photo, one category) suppress each other.
        sigmas: (K,) per-keypoint constants of the skeleton.
        threshold: OKS above which the worse pose goes.

    Returns:
        The rows that stay, group by group, in each the best first.

    Raises:
        ValueError: if the arguments disagree in length.

    Example:
        >>> pose = np.zeros((1, 17, 2))
        >>> oks_nms(np.concatenate([pose, pose, pose + 99]), [0.5, 0.7, 0.6], [900.0] * 3, [0, 0, 0], [0.05] * 17)
        array([1, 2])
    """
    points, score, area, group, variances = _check(keypoints, scores, areas, groups, sigmas)
    alive = np.lexsort((-score, group))
    few = min(len(variances), math.floor(len(variances) * (1 - threshold)) + 3)
    screen = np.ascontiguousarray(points[:, :few])
    kept = []
    while len(alive):
        head, follower = _heads(group[alive])
        kept.append(alive[head])
        best, rest = alive[follower[0]], alive[follower[1]]
        alive = rest[~_exceeds(points, screen, area, variances, best, rest, threshold)]
    return _by_group(kept, group)


def soft_oks_nms(
    keypoints: ArrayLike,
    scores: ArrayLike,
    areas: ArrayLike,
    groups: ArrayLike,
    sigmas: ArrayLike,
    *,
    threshold: float = 0.9,
    max_detections: int = 20,
) -> Indices:
    """Order the poses of each group by scores that decay with exp(-OKS^2 / threshold) to every better pose; keep the first.

    The decayed scores decide the order and so who stays; the poses keep their own scores.

    Args:
        keypoints: as in `oks_nms`.
        scores: as in `oks_nms`.
        areas: as in `oks_nms`.
        groups: as in `oks_nms`.
        sigmas: as in `oks_nms`.
        threshold: the smaller, the faster the scores decay.
        max_detections: how many poses stay in each group.

    Returns:
        The rows that stay, group by group, in each in the order of their decayed scores.

    Raises:
        ValueError: if the arguments disagree in length.
    """
    points, score, area, group, variances = _check(keypoints, scores, areas, groups, sigmas)
    alive = np.arange(len(score))
    decayed = score.copy()
    kept: list[Indices] = []
    while len(alive) and len(kept) < max_detections:
        alive = alive[np.lexsort((-decayed[alive], group[alive]))]
        head, (leader, follower) = _heads(group[alive])
        kept.append(alive[head])
        best, alive = alive[leader], alive[follower]
        similarity = oks_between(points, area, variances, best, alive)
        decayed[alive] *= np.exp(-(similarity**2) / threshold)
    return _by_group(kept, group)


def _heads(groups: Indices) -> tuple[Indices, tuple[Indices, Indices]]:
    """Split sorted groups into the place of the first of each, and for the others the place of their first and their own."""
    first = np.ones(len(groups), dtype=bool)
    first[1:] = groups[1:] != groups[:-1]
    places = np.arange(len(groups))
    leader = np.maximum.accumulate(np.where(first, places, 0))
    return places[first], (leader[~first], places[~first])


def _exceeds(
    keypoints: Floats,
    screen: Floats,
    areas: Floats,
    variances: Floats,
    first: Indices,
    second: Indices,
    threshold: float,
) -> NDArray[np.bool_]:
    """Tell which pairs (P,) have an OKS above the threshold.

    A keypoint adds at most 1 to the sum, so a pair whose first few keypoints (the screen) add too little cannot reach
    K x threshold; most pairs are different people and need no more than those few.
    """
    total, few = len(variances), screen.shape[1]
    partial = oks_between(screen, areas, variances[:few], first, second) * few
    near = np.flatnonzero(partial + (total - few) > total * threshold - _MARGIN)
    exceeds = np.zeros(len(first), dtype=bool)
    exceeds[near] = oks_between(keypoints, areas, variances, first[near], second[near]) > threshold
    return exceeds


def _by_group(kept: list[Indices], groups: Indices) -> Indices:
    rows = np.concatenate([np.zeros(0, dtype=np.int64), *kept])
    return rows[np.argsort(groups[rows], kind="stable")]


def _check(
    keypoints: ArrayLike, scores: ArrayLike, areas: ArrayLike, groups: ArrayLike, sigmas: ArrayLike
) -> tuple[Floats, Floats, Floats, Indices, Floats]:
    variances = keypoint_variances(sigmas)
    points, score = np.asarray(keypoints, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    area, group = np.asarray(areas, dtype=np.float64), exact_int64(np.asarray(groups), "argument `groups`")
    if points.shape != (len(score), len(variances), 2):
        raise ValueError(
            f"Expected argument `keypoints` to be ({len(score)}, {len(variances)}, 2), one row for each score and one keypoint "
            f"for each sigma, but got {points.shape}."
        )
    if not score.shape == area.shape == group.shape:
        raise ValueError(
            "Expected arguments `scores`, `areas` and `groups` to have one number for each pose, "
            f"but got shapes {score.shape}, {area.shape} and {group.shape}."
        )
    return points, score, area, group, variances
