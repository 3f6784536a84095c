"""The OKS metrics as classes: the same bits as the reference for every form of input."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from keypoint_oracle import coco_numbers, contradict, image_dicts, numbers, poses_from_coco, random_case, truth_from_coco
from process_group import run_processes
from torchmetrics import MetricCollection

from hrpose.metrics import KeypointAveragePrecision, ObjectKeypointSimilarity
from hrpose.metrics.functional import oks_matrix, rescore
from hrpose.skeletons import COCO
from hrpose.structures import GroundTruth, Poses


def golden_metric(golden: Any, **kwargs: Any) -> KeypointAveragePrecision:
    names = ("image_ids", "object_image_ids", "instance_ids")
    truth = GroundTruth(
        *(golden[name].astype(np.int64) for name in names),
        np.ones(len(golden["area"]), dtype=np.int64),
        *(golden[name] for name in ("keypoints", "visibility", "bbox", "area", "iscrowd")),
    )
    return KeypointAveragePrecision(COCO.sigmas, ground_truth=truth, **kwargs)


@pytest.mark.parametrize(
    ("name", "threshold", "soft", "confident"), [("hard", 0.9, False, 0.2), ("soft", 0.9, True, 0.2), ("strict", 0.5, False, 0.0)]
)
def test_tail_of_the_official_validation(golden_dir: Path, name: str, threshold: float, soft: bool, confident: float) -> None:
    golden = np.load(golden_dir / "evaluate.npz")
    preds, boxes = golden["preds"], golden["boxes"]
    scores = rescore(boxes[:, 5], preds[..., 2], threshold=confident)
    poses = Poses(
        preds[..., :2].astype(np.float64), preds[..., 2], scores, boxes[:, 5].astype(np.float32),
        boxes[:, :2], boxes[:, 2:4] * 200, golden["pred_image_ids"].astype(np.int64), np.arange(len(preds)),
    )  # fmt: skip
    metric = golden_metric(golden, oks_nms_threshold=threshold, soft_nms=soft)
    metric.update_poses(poses)

    assert numbers(metric) == golden[f"{name}_stats"].tolist()
    got = sorted((row["image_id"], -row["score"], *row["keypoints"], *row["center"], *row["scale"]) for row in metric.results())
    chosen = poses[golden[f"{name}_rows"]]
    wanted = sorted(
        (row["image_id"], -score, *row["keypoints"], *row["center"], *row["scale"])
        for row, score in zip(chosen.to_coco(), golden[f"{name}_scores"].tolist(), strict=True)
    )
    assert got == wanted


@pytest.mark.parametrize("seed", range(6))
def test_dicts_give_the_reference_bits(seed: int) -> None:
    annotations, results, sigmas = random_case(seed, num_keypoints=5, num_categories=3)
    annotations = contradict(annotations, seed)
    metric = KeypointAveragePrecision(sigmas)
    preds, target = image_dicts(annotations, results, 5)
    metric.update(preds[:2], target[:2])
    metric.update(preds[2:], target[2:])
    assert numbers(metric) == coco_numbers(annotations, results, sigmas)


def test_boxes_of_predictions_give_their_areas() -> None:
    annotations, results, sigmas = random_case(7, num_keypoints=5)
    for position, row in enumerate(results):
        row["bbox"] = [0.0, 0.0, 20.0 + position, 90.0]
    metric = KeypointAveragePrecision(sigmas)
    preds, target = image_dicts(annotations, results, 5)
    for image, image_id in zip(preds, sorted(image["id"] for image in annotations["images"]), strict=True):
        boxes = [row["bbox"] for row in results if row["image_id"] == image_id]
        image["boxes"] = torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4)
        image["image_id"] = image_id
    metric.update(preds, target)
    wanted = coco_numbers(annotations, results, sigmas)
    assert numbers(metric) == wanted
    assert coco_numbers(annotations, metric.results(category_id=1), sigmas) == wanted


@pytest.mark.parametrize("threshold", [None, 0.5])
def test_results_evaluate_to_the_same_bits(threshold: float | None) -> None:
    annotations, results, sigmas = random_case(11, num_keypoints=8)
    metric = KeypointAveragePrecision(sigmas, ground_truth=truth_from_coco(annotations, 8), oks_nms_threshold=threshold)
    metric.update_poses(poses_from_coco(results, 8))
    rows = json.loads(json.dumps(metric.results()))
    assert coco_numbers(annotations, rows, sigmas) == numbers(metric)
    assert (len(rows) < len(results)) == (threshold is not None)


def test_the_order_of_updates_does_not_matter_with_distinct_scores() -> None:
    annotations, results, sigmas = random_case(3, num_keypoints=8, distinct=True)
    poses = poses_from_coco(results, 8)
    wanted = coco_numbers(annotations, results, sigmas)
    for seed in range(3):
        metric = KeypointAveragePrecision(sigmas, ground_truth=truth_from_coco(annotations, 8))
        for part in np.array_split(np.random.default_rng(seed).permutation(len(poses)), 4):
            metric.update_poses(poses[part])
        assert numbers(metric) == wanted


def test_equal_scores_are_ordered_by_image_and_instance_id() -> None:
    annotations, results, sigmas = random_case(19, num_keypoints=3)
    for row in results:
        row["score"] = 0.5
    results.sort(key=lambda row: row["image_id"])
    poses = poses_from_coco(results, 3)
    metric = KeypointAveragePrecision(sigmas, ground_truth=truth_from_coco(annotations, 3))
    metric.update_poses(poses[np.random.default_rng(0).permutation(len(poses))])
    assert numbers(metric) == coco_numbers(annotations, results, sigmas)


@pytest.mark.parametrize("first", [2**53 - 3, 2**63 - 100, -(2**63), -(2**53) - 2])
def test_large_image_ids_are_exact(first: int) -> None:
    annotations, results, sigmas = random_case(8, num_keypoints=5)
    expected = coco_numbers(annotations, results, sigmas)
    for row in annotations["images"]:
        row["id"] = first + row["id"] // 7
    for row in [*annotations["annotations"], *results]:
        row["image_id"] = first + row["image_id"] // 7
    metric = KeypointAveragePrecision(sigmas, ground_truth=truth_from_coco(annotations, 5))
    poses = poses_from_coco(results, 5)
    metric.update_poses(poses)
    assert numbers(metric) == expected
    assert sorted(row["image_id"] for row in metric.results()) == sorted(poses.image_ids.tolist())
    with pytest.raises(ValueError, match=r"image_ids.*float64"):
        metric.update_poses(replace(poses, image_ids=poses.image_ids.astype(np.float64)))


def test_duplicate_instances_count_once() -> None:
    annotations, results, sigmas = random_case(5, num_keypoints=8)
    annotations = contradict(annotations, 5)
    poses = poses_from_coco(results, 8)
    metric = KeypointAveragePrecision(sigmas, ground_truth=truth_from_coco(annotations, 8))
    metric.update_poses(poses)
    metric.update_poses(poses[:7])
    assert len(metric.results()) == len(results)
    assert numbers(metric) == coco_numbers(annotations, results, sigmas)


def test_duplicate_images_with_ids_count_once() -> None:
    annotations, results, sigmas = random_case(5, num_keypoints=5)
    preds, target = image_dicts(annotations, results, 5)
    for image, there in zip(preds, sorted(image["id"] for image in annotations["images"]), strict=True):
        image["image_id"] = torch.tensor(there)
    metric = KeypointAveragePrecision(sigmas)
    metric.update(preds[::-1], target[::-1])
    metric.update(preds[:2], target[:2])
    assert numbers(metric) == coco_numbers(annotations, results, sigmas)


def test_one_image_may_be_spread_over_updates() -> None:
    annotations, results, sigmas = random_case(8, num_keypoints=5)
    metric = KeypointAveragePrecision(sigmas, ground_truth=truth_from_coco(annotations, 5))
    for position, row in enumerate(results):
        keypoints = torch.tensor(row["keypoints"], dtype=torch.float64).reshape(1, 5, 3)
        item = {"keypoints": keypoints, "scores": [row["score"]], "labels": [1], "ids": [position]}
        metric.update([{**item, "image_id": row["image_id"]}])
    assert numbers(metric) == coco_numbers(annotations, results, sigmas)


def test_ground_truth_as_predictions_is_one() -> None:
    rng = np.random.default_rng(0)
    side = rng.uniform(40, 200, 30)
    keypoints = rng.uniform(0, 1, (30, 17, 2)) * side[:, None, None]
    whole = np.full((30, 17), 2, dtype=np.uint8)
    ids, image_ids = np.arange(30), np.arange(30) // 3
    truth = GroundTruth(
        np.arange(10), image_ids, ids, np.ones(30, np.int64), keypoints, whole, np.zeros((30, 4)), side**2, np.zeros(30, bool)
    )
    heights = np.ones((30, 17), dtype=np.float32)
    poses = Poses(keypoints, heights, np.ones(30), heights[:, 0], np.zeros((30, 2)), np.ones((30, 2)), image_ids, ids)
    metric = KeypointAveragePrecision(COCO.sigmas, ground_truth=truth)
    metric.update_poses(poses)
    assert set(numbers(metric)) == {1.0}


def test_works_in_a_collection_and_draws_itself() -> None:
    annotations, results, sigmas = random_case(2, num_keypoints=5)
    both = MetricCollection({"ap": KeypointAveragePrecision(sigmas), "oks": ObjectKeypointSimilarity(sigmas)})
    both.update(*image_dicts(annotations, results, 5))
    computed = both.compute()
    assert computed["AP"] == coco_numbers(annotations, results, sigmas)[0]
    assert 0 <= computed["oks"] <= 1
    figure, _ = both["ap"].plot()
    plt.close(figure)


def test_ap_without_annotated_instances_is_minus_one() -> None:
    metric = KeypointAveragePrecision([0.1])
    metric.update([{"keypoints": torch.zeros(1, 1, 2), "scores": torch.ones(1)}], [{"keypoints": [], "area": []}])
    assert numbers(metric) == [-1.0] * 10


def test_ap_without_predictions_is_zero() -> None:
    metric = KeypointAveragePrecision([0.1])
    metric.update([{"keypoints": [], "scores": []}], [{"keypoints": torch.ones(1, 1, 3), "area": torch.tensor([2000.0])}])
    assert metric.compute()["AP"] == 0
    assert metric.compute()["APL"] == -1
    assert metric.results() == []


def test_other_thresholds_and_area_ranges() -> None:
    metric = KeypointAveragePrecision(
        [0.1], oks_thresholds=[0.3], area_ranges={"all": (0, 1e10), "small": (0, 1024), "tiny": (0, 10)}
    )
    metric.update(
        [{"keypoints": torch.zeros(1, 1, 2), "scores": torch.ones(1)}],
        [{"keypoints": torch.ones(1, 1, 3), "area": torch.tensor([100.0])}],
    )
    numbers = metric.compute()
    assert list(numbers) == ["AP", "AP50", "AP75", "APS", "AP_tiny", "AR", "AR50", "AR75", "ARS", "AR_tiny"]
    assert numbers["AP"] > 0.99
    assert numbers["APS"] > 0.99
    assert numbers["AP50"] == numbers["AP_tiny"] == -1


@pytest.mark.data
def test_published_figures_of_the_example_results(shared_data: Path) -> None:
    folder = shared_data / "coco_eval_100"
    annotations = json.loads((folder / "person_keypoints_val2014_100_rebuilt.json").read_text())
    results = json.loads((folder / "person_keypoints_val2014_fakekeypoints100_results.json").read_text())
    metric = KeypointAveragePrecision(COCO.sigmas, ground_truth=truth_from_coco(annotations))
    metric.update_poses(poses_from_coco(results))
    assert numbers(metric) == coco_numbers(annotations, results, COCO.sigmas)
    published = [0.372, 0.636, 0.348, 0.384, 0.386, 0.514, 0.734, 0.504, 0.508, 0.522]
    assert [round(value, 3) for value in numbers(metric)] == published


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sigmas": []}, "`sigmas`"),
        ({"sigmas": [0.1, -0.1]}, "`sigmas` to be positive"),
        ({"oks_nms_threshold": 1.5}, r"`oks_nms_threshold`.*0, 1.*1.5"),
        ({"soft_nms": True}, r"`oks_nms_threshold`.*`soft_nms`"),
        ({"max_detections": 0}, r"`max_detections`.*0"),
        ({"oks_thresholds": [0.0]}, "`oks_thresholds` to be numbers"),
        ({"area_ranges": {"all": (2, 1)}}, "`area_ranges` to map names"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KeypointAveragePrecision(**{"sigmas": [0.1], **arguments})


def test_predictions_without_keypoint_scores_can_be_left_out() -> None:
    there = {"keypoints": torch.tensor([[[10.0, 10.0, 2.0]]]), "area": torch.tensor([1000.0])}
    found = {"keypoints": torch.tensor([[[10.0, 10.0, 0.0]], [[10.0, 10.0, 0.5]]]), "scores": torch.tensor([0.9, 0.8])}
    kept = []
    for left_out in (False, True):
        metric = KeypointAveragePrecision([0.05], leave_out_unscored=left_out)
        metric.update([found], [there])
        kept.append([row["score"] for row in metric.results()])
    assert kept == [pytest.approx([0.9, 0.8]), pytest.approx([0.8])]


def test_logged_numbers_are_those_of_compute_and_pixel_errors() -> None:
    metric = KeypointAveragePrecision([0.05, 0.05])
    there = {"keypoints": torch.tensor([[[10.0, 10.0, 2.0], [20.0, 50.0, 2.0]]]), "area": torch.tensor([1000.0])}
    there["boxes"] = torch.tensor([[0.0, 0.0, 30.0, 60.0]])
    metric.update([{"keypoints": torch.tensor([[[10.0, 13.0], [20.0, 60.0]]]), "scores": torch.tensor([0.9])}], [there])
    logged, numbers = metric.logged(), metric.compute()
    assert {name: logged[name] for name in numbers} == numbers
    distances = {"pixel_error": 6.5, "pixel_error_median": 6.5, "PCK@0.05": 0.5, "PCK@0.1": 0.5, "PCK@0.2": 1.0}
    assert {name: logged[name].item() for name in logged if name not in numbers} == distances


def test_the_area_of_a_prediction_is_that_of_its_first_keypoints() -> None:
    """An unmatched pose outside of an area range is ignored; its distant hand would make its area large."""
    there = {"keypoints": torch.tensor([[[50.0, 50.0, 2.0], [90.0, 90.0, 2.0], [90.0, 90.0, 2.0]]])}
    there["area"] = torch.tensor([2000.0])
    poses = torch.tensor([[[50.0, 50.0], [90.0, 90.0], [90.0, 90.0]], [[300.0, 300.0], [340.0, 340.0], [900.0, 900.0]]])
    apm = []
    for number in (None, 2):
        metric = KeypointAveragePrecision([0.05] * 3, area_keypoints=number)
        metric.update([{"keypoints": poses, "scores": torch.tensor([0.8, 0.9])}], [there])
        apm.append(metric.compute()["APM"].item())
    assert apm == [pytest.approx(1.0), pytest.approx(0.5)]


def test_mean_oks_of_matched_instances_by_hand() -> None:
    metric = ObjectKeypointSimilarity([0.05])
    preds = [{"keypoints": np.array([[[2.0, 0.0]], [[50.0, 0.0]], [[51.0, 0.0]]]), "scores": [0.9, 0.8, 0.7]}]
    target = [{"keypoints": np.array([[[0.0, 0.0, 2.0]], [[50.0, 0.0, 2.0]]]), "area": [400.0, 400.0]}]
    metric.update(preds, target)
    assert metric.compute().item() == pytest.approx((np.exp(-0.5) + 1) / 2, rel=1e-12)


def test_crowds_and_instances_without_keypoints_do_not_count_in_mean_oks() -> None:
    metric = ObjectKeypointSimilarity([0.05])
    target = {"keypoints": np.array([[[0.0, 0.0, 2.0]], [[9.0, 0.0, 0.0]]]), "area": [400.0, 400.0], "iscrowd": [1, 0]}
    metric.update([{"keypoints": np.zeros((2, 1, 2)), "scores": [0.9, 0.8]}], [{**target, "boxes": np.zeros((2, 4))}])
    assert metric.compute() == -1


def test_a_single_pose_is_compared_with_the_instance_of_highest_oks() -> None:
    annotations, results, sigmas = random_case(0, num_keypoints=3, num_images=1)
    truth = truth_from_coco(annotations, 3)
    metric = ObjectKeypointSimilarity(sigmas, ground_truth=truth)
    poses = poses_from_coco(results, 3)[:1]
    metric.update_poses(poses)
    counted = (truth.visibility > 0).any(axis=1) & ~truth.iscrowd
    assert metric.compute() == oks_matrix(poses.keypoints, truth, sigmas)[0, counted].max()


def test_mean_oks_is_equal_bit_for_bit_on_several_processes(tmp_path: Path) -> None:
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
