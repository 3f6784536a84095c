"""Error analysis of keypoints: the kind of each error, and AP if all errors of a kind were fixed.

A labelled keypoint of a prediction that is paired with an instance (OKS of at least 0.1) is, by its similarity to its annotation,
good (at least 0.85), a jitter (at least 0.5), or otherwise an inversion (on the mirrored keypoint of the same instance), a swap
(on the same or the mirrored keypoint of another instance) or a miss. Predictions without instance are false positives, instances
without prediction false negatives.

A fix never removes a correct match of the evaluation, so no fix lowers AP. Pairs and matches can differ: at OKS 0.1 a poor
prediction may be paired with an instance that matches another prediction at OKS 0.5. At each OKS threshold and in each area range

- a fixed keypoint makes its prediction a match if its OKS now reaches the threshold and no other prediction matches the instance;
- a false positive is removed if it matches no instance there;
- a false negative is removed if no prediction matches it in that area range.
Source: M. R. Ronchi and P. Perona, Benchmarking and Error Diagnosis in Multi-Instance Pose Estimation, ICCV 2017.

Legend of the shapes: N predictions, M annotated instances, P pairs, K keypoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrpose.metrics.functional.matching import (
    Detections,
    Matches,
    Pairs,
    accumulate,
    keypoint_similarity,
    match_detections,
    pair_instances,
    summarize,
)
from hrpose.metrics.functional.oks import Floats, Indices, keypoint_variances, oks_pairs
from hrpose.structures import GroundTruth

KINDS = ("unlabelled", "good", "jitter", "inversion", "swap", "miss")
_GOOD, _CLOSE = 0.85, 0.5


@dataclass(frozen=True)
class ErrorAnatomy:
    """Numbers of errors by kind, and the effect of each kind on AP."""

    # number of labelled keypoints of paired predictions that are good, jitter, inversion, swap and miss
    keypoints: dict[str, int]
    false_positives: int  # number of predictions without instance
    false_negatives: int  # number of instances without prediction
    numbers: dict[str, float]  # the ten COCO numbers
    # the ten COCO numbers if one kind were fixed: keypoints moved to their annotation, false positives removed, or false
    # negatives ignored. Each is at least its entry in `numbers`; -1 if no instance remains
    fixed: dict[str, dict[str, float]]


def error_anatomy(
    detections: Detections, truth: GroundTruth, sigmas: ArrayLike, flip_permutation: Sequence[int], *, max_detections: int = 20
) -> ErrorAnatomy:
    """Count the errors of predictions by kind, and compute the metrics without each kind.

    `flip_permutation` has the K indices of the mirrored keypoints, such as `hrpose.skeletons.COCO.flip_permutation`. The other
    arguments are those of `match_detections`.
    """
    matches = match_detections(detections, truth, sigmas, max_detections=max_detections)
    pairs = pair_instances(detections, truth, sigmas, max_detections=max_detections)
    kinds = classify_keypoints(detections, truth, sigmas, flip_permutation, pairs)
    variances = keypoint_variances(sigmas)
    fixed = {}
    for code, name in enumerate(KINDS):
        if name not in ("unlabelled", "good"):
            keypoints = detections.keypoints.copy()
            wrong = (kinds == code)[..., None]
            keypoints[pairs.rows] = np.where(wrong, truth.keypoints[pairs.instances], keypoints[pairs.rows])
            similarity = oks_pairs(keypoints, truth, variances, pairs.rows, pairs.instances)
            fixed[name] = _match_pairs(matches, pairs, similarity)
    fixed["false positives"] = _without_predictions(matches, pairs.alone)
    fixed["false negatives"] = _without_instances(matches, pairs.missed)
    return ErrorAnatomy(
        keypoints={name: int((kinds == code).sum()) for code, name in enumerate(KINDS) if name != "unlabelled"},
        false_positives=len(pairs.alone),
        false_negatives=len(pairs.missed),
        numbers=summarize(accumulate(matches)),
        fixed={name: summarize(accumulate(changed)) for name, changed in fixed.items()},
    )


def classify_keypoints(
    detections: Detections, truth: GroundTruth, sigmas: ArrayLike, flip_permutation: Sequence[int], pairs: Pairs
) -> NDArray[np.uint8]:
    """Classify each keypoint of each pair: (P, K) indices in `KINDS`. See `error_anatomy`."""
    variances, mirror = keypoint_variances(sigmas), np.array(flip_permutation)
    points, instances = detections.keypoints[pairs.rows], pairs.instances
    labelled = truth.visibility > 0
    own = keypoint_similarity(points, truth.keypoints[instances], truth.area[instances], variances)
    mirrored = keypoint_similarity(points, truth.keypoints[instances][:, mirror], truth.area[instances], variances)
    mirrored[~labelled[instances][:, mirror] | (mirror == np.arange(len(mirror)))] = 0
    others = _nearest_other(points, truth, instances, variances, mirror)
    kinds = np.full(own.shape, KINDS.index("miss"), dtype=np.uint8)
    kinds[np.maximum(mirrored, others) >= _CLOSE] = KINDS.index("swap")
    kinds[(mirrored >= _CLOSE) & (mirrored >= others)] = KINDS.index("inversion")
    kinds[own >= _CLOSE] = KINDS.index("jitter")
    kinds[own >= _GOOD] = KINDS.index("good")
    kinds[~labelled[instances]] = KINDS.index("unlabelled")
    return kinds


def _nearest_other(
    points: Floats, truth: GroundTruth, instances: Indices, variances: Floats, mirror: NDArray[np.int64]
) -> Floats:
    """Compute the highest similarity (P, K) to the same or the mirrored keypoint of other instances in the image."""
    labelled = truth.visibility > 0
    order = np.argsort(truth.object_image_ids, kind="stable")
    ordered = truth.object_image_ids[order]
    images = truth.object_image_ids[instances]
    start, stop = np.searchsorted(ordered, images, side="left"), np.searchsorted(ordered, images, side="right")
    nearest = np.zeros(points.shape[:2])
    for step in range(int((stop - start).max(initial=0))):
        pairs = np.flatnonzero(start + step < stop)
        other = order[start[pairs] + step]
        pairs, other = pairs[other != instances[pairs]], other[other != instances[pairs]]
        for places, valid in (
            (truth.keypoints[other], labelled[other]),
            (truth.keypoints[other][:, mirror], labelled[other][:, mirror]),
        ):
            similarity = np.where(valid, keypoint_similarity(points[pairs], places, truth.area[other], variances), 0)
            nearest[pairs] = np.maximum(nearest[pairs], similarity)
    return nearest


def _match_pairs(matches: Matches, pairs: Pairs, similarity: Floats) -> Matches:
    """Match the pairs (P,) with an OKS of at least the threshold, if prediction and instance are not matched."""
    places = _places(matches, pairs.rows)
    enough = similarity >= np.minimum(matches.oks_thresholds, 1 - 1e-10)[:, None]
    right = (matches.instances >= 0) & ~matches.ignored
    free = ~(right[..., places] | _found(matches)[..., pairs.instances] | matches.instance_ignored[:, None, pairs.instances])
    instances, ignored = matches.instances.copy(), matches.ignored.copy()
    instances[..., places] = np.where(enough & free, pairs.instances, instances[..., places])
    ignored[..., places] &= ~(enough & free)
    return replace(matches, instances=instances, ignored=ignored)


def _without_predictions(matches: Matches, rows: Indices) -> Matches:
    """Ignore predictions where they have no match."""
    places, ignored = _places(matches, rows), matches.ignored.copy()
    ignored[..., places] |= matches.instances[..., places] < 0
    return replace(matches, ignored=ignored)


def _without_instances(matches: Matches, rows: Indices) -> Matches:
    """Ignore annotated instances in the area ranges in which they have no match at any threshold."""
    ignored = matches.instance_ignored.copy()
    ignored[:, rows] |= ~_found(matches)[..., rows].any(axis=1)
    return replace(matches, instance_ignored=ignored)


def _places(matches: Matches, rows: Indices) -> Indices:
    """Return the indices of predictions among the kept ones."""
    place_of = np.zeros(matches.rows.max(initial=-1) + 1, np.int64)
    place_of[matches.rows] = np.arange(len(matches.rows))
    return place_of[rows]


def _found(matches: Matches) -> NDArray[np.bool_]:
    """Return whether each instance is matched: (A, T, M)."""
    num_areas, num_thresholds, _ = matches.instances.shape
    found = np.zeros((num_areas, num_thresholds, matches.instance_ignored.shape[1]), bool)
    area, threshold, place = np.nonzero(matches.instances >= 0)
    found[area, threshold, matches.instances[area, threshold, place]] = True
    return found
