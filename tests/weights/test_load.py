import logging

import numpy as np
import pytest
import torch
from golden_weights import TINY, draw_weights
from safetensors.torch import save_file

from hrpose.models import HRNet, SimpleBaseline, StackedHourglass
from hrpose.weights import WeightsError, load_weights


@pytest.fixture(scope="module")
def state():
    net = HRNet(**TINY)
    draw_weights(net)
    return net.state_dict()


@pytest.fixture(scope="module")
def heatmaps(golden_dir):
    return np.load(golden_dir / "hrnet.npz")["tiny_output"]


def _prefixed(state, prefix):
    return {prefix + name: value for name, value in state.items()}


def _body(state):
    return {name: value for name, value in state.items() if not name.startswith("final_layer.")}


def _head(state, prefix=""):
    return {prefix + name: value for name, value in state.items() if name.startswith("final_layer.")}


def _saved(folder, content, name="weights.pth"):
    torch.save(content, folder / name)
    return folder / name


def test_an_imagenet_backbone_follows_the_official_rule(state, tmp_path, caplog):
    classifier = {
        "incre_modules.0.0.conv1.weight": torch.zeros(8),
        "downsamp_modules.0.0.weight": torch.zeros(8),
        "final_layer.0.weight": torch.zeros(8),
        "classifier.weight": torch.zeros(8),
        "stage4.1.fuse_layers.1.0.0.0.weight": torch.zeros(8),  # a row of the last exchange that the pose network has not
    }
    net = HRNet(**TINY)
    head = net.final_layer.weight.clone()
    report = load_weights(net, _saved(tmp_path, {**_body(state), **classifier}))
    assert report.kind == "ImageNet backbone"
    assert report.loaded == tuple(_body(state))
    assert report.missing == ("final_layer.weight", "final_layer.bias")
    assert report.unused == tuple(classifier)
    assert torch.equal(net.final_layer.weight, head)
    assert torch.equal(net.state_dict()["stage4.0.branches.0.0.conv1.weight"], state["stage4.0.branches.0.0.conv1.weight"])
    assert str(report).splitlines() == [
        f"{tmp_path / 'weights.pth'} (ImageNet backbone): 516 of the network's 518 tensors loaded",
        "  missing: final_layer (2)",
        "  unused: incre_modules (1), downsamp_modules (1), final_layer (1), classifier (1), stage4 (1)",
    ]
    assert not caplog.records


def test_a_backbone_with_gaps_is_loaded_with_a_warning(state, tmp_path, caplog):
    part = {name: value for name, value in _body(state).items() if not name.startswith("stage4.")}
    with caplog.at_level(logging.WARNING):
        report = load_weights(HRNet(**TINY), _saved(tmp_path, part))
    assert report.kind == "backbone"
    assert f"missing: stage4 ({len(_body(state)) - len(part)}), final_layer (2)" in caplog.text


def test_files_without_batch_counters_are_complete(state, tmp_path):
    old = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    assert len(load_weights(HRNet(**TINY), _saved(tmp_path, old)).loaded) == len(old)


def test_a_head_for_other_keypoints_is_refused_without_changing_the_network(state, tmp_path):
    net = HRNet(**{**TINY, "num_keypoints": 7})
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(WeightsError, match=r"7 keypoints.*5.*num_keypoints=5.*fresh_head=True"):
        load_weights(net, _saved(tmp_path, state))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_fresh_head_keeps_the_head_of_the_network(state, tmp_path):
    net = HRNet(**{**TINY, "num_keypoints": 7})
    head = net.final_layer.weight.clone()
    report = load_weights(net, _saved(tmp_path, state), fresh_head=True)
    assert report.mismatched == ("final_layer.weight", "final_layer.bias")
    assert "other shape: final_layer (2)" in str(report)
    assert torch.equal(net.final_layer.weight, head)
    assert torch.equal(net.conv1.weight, state["conv1.weight"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 4}, r"transition1.0.0.weight.*\(4, 256, 3, 3\).*8.*4"),
        ({"stage1_width": 32}, r"layer1.0.conv1.weight.*\(32, 64, 1, 1\).*64"),
        ({"num_blocks": 2}, "num_blocks"),
    ],
)
def test_weights_of_another_network_are_refused(change, message, state, tmp_path):
    with pytest.raises(WeightsError, match=message):
        load_weights(HRNet(**{**TINY, **change}), _saved(tmp_path, state))


def test_check_complete_refuses_missing_tensors(state, tmp_path):
    report = load_weights(HRNet(**TINY), _saved(tmp_path, _body(state)))
    with pytest.raises(WeightsError, match=r"\(backbone\).*2.*final_layer"):
        report.check_complete()
    old = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    load_weights(HRNet(**TINY), _saved(tmp_path, old)).check_complete()


def test_averaged_weights_are_reported(state, tmp_path, caplog):
    report = load_weights(HRNet(**TINY), _saved(tmp_path, {"state_dict": {}, "state_dict_ema": state}))
    assert "averaged weights of the file were used" in str(report)
    assert "averaged weights" in caplog.text


@pytest.mark.parametrize(
    ("name", "hint"), [("aux_head.weight", "save the state_dict without them"), ("layer1.9.x", "Build the network")]
)
def test_missing_parts_and_missing_depth_have_different_messages(name, hint, state, tmp_path):
    with pytest.raises(WeightsError, match=rf"{name.partition('.')[0]} .*{hint}"):
        load_weights(HRNet(**TINY), _saved(tmp_path, {**state, name: torch.zeros(1)}))


