"""Object keypoint similarity (OKS): the similarity of two poses, from 0 to 1.

OKS is the mean over keypoints of exp(-d^2 / (2 var s^2)): d is the distance between the two positions of a keypoint in pixels,
s^2 the area of the instance in square pixels, var = (2 sigma)^2 the tolerance of the keypoint.
Source: the COCO keypoint task (https://cocodataset.org/#keypoints-eval). All operations are in the order of the reference
implementation, in float64, so the results are equal bit for bit.

Legend of the shapes: D predictions, M annotated instances, P pairs, K keypoints.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrpose.structures import GroundTruth, exact_int64

_TINY = np.spacing(1)
_CHUNK = 1 << 16  # keypoints compared at a time, so that the arrays stay in the cache
_MARGIN = 1e-9  # much larger than the rounding error of a sum of K exponentials, much smaller than any relevant OKS
Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


def keypoint_variances(sigmas: ArrayLike) -> Floats:
    """Compute the OKS variances (2 sigma)^2, (K,), from the per-keypoint constants of a skeleton.

    Args:
        sigmas: (K,) standard deviation of annotators, in units of the square root of the instance's area.

    Raises:
        ValueError: if `sigmas` is empty, or a value is not positive and finite.
    """
    values = np.asarray(sigmas, dtype=np.float64)
    if values.ndim != 1 or not values.size:
        raise ValueError(f"Expected argument `sigmas` to be one number per keypoint, but got shape {values.shape}.")
    if not (np.isfinite(values) & (values > 0)).all():
        raise ValueError(f"Expected argument `sigmas` to be positive and finite, but got {values.tolist()}.")
    variances: Floats = (values * 2) ** 2
    return variances


def oks_matrix(keypoints: ArrayLike, truth: GroundTruth, sigmas: ArrayLike) -> Floats:
    """Compute the OKS (D, M) of every prediction with every annotated instance, as COCO defines it.

    Only labelled keypoints count. For an instance without labelled keypoints the distance of a keypoint is that to its bbox,
    extended on each side by its own size, and 0 inside.

    Args:
        keypoints: (D, K, 2) predictions in image pixels.
        truth: M annotated instances; their images and categories are ignored.
        sigmas: (K,) see `keypoint_variances`.

    Raises:
        ValueError: if predictions, instances and sigmas have different numbers of keypoints.

    Example:
        >>> from hrpose.skeletons import COCO
        >>> instance = np.arange(34.0).reshape(1, 17, 2)
        >>> one = np.ones(1, dtype=np.int64)
        >>> truth = GroundTruth(one, one, one, one, instance, np.full((1, 17), 2, np.uint8), np.zeros((1, 4)),
        ...                     np.full(1, 900.0), np.zeros(1, bool))
        >>> oks_matrix(instance, truth, COCO.sigmas)
        array([[1.]])
    """
    points = np.asarray(keypoints, dtype=np.float64)
    variances = keypoint_variances(sigmas)
    if points.ndim != 3 or points.shape[1:] != (len(variances), 2):
        raise ValueError(
            f"Expected argument `keypoints` to be (D, {len(variances)}, 2), one keypoint per sigma, but got {points.shape}."
        )
    if len(truth) and truth.keypoints.shape[1] != len(variances):
        raise ValueError(
            f"Expected argument `truth` to have {len(variances)} keypoints, one for each sigma, "
            f"but got {truth.keypoints.shape[1]}."
        )
    rows, columns = np.indices((len(points), len(truth))).reshape(2, -1)
    return oks_pairs(points, truth, variances, rows, columns).reshape(len(points), len(truth))


def oks_pairs(keypoints: Floats, truth: GroundTruth, variances: Floats, rows: Indices, columns: Indices) -> Floats:
    """Compute the OKS (P,) of pairs of predictions, `rows` (P,), and annotated instances, `columns` (P,); see `oks_matrix`."""
    similarity = np.empty(len(rows))
    labelled = truth.visibility > 0
    counts = labelled.sum(axis=1)
    flat = np.ascontiguousarray(keypoints, dtype=np.float64).reshape(-1)
    for count in np.unique(counts[columns]).tolist():
        for chunk in _chunks(np.flatnonzero(counts[columns] == count), count or len(variances)):
            instance = columns[chunk]
            if count == 0:
                distances, places = _region_distances(keypoints[rows[chunk]], truth.bbox[instance]), slice(None)
                tolerance: Floats = variances[places]
            else:
                members, position = np.unique(instance, return_inverse=True)
                chosen = np.nonzero(labelled[members])[1].reshape(-1, count)
                there = np.take_along_axis(truth.keypoints[members], chosen[..., None], axis=1)
                index = (chosen * 2)[position]
                index += rows[chunk, None] * (2 * len(variances))
                dx = flat.take(index)
                dx -= there[..., 0].take(position, axis=0)
                index += 1
                dy = flat.take(index)
                dy -= there[..., 1].take(position, axis=0)
                distances = _add_squares(dx, dy)
                tolerance = variances[chosen].take(position, axis=0)
            similarity[chunk] = _similarity(distances, tolerance, truth.area[instance])
    return similarity


def oks_between(keypoints: Floats, areas: Floats, variances: Floats, first: Indices, second: Indices) -> Floats:
    """Compute the OKS (P,) of pairs of predictions (D, K, 2), `first` (P,) and `second` (P,), of areas (D,) in square pixels.

    All keypoints count; the area is the mean of both areas.
    """
    similarity = np.empty(len(first))
    for chunk in _chunks(np.arange(len(first)), len(variances)):
        one, other = first[chunk], second[chunk]
        difference = keypoints.take(other, axis=0)
        difference -= keypoints.take(one, axis=0)
        distances = _add_squares(difference[..., 0], difference[..., 1])
        similarity[chunk] = _similarity(distances, variances, (areas[one] + areas[other]) / 2)
    return similarity


def may_reach(
    lowest: float, keypoints: Floats, truth: GroundTruth, variance: float, predictions: Indices, instances: Indices
) -> NDArray[np.bool_]:
    """Find the pairs (P,) with an OKS that may reach `lowest`, from the boxes around their keypoints.

    If the boxes have a gap, every distance is at least as large, so OKS <= exp(-gap^2 / (2 variance area)); `variance` is the
    largest of all keypoints.
    """
    if lowest <= 0:
        return np.ones(len(predictions), dtype=bool)
    columns = _columns(keypoints)
    low, high = columns.min(axis=0), columns.max(axis=0)
    labelled = (truth.visibility > 0)[..., None]
    instance_low = _columns(np.where(labelled, truth.keypoints, np.inf)).min(axis=0)
    instance_high = _columns(np.where(labelled, truth.keypoints, -np.inf)).max(axis=0)
    blank = ~labelled.any(axis=(1, 2))
    instance_low[:, blank] = (truth.bbox[blank, :2] - truth.bbox[blank, 2:]).T
    instance_high[:, blank] = (truth.bbox[blank, :2] + truth.bbox[blank, 2:] * 2).T
    gap = np.full(len(predictions), -np.inf)
    for axis in (0, 1):
        np.maximum(gap, instance_low[axis].take(instances) - high[axis].take(predictions), out=gap)
        np.maximum(gap, low[axis].take(predictions) - instance_high[axis].take(instances), out=gap)
    reach = np.sqrt(-2 * np.log(min(lowest, 1)) * variance * (truth.area + 1e-9)) * (1 + 1e-6) + 1e-6
    reached: NDArray[np.bool_] = gap <= reach.take(instances)
    return reached


def enclosed_areas(keypoints: Floats) -> Floats:
    """Compute the areas (N,) of the boxes around poses (N, K, 2), an estimate of the areas of the instances."""
    columns = _columns(keypoints)
    width, height = columns.max(axis=0) - columns.min(axis=0)
    areas: Floats = width * height
    return areas


def _similarity(distances: Floats, variances: Floats, areas: Floats) -> Floats:
    """Compute OKS from squared distances (P, n), which are overwritten, variances (P, n) or (n,) and areas (P,)."""
    distances /= variances
    distances /= (areas + _TINY)[:, None]
    distances /= -2
    np.exp(distances, out=distances)
    mean: Floats = distances.sum(axis=1) / distances.shape[1]
    return mean


def _region_distances(keypoints: Floats, bbox: Floats) -> Floats:
    """Compute the squared distance of keypoints (P, K, 2) to boxes (P, 4) xywh extended by their own size on each side."""
    outside = []
    for axis in (0, 1):
        places, start, size = keypoints[..., axis], bbox[:, None, axis], bbox[:, None, axis + 2]
        before = (start - size) - places
        np.maximum(0, before, out=before)
        after = places - (start + size * 2)
        before += np.maximum(0, after, out=after)
        outside.append(before)
    return _add_squares(*outside)


def _add_squares(dx: Floats, dy: Floats) -> Floats:
    squares: Floats = dx * dx
    squares += dy * dy
    return squares


def _chunks(pairs: Indices, width: int) -> Iterator[Indices]:
    """Split pairs into chunks, so that arrays of `width` columns have about `_CHUNK` elements."""
    step = max(1, _CHUNK // width)
    for start in range(0, len(pairs), step):
        yield pairs[start : start + step]


def _columns(keypoints: Floats) -> Floats:
    """Copy keypoints (N, K, 2) to the layout (K, 2, N), in which a minimum over K is fast."""
    number, num_keypoints, _ = keypoints.shape
    return np.ascontiguousarray(keypoints.reshape(number, 2 * num_keypoints).T).reshape(num_keypoints, 2, number)


def oks_nms(
    keypoints: ArrayLike, scores: ArrayLike, areas: ArrayLike, groups: ArrayLike, sigmas: ArrayLike, *, threshold: float = 0.9
) -> Indices:
    """Remove poses with an OKS above the threshold with a better pose of their group.

    Args:
        keypoints: (N, K, 2) in image pixels.
        scores: (N,) higher is better; among equal scores the earlier row is better.
        areas: (N,) of the instances in square pixels; the official code uses width times height of the padded box.
        groups: (N,) integers; only poses of the same group (image and category) suppress each other.
        sigmas: (K,) per-keypoint constants of the skeleton.
        threshold: OKS above which the worse pose is removed.

    Returns:
        The remaining rows, sorted by group, then by score, highest first.

    Raises:
        ValueError: if the shapes do not match.

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
    """Rank the poses of each group by scores that are multiplied by exp(-OKS^2 / threshold) for every better pose.

    At most `max_detections` poses per group remain, with unchanged scores. For the other arguments see `oks_nms`.

    Returns:
        The remaining rows, sorted by group, then by decayed score, highest first.
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
    """Return the index of the first element of each sorted group, and for the others (index of their first, own index)."""
    first = np.ones(len(groups), dtype=bool)
    first[1:] = groups[1:] != groups[:-1]
    places = np.arange(len(groups))
    leader = np.maximum.accumulate(np.where(first, places, 0))
    return places[first], (leader[~first], places[~first])


def _exceeds(
    keypoints: Floats, screen: Floats, areas: Floats, variances: Floats, first: Indices, second: Indices, threshold: float
) -> NDArray[np.bool_]:
    """Find the pairs (P,) with an OKS above the threshold.

    A keypoint adds at most 1 to the sum, so a pair whose first few keypoints (the screen) add too little cannot reach
    K x threshold. Most pairs are decided by these.
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
            f"Expected argument `keypoints` to be ({len(score)}, {len(variances)}, 2), one row per score and one keypoint per "
            f"sigma, but got {points.shape}."
        )
    if not score.shape == area.shape == group.shape:
        raise ValueError(
            "Expected arguments `scores`, `areas` and `groups` to have one number per pose, but got shapes "
            f"{score.shape}, {area.shape} and {group.shape}."
        )
    return points, score, area, group, variances
