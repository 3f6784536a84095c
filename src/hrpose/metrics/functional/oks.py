"""Object keypoint similarity (OKS): how much two poses are the same, from 0 to 1.

OKS is the mean over keypoints of exp(-d^2 / (2 var s^2)): d is the distance between the two places of a keypoint in pixels,
s^2 the area of the person in square pixels, var = (2 sigma)^2 the tolerance that the keypoint's type is allowed.
Source: the COCO keypoint task (https://cocodataset.org/#keypoints-eval). All sums and quotients are taken in the order of
the reference implementation, in float64, so the numbers equal it bit for bit.

Legend of the shapes: D predictions, M annotated persons, P pairs, K keypoints.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrpose.structures import GroundTruth, exact_int64

_TINY = np.spacing(1)
_CHUNK = 1 << 16  # keypoints compared at a time: the working set stays in the cache
_MARGIN = 1e-9  # far above the rounding of a sum of K exponentials, far below any OKS that matters
Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


def keypoint_variances(sigmas: ArrayLike) -> Floats:
    """Turn the per-keypoint constants of a skeleton into OKS variances (2 sigma)^2.

    Args:
        sigmas: (K,) spread of the annotators per keypoint, in units of the square root of the person's area.

    Returns:
        (K,) variances.

    Raises:
        ValueError: if there is no sigma, or one is not a positive number.
    """
    values = np.asarray(sigmas, dtype=np.float64)
    if values.ndim != 1 or not values.size:
        raise ValueError(
            f"Expected argument `sigmas` to be one number for each keypoint, but got shape {values.shape}."
        )
    if not (np.isfinite(values) & (values > 0)).all():
        raise ValueError(f"Expected argument `sigmas` to be positive and finite, but got {values.tolist()}.")
    variances: Floats = (values * 2) ** 2
    return variances


def oks_matrix(keypoints: ArrayLike, truth: GroundTruth, sigmas: ArrayLike) -> Floats:
    """Compare every prediction with every annotated person, as COCO defines it.

    Only labelled keypoints count. A person without any is compared by its bbox, doubled to each side: a keypoint inside
    that region has distance 0, one outside its distance to the region along each axis.

    Args:
        keypoints: (D, K, 2) predictions in image pixels.
        truth: M annotated persons; their images and categories are not looked at.
        sigmas: (K,) as in `keypoint_variances`.

    Returns:
        (D, M) similarities.

    Raises:
        ValueError: if the predictions, the persons and the sigmas have unlike numbers of keypoints.

    Example:
        >>> from hrpose.skeletons import COCO
        >>> person = np.arange(34.0).reshape(1, 17, 2)
        >>> one = np.ones(1, dtype=np.int64)
        >>> truth = GroundTruth(one, one, one, one, person, np.full((1, 17), 2, np.uint8), np.zeros((1, 4)),
        ...                     np.full(1, 900.0), np.zeros(1, bool))
        >>> oks_matrix(person, truth, COCO.sigmas)
        array([[1.]])
    """
    points = np.asarray(keypoints, dtype=np.float64)
    variances = keypoint_variances(sigmas)
    _check_keypoints(points, len(variances))
    if len(truth) and truth.keypoints.shape[1] != len(variances):
        raise ValueError(
            f"Expected argument `truth` to have {len(variances)} keypoints, one for each sigma, "
            f"but got {truth.keypoints.shape[1]}."
        )
    rows, columns = np.indices((len(points), len(truth))).reshape(2, -1)
    return oks_pairs(points, truth, variances, rows, columns).reshape(len(points), len(truth))


def oks_pairs(keypoints: Floats, truth: GroundTruth, variances: Floats, rows: Indices, columns: Indices) -> Floats:
    """Compare chosen pairs of predictions and annotated persons; `oks_matrix` tells the definition.

    Args:
        keypoints: (D, K, 2) predictions in image pixels.
        truth: M annotated persons.
        variances: (K,) from `keypoint_variances`.
        rows: (P,) the prediction of each pair.
        columns: (P,) the annotated person of each pair.

    Returns:
        (P,) similarities.
    """
    similarity = np.empty(len(rows))
    labelled = truth.visibility > 0
    counts = labelled.sum(axis=1)
    flat = np.ascontiguousarray(keypoints, dtype=np.float64).reshape(-1)
    for count in np.unique(counts[columns]).tolist():
        for chunk in _chunks(np.flatnonzero(counts[columns] == count), count or len(variances)):
            person = columns[chunk]
            if count == 0:
                distances, places = _region_distances(keypoints[rows[chunk]], truth.bbox[person]), slice(None)
                tolerance: Floats = variances[places]
            else:
                members, position = np.unique(person, return_inverse=True)
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
            similarity[chunk] = _similarity(distances, tolerance, truth.area[person])
    return similarity


def oks_between(keypoints: Floats, areas: Floats, variances: Floats, first: Indices, second: Indices) -> Floats:
    """Compare chosen pairs of predictions with each other: all keypoints count, the scale is the mean of both areas.

    Args:
        keypoints: (D, K, 2) in image pixels.
        areas: (D,) in square pixels.
        variances: (K,) from `keypoint_variances`; keypoints and variances may be the same choice of fewer keypoints.
        first: (P,) one prediction of each pair.
        second: (P,) the other.

    Returns:
        (P,) similarities.
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
    lowest: float, keypoints: Floats, truth: GroundTruth, variance: float, predictions: Indices, persons: Indices
) -> NDArray[np.bool_]:
    """Tell which pairs may have an OKS of `lowest`, from the boxes around their keypoints alone.

    If the boxes are a gap apart, every keypoint is at least that far off, so OKS <= exp(-gap^2 / (2 variance area)).

    Args:
        lowest: the OKS in question.
        keypoints: (D, K, 2) predictions in image pixels.
        truth: M annotated persons.
        variance: the largest of the keypoints' OKS variances.
        predictions: (P,) the prediction of each pair.
        persons: (P,) the annotated person of each pair.

    Returns:
        (P,) False where the pair certainly has a lower OKS.
    """
    if lowest <= 0:
        return np.ones(len(predictions), dtype=bool)
    columns = _columns(keypoints)
    low, high = columns.min(axis=0), columns.max(axis=0)
    labelled = (truth.visibility > 0)[..., None]
    person_low = _columns(np.where(labelled, truth.keypoints, np.inf)).min(axis=0)
    person_high = _columns(np.where(labelled, truth.keypoints, -np.inf)).max(axis=0)
    blank = ~labelled.any(axis=(1, 2))
    person_low[:, blank] = (truth.bbox[blank, :2] - truth.bbox[blank, 2:]).T
    person_high[:, blank] = (truth.bbox[blank, :2] + truth.bbox[blank, 2:] * 2).T
    gap = np.full(len(predictions), -np.inf)
    for axis in (0, 1):
        np.maximum(gap, person_low[axis].take(persons) - high[axis].take(predictions), out=gap)
        np.maximum(gap, low[axis].take(predictions) - person_high[axis].take(persons), out=gap)
    reach = np.sqrt(-2 * np.log(min(lowest, 1)) * variance * (truth.area + 1e-9)) * (1 + 1e-6) + 1e-6
    reached: NDArray[np.bool_] = gap <= reach.take(persons)
    return reached


