"""Exported files and other engines in the estimator."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from test_onnx import write_network
from tiny_export import CODECS, SKELETON, make_net, make_record

from hrpose import PoseEstimator
from hrpose.export import ExportedFileError, write_export
from hrpose.weights import WeightsError

IMAGE = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
BOXES = [[10.0, 10.0, 60.0, 90.0], [50.0, 20.0, 80.0, 60.0]]


def test_an_exported_file_estimates_poses_with_the_settings_of_its_record(tmp_path):
    codec = CODECS["dark"]
    record = make_record(codec, flip_test=False, bbox_padding=1.1, keypoint_score_threshold=0.0)
    file = write_export(make_net(codec), record, tmp_path / "a.xml", "openvino")
    found = PoseEstimator.from_checkpoint(file, batch_size=1)(IMAGE, bbox=BOXES)
    options = {"flip_test": False, "bbox_padding": 1.1, "keypoint_score_threshold": 0.0, "device": "cpu"}
    expected = PoseEstimator.from_network(make_net(codec), codec, SKELETON, **options)(IMAGE, bbox=BOXES)
    np.testing.assert_allclose(found.keypoint_scores, expected.keypoint_scores, atol=1e-5)
    np.testing.assert_allclose(found.scale, expected.scale)
    assert np.median(np.abs(found.keypoints - expected.keypoints)) < 0.01
    assert found.keypoint_names == SKELETON.keypoint_names


@pytest.fixture(scope="module")
def settled(tmp_path_factory) -> Path:
    """A file that was written without the flip test."""
    codec, file = CODECS["heatmap"], tmp_path_factory.mktemp("settled") / "a.xml"
    return write_export(make_net(codec), make_record(codec, flip_test=False), file, "openvino")


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"flip_test": True}, "flip_test"),
        ({"precision": "bf16"}, "precision"),
        ({"precision": "16"}, "precision"),
        ({"device": "cuda"}, "device"),
        ({"mean": (0, 0, 0)}, "mean"),
    ],
)
def test_settings_fixed_at_export_cannot_be_changed(settled, options, name):
    with pytest.raises(ExportedFileError, match=f"`{name}` of "):
        PoseEstimator.from_checkpoint(settled, **options)


def test_settings_fixed_at_export_may_be_repeated(settled):
    fitting = {"flip_test": False, "device": "cpu", "precision": "32", "backend": "auto"}
    assert PoseEstimator.from_file(settled, **fitting).skeleton == SKELETON


def test_a_network_of_another_tool_is_decoded_with_the_paper_s_codec_and_a_message(tmp_path, caplog):
    file = write_network(tmp_path / "a.onnx", shape=(3, 64, 48))
    with pytest.raises(ExportedFileError, match=r"`skeleton`.*3 heatmaps"):
        PoseEstimator.from_checkpoint(file)
    three = type(SKELETON).from_names(("nose", "left_wrist", "right_wrist"))
    with caplog.at_level(logging.INFO):
        estimator = PoseEstimator.from_checkpoint(file, skeleton=three)
    assert "HeatmapCodec(input_size=(48, 64)" in caplog.text
    assert estimator(IMAGE, bbox=BOXES).keypoints.shape == (2, 3, 2)


@pytest.mark.parametrize("name", ["a.torchscript", "a.ts", "a.pt"])
def test_torchscript_is_refused(tmp_path, name):
    torch.jit.trace(torch.nn.ReLU(), torch.zeros(1)).save(str(tmp_path / name))
    with pytest.raises(WeightsError, match=r"TorchScript.*format=onnx or format=openvino"):
        PoseEstimator.from_checkpoint(tmp_path / name)
