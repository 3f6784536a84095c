"""Traps of the official code that no other test checks; docs/recipes.md lists all of them with their tests."""

from __future__ import annotations

import json
import re
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_coco import annotation, content, datamodule, write_dataset, write_image, write_json

from hrpose.annotations.coco import read_annotations
from hrpose.annotations.detections import read_detections
from hrpose.codecs import HeatmapCodec, heatmap_accuracy
from hrpose.config import build, compose
from hrpose.geometry import input_from_image
from hrpose.metrics import KeypointAveragePrecision
from hrpose.metrics.functional import rescore, soft_oks_nms
from hrpose.models import HRNet, SimpleBaseline, count_macs
from hrpose.module import PoseModule
from hrpose.report import FileStamp, Protocol
from hrpose.skeletons import COCO
from hrpose.structures import GroundTruth, Poses

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "recipes.md").read_text()
SMALL = HeatmapCodec(input_size=(192, 256), heatmap_size=(48, 64), sigma=2.0)
OFFICIAL = ("w32_256x192", "w48_384x288", "res50_256x192", "res152_384x288", "hourglass_8_256x192")


def rate_of(optimizer: torch.optim.Optimizer) -> float:
    return float(optimizer.param_groups[0]["lr"])


def test_trap_01_weight_decay_is_ignored_by_adam():
    for experiment in OFFICIAL:
        weight = torch.nn.Parameter(torch.ones(3))
        optimizer = build(compose("fit", [f"experiment={experiment}"]).optim)([weight])
        assert type(optimizer) is torch.optim.Adam
        weight.grad = torch.zeros(3)
        optimizer.step()
        assert torch.equal(weight, torch.ones(3))  # decay alone would have moved it


def test_trap_02_boxes_of_training_are_not_those_of_the_table():
    for experiment in OFFICIAL:
        assert list(compose("fit", [f"experiment={experiment}"]).data.val_boxes) == ["gt"]
        assert list(compose("test", [f"experiment={experiment}", "data.val_boxes=[det]"]).data.val_boxes) == ["det"]
    stamp = FileStamp("val.json", "0" * 64)
    sides = [Protocol(stamp, "person", 5000, 6352, "coco", 20, boxes=boxes) for boxes in ("ground truth", stamp)]
    (difference,) = sides[0].differences(sides[1])
    assert difference.startswith("boxes: ground truth | val.json")


@pytest.mark.parametrize(("experiment", "network"), [("w32_256x192", "hrnet"), ("res50_256x192", "resnet")])
def test_trap_04_milestones_are_epochs_done(experiment, network, golden_dir):
    golden = json.loads((golden_dir / "lr_schedule.json").read_text())[network]
    cfg = compose("fit", [f"experiment={experiment}"])
    assert cfg.schedule_interval == "epoch"
    optimizer = build(cfg.optim)([torch.nn.Parameter(torch.zeros(1))])
    schedule = build(cfg.schedule)(optimizer)
    found = []
    for _ in range(cfg.trainer.max_epochs):
        found.append(rate_of(optimizer))
        optimizer.step()
        schedule.step()  # as Lightning does, when the epoch is done
    assert found == pytest.approx(np.repeat(golden["rates"], golden["epochs_each"]).tolist())
    first, second = cfg.schedule.milestones
    assert found[first - 1] == pytest.approx(1e-3)  # the literal code has already dropped it
    assert found[second - 1] == pytest.approx(1e-4)


def test_trap_08_scores_are_rescored_and_nms_measures_by_the_padded_crop():
    scores = np.array([[0.9, 0.7, 0.2, 0.1]], np.float32)
    assert rescore([0.5], scores)[0] == pytest.approx(0.5 * 0.8)  # 0.2 itself does not count
    apart = np.zeros((2, 17, 2))
    apart[1] += 3.0
    poses = {
        "keypoints": apart, "keypoint_scores": np.ones((2, 17), np.float32), "scores": np.array([0.9, 0.8]),
        "bbox_scores": np.ones(2, np.float32), "center": np.zeros((2, 2)), "image_ids": np.ones(2, np.int64),
        "instance_ids": np.arange(2),
    }  # fmt: skip
    kept = []
    for side in (80.0, 1.25 * 80.0 * 2):  # the same two poses in a small and in a large crop
        metric = KeypointAveragePrecision(COCO.sigmas, ground_truth=persons(), oks_nms_threshold=0.9)
        metric.update_poses(Poses(**poses, scale=np.full((2, 2), side)))
        kept.append(len(metric.results()))
    assert kept == [2, 1]


def persons() -> GroundTruth:
    """An image with two labelled persons, and a third without a labelled keypoint."""
    keypoints = np.random.default_rng(0).uniform(0, 100, (3, 17, 2))
    labels = np.full((3, 17), 2, np.uint8)
    labels[2] = 0
    ids = np.ones(3, np.int64)
    boxes = np.tile([0.0, 0.0, 100.0, 100.0], (3, 1))
    return GroundTruth(ids[:1], ids, np.arange(3), ids, keypoints, labels, boxes, np.full(3, 5e3), ids < 0)


def test_trap_10_ids_come_from_the_file_and_images_have_any_name(tmp_path):
    told = content(1)
    told["images"] = [{"id": 7, "file_name": "my holiday/beach (1).jpg", "width": 90, "height": 70}]
    told["annotations"] = [annotation(0, image_id=7)]
    write_json(tmp_path / "persons.json", told)
    write_image(tmp_path / "photos/my holiday/beach (1).jpg")
    module = datamodule(tmp_path)
    module.setup("validate")
    (batch,) = list(module.val_dataloader())
    assert batch["image_ids"].tolist() == [7]


