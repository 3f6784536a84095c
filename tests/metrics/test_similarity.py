"""Mean OKS of matched persons."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keypoint_oracle import poses_from_coco, random_case, truth_from_coco
from process_group import run_processes

from hrpose.metrics import ObjectKeypointSimilarity
from hrpose.metrics.functional import oks_matrix


def test_mean_over_matched_persons_by_hand() -> None:
    metric = ObjectKeypointSimilarity([0.05])
    preds = [{"keypoints": np.array([[[2.0, 0.0]], [[50.0, 0.0]], [[51.0, 0.0]]]), "scores": [0.9, 0.8, 0.7]}]
    target = [{"keypoints": np.array([[[0.0, 0.0, 2.0]], [[50.0, 0.0, 2.0]]]), "area": [400.0, 400.0]}]
    metric.update(preds, target)
    assert metric.compute().item() == pytest.approx((np.exp(-0.5) + 1) / 2, rel=1e-12)


def test_crowds_and_people_without_keypoints_do_not_count() -> None:
    metric = ObjectKeypointSimilarity([0.05])
    target = {"keypoints": np.array([[[0.0, 0.0, 2.0]], [[9.0, 0.0, 0.0]]]), "area": [400.0, 400.0], "iscrowd": [1, 0]}
    metric.update([{"keypoints": np.zeros((2, 1, 2)), "scores": [0.9, 0.8]}], [{**target, "boxes": np.zeros((2, 4))}])
    assert metric.compute() == -1


def test_poses_of_one_person_an_image_are_compared_with_that_person() -> None:
    annotations, results, sigmas = random_case(0, num_keypoints=3, num_images=1)
    truth = truth_from_coco(annotations, 3)
    metric = ObjectKeypointSimilarity(sigmas, ground_truth=truth)
    poses = poses_from_coco(results, 3)[:1]
    metric.update_poses(poses)
    counted = (truth.visibility > 0).any(axis=1) & ~truth.iscrowd
    assert metric.compute() == oks_matrix(poses.keypoints, truth, sigmas)[0, counted].max()


def test_several_processes_give_the_bits_of_one(tmp_path: Path) -> None:
    annotations, results, sigmas = random_case(3, num_keypoints=3)
    poses, truth = poses_from_coco(results, 3), truth_from_coco(annotations, 3)

    def work(rank: int, size: int) -> Any:
        metric = ObjectKeypointSimilarity(sigmas, ground_truth=truth)
        if rank:
            metric.update_poses(poses[rank - 1 :: size - 1])
        return metric.compute().item()

    one = ObjectKeypointSimilarity(sigmas, ground_truth=truth)
    one.update_poses(poses)
    assert run_processes(3, work, tmp_path) == [one.compute().item()] * 3
