"""The anatomy of keypoint errors: of what kind they are, and what AP would be if each kind were fixed.

Each keypoint of a prediction that is paired with a person (OKS of at least 0.1) is, by its similarity to where it belongs,
good (at least 0.85), a jitter (at least 0.5), or else an inversion (it lies on the mirrored keypoint of the same person), a swap
(on the same or the mirrored keypoint of another person) or a miss (on nothing). Predictions without a person are false
positives, persons without a prediction false negatives.

A fix changes the matches of the evaluation and never undoes one, so no fix lowers AP. Pairs and matches differ: at OKS 0.1 a
poor prediction takes the person that a better one of lower score is matched to at 0.5, where the poor one fails. At each OKS
threshold and in each area range

- a fixed keypoint turns its prediction into a match if OKS with its person now reaches the threshold and nobody else is
  matched to that person;
- a false positive is removed if it matches nobody there;
- a false negative is removed if no prediction is matched to it in that area range.
Source: M. R. Ronchi and P. Perona, Benchmarking and Error Diagnosis in Multi-Instance Pose Estimation, ICCV 2017.

Legend of the shapes: N predictions, M annotated persons, P pairs, K keypoints.
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
    pair_persons,
    summarize,
)
from hrpose.metrics.functional.oks import Floats, Indices, keypoint_variances, oks_pairs
from hrpose.structures import GroundTruth

KINDS = ("unlabelled", "good", "jitter", "inversion", "swap", "miss")
_GOOD, _CLOSE = 0.85, 0.5


@dataclass(frozen=True)
class ErrorAnatomy:
    """What goes wrong, and what it costs.

    Attributes:
        keypoints: how many labelled keypoints of paired predictions are good, jitter, inversion, swap and miss.
        false_positives: predictions without a person.
        false_negatives: persons without a prediction.
        numbers: the ten COCO numbers as they are.
        fixed: the ten numbers if one kind were fixed: the keypoints of a kind put where they belong, the false positives
            left out, the false negatives not asked for. None is below its entry in `numbers`; -1 where no person is left.
    """

    keypoints: dict[str, int]
    false_positives: int
    false_negatives: int
    numbers: dict[str, float]
    fixed: dict[str, dict[str, float]]


def error_anatomy(
    detections: Detections,
    truth: GroundTruth,
    sigmas: ArrayLike,
    flip_permutation: Sequence[int],
    *,
    max_detections: int = 20,
) -> ErrorAnatomy:
    """Take a set of predictions apart.

    Args:
        detections: N predictions.
        truth: M annotated persons, and all photos.
        sigmas: (K,) per-keypoint constants of the skeleton.
        flip_permutation: K indices, for each keypoint its mirrored one, such as `hrpose.skeletons.COCO.flip_permutation`.
        max_detections: how many predictions of a photo and category count, the best first.

    Returns:
        Counts, and the numbers after each fix.
    """
    matches = match_detections(detections, truth, sigmas, max_detections=max_detections)
    pairs = pair_persons(detections, truth, sigmas, max_detections=max_detections)
    kinds = classify_keypoints(detections, truth, sigmas, flip_permutation, pairs)
    variances = keypoint_variances(sigmas)
    fixed = {}
    for code, name in enumerate(KINDS):
        if name not in ("unlabelled", "good"):
            keypoints = detections.keypoints.copy()
            wrong = (kinds == code)[..., None]
            keypoints[pairs.rows] = np.where(wrong, truth.keypoints[pairs.persons], keypoints[pairs.rows])
            fixed[name] = _match_pairs(
                matches, pairs, oks_pairs(keypoints, truth, variances, pairs.rows, pairs.persons)
            )
    fixed["false positives"] = _without_predictions(matches, pairs.alone)
    fixed["false negatives"] = _without_persons(matches, pairs.missed)
    return ErrorAnatomy(
        keypoints={name: int((kinds == code).sum()) for code, name in enumerate(KINDS) if name != "unlabelled"},
        false_positives=len(pairs.alone),
        false_negatives=len(pairs.missed),
        numbers=summarize(accumulate(matches)),
        fixed={name: summarize(accumulate(changed)) for name, changed in fixed.items()},
    )


def classify_keypoints(
    detections: Detections,
    truth: GroundTruth,
    sigmas: ArrayLike,
    flip_permutation: Sequence[int],
    pairs: Pairs,
) -> NDArray[np.uint8]:
    """Tell of what kind each keypoint of each pair is.

    Args:
        detections: N predictions.
        truth: M annotated persons.
        sigmas: (K,) per-keypoint constants of the skeleton.
        flip_permutation: K indices of the mirrored keypoints.
        pairs: P predictions and their persons.

    Returns:
        (P, K) positions in `KINDS`.
    """
    variances, mirror = keypoint_variances(sigmas), np.array(flip_permutation)
    points, persons = detections.keypoints[pairs.rows], pairs.persons
    labelled = truth.visibility > 0
    own = keypoint_similarity(points, truth.keypoints[persons], truth.area[persons], variances)
    mirrored = keypoint_similarity(points, truth.keypoints[persons][:, mirror], truth.area[persons], variances)
    mirrored[~labelled[persons][:, mirror] | (mirror == np.arange(len(mirror)))] = 0
    others = _nearest_other(points, truth, persons, variances, mirror)
    kinds = np.full(own.shape, KINDS.index("miss"), dtype=np.uint8)
    kinds[np.maximum(mirrored, others) >= _CLOSE] = KINDS.index("swap")
    kinds[(mirrored >= _CLOSE) & (mirrored >= others)] = KINDS.index("inversion")
    kinds[own >= _CLOSE] = KINDS.index("jitter")
    kinds[own >= _GOOD] = KINDS.index("good")
    kinds[~labelled[persons]] = KINDS.index("unlabelled")
    return kinds


def _nearest_other(
    points: Floats, truth: GroundTruth, persons: Indices, variances: Floats, mirror: NDArray[np.int64]
) -> Floats:
    """The highest similarity (P, K) to the same or the mirrored keypoint of any other person in the photo."""
    labelled = truth.visibility > 0
    order = np.argsort(truth.object_image_ids, kind="stable")
    ordered = truth.object_image_ids[order]
    images = truth.object_image_ids[persons]
    start, stop = np.searchsorted(ordered, images, side="left"), np.searchsorted(ordered, images, side="right")
    nearest = np.zeros(points.shape[:2])
    for step in range(int((stop - start).max(initial=0))):
        pairs = np.flatnonzero(start + step < stop)
        other = order[start[pairs] + step]
        pairs, other = pairs[other != persons[pairs]], other[other != persons[pairs]]
        for places, seen in (
            (truth.keypoints[other], labelled[other]),
            (truth.keypoints[other][:, mirror], labelled[other][:, mirror]),
        ):
            similarity = np.where(seen, keypoint_similarity(points[pairs], places, truth.area[other], variances), 0)
            nearest[pairs] = np.maximum(nearest[pairs], similarity)
    return nearest


def _match_pairs(matches: Matches, pairs: Pairs, similarity: Floats) -> Matches:
    """Match the pairs (P,) whose OKS reaches the threshold, unless their prediction or their person has a match that counts."""
    places = _places(matches, pairs.rows)
    enough = similarity >= np.minimum(matches.oks_thresholds, 1 - 1e-10)[:, None]
    right = (matches.persons >= 0) & ~matches.ignored
    free = ~(right[..., places] | _found(matches)[..., pairs.persons] | matches.person_ignored[:, None, pairs.persons])
    persons, ignored = matches.persons.copy(), matches.ignored.copy()
    persons[..., places] = np.where(enough & free, pairs.persons, persons[..., places])
    ignored[..., places] &= ~(enough & free)
    return replace(matches, persons=persons, ignored=ignored)


def _without_predictions(matches: Matches, rows: Indices) -> Matches:
    """Ignore predictions where they match nobody."""
    places, ignored = _places(matches, rows), matches.ignored.copy()
    ignored[..., places] |= matches.persons[..., places] < 0
    return replace(matches, ignored=ignored)


def _without_persons(matches: Matches, rows: Indices) -> Matches:
    """Ignore annotated persons in the area ranges in which nobody is matched to them at any threshold."""
    ignored = matches.person_ignored.copy()
    ignored[:, rows] |= ~_found(matches)[..., rows].any(axis=1)
    return replace(matches, person_ignored=ignored)


def _places(matches: Matches, rows: Indices) -> Indices:
    """Where predictions stand among those that are kept."""
    place_of = np.zeros(matches.rows.max(initial=-1) + 1, np.int64)
    place_of[matches.rows] = np.arange(len(matches.rows))
    return place_of[rows]


def _found(matches: Matches) -> NDArray[np.bool_]:
    """Whether a prediction is matched to each person: (A, T, M)."""
    num_areas, num_thresholds, _ = matches.persons.shape
    found = np.zeros((num_areas, num_thresholds, matches.person_ignored.shape[1]), bool)
    area, threshold, place = np.nonzero(matches.persons >= 0)
    found[area, threshold, matches.persons[area, threshold, place]] = True
    return found
