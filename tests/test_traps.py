"""The traps of the official code, one test each; docs/traps.md tells what it does, what is done here, and which test holds it."""

from __future__ import annotations

import ast
import json
import math
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from tiny_coco import annotation, content, datamodule, write_dataset, write_json, write_photo

from hrpose.annotations.coco import read_annotations
from hrpose.annotations.detections import read_detections
from hrpose.codecs import HeatmapCodec, heatmap_accuracy
from hrpose.config import build, compose
from hrpose.data.transforms import HalfBody, RandomRotation, RandomScale
from hrpose.errors import DataWarning
from hrpose.geometry import center_scale_from_bbox, clip_bbox, flip_keypoints, input_from_image, transform_points
from hrpose.losses import HeatmapMSELoss, HeatmapOHKMLoss
from hrpose.media.images import read_image
from hrpose.metrics import KeypointAveragePrecision
from hrpose.metrics.functional import keypoint_variances, oks_between, oks_nms, rescore, soft_oks_nms
from hrpose.models import HRNet, SimpleBaseline, count_macs
from hrpose.module import PoseModule
from hrpose.report import FileStamp, Protocol
from hrpose.skeletons import COCO
from hrpose.structures import Crop, GroundTruth, Poses

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "traps.md").read_text()
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


def test_trap_03_the_upper_half_is_a_normal_draw_below_one_half():
    half_body = HalfBody(1.0).for_skeleton(COCO)
    points, crop = np.arange(34.0).reshape(17, 2) ** 2, Crop(np.zeros(2), np.array([75.0, 100.0]))
    rng = np.random.default_rng(0)
    upper = points[:11].mean(axis=0)
    chosen = [np.allclose(half_body(crop, points, np.ones(17), rng).center, upper) for _ in range(3000)]
    phi = 0.5 * (1 + math.erf(0.5 / math.sqrt(2)))
    assert phi == pytest.approx(0.6915, abs=1e-4)
    assert np.mean(chosen) == pytest.approx(phi, abs=0.03)  # three and a half standard errors; a half is 23 away
    assert half_body(crop, points, np.r_[np.ones(8), np.zeros(9)], rng) is crop  # eight labelled keypoints are too few


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


def test_trap_05_a_mirrored_pixel_is_width_minus_one_minus_x_and_the_heatmap_is_shifted():
    flipped, _ = flip_keypoints([[[10.0, 5.0]]], np.ones((1, 1)), [0], 300)
    assert flipped.tolist() == [[[289.0, 5.0]]]
    heatmaps = torch.zeros(1, 1, 64, 48)
    heatmaps[0, 0, 30, 10] = 1.0
    back = SMALL.flip_back(heatmaps, [0])
    assert back[0, 0, 30].argmax() == 47 - 10 + 1


def test_trap_06_the_loss_is_half_the_mean_and_an_invisible_target_weighs_nothing():
    heatmaps, target, weight = torch.rand(4, 5, 8, 6), torch.rand(4, 5, 8, 6), torch.rand(4, 5, 1)
    loop = sum(
        0.5 * torch.nn.functional.mse_loss(heatmaps[:, k] * weight[:, k, None], target[:, k] * weight[:, k, None])
        for k in range(5)
    )
    assert HeatmapMSELoss()(heatmaps, target, weight).item() == pytest.approx(loop.item() / 5, rel=1e-5)
    _, weights = SMALL.encode(torch.tensor([[[100.0, 100.0], [-40.0, 100.0], [-20.0, 100.0]]]), torch.ones(1, 3))
    assert weights.flatten().tolist() == [1.0, 0.0, 1.0]  # wholly outside; partly inside


def test_trap_07_the_gaussian_sits_on_a_whole_cell_and_decoding_moves_a_quarter():
    target, _ = SMALL.encode(torch.tensor([[[101.0, 102.0]]]), torch.ones(1, 1))
    assert target[0, 0, 26, 25] == 1.0  # int(25.25 + 0.5), int(25.5 + 0.5)
    assert target[0, 0, 26, 25 + 6] > 0
    assert target[0, 0, 26, 25 + 7] == 0
    for x, moved in ((1, 0.0), (2, 0.25), (46, 0.25), (47, 0.0)):
        heatmaps = torch.zeros(1, 1, 64, 48)
        heatmaps[0, 0, 30, x], heatmaps[0, 0, 30, min(x + 1, 47)] = 1.0, 1.0 if x == 47 else 0.5
        assert SMALL.decode(heatmaps)[0][0, 0, 0] == 4 * (x + moved)


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
    """A photo with two labelled persons, and a third without a labelled keypoint."""
    keypoints = np.random.default_rng(0).uniform(0, 100, (3, 17, 2))
    labels = np.full((3, 17), 2, np.uint8)
    labels[2] = 0
    ids = np.ones(3, np.int64)
    boxes = np.tile([0.0, 0.0, 100.0, 100.0], (3, 1))
    return GroundTruth(ids[:1], ids, np.arange(3), ids, keypoints, labels, boxes, np.full(3, 5e3), ids < 0)


