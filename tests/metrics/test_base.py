"""The base classes: ground truth of the OKS metrics, state as tables on several processes, the protocol of a pose metric."""

import inspect
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from keypoint_oracle import coco_numbers, image_dicts, numbers, poses_from_coco, random_case, truth_from_coco
from process_group import run_processes

from hrpose.metrics import KeypointAveragePrecision, PCKh, PoseMetric


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


def test_invalid_sigmas_and_ground_truth_are_refused_at_construction() -> None:
    annotations, _, sigmas = random_case(0, num_keypoints=2)
    with pytest.raises(ValueError, match="`ground_truth` to have 3 keypoints"):
        KeypointAveragePrecision([0.1, 0.1, 0.1], ground_truth=truth_from_coco(annotations, 2))
    with pytest.raises(TypeError, match="sigma"):
        KeypointAveragePrecision(sigmas, sigma=3)


def test_forward_returns_the_value_of_the_batch_and_updates_the_state() -> None:
    annotations, results, sigmas = random_case(2, num_keypoints=5)
    preds, target = image_dicts(annotations, results, 5)
    metric, alone = KeypointAveragePrecision(sigmas), KeypointAveragePrecision(sigmas)
    for image in range(len(preds)):
        batch = metric(preds[image : image + 1], target[image : image + 1])
        alone.reset()
        alone.update(preds[image : image + 1], target[image : image + 1])
        assert batch == alone.compute()
    assert numbers(metric) == coco_numbers(annotations, results, sigmas)


def test_forward_takes_poses() -> None:
    annotations, results, sigmas = random_case(2, num_keypoints=5)
    metric = KeypointAveragePrecision(sigmas, ground_truth=truth_from_coco(annotations, 5))
    poses = poses_from_coco(results, 5)
    metric(poses[:3])
    batch = metric(poses[3:])
    assert batch != metric.compute()
    assert numbers(metric) == coco_numbers(annotations, results, sigmas)


def test_reset_clears_the_state() -> None:
    annotations, results, sigmas = random_case(2, num_keypoints=5)
    preds, target = image_dicts(annotations, results, 5)
    metric = KeypointAveragePrecision(sigmas)
    metric.update(preds, target)
    metric.compute()
    metric.reset()
    metric.update(preds[:3], target[:3])
    fresh = KeypointAveragePrecision(sigmas)
    fresh.update(preds[:3], target[:3])
    assert numbers(metric) == numbers(fresh)


def test_pickled_cloned_cast_and_moved_metrics_keep_their_bits() -> None:
    annotations, results, sigmas = random_case(2, num_keypoints=5)
    preds, target = image_dicts(annotations, results, 5)
    metric = KeypointAveragePrecision(sigmas)
    metric.update(preds, target)
    wanted = numbers(metric)
    copy = pickle.loads(pickle.dumps(metric)).clone()
    for cast in (copy.half(), copy.to(torch.bfloat16), copy.to("cpu"), copy.double()):
        assert numbers(cast) == wanted
    assert {state.dtype for state in copy.prediction_rows} == {torch.float64}


def test_saved_state_is_restored() -> None:
    annotations, results, sigmas = random_case(2, num_keypoints=5)
    metric = KeypointAveragePrecision(sigmas)
    metric.update(*image_dicts(annotations, results, 5))
    metric.persistent(True)
    other = KeypointAveragePrecision(sigmas)
    other.load_state_dict(metric.state_dict())
    assert other.results() == metric.results()


def test_merged_states_equal_one_state() -> None:
    annotations, results, sigmas = random_case(2, num_keypoints=5, distinct=True)
    preds, target = image_dicts(annotations, results, 5)
    one, other = KeypointAveragePrecision(sigmas), KeypointAveragePrecision(sigmas)
    one.update(preds[:2], target[:2])
    one.compute()
    other.update(preds[2:], target[2:])
    one.merge_state(other)
    assert numbers(one) == coco_numbers(annotations, results, sigmas)
    fresh = KeypointAveragePrecision(sigmas)
    fresh.merge_state(one)
    assert numbers(fresh) == numbers(one)


