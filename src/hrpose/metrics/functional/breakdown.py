"""AP by keypoint, part of the body, visibility and crowding: the same evaluation on a part of the annotations.

Arguments of all functions: `detections` are N predictions, `truth` M annotated instances of K keypoints and all images, `sigmas`
(K,) the constants of the skeleton, and of each image and category the `max_detections` predictions of highest score count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hrpose.metrics.functional.matching import Detections, average_precision
from hrpose.metrics.functional.oks import Floats, Indices
from hrpose.structures import GroundTruth

CROWDING_RANGES: Mapping[str, tuple[float, float]] = {"easy": (0.0, 0.2), "medium": (0.2, 0.8), "hard": (0.8, 1.0)}
"""Crowd indices of CrowdPose's easy, medium and hard images in its evaluation code (the paper states 0.1 instead of 0.2).

A range contains its lower end; the last one also contains 1.
"""


def average_precision_per_keypoint(
    detections: Detections, truth: GroundTruth, sigmas: ArrayLike, *, max_detections: int = 20
) -> Floats:
    """Compute the AP (K,) of each keypoint as if it were the only one; -1 for keypoints that are never labelled.

    Instances without its label are ignored.
    """
    options = {"area_ranges": {"all": (0.0, 1e10)}, "max_detections": max_detections}
    numbers = (_evaluate_keypoints(detections, truth, sigmas, [k], **options) for k in range(truth.keypoints.shape[1]))
    return np.array([row["AP"] for row in numbers])


def average_precision_by_part(
    detections: Detections,
    truth: GroundTruth,
    sigmas: ArrayLike,
    *,
    parts: Mapping[str, Sequence[int]],
    max_detections: int = 20,
    scores: Mapping[str, Floats] | None = None,
    keypoint_scores: Floats | None = None,
) -> dict[str, dict[str, float]]:
    """Compute the ten COCO numbers of parts, given as keypoint indices, as COCO-WholeBody does for body, foot, face and hands.

    Instances without labelled keypoints of the part are ignored. `scores` (N,) by part replace those of the predictions. With
    `keypoint_scores` (N, K), predictions are left out of parts in which all their scores are 0.
    """
    numbers = {}
    for name, indices in parts.items():
        ranked = replace(detections, scores=(scores or {}).get(name, detections.scores))
        if keypoint_scores is not None:
            ranked = ranked[np.flatnonzero((keypoint_scores[:, list(indices)] > 0).any(axis=1))]
        numbers[name] = _evaluate_keypoints(ranked, truth, sigmas, indices, max_detections=max_detections)
    return numbers


def _evaluate_keypoints(
    detections: Detections, truth: GroundTruth, sigmas: ArrayLike, indices: Sequence[int], **options: Any
) -> dict[str, float]:
    """Evaluate as if there were only the keypoints with these indices."""
    chosen = np.asarray(sigmas, dtype=np.float64)[list(indices)]
    return average_precision(*select_keypoints(detections, truth, indices), chosen, **options)


def average_precision_by_visibility(
    detections: Detections, truth: GroundTruth, sigmas: ArrayLike, *, max_detections: int = 20
) -> dict[str, dict[str, float]]:
    """Compute the ten COCO numbers of only "visible" and only "occluded" keypoints; instances without such are ignored."""
    numbers = {}
    for name, flag in (("visible", 2), ("occluded", 1)):
        only = truth.relabel(np.where(truth.visibility == flag, truth.visibility, 0).astype(np.uint8))
        numbers[name] = average_precision(detections, only, sigmas, max_detections=max_detections)
    return numbers


def average_precision_by_crowding(
    detections: Detections,
    truth: GroundTruth,
    sigmas: ArrayLike,
    *,
    crowding_ranges: Mapping[str, tuple[float, float]] = CROWDING_RANGES,
    max_detections: int = 20,
) -> dict[str, dict[str, float]]:
    """Compute the ten COCO numbers of each range of crowding; images without crowd index are in none."""
    return {
        name: average_precision(*select_images(detections, truth, image_ids), sigmas, max_detections=max_detections)
        for name, image_ids in images_by_crowding(truth, crowding_ranges).items()
    }


def images_by_crowding(
    truth: GroundTruth, crowding_ranges: Mapping[str, tuple[float, float]] = CROWDING_RANGES
) -> dict[str, Indices]:
    """Return the image ids of each range of crowd indices."""
    image_ids, crowding = crowd_index(truth)
    return {
        name: image_ids[(crowding >= low) & ((crowding < high) | (high >= 1))] for name, (low, high) in crowding_ranges.items()
    }


def crowd_index(truth: GroundTruth) -> tuple[Indices, Floats]:
    """Return the ids of images and their crowd indices from 0 to 1, as CrowdPose does.

    They are of all images if the data set states them. Otherwise they are computed for images with labelled instances: the mean
    over instances of (keypoints of others in the box) / (own keypoints in the box), at most 1 each.
    Source: J. Li et al., CrowdPose: Efficient Crowded Scenes Pose Estimation and a New Benchmark, CVPR 2019.
    """
    if truth.crowd_index is not None:
        return truth.image_ids, truth.crowd_index
    labelled = truth.visibility > 0
    rows = np.flatnonzero(labelled.any(axis=1) & ~truth.iscrowd)
    rows = rows[np.argsort(truth.object_image_ids[rows], kind="stable")]
    image_ids, first, counts = np.unique(truth.object_image_ids[rows], return_index=True, return_counts=True)
    crowding = np.zeros(len(image_ids))
    for image, (start, number) in enumerate(zip(first.tolist(), counts.tolist(), strict=True)):
        group = rows[start : start + number]
        boxes, points = truth.bbox[group, None, None], truth.keypoints[group][None]
        inside = ((points >= boxes[..., :2]) & (points <= boxes[..., :2] + boxes[..., 2:])).all(axis=3)
        inside = (inside & labelled[group][None]).sum(axis=2)  # [box, instance]
        own = np.diagonal(inside)
        crowding[image] = np.minimum((inside.sum(axis=1) - own) / np.maximum(own, 1), 1).mean()
    return image_ids, crowding


def select_keypoints(detections: Detections, truth: GroundTruth, indices: Sequence[int]) -> tuple[Detections, GroundTruth]:
    """Keep the keypoints with these indices of all predictions and annotations."""
    chosen = list(indices)
    return (
        replace(detections, keypoints=np.ascontiguousarray(detections.keypoints[:, chosen])),
        replace(truth.relabel(truth.visibility[:, chosen]), keypoints=truth.keypoints[:, chosen]),
    )


def select_images(detections: Detections, truth: GroundTruth, image_ids: Indices) -> tuple[Detections, GroundTruth]:
    """Keep the predictions and annotations of images."""
    kept = np.isin(truth.image_ids, image_ids)
    predicted, annotated = np.isin(detections.image_ids, image_ids), np.isin(truth.object_image_ids, image_ids)
    crowding = None if truth.crowd_index is None else truth.crowd_index[kept]
    return (detections[predicted], replace(truth.select(annotated), image_ids=truth.image_ids[kept], crowd_index=crowding))
