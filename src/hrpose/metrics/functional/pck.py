"""Distances between predicted and annotated keypoints: in pixels, as PCK, and as PCKh, its MPII form relative to the head.

For errors in pixels each annotated person is compared with one prediction of its photo: of all pairs the one with the smallest
mean distance comes first, then the next one of those that are left. Crowds and persons without labelled keypoints do not count.

Sources: Y. Yang and D. Ramanan, Articulated Human Detection with Flexible Mixtures of Parts, PAMI 2013 (PCK);
M. Andriluka et al., 2D Human Pose Estimation: New Benchmark and State of the Art Analysis, CVPR 2014 (PCKh).

Legend of the shapes: N persons, K keypoints.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrpose.metrics.functional.matching import Detections, keep_best, list_pairs
from hrpose.metrics.functional.oks import Floats, Indices
from hrpose.structures import GroundTruth

PCK_THRESHOLDS = (0.05, 0.1, 0.2)
"""Shares of the longer side of the annotated box."""
PIXEL_NUMBERS = ("mean_error", "median_error", *(f"PCK@{threshold}" for threshold in PCK_THRESHOLDS))
_CHUNK = 1 << 18  # keypoints compared at a time
HEAD_SHARE = 0.6
"""The benchmark's head size is this share of the diagonal of the head box."""

_GROUPS = {
    "Head": (9,),
    "Shoulder": (12, 13),
    "Elbow": (11, 14),
    "Wrist": (10, 15),
    "Hip": (2, 3),
    "Knee": (1, 4),
    "Ankle": (0, 5),
}
_JHMDB_GROUPS = {
    "Head": (2,),
    "Sho": (3, 4),
    "Elb": (7, 8),
    "Wri": (11, 12),
    "Hip": (5, 6),
    "Knee": (9, 10),
    "Ank": (13, 14),
}
_NOT_IN_MEAN = (6, 7)  # pelvis and thorax
NUM_MPII_KEYPOINTS = 16
PCKH_COLUMNS = (*_GROUPS, "Mean", "Mean@0.11", "Mean@0.10")
"""The numbers of the benchmark's table, in its order; the paper's code prints Mean@0.11 as "Mean@0.1"."""


def normalized_errors(predictions: ArrayLike, targets: ArrayLike, sizes: ArrayLike) -> Floats:
    """Measure how far keypoints are off, in units of each person's size.

    Args:
        predictions: (N, K, 2) in image pixels.
        targets: (N, K, 2) in image pixels.
        sizes: (N,) yardsticks in pixels: the head, the torso, the longer side of the box.

    Returns:
        (N, K) distances.

    Raises:
        ValueError: if the shapes disagree, or a size is not positive.
    """
    given, wanted, size = (np.asarray(value, dtype=np.float64) for value in (predictions, targets, sizes))
    if given.shape != wanted.shape or given.ndim != 3 or given.shape[2] != 2 or size.shape != given.shape[:1]:
        raise ValueError(
            "Expected arguments `predictions` and `targets` to be (N, K, 2) and `sizes` (N,), "
            f"but got {given.shape}, {wanted.shape} and {size.shape}."
        )
    if not (size > 0).all():
        raise ValueError(
            f"Expected argument `sizes` to be positive, but got {size[~(size > 0)][:5].tolist()} among them."
        )
    errors: Floats = np.linalg.norm(given - wanted, axis=2) / size[:, None]
    return errors


def pck(errors: ArrayLike, labelled: ArrayLike, threshold: float) -> Floats:
    """Tell for each keypoint the share of persons whose error is at most the threshold.

    Args:
        errors: (N, K) from `normalized_errors`.
        labelled: (N, K) whether the keypoint is annotated; others do not count.
        threshold: the largest error that is correct, included.

    Returns:
        (K,) shares from 0 to 1; NaN where a keypoint is never annotated.

    Example:
        >>> pck([[0.5, 0.1], [0.6, 0.1]], [[True, True], [True, False]], threshold=0.5)
        array([0.5, 1. ])
    """
    mask = np.asarray(labelled, dtype=bool)
    correct = ((np.asarray(errors) <= threshold) & mask).sum(axis=0)
    count = mask.sum(axis=0)
    return np.where(count > 0, correct / np.maximum(count, 1), np.nan)


def mean_pck(errors: ArrayLike, labelled: ArrayLike, threshold: float) -> float:
    """Tell the share of all annotated keypoints whose error is at most the threshold; NaN without any.

    Args:
        errors: (N, K) from `normalized_errors`.
        labelled: (N, K) whether the keypoint is annotated.
        threshold: the largest error that is correct, included.
    """
    mask = np.asarray(labelled, dtype=bool)
    return float((np.asarray(errors)[mask] <= threshold).mean()) if mask.any() else float("nan")


