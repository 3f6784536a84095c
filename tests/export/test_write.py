"""Exported files give the poses of torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_export import CODECS, SKELETON, as_batch, make_crops, make_net, make_record

import hrpose
from hrpose.data.crops import Normalization
from hrpose.export import SUFFIX_OF, ExportedPoses, check_choice, find_ties, open_exported, write_export
from hrpose.inference import estimate_poses, predict_heatmaps

FORMATS = ("onnx", "openvino")


def expected_poses(codec, record, images, matrices):
    normalized = Normalization(record.channel_order, record.mean, record.std)(torch.from_numpy(images))
    batch = {**as_batch(images, matrices), "images": normalized}
    options = {"flip_test": record.flip_test, "flip_permutation": SKELETON.flip_permutation}
    net = make_net(codec)
    with torch.no_grad():
        heatmaps = predict_heatmaps(net, normalized, codec, **options)
    return estimate_poses(net, codec, batch, **options), heatmaps


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Write each file once for all tests of this module."""
    written: dict[tuple, ExportedPoses] = {}

    def get(name: str, format: str, **changes) -> ExportedPoses:
        key = (name, format, *sorted(changes.items()))
        if key not in written:
            file = tmp_path_factory.mktemp("exported") / f"{name}{SUFFIX_OF[format]}"
            record = make_record(CODECS[name], **changes)
            written[key] = open_exported(write_export(make_net(CODECS[name]), record, file, format))
            assert written[key].record == record
        return written[key]

    return get


def cases() -> list:
    slow = pytest.mark.slow
    # tests/codecs/test_base.py exports each decoder
    quick = {("dark", "onnx"), ("heatmap", "openvino")}
    return [pytest.param(name, format, marks=() if (name, format) in quick else slow) for name in CODECS for format in FORMATS]


@pytest.mark.parametrize(("name", "format"), cases())
def test_a_file_gives_the_poses_of_torch(exported, name, format):
    model = exported(name, format)
    codec = CODECS[name]
    for count in (1, 7):  # the batch is free
        images, matrices = make_crops(count, seed=count)
        poses, heatmaps = expected_poses(codec, model.record, images, matrices)
        keypoints, scores = model(images, matrices)
        ties = find_ties(codec, heatmaps, matrices)
        moved = np.abs(keypoints - poses.keypoints).max(axis=-1) > 0.01
        assert keypoints.shape == (count, 5, 2)
        assert not (moved & ~ties).any()
        assert moved.mean() < 0.1
        np.testing.assert_allclose(scores, poses.keypoint_scores, atol=1e-5)


# for OpenVINO the test of half precision below lets heatmaps out, and the channels are turned before a format is chosen
@pytest.mark.parametrize("format", ["onnx", pytest.param("openvino", marks=pytest.mark.slow)])
def test_heatmaps_are_an_optional_output_and_channels_are_reordered(tmp_path, format):
    codec = CODECS["heatmap"]
    record = make_record(codec, heatmaps=True, flip_test=False, channel_order="bgr", mean=(0.4, 0.5, 0.6))
    if format == "onnx":
        pytest.importorskip("onnxscript")
    model = open_exported(write_export(make_net(codec), record, tmp_path / f"a{SUFFIX_OF[format]}", format))
    images, matrices = make_crops(3)
    _, heatmaps = expected_poses(codec, record, images, matrices)
    found = model.runtime(images, matrices.astype(np.float32))
    assert len(found) == 3
    np.testing.assert_allclose(found[2], heatmaps.numpy(), atol=2e-5)


def test_the_last_step_is_exact_on_large_images(exported):
    """float32 represents 6,000 to 0.0005; three products and sums have an error below 0.01 pixels."""
    model = exported("heatmap", "openvino")
    images, _ = make_crops(64)
    rng = np.random.default_rng(1)
    zoom, offsets = rng.uniform(1, 6000 / 48, 64), rng.uniform(0, 6000, (64, 2))
    matrices = np.zeros((64, 2, 3))
    matrices[:, 0, 0] = matrices[:, 1, 1] = zoom
    matrices[:, :, 2] = offsets - zoom[:, None] * 24
    poses, heatmaps = expected_poses(CODECS["heatmap"], model.record, images, matrices)
    ties = find_ties(CODECS["heatmap"], heatmaps, matrices)
    assert np.abs(model(images, matrices)[0] - poses.keypoints)[~ties].max() < 0.01


@pytest.mark.parametrize(("name", "format"), [("dark", "onnx"), ("heatmap", "openvino")])
def test_a_file_has_no_path_of_the_source_code(exported, name, format):
    assert str(Path(hrpose.__file__).parent).encode() not in exported(name, format).runtime.file.read_bytes()


def test_no_crops_give_no_poses(exported):
    keypoints, scores = exported("heatmap", "openvino")(np.empty((0, 64, 48, 3), np.uint8), np.empty((0, 2, 3)))
    assert keypoints.shape == (0, 5, 2)
    assert scores.shape == (0, 5)


def test_crops_of_another_size_are_refused(exported):
    model = exported("heatmap", "openvino")
    with pytest.raises(ValueError, match=r"`images`.*\(B, 64, 48, 3\).*RGB.*\(2, 48, 64, 3\)"):
        model(np.zeros((2, 48, 64, 3), np.uint8), np.zeros((2, 2, 3)))
    with pytest.raises(ValueError, match=r"`image_from_input`.*\(B, 2, 3\).*\(2, 4\)"):
        model(np.zeros((2, 64, 48, 3), np.uint8), np.zeros((2, 4)))


@pytest.mark.slow
@pytest.mark.parametrize("format", ["openvino", "onnx"])
def test_only_the_network_computes_in_half_precision(tmp_path, format):
    precision = "bf16" if format != "onnx" else "fp16"
    codec = CODECS["heatmap"]
    record = make_record(codec, precision=precision, heatmaps=True, flip_test=False)
    model = open_exported(write_export(make_net(codec), record, tmp_path / f"a{SUFFIX_OF[format]}", format))
    images, matrices = make_crops(8)
    _, heatmaps = expected_poses(codec, record, images, matrices)
    keypoints, scores, found = model.runtime(images, matrices.astype(np.float32))
    top = float(heatmaps.abs().max())
    assert np.abs(found - heatmaps.numpy()).max() < 0.02 * top
    decoded, decoded_scores = codec.decode(torch.from_numpy(found.copy()))
    placed = np.einsum("bij,bkj->bki", matrices[..., :2], decoded.numpy()) + matrices[:, None, :, 2]
    np.testing.assert_allclose(scores, decoded_scores.numpy(), atol=1e-6)
    np.testing.assert_allclose(keypoints, placed, atol=0.01)


def test_the_network_is_not_changed(tmp_path):
    codec = CODECS["heatmap"]
    net = make_net(codec).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    write_export(net, make_record(codec, precision="fp16"), tmp_path / "a.onnx", "onnx")
    assert net.training
    assert all(value.dtype == before[name].dtype and torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize(
    ("format", "precision", "file", "message"),
    [
        ("onnx", "bf16", "a.onnx", "no bf16 convolutions"),
        ("onnx", "fp32", "a.xml", r"a\.xml"),
        ("tflite", "fp32", "a.tflite", "'tflite'"),
    ],
)
def test_unsupported_settings_are_refused_before_anything_is_written(format, precision, file, message):
    with pytest.raises(ValueError, match=message):
        check_choice(format, precision, Path(file))
