"""What the OKS metrics ask of their ground truth."""

import numpy as np
import pytest
from keypoint_oracle import poses_from_coco, random_case, truth_from_coco

from hrpose.metrics import KeypointAveragePrecision


def test_target_is_given_exactly_once() -> None:
    annotations, _, sigmas = random_case(0, num_keypoints=2)
    item = {"keypoints": np.ones((1, 2, 2)), "scores": [0.5]}
    with pytest.raises(ValueError, match=r"`target`.*`ground_truth`"):
        KeypointAveragePrecision(sigmas).update([item])
    with pytest.raises(ValueError, match="but got both"):
        KeypointAveragePrecision(sigmas, ground_truth=truth_from_coco(annotations, 2)).update([item], [{}])


def test_poses_need_a_ground_truth() -> None:
    _, results, sigmas = random_case(0, num_keypoints=2)
    with pytest.raises(ValueError, match="`ground_truth`"):
        KeypointAveragePrecision(sigmas).update_poses(poses_from_coco(results, 2))


def test_predictions_of_known_ground_truth_need_their_image() -> None:
    annotations, _, sigmas = random_case(0, num_keypoints=2)
    metric = KeypointAveragePrecision(sigmas, ground_truth=truth_from_coco(annotations, 2))
    metric.update([{"keypoints": np.ones((1, 2, 2)), "scores": [0.5]}])
    with pytest.raises(ValueError, match="`image_id`"):
        metric.compute()


def test_poses_have_the_only_category_of_the_ground_truth() -> None:
    annotations, results, sigmas = random_case(0, num_keypoints=2)
    for row in [*annotations["annotations"], *results]:
        row["category_id"] = 5
    metric = KeypointAveragePrecision(sigmas, ground_truth=truth_from_coco(annotations, 2))
    metric.update_poses(poses_from_coco(results, 2))
    assert {row["category_id"] for row in metric.results()} == {5}
    assert {row["category_id"] for row in metric.results(category_id=1)} == {1}


def test_faulty_sigmas_and_ground_truth_are_refused_at_construction() -> None:
    annotations, _, sigmas = random_case(0, num_keypoints=2)
    with pytest.raises(ValueError, match="`ground_truth` to have 3 keypoints"):
        KeypointAveragePrecision([0.1, 0.1, 0.1], ground_truth=truth_from_coco(annotations, 2))
    with pytest.raises(ValueError, match="Unexpected keyword arguments: `sigma`"):
        KeypointAveragePrecision(sigmas, sigma=3)