def head_sizes(head_boxes: ArrayLike) -> Floats:
    """Turn MPII head boxes into head sizes.

    Args:
        head_boxes: (N, 2, 2) two opposite corners x y in pixels.

    Returns:
        (N,) sizes in pixels.

    Raises:
        ValueError: if the shape is another one.
    """
    boxes = np.asarray(head_boxes, dtype=np.float64)
    if boxes.ndim != 3 or boxes.shape[1:] != (2, 2):
        raise ValueError(f"Expected argument `head_boxes` to be (N, 2, 2), two corners each, but got {boxes.shape}.")
    sizes: Floats = np.linalg.norm(boxes[:, 1] - boxes[:, 0], axis=1) * HEAD_SHARE
    return sizes


def pckh_table(errors: ArrayLike, labelled: ArrayLike) -> dict[str, float]:
    """Compute the table of the MPII benchmark, in percent.

    Args:
        errors: (N, 16) from `normalized_errors` with `head_sizes`, keypoints in MPII's order.
        labelled: (N, 16) whether the keypoint is annotated.

    Returns:
        PCKh@0.5 of Head, Shoulder, Elbow, Wrist, Hip, Knee and Ankle, left and right averaged; Mean, weighted by how often a
        keypoint is annotated, without pelvis and thorax; and the same mean at the two thresholds that are called "@0.1" in
        print: Mean@0.11 (the paper's code) and Mean@0.10 (the name's). NaN where nothing is annotated.

    Raises:
        ValueError: if there are not 16 keypoints.
    """
    distances, mask = np.asarray(errors, dtype=np.float64), np.asarray(labelled, dtype=bool)
    if distances.ndim != 2 or distances.shape[1] != NUM_MPII_KEYPOINTS or distances.shape != mask.shape:
        raise ValueError(
            f"Expected arguments `errors` and `labelled` to be (N, {NUM_MPII_KEYPOINTS}), "
            f"but got {distances.shape} and {mask.shape}."
        )
    shares = 100 * pck(distances, mask, 0.5)
    table = {name: float(shares[list(keypoints)].mean()) for name, keypoints in _GROUPS.items()}
    table["Mean"] = _benchmark_mean(distances, mask, 0.5)
    for threshold in (0.11, 0.10):
        table[f"Mean@{threshold:.2f}"] = _benchmark_mean(distances, mask, threshold)
    return table


def jhmdb_table(
    predictions: ArrayLike, targets: ArrayLike, labelled: ArrayLike, bbox: ArrayLike, image_sizes: ArrayLike
) -> dict[str, float]:
    """Compute PCK@.2 of JHMDB, relative to the box and to the torso, as MMPose does (`JhmdbPCKAccuracy`).

    Args:
        predictions: (N, 15, 2) in image pixels counted from 1, keypoints in JHMDB's order.
        targets: (N, 15, 2) in the same pixels.
        labelled: (N, 15) whether a keypoint is annotated.
        bbox: (N, 4) annotated boxes x, y, width, height in the same pixels.
        image_sizes: (N, 2) width and height of the images, to which boxes are clipped; 0 where they are unknown.

    Returns:
        "Head PCK", "Sho PCK", ..., "PCK", the mean over keypoints, and "Head tPCK", ..., "tPCK"; -1 where nothing is labelled.
    """
    given = np.asarray(predictions, np.float64) - 1
    wanted, mask = np.asarray(targets, np.float32) - 1, np.asarray(labelled, dtype=bool)
    sizes = np.asarray(image_sizes, np.float64)
    last = np.where(sizes > 0, sizes - 1, np.inf)
    corner = np.asarray(bbox, np.float64)[:, :2] - 1
    edges = [
        np.clip(edge, 0, last).astype(np.float32) for edge in (corner, corner + np.asarray(bbox, np.float64)[:, 2:])
    ]
    torso = np.linalg.norm(wanted[:, 4] - wanted[:, 5], axis=1)
    torso = np.where(torso < 1, np.linalg.norm(given[:, 4] - given[:, 5], axis=1), torso)
    numbers = {}
    for suffix, norm in (("PCK", (edges[1] - edges[0]).max(axis=1, initial=0)), ("tPCK", torso)):
        valid = mask & (norm != 0)[:, None]
        errors = np.linalg.norm((given - wanted) / np.where(norm > 0, norm, 1)[:, None, None], axis=2).astype(
            np.float32
        )
        right, count = ((errors < np.float32(0.2)) & valid).sum(axis=0), valid.sum(axis=0)
        shares = np.where(count > 0, right / np.maximum(count, 1), -1.0)
        for name, places in _JHMDB_GROUPS.items():
            numbers[f"{name} {suffix}"] = float(sum(shares[place] / len(places) for place in places))
        numbers[suffix] = float(shares[shares >= 0].mean()) if (shares >= 0).any() else -1.0
    return numbers


def _benchmark_mean(errors: Floats, labelled: NDArray[np.bool_], threshold: float) -> float:
    counted = [keypoint for keypoint in range(NUM_MPII_KEYPOINTS) if keypoint not in _NOT_IN_MEAN]
    return 100 * mean_pck(errors[:, counted], labelled[:, counted], threshold)