def enclosed_areas(keypoints: Floats) -> Floats:
    """Give the area of the box around each pose, which stands for the person's where no better one is known.

    Args:
        keypoints: (N, K, 2) in image pixels.

    Returns:
        (N,) areas in square pixels.
    """
    columns = _columns(keypoints)
    width, height = columns.max(axis=0) - columns.min(axis=0)
    areas: Floats = width * height
    return areas


def _similarity(distances: Floats, variances: Floats, areas: Floats) -> Floats:
    """Average exp(-e) over the keypoints; distances: (P, n) squared, overwritten; variances: (P, n) or (n,); areas: (P,)."""
    distances /= variances
    distances /= (areas + _TINY)[:, None]
    distances /= -2
    np.exp(distances, out=distances)
    mean: Floats = distances.sum(axis=1) / distances.shape[1]
    return mean


def _region_distances(keypoints: Floats, bbox: Floats) -> Floats:
    """Square the distance of keypoints (P, K, 2) to the boxes (P, 4) xywh grown by their own size to each side."""
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
    """Split pairs into runs whose arrays of `width` columns stay small."""
    step = max(1, _CHUNK // width)
    for start in range(0, len(pairs), step):
        yield pairs[start : start + step]


def _check_keypoints(points: Floats, num_keypoints: int) -> None:
    if points.ndim != 3 or points.shape[1:] != (num_keypoints, 2):
        raise ValueError(
            f"Expected argument `keypoints` to be (D, {num_keypoints}, 2), one keypoint for each sigma, "
            f"but got {points.shape}."
        )


def _columns(keypoints: Floats) -> Floats:
    """Lay keypoints (N, K, 2) out as (K, 2, N), where a minimum over K runs along memory."""
    number, num_keypoints, _ = keypoints.shape
    return np.ascontiguousarray(keypoints.reshape(number, 2 * num_keypoints).T).reshape(num_keypoints, 2, number)


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
