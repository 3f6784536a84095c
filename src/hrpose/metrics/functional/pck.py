"""Distances between predicted and annotated keypoints: in pixels, as PCK, and as PCKh, its MPII form relative to the head.

For errors in pixels each annotated instance is paired with one prediction of its image, greedily by the smallest mean distance.
Crowds and instances without labelled keypoints do not count.

Sources: Y. Yang and D. Ramanan, Articulated Human Detection with Flexible Mixtures of Parts, PAMI 2013 (PCK);
M. Andriluka et al., 2D Human Pose Estimation: New Benchmark and State of the Art Analysis, CVPR 2014 (PCKh).

Legend of the shapes: N instances, K keypoints.
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
"""Ratio of the head size to the diagonal of the head box in the benchmark."""

_GROUPS = {
    "Head": (9,),
    "Shoulder": (12, 13),
    "Elbow": (11, 14),
    "Wrist": (10, 15),
    "Hip": (2, 3),
    "Knee": (1, 4),
    "Ankle": (0, 5),
}
_JHMDB_GROUPS = {"Head": (2,), "Sho": (3, 4), "Elb": (7, 8), "Wri": (11, 12), "Hip": (5, 6), "Knee": (9, 10), "Ank": (13, 14)}
_NOT_IN_MEAN = (6, 7)  # pelvis and thorax
NUM_MPII_KEYPOINTS = 16
PCKH_COLUMNS = (*_GROUPS, "Mean", "Mean@0.11", "Mean@0.10")
"""Columns of the benchmark's table; the official code prints Mean@0.11 as "Mean@0.1"."""


def normalized_errors(predictions: ArrayLike, targets: ArrayLike, sizes: ArrayLike) -> Floats:
    """Compute the distances (N, K) between keypoints in units of each instance's size.

    Args:
        predictions: (N, K, 2) in image pixels.
        targets: (N, K, 2) in image pixels.
        sizes: (N,) in pixels, such as the size of the head or torso, or the longer side of the box.

    Raises:
        ValueError: if the shapes do not match, or a size is not positive.
    """
    given, wanted, size = (np.asarray(value, dtype=np.float64) for value in (predictions, targets, sizes))
    if given.shape != wanted.shape or given.ndim != 3 or given.shape[2] != 2 or size.shape != given.shape[:1]:
        raise ValueError(
            "Expected arguments `predictions` and `targets` to be (N, K, 2) and `sizes` (N,), "
            f"but got {given.shape}, {wanted.shape} and {size.shape}."
        )
    if not (size > 0).all():
        raise ValueError(f"Expected argument `sizes` to be positive, but found {size[~(size > 0)][:5].tolist()}.")
    errors: Floats = np.linalg.norm(given - wanted, axis=2) / size[:, None]
    return errors


def pck(errors: ArrayLike, labelled: ArrayLike, threshold: float) -> Floats:
    """Compute the share of instances with an error of at most the threshold, for each keypoint (K,).

    It is from 0 to 1; NaN for keypoints that are never annotated.

    Args:
        errors: (N, K) from `normalized_errors`.
        labelled: (N, K) whether the keypoint is annotated; others do not count.
        threshold: the largest correct error.

    Example:
        >>> pck([[0.5, 0.1], [0.6, 0.1]], [[True, True], [True, False]], threshold=0.5)
        array([0.5, 1. ])
    """
    mask = np.asarray(labelled, dtype=bool)
    correct = ((np.asarray(errors) <= threshold) & mask).sum(axis=0)
    count = mask.sum(axis=0)
    return np.where(count > 0, correct / np.maximum(count, 1), np.nan)


def mean_pck(errors: ArrayLike, labelled: ArrayLike, threshold: float) -> float:
    """Compute the share of all annotated keypoints with an error of at most the threshold; NaN without any. See `pck`."""
    mask = np.asarray(labelled, dtype=bool)
    return float((np.asarray(errors)[mask] <= threshold).mean()) if mask.any() else float("nan")