@dataclass(frozen=True, eq=False)
class PixelErrors:
    """Distances of predicted keypoints.

    Attributes:
        overall: numbers by the names of `PIXEL_NUMBERS`: mean and median error in pixels of the labelled keypoints of persons
            that have a prediction; PCK of those of all persons, in which the keypoints of a missed person are wrong.
        keypoints: the same numbers for each keypoint, (K,) each; NaN where there is nothing to compare.
        num_persons: persons that count.
        num_missed: those without a prediction.
    """

    overall: dict[str, float]
    keypoints: dict[str, Floats]
    num_persons: int
    num_missed: int


def pixel_errors(detections: Detections, truth: GroundTruth, *, max_detections: int = 20) -> PixelErrors:
    """Measure the distances between predictions and annotated persons.

    Args:
        detections: N predictions.
        truth: M annotated persons, and all photos; persons whose box has no size are left out of PCK.
        max_detections: how many predictions of a photo and category count, the best first.
    """
    rows, persons = closest_pairs(detections, truth, max_detections=max_detections)
    counted = countable(truth)
    labelled = truth.visibility > 0
    distances = np.full(labelled.shape, np.inf)
    distances[persons] = np.linalg.norm(detections.keypoints[rows] - truth.keypoints[persons], axis=2)
    found = np.where(labelled[persons], distances[persons], np.nan)
    sizes = truth.bbox[:, 2:].max(axis=1, initial=0)
    sized = counted & (sizes > 0)
    relative, mask = distances[sized] / sizes[sized, None], labelled[sized]
    each = {"mean_error": _reduce(np.mean, found), "median_error": _reduce(np.median, found)}
    whole = found[~np.isnan(found)]
    overall = {name: float(reduce(whole)) if len(whole) else float("nan")
               for name, reduce in (("mean_error", np.mean), ("median_error", np.median))}  # fmt: skip
    for threshold in PCK_THRESHOLDS:
        each[f"PCK@{threshold}"] = pck(relative, mask, threshold)
        overall[f"PCK@{threshold}"] = mean_pck(relative, mask, threshold)
    return PixelErrors(overall, each, int(counted.sum()), int(counted.sum()) - len(persons))


def closest_pairs(detections: Detections, truth: GroundTruth, *, max_detections: int = 20) -> tuple[Indices, Indices]:
    """Pair predictions with persons by the mean distance of the labelled keypoints, the closest pair first.

    Args:
        detections: N predictions.
        truth: M annotated persons, and all photos.
        max_detections: how many predictions of a photo and category count, the best first.

    Returns:
        The prediction and the person of each pair, (P,) both, in the order of the persons.
    """
    image_ids, category_ids = np.unique(truth.image_ids), np.unique(truth.category_ids)
    kept, images, categories = keep_best(detections, image_ids, category_ids, max_detections)
    persons = np.flatnonzero(countable(truth))
    person_groups = np.searchsorted(category_ids, truth.category_ids[persons]) * len(image_ids)
    person_groups += np.searchsorted(image_ids, truth.object_image_ids[persons])
    one, other = list_pairs(categories * len(image_ids) + images, person_groups)
    rows, others = kept[one], persons[other]
    means = _mean_distances(detections.keypoints, truth, rows, others)
    order = np.lexsort((others, one, means))
    taken: dict[int, int] = {}
    used: set[int] = set()
    for row, person in zip(rows[order].tolist(), others[order].tolist(), strict=True):
        if person not in taken and row not in used:
            taken[person] = row
            used.add(row)
    chosen = np.array(sorted(taken), np.int64)
    return np.array([taken[person] for person in chosen.tolist()], np.int64), chosen


def countable(truth: GroundTruth) -> NDArray[np.bool_]:
    """Find the persons (M,) that are no crowds and not ignored, and have a labelled keypoint."""
    counted: NDArray[np.bool_] = ~truth.is_ignored & (truth.visibility > 0).any(axis=1)
    return counted


def _mean_distances(keypoints: Floats, truth: GroundTruth, rows: Indices, persons: Indices) -> Floats:
    means = np.empty(len(rows))
    step = max(1, _CHUNK // max(1, keypoints.shape[1]))
    for start in range(0, len(rows), step):
        chunk = slice(start, start + step)
        distances = np.linalg.norm(keypoints[rows[chunk]] - truth.keypoints[persons[chunk]], axis=2)
        mask = truth.visibility[persons[chunk]] > 0
        means[chunk] = np.where(mask, distances, 0).sum(axis=1) / mask.sum(axis=1)
    return means


def _reduce(function: object, found: Floats) -> Floats:
    """Reduce each column of an array in which NaN stands for nothing; NaN for an empty column."""
    columns = [column[~np.isnan(column)] for column in found.T]
    return np.array([function(column) if len(column) else np.nan for column in columns], np.float64)  # type: ignore[operator]