def test_a_head_without_dimensions_is_refused(state, tmp_path):
    with pytest.raises(WeightsError, match=r"a head for 5 keypoints"):
        load_weights(HRNet(**TINY), _saved(tmp_path, {**state, "final_layer.bias": torch.tensor(1.0)}))


def test_a_pose_checkpoint_without_its_whole_head_is_refused(state, tmp_path):
    del (part := dict(state))["final_layer.bias"]
    with pytest.raises(WeightsError, match=r"final_layer.bias"):
        load_weights(HRNet(**TINY), _saved(tmp_path, part))


@pytest.mark.parametrize(
    ("content", "message"),
    [({"encoder.weight": torch.zeros(1)}, r"encoder.weight"), ({"final_layer.scale": torch.zeros(1)}, "are missing: conv1")],
)
def test_a_checkpoint_of_another_network_is_refused(content, message, tmp_path):
    with pytest.raises(WeightsError, match=message):
        load_weights(HRNet(**TINY), _saved(tmp_path, content))


@pytest.fixture(scope="module")
def resnet():
    net = SimpleBaseline()
    draw_weights(net)
    return net.state_dict()


def _headless(state):
    return {name: value for name, value in state.items() if not name.startswith(("final_layer.", "deconv_layers."))}


def _of_mmpose(state, head, **extra):
    heads = {f"{head}.{name}": value for name, value in state.items() if name not in _headless(state)}
    return {"meta": {}, "state_dict": {**_prefixed(_headless(state), "backbone."), **heads, **extra}}


@pytest.mark.parametrize("name", ["resnet50.pth", "resnet50.safetensors"])  # torchvision's and timm's; the names agree
def test_an_imagenet_resnet_loads_everything_below_the_deconvolutions(name, resnet, tmp_path, caplog):
    content = {**_headless(resnet), "fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}
    if name.endswith("safetensors"):
        save_file(content, tmp_path / name)
    else:
        torch.save(content, tmp_path / name)
    net = SimpleBaseline()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    report = load_weights(net, tmp_path / name)
    assert report.kind == "ImageNet backbone"
    assert report.loaded == tuple(_headless(resnet))
    assert set(report.unused) == {"fc.weight", "fc.bias"}
    assert not caplog.records  # a backbone without deconvolutions is complete
    for key, value in net.state_dict().items():
        assert torch.equal(value, resnet[key] if key in report.loaded else before[key]), key


@pytest.mark.parametrize("wrap", [dict, _headless, lambda s: _of_mmpose(s, "head")])
def test_a_deeper_network_is_refused(wrap, tmp_path):
    content, shallow = wrap(SimpleBaseline(34, 5).state_dict()), SimpleBaseline(18, 5)
    before = {name: value.clone() for name, value in shallow.state_dict().items()}
    with pytest.raises(WeightsError, match=r"96.*\(12\)"):
        load_weights(shallow, _saved(tmp_path, content))
    assert all(torch.equal(value, before[name]) for name, value in shallow.state_dict().items())


def test_a_shallower_pose_network_is_refused_and_a_shallower_backbone_warned_of(tmp_path, caplog):
    shallow, deep = SimpleBaseline(18, 5), SimpleBaseline(34, 5)
    with pytest.raises(WeightsError, match=r"layer1.*depth"):
        load_weights(deep, _saved(tmp_path, shallow.state_dict()))
    with caplog.at_level(logging.WARNING):
        load_weights(deep, _saved(tmp_path, _headless(shallow.state_dict())))
    assert "missing: layer1" in caplog.text


def test_weights_of_another_architecture_are_refused(resnet, state, tmp_path):
    with pytest.raises(WeightsError, match=r"conv1\.weight of shape"):
        load_weights(HRNet(**TINY), _saved(tmp_path, resnet))
    with pytest.raises(WeightsError, match=r"conv1\.weight of shape"):
        load_weights(SimpleBaseline(), _saved(tmp_path, _body(state)))
    with pytest.raises(WeightsError, match="of shape"):
        load_weights(StackedHourglass(1), _saved(tmp_path, _headless(resnet)))


def test_an_hourglass_is_loaded_and_keeps_its_heads_for_other_keypoints(tmp_path):
    content = StackedHourglass(2, 5, width=16).state_dict()
    net = StackedHourglass(2, 5, width=16)
    report = load_weights(net, _saved(tmp_path, {"state_dict": _prefixed(content, "module.")}))
    assert (report.kind, report.loaded) == ("pose checkpoint", tuple(content))
    assert all(torch.equal(value, content[name]) for name, value in net.state_dict().items())
    other = StackedHourglass(2, 7, width=16)
    with pytest.raises(WeightsError, match=r"7 keypoints.*score.0.weight.*5.*fresh_head=True"):
        load_weights(other, _saved(tmp_path, content))
    report = load_weights(other, _saved(tmp_path, content), fresh_head=True)
    assert report.mismatched == ("score.0.weight", "score.0.bias", "score.1.weight", "score.1.bias", "score_.0.weight")
    with pytest.raises(WeightsError, match="num_stacks"):
        load_weights(StackedHourglass(1, 5, width=16), _saved(tmp_path, content))
