"""Exported files and other engines in the estimator."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from test_onnx import write_network
from tiny_export import CODECS, SKELETON, make_net, make_record

from hrpose import PoseEstimator
from hrpose.codecs import DarkCodec, HeatmapCodec, UdpCodec
from hrpose.estimator.exported_engine import photo_of_crop
from hrpose.export import ExportedFileError, write_export
from hrpose.export.graph import matrices_from_boxes, warped

PHOTO = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
BOXES = [[10.0, 10.0, 60.0, 90.0], [50.0, 20.0, 80.0, 60.0]]


def test_an_exported_file_gives_poses_as_its_record_says(tmp_path):
    codec = CODECS["dark"]
    record = make_record(codec, flip_test=False, bbox_padding=1.1, keypoint_score_threshold=0.0)
    file = write_export(make_net(codec), record, tmp_path / "a.torchscript", "torch")
    found = PoseEstimator.from_checkpoint(file, batch_size=1)(PHOTO, bbox=BOXES)
    options = {"flip_test": False, "bbox_padding": 1.1, "keypoint_score_threshold": 0.0, "device": "cpu"}
    expected = PoseEstimator(make_net(codec), codec, SKELETON, **options)(PHOTO, bbox=BOXES)
    np.testing.assert_allclose(found.keypoint_scores, expected.keypoint_scores, atol=1e-5)
    np.testing.assert_allclose(found.scale, expected.scale)
    assert np.median(np.abs(found.keypoints - expected.keypoints)) < 0.01
    assert found.keypoint_names == SKELETON.keypoint_names


@pytest.mark.parametrize("size", [(48, 64), (64, 48), (96, 160), (64, 64), (32, 128)])
@pytest.mark.parametrize("codec", [HeatmapCodec, DarkCodec, UdpCodec])  # one of each grid
def test_a_crop_is_cut_out_of_its_photo_as_it_was(codec, size):
    record = make_record(codec(input_size=size, heatmap_size=(size[0] // 4, size[1] // 4), sigma=1.5))
    crop = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    photo, bbox = photo_of_crop(crop, record)
    matrices = matrices_from_boxes(torch.from_numpy(bbox)[None].float(), size, record.codec.grid, record.bbox_padding)
    np.testing.assert_array_equal(warped(torch.from_numpy(photo), matrices, size)[0].numpy(), crop)


@pytest.mark.parametrize("name", ["heatmap", "dark", "udp"])  # a codec of each grid
def test_a_file_that_takes_photos_is_given_crops_as_photos(tmp_path, name):
    files = [
        write_export(
            make_net(CODECS[name]), make_record(CODECS[name], form=form), tmp_path / f"{form}.torchscript", "torch"
        )
        for form in ("crops", "photo")
    ]
    expected, found = (PoseEstimator.from_checkpoint(file)(PHOTO, bbox=BOXES) for file in files)
    np.testing.assert_allclose(found.keypoints, expected.keypoints, atol=0.01)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
    assert len(PoseEstimator.from_checkpoint(files[1])(PHOTO, bbox=[])) == 0


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ({"flip_test": True}, "flip_test"),
        ({"precision": "bf16"}, "precision"),
        ({"precision": "16"}, "precision"),
        ({"device": "cuda"}, "device"),
        ({"mean": (0, 0, 0)}, "mean"),
    ],
)
def test_what_was_settled_when_the_file_was_written_cannot_be_chosen(tmp_path, asked, name):
    codec = CODECS["heatmap"]
    file = write_export(make_net(codec), make_record(codec, flip_test=False), tmp_path / "a.torchscript", "torch")
    with pytest.raises(ExportedFileError, match=f"no other `{name}` than that of"):
        PoseEstimator.from_checkpoint(file, **asked)
    assert PoseEstimator.from_checkpoint(file, flip_test=False, device="cpu", precision="32").skeleton == SKELETON


def test_a_mere_network_is_decoded_the_paper_s_way_and_that_is_said(tmp_path, caplog):
    file = write_network(tmp_path / "a.onnx", shape=(3, 64, 48))
    with pytest.raises(ExportedFileError, match=r"Expected `skeleton`, because .* gives 3 heatmaps"):
        PoseEstimator.from_checkpoint(file)
    three = type(SKELETON).from_names(("nose", "left_wrist", "right_wrist"))
    with caplog.at_level(logging.INFO):
        estimator = PoseEstimator.from_checkpoint(file, skeleton=three)
    assert "the paper's way is assumed, HeatmapCodec(input_size=(48, 64)" in caplog.text
    assert estimator(PHOTO, bbox=BOXES).keypoints.shape == (2, 3, 2)


@pytest.mark.parametrize("backend", ["auto", "frozen", "openvino"])
def test_another_engine_finds_the_same(backend, caplog):
    codec = CODECS["dark"]
    with caplog.at_level(logging.INFO):
        estimator = PoseEstimator(make_net(codec), codec, SKELETON, device="cpu", backend=backend)
    found = estimator(PHOTO, bbox=BOXES)
    expected = PoseEstimator(make_net(codec), codec, SKELETON, device="cpu")(PHOTO, bbox=BOXES)
    np.testing.assert_allclose(found.keypoint_scores, expected.keypoint_scores, atol=1e-5)
    assert np.median(np.abs(found.keypoints - expected.keypoints)) < 0.01
    assert ("is taken, the fastest of" in caplog.text) == (backend == "auto")


def test_an_engine_of_the_cpu_is_refused_elsewhere(monkeypatch):
    codec = CODECS["dark"]
    monkeypatch.setattr("hrpose.estimator.exported_engine.choose_device", lambda device: torch.device("cuda"))
    with pytest.raises(ValueError, match="to be the CPU for backend='openvino', but got cuda"):
        PoseEstimator(make_net(codec), codec, SKELETON, device="cuda", backend="openvino")
