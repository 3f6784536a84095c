"""AP of parts of the annotations: each equals the plain evaluation of that part."""

from dataclasses import replace

import numpy as np
import pytest
from keypoint_oracle import coco_numbers, detections_from_coco, random_case, truth_from_coco

from hrpose.metrics.functional import average_precision
from hrpose.metrics.functional.breakdown import (
    average_precision_by_crowding,
    average_precision_by_part,
    average_precision_by_visibility,
    average_precision_per_keypoint,
    crowd_index,
    images_by_crowding,
    select_images,
)
from hrpose.structures import GroundTruth


def test_per_keypoint_equals_the_reference_on_that_keypoint() -> None:
    annotations, results, sigmas = random_case(5, num_keypoints=3)
    got = average_precision_per_keypoint(detections_from_coco(results, 3), truth_from_coco(annotations, 3), sigmas)
    for keypoint in range(3):
        part = slice(3 * keypoint, 3 * keypoint + 3)
        people = [
            {**row, "keypoints": row["keypoints"][part], "num_keypoints": int(row["keypoints"][part][2] > 0)}
            for row in annotations["annotations"]
        ]
        found = [{**row, "keypoints": row["keypoints"][part]} for row in results]
        assert got[keypoint] == coco_numbers({**annotations, "annotations": people}, found, sigmas[keypoint : keypoint + 1])[0]


def test_by_visibility_counts_only_that_kind() -> None:
    annotations, results, sigmas = random_case(5, num_keypoints=4)
    truth, detections = truth_from_coco(annotations, 4), detections_from_coco(results, 4)
    numbers = average_precision_by_visibility(detections, truth, sigmas)
    visible = np.where(truth.visibility == 1, 0, truth.visibility).astype(np.uint8)
    assert numbers["visible"] == average_precision(detections, replace(truth, visibility=visible, num_keypoints=None), sigmas)
    assert set(numbers) == {"visible", "occluded"}


def two_people(distance: float) -> GroundTruth:
    """One image, two persons of four keypoints in the corners of boxes of 10 px."""
    corners = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])
    ones = np.ones(2, dtype=np.int64)
    boxes = np.array([[0.0, 0.0, 10.0, 10.0], [distance, 0.0, 10.0, 10.0]])
    people = np.stack([corners, corners + np.array([distance, 0])])
    return GroundTruth(
        np.array([1, 2]), ones, np.arange(2), ones, people, np.full((2, 4), 2, np.uint8),
        boxes, np.full(2, 100.0), np.zeros(2, dtype=bool),
    )  # fmt: skip


@pytest.mark.parametrize(("distance", "index"), [(100.0, 0.0), (5.0, 0.5), (0.0, 1.0)])
def test_crowd_index_by_hand(distance: float, index: float) -> None:
    image_ids, crowding = crowd_index(two_people(distance))
    assert image_ids.tolist() == [1]
    assert crowding.tolist() == [index]


def test_by_crowding_evaluates_the_images_of_a_range() -> None:
    annotations, results, sigmas = random_case(9, num_keypoints=4, num_images=8)
    truth, detections = truth_from_coco(annotations, 4), detections_from_coco(results, 4)
    numbers = average_precision_by_crowding(detections, truth, sigmas)
    image_ids, crowding = crowd_index(truth)
    for name, chosen in (("easy", crowding < 0.2), ("medium", (crowding >= 0.2) & (crowding < 0.8)), ("hard", crowding >= 0.8)):
        assert numbers[name] == average_precision(*select_images(detections, truth, image_ids[chosen]), sigmas)


def test_stated_crowd_indices_are_used_for_all_images() -> None:
    truth = replace(two_people(5.0), crowd_index=np.array([0.2, 0.8]))
    image_ids, crowding = crowd_index(truth)
    assert (image_ids.tolist(), crowding.tolist()) == ([1, 2], [0.2, 0.8])
    parted = {name: ids.tolist() for name, ids in images_by_crowding(truth).items()}
    assert parted == {"easy": [], "medium": [1], "hard": [2]}  # a border belongs to the harder range
    nothing = detections_from_coco([], 4)
    _, kept = select_images(nothing, truth, np.array([2]))
    assert (kept.image_ids.tolist(), kept.crowd_index.tolist(), len(kept)) == ([2], [0.8], 0)
    most = images_by_crowding(replace(truth, crowd_index=np.array([1.0, 1.0])))
    assert most["hard"].tolist() == [1, 2]


def test_by_part_equals_the_reference_on_those_keypoints() -> None:
    annotations, results, sigmas = random_case(5, num_keypoints=5)
    parts = {"ends": [0, 4], "middle": [1, 2, 3]}
    got = average_precision_by_part(detections_from_coco(results, 5), truth_from_coco(annotations, 5), sigmas, parts=parts)
    for name, indices in parts.items():

        def part(row: dict, indices: list[int] = indices) -> dict:
            triplets = np.reshape(row["keypoints"], (5, 3))
            low, high = triplets[:, :2].min(axis=0), triplets[:, :2].max(axis=0)
            kept = triplets[indices]
            box = [*low.tolist(), *(high - low).tolist()]
            labelled = int((kept[:, 2] > 0).sum())
            return {"bbox": box, **row, "keypoints": kept.ravel().tolist(), "num_keypoints": labelled}

        people = {**annotations, "annotations": [part(row) for row in annotations["annotations"]]}
        assert list(got[name].values()) == coco_numbers(people, [part(row) for row in results], sigmas[indices])