def test_trap_09_boxes_lose_a_pixel_and_persons_without_area_are_dropped(tmp_path):
    assert clip_bbox([10, 20, 30, 40], (640, 480)).tolist() == [10, 20, 29, 39]
    center, scale = center_scale_from_bbox([[10.0, 20.0, 29.0, 39.0]], 0.75)
    assert center.tolist() == [[24.5, 39.5]]
    assert scale[0].tolist() == pytest.approx([39 * 0.75 * 1.25, 39 * 1.25])  # pixels, not divided by 200
    told = content(3)
    told["annotations"][0].update(area=0, bbox=[10, 20, 0, 40])
    told["annotations"][1]["keypoints"] = [0] * 51
    annotations = read_annotations(write_json(tmp_path / "a.json", told))
    with pytest.warns(DataWarning, match="1 of 2 instances"):
        assert annotations.instances().instance_ids.tolist() == [102]


def test_trap_10_ids_come_from_the_file_and_photos_have_any_name(tmp_path):
    told = content(1)
    told["images"] = [{"id": 7, "file_name": "my holiday/beach (1).jpg", "width": 90, "height": 70}]
    told["annotations"] = [annotation(0, image_id=7)]
    write_json(tmp_path / "persons.json", told)
    write_photo(tmp_path / "photos/my holiday/beach (1).jpg")
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
    places = {
        "center": torch.zeros(2, 2),
        "scale": torch.ones(2, 2),
        "image_from_input": torch.eye(2, 3).repeat(2, 1, 1),
    }
    names = {"image_ids": torch.ones(2).long(), "instance_ids": torch.arange(2), "bbox_scores": torch.ones(2)}
    with torch.no_grad():
        found = module.validation_step({"images": torch.zeros(2, 3, 64, 32), **places, **names}, 0)
    assert len(found["poses"]) == 2


def test_trap_11_detections_have_no_keypoints_but_count_as_labelled(tmp_path):
    folder = write_dataset(tmp_path)
    table = read_detections(folder / "detections.json", read_annotations(folder / "persons.json"))
    assert not table.keypoints.any()
    assert (table.visibility == 1).all()


def test_trap_12_the_training_accuracy_divides_x_by_the_height():
    target, heatmaps = torch.zeros(1, 2, 60, 40), torch.zeros(1, 2, 60, 40)
    target[0, :, 20, 20] = 1.0
    heatmaps[0, 0, 20, 20 + 2] = 1.0  # 2 / (60 / 10) is below a half, 2 / (40 / 10) would not be
    heatmaps[0, 1, 20 + 2, 20] = 1.0
    _, per_keypoint = heatmap_accuracy(heatmaps, target)
    assert per_keypoint.tolist() == [1.0, 0.0]
    assert "heatmap_accuracy" not in (ROOT / "src/hrpose/module.py").read_text()  # nothing is chosen by it


def test_trap_13_scale_and_rotation_are_clipped_not_cut_off():
    crop, rng = Crop(np.zeros(2), np.ones(2)), np.random.default_rng(0)
    zooms = np.array([RandomScale(0.35)(crop, None, None, rng).scale[0] for _ in range(2000)])
    assert np.mean(zooms == 1.35) == pytest.approx(0.1587, abs=0.03)  # the tail of a normal beyond 1 heaps up there
    turns = np.array([RandomRotation(45, 0.6)(crop, None, None, rng).rotation for _ in range(2000)])
    assert np.mean(turns != 0) == pytest.approx(0.6, abs=0.04)
    assert abs(turns).max() == 90.0


def test_trap_14_nothing_has_to_be_compiled_and_no_old_name_of_numpy_is_used():
    old = {"float", "int", "bool", "object", "str", "complex", "long", "unicode"}
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "np":
                assert node.attr not in old, (file, node.lineno)
    assert not [file for kind in ("pyx", "c", "cpp", "cu") for file in (ROOT / "src").rglob(f"*.{kind}")]
    module = sys.modules[oks_nms.__module__]
    assert module.__file__ is not None
    assert module.__file__.endswith(".py")


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