def test_trap_11_validation_computes_no_loss():
    class Refusal(torch.nn.Module):
        def forward(self, *_):
            raise AssertionError("detections have no keypoints to compare with")

    codec = HeatmapCodec(input_size=(32, 64), heatmap_size=(8, 16))
    net = HRNet(width=4, num_modules=(1, 1, 1), num_blocks=1)
    metrics = {"det": KeypointAveragePrecision(COCO.sigmas, ground_truth=persons())}
    module = PoseModule(net, codec, Refusal(), COCO, metrics=metrics).eval()
    places = {"center": torch.zeros(2, 2), "scale": torch.ones(2, 2), "image_from_input": torch.eye(2, 3).repeat(2, 1, 1)}
    names = {"image_ids": torch.ones(2).long(), "instance_ids": torch.arange(2), "bbox_scores": torch.ones(2)}
    with torch.no_grad():
        found = module.validation_step({"images": torch.zeros(2, 3, 64, 32), **places, **names}, 0)
    assert len(found["poses"]) == 2


def test_trap_12_the_training_accuracy_divides_x_by_the_height():
    target, heatmaps = torch.zeros(1, 2, 60, 40), torch.zeros(1, 2, 60, 40)
    target[0, :, 20, 20] = 1.0
    heatmaps[0, 0, 20, 20 + 2] = 1.0  # 2 / (60 / 10) is below a half, 2 / (40 / 10) would not be
    heatmaps[0, 1, 20 + 2, 20] = 1.0
    _, per_keypoint = heatmap_accuracy(heatmaps, target)
    assert per_keypoint.tolist() == [1.0, 0.0]


def test_trap_15_perfect_predictions_give_ap_one_though_unlabelled_persons_are_annotated():
    truth, ones = persons(), np.ones(2, np.float32)
    metric = KeypointAveragePrecision(COCO.sigmas, ground_truth=truth)
    crops = np.full((2, 2), 50.0), np.full((2, 2), 125.0)
    found = truth.keypoints[:2], np.ones((2, 17), np.float32), np.array([1.0, 0.9]), ones
    metric.update_poses(Poses(*found, *crops, np.ones(2, np.int64), np.arange(2)))
    assert metric.compute()["AP"] == 1.0


def test_trap_16_resnets_saw_blue_first_under_the_mean_of_red(tmp_path):
    assert compose("fit", ["experiment=w32_256x192"]).data.channel_order == "rgb"
    for experiment in ("res50_256x192", "res101_384x288", "res152_256x192"):
        assert compose("fit", [f"experiment={experiment}"]).data.channel_order == "bgr"
    folder = write_dataset(tmp_path)
    red = torch.tensor([[[[255, 0, 0]]]], dtype=torch.uint8)
    found = datamodule(folder, channel_order="bgr").normalization(red).flatten()
    want = [(0 - 0.485) / 0.229, (0 - 0.456) / 0.224, (1 - 0.406) / 0.225]  # red comes last, and the mean of red first
    np.testing.assert_allclose(found.numpy(), want, rtol=1e-5)


def test_trap_18_only_the_width_of_the_scale_matters():
    matrices = [input_from_image([50, 60], [75, height], 20, (192, 256)) for height in (100, 300)]
    np.testing.assert_array_equal(matrices[0], matrices[1])


def test_trap_23_soft_nms_orders_but_leaves_the_scores():
    poses = np.stack([np.zeros((17, 2)), np.zeros((17, 2)), np.full((17, 2), 500.0)])
    scores = np.array([0.9, 0.8, 0.3])
    assert soft_oks_nms(poses, scores, [900.0] * 3, [0] * 3, COCO.sigmas).tolist() == [0, 2, 1]
    assert scores.tolist() == [0.9, 0.8, 0.3]
    many = np.arange(30)[:, None, None] * 1e3 + np.zeros((30, 17, 2))
    assert len(soft_oks_nms(many, np.linspace(1, 0.5, 30), [900.0] * 30, [0] * 30, COCO.sigmas)) == 20


def test_trap_24_transposed_convolutions_count_once():
    with torch.device("meta"):
        net = SimpleBaseline(50)
    macs = count_macs(net, (192, 256))
    deconvs = sum(layer.weight.numel() * 6 * 8 * 4**step for step, layer in enumerate(deconvs_of(net)))
    assert macs / 2**30 == pytest.approx(5.05, abs=0.01)
    assert (macs + 3 * deconvs) / 2**30 == pytest.approx(8.99, abs=0.01)  # the authors' counter: by the cells that come out


def deconvs_of(net: torch.nn.Module) -> list[torch.nn.ConvTranspose2d]:
    return [layer for layer in net.modules() if isinstance(layer, torch.nn.ConvTranspose2d)]


def test_trap_26_boxes_of_a_detector_are_not_clipped(tmp_path):
    folder = write_dataset(tmp_path)
    write_json(folder / "far.json", [{"image_id": 1, "category_id": 1, "bbox": [-20.5, 5, 200, 300], "score": 0.0}])
    table = read_detections(folder / "far.json", read_annotations(folder / "persons.json"))
    assert table.bbox.tolist() == [[-20.5, 5, 200, 300]]


def test_every_row_of_the_page_names_tests_that_exist():
    rows = [line for line in PAGE.splitlines() if re.match(r"\| \d+ \|", line)]
    assert [int(row.split("|")[1]) for row in rows] == list(range(1, len(rows) + 1))
    named = [re.findall(r"`([\w/]+\.py)::(\w+)`", row) for row in rows]
    assert all(named)
    missing = [(file, name) for file, name in chain(*named) if f"def {name}(" not in (TESTS / file).read_text()]
    assert missing == []
    assert {name for name in globals() if name.startswith("test_trap_")} <= {name for _, name in chain(*named)}
