"""How far predicted keypoints lie from the annotated ones: in pixels, and as PCK in shares of the box.

Each annotated person is compared with one prediction of its photo: of all pairs the one with the smallest mean distance comes
first, then the next one of those that are left. Crowds and persons without labelled keypoints do not count.

Legend of the shapes: M annotated persons, P pairs, K keypoints.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hrpose.metrics.functional.matching import Detections, keep_best, list_pairs
from hrpose.metrics.functional.oks import Floats, Indices
from hrpose.metrics.functional.pck import mean_pck, pck
from hrpose.structures import GroundTruth

PCK_THRESHOLDS = (0.05, 0.1, 0.2)
"""Shares of the longer side of the annotated box."""
PIXEL_NUMBERS = ("mean_error", "median_error", *(f"PCK@{threshold}" for threshold in PCK_THRESHOLDS))
_CHUNK = 1 << 18  # keypoints compared at a time


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