@pytest.mark.parametrize("number", [2, 3, 4])
def test_several_processes_give_the_same_bits_as_one(number: int, tmp_path: Path) -> None:
    annotations, results, sigmas = random_case(23, num_keypoints=5)
    results.sort(key=lambda row: row["image_id"])
    poses, truth = poses_from_coco(results, 5), truth_from_coco(annotations, 5)

    def work(rank: int, size: int) -> Any:
        metric = KeypointAveragePrecision(sigmas, ground_truth=truth, oks_nms_threshold=0.9)
        rows = np.arange(len(poses)) % (size - 1) if size > 2 else (np.arange(len(poses)) > 5).astype(int)
        mine = np.concatenate([np.flatnonzero(rows == rank), [0, 1]]) if (rows == rank).any() else np.zeros(0, dtype=int)
        for part in np.array_split(mine, 1 + rank):  # the last of three or four processes holds nothing
            if len(part):
                metric.update_poses(poses[part])
        local = len(metric.prediction_rows)
        computed, rows_out, logged = numbers(metric), metric.results(), metric.logged()
        assert len(metric.prediction_rows) == local
        metric.reset()
        metric.update_poses(poses[:0])
        again = numbers(metric)
        return computed, rows_out, logged, again

    one = KeypointAveragePrecision(sigmas, ground_truth=truth, oks_nms_threshold=0.9)
    one.update_poses(poses)
    for computed, rows_out, logged, again in run_processes(number, work, tmp_path):
        assert computed == numbers(one)
        assert rows_out == one.results()
        assert logged == one.logged()
        assert 0 < logged["PCK@0.2"] < 1
        assert again[0] == 0


def test_dicts_in_several_processes(tmp_path: Path) -> None:
    annotations, results, sigmas = random_case(23, num_keypoints=5, distinct=True)
    preds, target = image_dicts(annotations, results, 5)

    def work(rank: int, size: int) -> Any:
        metric = KeypointAveragePrecision(sigmas)
        stepwise = KeypointAveragePrecision(sigmas, dist_sync_on_step=True)
        local = KeypointAveragePrecision(sigmas, sync_on_compute=False)
        share = (preds[:1], target[:1]) if rank == 0 else (preds[1:], target[1:])
        metric.update(*share)
        local.update(*share)
        batch = stepwise(*share)
        metric.sync()
        synced = len(metric.results())
        metric.unsync()
        return numbers(metric), [value.item() for value in batch.values()], numbers(stepwise), synced, numbers(local)

    wanted = coco_numbers(annotations, results, sigmas)
    outcomes = run_processes(2, work, tmp_path)
    for computed, batch, stepwise, synced, _ in outcomes:
        assert computed == batch == stepwise == wanted
        assert synced == len(results)
    alone = KeypointAveragePrecision(sigmas)
    alone.update(preds[:1], target[:1])
    assert outcomes[0][4] == numbers(alone)


@pytest.mark.gpu
def test_moves_to_the_device_and_back() -> None:
    annotations, results, sigmas = random_case(2, num_keypoints=5)
    preds, target = image_dicts(annotations, results, 5)
    metric = KeypointAveragePrecision(sigmas)
    metric.update(preds[:3], target[:3])
    metric.to("cuda")
    metric.update([{name: value.cuda() for name, value in image.items()} for image in preds[3:]], target[3:])
    assert metric.compute()["AP"].is_cuda
    assert numbers(metric) == numbers(metric.to("cpu")) == coco_numbers(annotations, results, sigmas)


ASKED = [name for name, value in vars(PoseMetric).items() if inspect.isfunction(value) and not name.startswith("_")]


@pytest.mark.parametrize("metric", [KeypointAveragePrecision, PCKh])
def test_a_metric_has_the_methods_that_a_module_calls(metric: type) -> None:
    assert set(ASKED) == {"update_poses", "logged", "results", "reset"}
    assert [name for name in ASKED if not callable(getattr(metric, name, None))] == []
    assert isinstance(metric.leading, str)