def head_sizes(head_boxes: ArrayLike) -> Floats:
    """Compute head sizes (N,) from MPII head boxes (N, 2, 2), two opposite corners x y, in pixels."""
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
        keypoint is annotated, without pelvis and thorax; and this mean at the two thresholds that are published as "@0.1":
        Mean@0.11 (the official code) and Mean@0.10. NaN without annotated keypoints.

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
    counted = [keypoint for keypoint in range(NUM_MPII_KEYPOINTS) if keypoint not in _NOT_IN_MEAN]
    for name, threshold in (("Mean", 0.5), ("Mean@0.11", 0.11), ("Mean@0.10", 0.10)):
        table[name] = 100 * mean_pck(distances[:, counted], mask[:, counted], threshold)
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
        image_sizes: (N, 2) width and height of the images, to which boxes are clipped; 0 where unknown.

    Returns:
        "Head PCK", "Sho PCK", ..., "PCK", the mean over keypoints, and "Head tPCK", ..., "tPCK"; -1 without labels.
    """
    given = np.asarray(predictions, np.float64) - 1
    wanted, mask = np.asarray(targets, np.float32) - 1, np.asarray(labelled, dtype=bool)
    sizes = np.asarray(image_sizes, np.float64)
    last = np.where(sizes > 0, sizes - 1, np.inf)
    corner = np.asarray(bbox, np.float64)[:, :2] - 1
    opposite = corner + np.asarray(bbox, np.float64)[:, 2:]
    edges = [np.clip(edge, 0, last).astype(np.float32) for edge in (corner, opposite)]
    torso = np.linalg.norm(wanted[:, 4] - wanted[:, 5], axis=1)
    torso = np.where(torso < 1, np.linalg.norm(given[:, 4] - given[:, 5], axis=1), torso)
    numbers = {}
    for suffix, norm in (("PCK", (edges[1] - edges[0]).max(axis=1, initial=0)), ("tPCK", torso)):
        valid = mask & (norm != 0)[:, None]
        errors = np.linalg.norm((given - wanted) / np.where(norm > 0, norm, 1)[:, None, None], axis=2)
        right, count = ((errors.astype(np.float32) < np.float32(0.2)) & valid).sum(axis=0), valid.sum(axis=0)
        shares = np.where(count > 0, right / np.maximum(count, 1), -1.0)
        for name, places in _JHMDB_GROUPS.items():
            numbers[f"{name} {suffix}"] = float(sum(shares[place] / len(places) for place in places))
        numbers[suffix] = float(shares[shares >= 0].mean()) if (shares >= 0).any() else -1.0
    return numbers


@dataclass(frozen=True, eq=False)
class PixelErrors:
    """Distances of predicted keypoints."""

    # numbers by the names of `PIXEL_NUMBERS`: mean and median error in pixels over labelled keypoints of instances with a
    # prediction; PCK over all instances, with keypoints of missed instances as wrong
    overall: dict[str, float]
    keypoints: dict[str, Floats]  # the same numbers for each keypoint, (K,) each; NaN if undefined
    num_instances: int  # number of instances that count
    num_missed: int  # number of these without a prediction


def pixel_errors(detections: Detections, truth: GroundTruth, *, max_detections: int = 20) -> PixelErrors:
    """Compute distances between predictions and annotated instances; instances with an empty box do not count in PCK."""
    rows, instances = closest_pairs(detections, truth, max_detections=max_detections)
    counted = countable(truth)
    labelled = truth.visibility > 0
    distances = np.full(labelled.shape, np.inf)
    distances[instances] = np.linalg.norm(detections.keypoints[rows] - truth.keypoints[instances], axis=2)
    found = np.where(labelled[instances], distances[instances], np.nan)
    sizes = truth.bbox[:, 2:].max(axis=1, initial=0)
    sized = counted & (sizes > 0)
    relative, mask = distances[sized] / sizes[sized, None], labelled[sized]
    each, overall = {}, {}
    for name, function in (("mean_error", np.mean), ("median_error", np.median)):
        each[name], overall[name] = _reduce(function, found), float(_reduce(function, found.reshape(-1, 1))[0])
    for threshold in PCK_THRESHOLDS:
        each[f"PCK@{threshold}"] = pck(relative, mask, threshold)
        overall[f"PCK@{threshold}"] = mean_pck(relative, mask, threshold)
    return PixelErrors(overall, each, int(counted.sum()), int(counted.sum()) - len(instances))


def closest_pairs(detections: Detections, truth: GroundTruth, *, max_detections: int = 20) -> tuple[Indices, Indices]:
    """Pair predictions (P,) with instances (P,) by the mean distance of the labelled keypoints, closest pairs first.

    The pairs are sorted by instance.
    """
    image_ids, category_ids = np.unique(truth.image_ids), np.unique(truth.category_ids)
    kept, images, categories = keep_best(detections, image_ids, category_ids, max_detections)
    instances = np.flatnonzero(countable(truth))
    instance_groups = np.searchsorted(category_ids, truth.category_ids[instances]) * len(image_ids)
    instance_groups += np.searchsorted(image_ids, truth.object_image_ids[instances])
    one, other = list_pairs(categories * len(image_ids) + images, instance_groups)
    rows, others = kept[one], instances[other]
    means = _mean_distances(detections.keypoints, truth, rows, others)
    order = np.lexsort((others, one, means))
    taken: dict[int, int] = {}
    used: set[int] = set()
    for row, instance in zip(rows[order].tolist(), others[order].tolist(), strict=True):
        if instance not in taken and row not in used:
            taken[instance] = row
            used.add(row)
    chosen = np.array(sorted(taken), np.int64)
    return np.array([taken[instance] for instance in chosen.tolist()], np.int64), chosen


def countable(truth: GroundTruth) -> NDArray[np.bool_]:
    """Return which instances (M,) are not ignored and have a labelled keypoint."""
    counted: NDArray[np.bool_] = ~truth.is_ignored & (truth.visibility > 0).any(axis=1)
    return counted


def _mean_distances(keypoints: Floats, truth: GroundTruth, rows: Indices, instances: Indices) -> Floats:
    means = np.empty(len(rows))
    step = max(1, _CHUNK // max(1, keypoints.shape[1]))
    for start in range(0, len(rows), step):
        chunk = slice(start, start + step)
        distances = np.linalg.norm(keypoints[rows[chunk]] - truth.keypoints[instances[chunk]], axis=2)
        mask = truth.visibility[instances[chunk]] > 0
        means[chunk] = np.where(mask, distances, 0).sum(axis=1) / mask.sum(axis=1)
    return means


def _reduce(function: object, found: Floats) -> Floats:
    """Reduce each column without its NaNs; NaN for a column without other values."""
    columns = [column[~np.isnan(column)] for column in found.T]
    return np.array([function(column) if len(column) else np.nan for column in columns], np.float64)  # type: ignore[operator]
