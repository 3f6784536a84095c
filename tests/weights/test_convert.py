"""Weights written in the forms of other tools, and conversion between them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from foreign_files import POSE_FORMS, body, imagenet_classifier, write_file
from golden_weights import TINY, draw_images, draw_weights
from safetensors import safe_open

from hrpose.models import HRNet, SimpleBaseline, StackedHourglass
from hrpose.weights import WeightsError, load_weights
from hrpose.weights.convert import convert_weights, save_weights
from hrpose.weights.files import read_weight_file

FORMS = ("official", "mmpose", "hrpose")
KINDS = {"official": "pose checkpoint", "mmpose": "MMPose checkpoint", "hrpose": "hrpose checkpoint"}
SUFFIXES = (".pth", ".safetensors")


@pytest.fixture(scope="module")
def net():
    net = HRNet(**TINY).eval()
    draw_weights(net)
    return net


@pytest.fixture(scope="module")
def heatmaps(net, golden_dir):
    golden = np.load(golden_dir / "hrnet.npz")["tiny_output"]
    with torch.no_grad():
        found = net(draw_images("hrnet_tiny_w8_k3", (2, 3, 96, 64)))
    np.testing.assert_allclose(found.numpy(), golden, rtol=1e-5, atol=2e-5)
    return found


def assert_same(state, other):
    assert state.keys() == other.keys()
    assert [name for name in state if not torch.equal(state[name], other[name])] == []


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("form", FORMS)
def test_written_weights_are_read_with_the_same_bits_and_heatmaps(form, suffix, net, heatmaps, tmp_path):
    file = save_weights(net, tmp_path / f"weights{suffix}", form=form)
    other = HRNet(**TINY).eval()
    assert load_weights(other, file).kind == KINDS[form]
    assert_same(net.state_dict(), other.state_dict())
    with torch.no_grad():
        assert torch.equal(other(draw_images("hrnet_tiny_w8_k3", (2, 3, 96, 64))), heatmaps)


@pytest.mark.parametrize(
    ("source", "form", "suffix"),
    [
        ("training", "mmpose", ".pth"),
        ("MMPose 0.x EMA", "official", ".safetensors"),
        ("MMPose 1.x preprocessor", "hrpose", ".safetensors"),
        ("MMPose 1.x integral", "hrpose", ".pth"),
        ("hrpose compiled", "mmpose", ".safetensors"),
    ],
)
def test_conversion_to_every_form_and_back_keeps_the_bits(source, form, suffix, net, tmp_path):
    state = net.state_dict()
    first = write_file(tmp_path, POSE_FORMS[source].write(state))
    conversion = convert_weights(first, tmp_path / f"there{suffix}", form=form)
    assert (conversion.architecture, conversion.num_tensors) == ("HRNet-W8", len(state))
    convert_weights(conversion.target, tmp_path / "back.pth")
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    assert_same(state, back)
    other = HRNet(**TINY)
    assert load_weights(other, conversion.target).kind == KINDS[form]
    assert_same(state, other.state_dict())


def test_the_official_form_is_a_bare_dict_that_loads_strictly(net, tmp_path):
    content = torch.load(save_weights(net, tmp_path / "net.pth"), weights_only=True)
    HRNet(**TINY).load_state_dict(content)
    assert list(content) == list(net.state_dict())


def test_the_form_of_mmpose_has_the_prefixes_of_mmpose(tmp_path):
    net = SimpleBaseline(18, 5)
    content = torch.load(save_weights(net, tmp_path / "net.pth", form="mmpose"), weights_only=True)
    names = list(content["state_dict"])
    assert content["meta"] == {}
    assert {name.split(".")[0] for name in names} == {"backbone", "head"}
    assert [name for name in names if name.startswith("head.")] == [
        f"head.{name}" for name in net.state_dict() if name.startswith(("deconv_layers.", "final_layer."))
    ]


@pytest.mark.parametrize("form", ["mmpose", "hrpose"])
def test_keypoint_names_are_stored(form, tmp_path):
    net, names = SimpleBaseline(18, 2), ("left_ear", "right_ear")
    file = save_weights(net, tmp_path / "net.pth", form=form, keypoint_names=names)
    assert read_weight_file(file).keypoint_names == names
    target = convert_weights(file, tmp_path / "net.safetensors", form="official").target
    assert read_weight_file(target).keypoint_names == names
    with safe_open(target, framework="pt") as content:
        assert content.metadata() == {"format": "pt", "keypoint_names": json.dumps(names)}


@pytest.mark.parametrize("wrap", [torch.nn.DataParallel, lambda net: torch._dynamo.OptimizedModule(net, lambda run: run)])
def test_wrappers_of_a_network_do_not_change_the_file(wrap, tmp_path):
    net, other = HRNet(**TINY), HRNet(**TINY)
    save_weights(wrap(net), tmp_path / "bare.pth")
    assert list(torch.load(tmp_path / "bare.pth")) == list(net.state_dict())
    load_weights(wrap(other), tmp_path / "bare.pth").check_complete()
    assert torch.equal(other.conv1.weight, net.conv1.weight)


def test_a_conversion_reports_that_averaged_weights_were_used(tmp_path):
    state = HRNet(**TINY).state_dict()
    torch.save({"state_dict": state, "state_dict_ema": state}, tmp_path / "twice.pth")
    assert "the averaged weights were used" in str(convert_weights(tmp_path / "twice.pth", tmp_path / "once.pth"))


def test_weights_in_channels_last_order_are_written(tmp_path):
    net = SimpleBaseline(18, 2).to(memory_format=torch.channels_last)
    assert_same(net.state_dict(), read_weight_file(save_weights(net, tmp_path / "net.safetensors")).tensors)


def test_the_classifier_of_a_backbone_is_left_out(net, tmp_path):
    content = {**body(net.state_dict()), **imagenet_classifier(8)}
    conversion = convert_weights(write_file(tmp_path, content), tmp_path / "mm.pth", form="mmpose")
    assert str(conversion).splitlines() == [
        f"{tmp_path}/weights.pth (ImageNet backbone, HRNet-W8) -> {tmp_path}/mm.pth (mmpose): 517 tensors",
        "  left out: classifier, downsamp_modules, final_layer, incre_modules (6 tensors)",
    ]
    assert all(name.startswith("backbone.") for name in torch.load(tmp_path / "mm.pth", weights_only=True)["state_dict"])
    assert load_weights(HRNet(**TINY), tmp_path / "mm.pth").kind == "backbone"


def test_an_hourglass_has_no_form_in_mmpose(tmp_path):
    net = StackedHourglass(2, 5, width=8)
    with pytest.raises(WeightsError, match="hourglass"):
        save_weights(net, tmp_path / "net.pth", form="mmpose")
    assert list(tmp_path.iterdir()) == []
    assert_same(net.state_dict(), read_weight_file(save_weights(net, tmp_path / "net.pth")).tensors)
    assert convert_weights(tmp_path / "net.pth", tmp_path / "b.pth", form="hrpose").architecture == "Stacked Hourglass, 2 stacks"


def test_a_head_that_the_official_code_lacks_is_not_written_in_its_form(net, tmp_path):
    named = POSE_FORMS["MMPose 1.x flat"].write(net.state_dict()) | {"head.mlp.weight": torch.zeros(2)}
    file = write_file(tmp_path, named)
    with pytest.raises(WeightsError, match=r"conv1.weight"):
        convert_weights(file, tmp_path / "out.pth")
    assert read_weight_file(convert_weights(file, tmp_path / "mm.pth", form="mmpose").target).tensors.keys() == {
        name.removeprefix("module.") for name in named
    }


def test_a_file_of_another_network_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"ResNet.*conv1.weight"):
        convert_weights(write_file(tmp_path, {"conv1.weight": torch.zeros(1)}), tmp_path / "out.pth")
    with pytest.raises(WeightsError, match=r"encoder.weight"):
        convert_weights(write_file(tmp_path, {"encoder.weight": torch.zeros(1)}), tmp_path / "out.pth")
    assert not (tmp_path / "out.pth").exists()


@pytest.mark.parametrize(
    ("target", "form", "message"),
    [
        ("there.pth", "official", r"there.pth.*overwrite=True"),
        ("out.onnx", "official", "out.onnx"),
        ("out.pth", "tensorflow", "'tensorflow'"),
    ],
)
def test_an_invalid_target_is_refused(target, form, message, tmp_path):
    (tmp_path / "there.pth").write_text("mine")
    net = SimpleBaseline(18, 1)
    source = save_weights(net, tmp_path / "source.pth")
    with pytest.raises(WeightsError, match=message):
        save_weights(net, tmp_path / target, form=form)
    with pytest.raises(WeightsError, match=message):
        convert_weights(source, tmp_path / target, form=form)
    assert (tmp_path / "there.pth").read_text() == "mine"


def test_overwrite_replaces_a_file(tmp_path):
    (tmp_path / "net.pth").write_text("old")
    net = SimpleBaseline(18, 1)
    assert_same(net.state_dict(), read_weight_file(save_weights(net, tmp_path / "net.pth", overwrite=True)).tensors)
    convert_weights(tmp_path / "net.pth", tmp_path / "net.pth", form="mmpose", overwrite=True)  # onto itself
    assert load_weights(SimpleBaseline(18, 1), tmp_path / "net.pth").kind == "MMPose checkpoint"
    assert [path.name for path in tmp_path.iterdir()] == ["net.pth"]


class _Attack:
    def __reduce__(self):
        return os.mkdir, ("attacked",)


def test_code_in_a_file_is_not_run_by_a_conversion(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = write_file(tmp_path, {"state_dict": {"conv1.weight": torch.zeros(1)}, "extra": _Attack()})
    with pytest.raises(WeightsError, match="code"):
        convert_weights(file, tmp_path / "out.pth")
    assert not Path("attacked").exists()
