"""AP by keypoint, by visibility and by crowding: the same evaluation, of a part of the annotations at a time.

Legend of the shapes: N predictions, M annotated persons, K keypoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from hrpose.metrics.functional.average_precision import average_precision
from hrpose.metrics.functional.matching import Detections
from hrpose.metrics.functional.oks import Floats, Indices
from hrpose.structures import GroundTruth

CROWDING_RANGES: Mapping[str, tuple[float, float]] = {"easy": (0.0, 0.1), "medium": (0.1, 0.8), "hard": (0.8, 1.0)}
"""Crowd indices of CrowdPose's easy, medium and hard photos; the lower end belongs to the easier range."""


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
        one = slice(keypoint, keypoint + 1)
        predictions = replace(detections, keypoints=np.ascontiguousarray(detections.keypoints[:, one]))
        people = replace(truth, keypoints=truth.keypoints[:, one], visibility=truth.visibility[:, one])
        aps[keypoint] = average_precision(
            predictions, people, values[one], area_ranges={"all": (0.0, 1e10)}, max_detections=max_detections
        )["AP"]
    return aps


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
            replace(truth, visibility=np.where(truth.visibility == flag, truth.visibility, 0).astype(np.uint8)),
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
        crowding_ranges: names and crowd indices; photos at the lower end of a range that does not begin at 0 are not in it.
        max_detections: how many predictions of a photo and category count, the best first.

    Returns:
        The ten COCO numbers of each range. Photos without labelled persons are in none.
    """
    image_ids, crowding = crowd_index(truth)
    numbers = {}
    for name, (low, high) in crowding_ranges.items():
        chosen = image_ids[(crowding <= high) & ((crowding > low) | (low == 0))]
        numbers[name] = average_precision(
            *select_images(detections, truth, chosen), sigmas, max_detections=max_detections
        )
    return numbers


def crowd_index(truth: GroundTruth) -> tuple[Indices, Floats]:
    """Tell how crowded each photo is: the mean over its persons of others' keypoints in the box / own keypoints in the box.

    Source: J. Li et al., CrowdPose: Efficient Crowded Scenes Pose Estimation and a New Benchmark, CVPR 2019.

    Args:
        truth: M annotated persons, and all photos.

    Returns:
        The ids of the photos with labelled persons, and their indices from 0, capped at 1.
    """
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


def select_images(detections: Detections, truth: GroundTruth, image_ids: Indices) -> tuple[Detections, GroundTruth]:
    """Keep the predictions and the annotations of some photos.

    Args:
        detections: N predictions.
        truth: M annotated persons, and all photos.
        image_ids: of the photos to keep.
    """
    found, there = np.isin(detections.image_ids, image_ids), np.isin(truth.object_image_ids, image_ids)
    people = {name: values[there] for name, values in vars(truth).items() if name != "image_ids"}
    return (
        Detections(**{name: values[found] for name, values in vars(detections).items()}),
        GroundTruth(image_ids=truth.image_ids[np.isin(truth.image_ids, image_ids)], **people),
    )
