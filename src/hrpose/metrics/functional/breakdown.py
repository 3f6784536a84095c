"""AP by keypoint, part of the body, visibility and crowding: the same evaluation, of some of the annotations at a time.

Legend of the shapes: N predictions, M annotated persons, K keypoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from hrpose.metrics.functional.matching import Detections, average_precision
from hrpose.metrics.functional.oks import Floats, Indices
from hrpose.structures import GroundTruth

CROWDING_RANGES: Mapping[str, tuple[float, float]] = {"easy": (0.0, 0.2), "medium": (0.2, 0.8), "hard": (0.8, 1.0)}
"""Crowd indices of CrowdPose's easy, medium and hard photos, as its evaluation code parts them (its paper says 0.1 for 0.2).

The border belongs to the harder range, and 1 to the hardest.
"""


def average_precision_per_keypoint(
    detections: Detections, truth: GroundTruth, sigmas: ArrayLike, *, max_detections: int = 20
) -> Floats:
    """Evaluate each keypoint as if it were the only one.

    Persons in whom it is not labelled are ignored: predictions on them count neither way.

    Args:
        detections: N predictions.
        truth: M annotated persons, and all photos.
        sigmas: (K,) per-keypoint constants of the skeleton.
        max_detections: how many predictions of a photo and category count, the best first.

    Returns:
        (K,) AP over OKS .50:.95; -1 where a keypoint is never labelled.
    """
    values = np.asarray(sigmas, dtype=np.float64)
    aps = np.empty(len(values))
    for keypoint in range(len(values)):
        aps[keypoint] = average_precision(
            *select_keypoints(detections, truth, [keypoint]),
            values[[keypoint]],
            area_ranges={"all": (0.0, 1e10)},
            max_detections=max_detections,
        )["AP"]
    return aps


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
    """Evaluate some keypoints as if they were all, as COCO-WholeBody does with body, foot, face and hands.

    Args:
        detections: N predictions.
        truth: M annotated persons, and all photos.
        sigmas: (K,) per-keypoint constants of the skeleton.
        parts: names, and the indices of their keypoints.
        max_detections: how many predictions of a photo and category count, the best first.
        scores: (N,) by the name of the part that they rank, instead of the predictions' own.
        keypoint_scores: (N, K), by which predictions whose scores of a part are all 0 are left out of it; None keeps all.

    Returns:
        The ten COCO numbers of each part. Persons in whom nothing of it is labelled are ignored.
    """
    values = np.asarray(sigmas, dtype=np.float64)
    numbers = {}
    for name, indices in parts.items():
        ranked = replace(detections, scores=(scores or {}).get(name, detections.scores))
        if keypoint_scores is not None:
            kept = (keypoint_scores[:, list(indices)] > 0).any(axis=1)
            ranked = Detections(**{key: column[kept] for key, column in vars(ranked).items()})
        chosen = select_keypoints(ranked, truth, indices)
        numbers[name] = average_precision(*chosen, values[list(indices)], max_detections=max_detections)
    return numbers


def average_precision_by_visibility(
    detections: Detections, truth: GroundTruth, sigmas: ArrayLike, *, max_detections: int = 20
) -> dict[str, dict[str, float]]:
    """Evaluate by the visible keypoints alone, and by the occluded ones alone.

    Args:
        detections: N predictions.
        truth: M annotated persons, and all photos.
        sigmas: (K,) per-keypoint constants of the skeleton.
        max_detections: how many predictions of a photo and category count, the best first.

    Returns:
        The ten COCO numbers under "visible" and "occluded". Persons without keypoints of the kind are ignored.
    """
    return {
        name: average_precision(
            detections,
            truth.relabel(np.where(truth.visibility == flag, truth.visibility, 0).astype(np.uint8)),
            sigmas,
            max_detections=max_detections,
        )
        for name, flag in (("visible", 2), ("occluded", 1))
    }


def average_precision_by_crowding(
    detections: Detections,
    truth: GroundTruth,
    sigmas: ArrayLike,
    *,
    crowding_ranges: Mapping[str, tuple[float, float]] = CROWDING_RANGES,
    max_detections: int = 20,
) -> dict[str, dict[str, float]]:
    """Evaluate photos of little and of much crowding on their own.

    Args:
        detections: N predictions.
        truth: M annotated persons, and all photos.
        sigmas: (K,) per-keypoint constants of the skeleton.
        crowding_ranges: names and crowd indices; photos at the upper end of a range that does not end at 1 are not in it.
        max_detections: how many predictions of a photo and category count, the best first.

    Returns:
        The ten COCO numbers of each range. Photos that have no crowd index are in none.
    """
    return {
        name: average_precision(*select_images(detections, truth, image_ids), sigmas, max_detections=max_detections)
        for name, image_ids in images_by_crowding(truth, crowding_ranges).items()
    }


def images_by_crowding(
    truth: GroundTruth, crowding_ranges: Mapping[str, tuple[float, float]] = CROWDING_RANGES
) -> dict[str, Indices]:
    """Part the photos by how crowded they are.

    Args:
        truth: M annotated persons, and all photos.
        crowding_ranges: as in `average_precision_by_crowding`.

    Returns:
        The ids of the photos in each range.
    """
    image_ids, crowding = crowd_index(truth)
    return {
        name: image_ids[(crowding >= low) & ((crowding < high) | (high >= 1))]
        for name, (low, high) in crowding_ranges.items()
    }


def crowd_index(truth: GroundTruth) -> tuple[Indices, Floats]:
    """Tell how crowded each photo is: the mean over its persons of others' keypoints in the box / own keypoints in the box.

    Where the data set states its crowd indices, as CrowdPose does, those are taken.
    Source: J. Li et al., CrowdPose: Efficient Crowded Scenes Pose Estimation and a New Benchmark, CVPR 2019.

    Args:
        truth: M annotated persons, and all photos.

    Returns:
        The ids of the photos with labelled persons, and their indices from 0, capped at 1; all photos where they are stated.
    """
    if truth.crowd_index is not None:
        return truth.image_ids, truth.crowd_index
    labelled = truth.visibility > 0
    people = np.flatnonzero(labelled.any(axis=1) & ~truth.iscrowd)
    people = people[np.argsort(truth.object_image_ids[people], kind="stable")]
    image_ids, first, counts = np.unique(truth.object_image_ids[people], return_index=True, return_counts=True)
    crowding = np.zeros(len(image_ids))
    for image, (start, number) in enumerate(zip(first.tolist(), counts.tolist(), strict=True)):
        group = people[start : start + number]
        low, high = (
            truth.bbox[group, None, None, :2],
            truth.bbox[group, None, None, :2] + truth.bbox[group, None, None, 2:],
        )
        places = truth.keypoints[group][None]
        inside = (((places >= low) & (places <= high)).all(axis=3) & labelled[group][None]).sum(axis=2)  # [box, person]
        own = np.diagonal(inside)
        crowding[image] = np.minimum((inside.sum(axis=1) - own) / np.maximum(own, 1), 1).mean()
    return image_ids, crowding


def select_keypoints(
    detections: Detections, truth: GroundTruth, indices: Sequence[int]
) -> tuple[Detections, GroundTruth]:
    """Keep some keypoints of all predictions and annotations.

    Args:
        detections: N predictions.
        truth: M annotated persons, and all photos.
        indices: of the keypoints to keep.
    """
    chosen = list(indices)
    return (
        replace(detections, keypoints=np.ascontiguousarray(detections.keypoints[:, chosen])),
        replace(truth.relabel(truth.visibility[:, chosen]), keypoints=truth.keypoints[:, chosen]),
    )


def select_images(detections: Detections, truth: GroundTruth, image_ids: Indices) -> tuple[Detections, GroundTruth]:
    """Keep the predictions and the annotations of some photos.

    Args:
        detections: N predictions.
        truth: M annotated persons, and all photos.
        image_ids: of the photos to keep.
    """
    found, there = np.isin(detections.image_ids, image_ids), np.isin(truth.object_image_ids, image_ids)
    seen = np.isin(truth.image_ids, image_ids)
    crowding = None if truth.crowd_index is None else truth.crowd_index[seen]
    return (
        Detections(**{name: values[found] for name, values in vars(detections).items()}),
        replace(truth.select(there), image_ids=truth.image_ids[seen], crowd_index=crowding),
    )