def test_trap_17_rounding_truncates_toward_zero_and_an_empty_target_may_weigh_one():
    target, _ = SMALL.encode(
        torch.tensor([[[-5.0, 100.0]]]), torch.ones(1, 1)
    )  # cell -1.25 + 0.5 is -0.75: int gives 0
    assert target[0, 0, 25, 0] == 1.0
    target, weight = SMALL.encode(torch.tensor([[[-32.0, 100.0], [-36.0, 100.0]]]), torch.ones(1, 2))
    assert weight.flatten().tolist() == [1.0, 0.0]
    assert not target.any()  # the square of the first ends just before the first cell


def test_trap_18_only_the_width_of_the_scale_matters():
    matrices = [input_from_image([50, 60], [75, height], 20, (192, 256)) for height in (100, 300)]
    np.testing.assert_array_equal(matrices[0], matrices[1])


def test_trap_19_the_center_lands_on_half_the_width():
    matrix = input_from_image([50, 60], [75, 100], 30, (192, 256))
    np.testing.assert_allclose(transform_points([[50.0, 60.0]], matrix), [[96, 128]])


def test_trap_20_a_keypoint_without_a_peak_is_reported_at_the_corner_of_the_crop():
    keypoints, scores = SMALL.decode(torch.full((1, 1, 64, 48), -0.5))
    assert (keypoints[0, 0].tolist(), scores.item()) == ([0.0, 0.0], -0.5)


def test_trap_21_hard_keypoints_can_be_mined_of_one_person():
    heatmaps, target = torch.rand(1, 17, 8, 6), torch.rand(1, 17, 8, 6)
    errors = (0.5 * (heatmaps - target).square()).mean(dim=(2, 3))[0].sort(descending=True).values
    found = HeatmapOHKMLoss(8)(heatmaps, target, torch.ones(1, 17, 1))
    assert found.item() == pytest.approx(errors[:8].mean().item(), rel=1e-5)


def test_trap_22_poses_are_compared_by_all_keypoints():
    poses = np.zeros((2, 17, 2))
    poses[1, 0] = 1e4  # one keypoint far off, whatever its score
    similarity = oks_between(poses, np.full(2, 900.0), keypoint_variances(COCO.sigmas), np.array([0]), np.array([1]))
    assert similarity.item() == pytest.approx(16 / 17)


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
    assert (macs + 3 * deconvs) / 2**30 == pytest.approx(
        8.99, abs=0.01
    )  # the authors' counter: by the cells that come out


def deconvs_of(net: torch.nn.Module) -> list[torch.nn.ConvTranspose2d]:
    return [layer for layer in net.modules() if isinstance(layer, torch.nn.ConvTranspose2d)]


def test_trap_25_photos_come_as_they_are_stored(tmp_path):
    file = tmp_path / "turned.jpg"
    cv2.imwrite(str(file), np.zeros((20, 30, 3), np.uint8))
    stored = file.read_bytes()
    quarter_turn = bytes.fromhex("ffe1001e4578696600004d4d002a000000080001011200030000000100060000")
    segment = quarter_turn[:2] + (len(quarter_turn) + 4 - 2).to_bytes(2, "big") + quarter_turn[4:] + bytes(4)
    file.write_bytes(stored[:2] + segment + stored[2:])
    assert cv2.imread(str(file)).shape == (30, 20, 3)  # OpenCV turns it unless it is told not to
    assert read_image(file).shape == (20, 30, 3)


def test_trap_26_boxes_of_a_detector_are_not_clipped(tmp_path):
    folder = write_dataset(tmp_path)
    write_json(folder / "far.json", [{"image_id": 1, "category_id": 1, "bbox": [-20.5, 5, 200, 300], "score": 0.0}])
    table = read_detections(folder / "far.json", read_annotations(folder / "persons.json"))
    assert table.bbox.tolist() == [[-20.5, 5, 200, 300]]


def test_trap_27_occluded_keypoints_count_like_visible_ones():
    _, weight = SMALL.encode(torch.full((1, 3, 2), 100.0), torch.tensor([[0, 1, 2]]))
    assert weight.flatten().tolist() == [0.0, 1.0, 1.0]


def test_every_trap_of_the_page_is_a_test_and_every_test_is_on_the_page():
    told = re.findall(r"`(test_trap_\w+)`", PAGE)
    tests = [name for name in globals() if name.startswith("test_trap_")]
    assert sorted(told) == sorted(tests)
    numbers = [int(line.split("|")[1]) for line in PAGE.splitlines() if re.match(r"\| \d+ \|", line)]
    assert numbers == list(range(1, len(numbers) + 1))
