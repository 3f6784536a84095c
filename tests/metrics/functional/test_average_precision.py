"""AP against the reference, bit for bit."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keypoint_oracle import coco_numbers, contradict, detections_from_coco, random_case, truth_from_coco

from hrpose.metrics.functional import Detections, average_precision
from hrpose.skeletons import COCO


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_keypoints=st.sampled_from([1, 2, 3, 7, 8, 9, 14, 17, 21, 68, 133]),
    num_images=st.integers(1, 9),
    num_categories=st.integers(1, 3),
    distinct=st.booleans(),
    contradicting=st.booleans(),
)
def test_random_cases_equal_the_reference(
    seed: int, num_keypoints: int, num_images: int, num_categories: int, distinct: bool, contradicting: bool
) -> None:
    annotations, results, sigmas = random_case(
        seed, num_keypoints=num_keypoints, num_images=num_images, num_categories=num_categories, distinct=distinct
    )
    if contradicting:
        annotations = contradict(annotations, seed)
    got = average_precision(detections_from_coco(results, num_keypoints), truth_from_coco(annotations, num_keypoints), sigmas)
    assert list(got.values()) == coco_numbers(annotations, results, sigmas)


def test_names_are_in_the_order_of_coco() -> None:
    annotations, results, sigmas = random_case(0, num_keypoints=2)
    names = list(average_precision(detections_from_coco(results, 2), truth_from_coco(annotations, 2), sigmas))
    assert names == ["AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL"]


@pytest.mark.data
def test_real_predictions_equal_the_reference(shared_data: Path) -> None:
    results = json.loads((shared_data / "simplepose" / "ultralight_simplepose_val2017_keypoints_results.json").read_text())
    everyone = json.loads((shared_data / "coco_labels_2017" / "person_keypoints_val2017_recovered.json").read_text())
    chosen = {row["image_id"] for row in results}
    annotations = {
        "images": [image for image in everyone["images"] if image["id"] in chosen],
        "annotations": [row for row in everyone["annotations"] if row["image_id"] in chosen],
        "categories": everyone["categories"],
    }
    known = {image["id"] for image in annotations["images"]}
    results = [row for row in results if row["image_id"] in known]
    got = average_precision(detections_from_coco(results), truth_from_coco(annotations), COCO.sigmas)
    assert list(got.values()) == coco_numbers(annotations, results, COCO.sigmas)
    assert got["AP"] > 0.4


@pytest.mark.data
@pytest.mark.slow
def test_val2017_with_synthetic_detections_equals_the_reference(shared_data: Path) -> None:
    annotations = json.loads((shared_data / "coco_labels_2017" / "person_keypoints_val2017_recovered.json").read_text())
    truth, rng = truth_from_coco(annotations), np.random.default_rng(0)
    source = rng.integers(0, len(truth), 100_000)
    spread = np.sqrt(truth.area[source])[:, None] * np.array(COCO.sigmas) * rng.exponential(1.5, (len(source), 1))
    keypoints = truth.keypoints[source] + rng.normal(size=(len(source), 17, 2)) * spread[..., None]
    triplets = np.concatenate([keypoints, np.ones((*keypoints.shape[:2], 1))], axis=2).reshape(len(source), -1).tolist()
    scores = np.round(rng.random(len(source)), 4).tolist()
    results = [
        {"image_id": image_id, "category_id": 1, "keypoints": pose, "score": score}
        for image_id, pose, score in zip(truth.object_image_ids[source].tolist(), triplets, scores, strict=True)
    ]
    results.sort(key=lambda row: row["image_id"])
    got = average_precision(detections_from_coco(results), truth, COCO.sigmas)
    assert list(got.values()) == coco_numbers(annotations, results, COCO.sigmas)


def test_no_predictions_give_an_ap_of_zero() -> None:
    annotations, _, sigmas = random_case(1, num_keypoints=2)
    none = np.zeros(0, dtype=np.int64)
    numbers = average_precision(
        Detections(none, none, np.zeros((0, 2, 2)), np.zeros(0), np.zeros(0)), truth_from_coco(annotations, 2), sigmas
    )
    assert set(numbers.values()) <= {0.0, -1.0}
    assert numbers["AP"] == 0.0
