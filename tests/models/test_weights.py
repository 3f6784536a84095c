import logging
import os
import pickle

import numpy as np
import pytest
import torch
from golden_weights import TINY, draw_images, draw_weights
from safetensors.torch import save_file

from hrpose.models import HRNet, WeightsError, load_weights


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


POSE_FORMS = {
    "bare": ("pose checkpoint", lambda s: s),
    "module": ("pose checkpoint", lambda s: _prefixed(s, "module.")),
    "compiled": ("pose checkpoint", lambda s: _prefixed(s, "_orig_mod.")),
    "training": (
        "pose checkpoint",
        lambda s: {
            "epoch": 210,
            "model": "pose_hrnet",
            "state_dict": _prefixed(s, "module."),
            "best_state_dict": s,
            "perf": np.float64(0.744),
            "optimizer": {"state": {}, "param_groups": [{"lr": 1e-5}]},
        },
    ),
    "lightning": (
        "hrpose checkpoint",
        lambda s: {"state_dict": _prefixed(s, "net."), "pytorch-lightning_version": "2.5", "epoch": 1},
    ),
    "compiled lightning": ("hrpose checkpoint", lambda s: {"state_dict": _prefixed(s, "net._orig_mod.")}),
    "mmpose 1.x": (
        "MMPose checkpoint",
        lambda s: {"meta": {}, "state_dict": {**_prefixed(_body(s), "backbone."), **_head(s, "head.")}},
    ),
    "mmpose 0.x": (
        "MMPose 0.x checkpoint",
        lambda s: {"state_dict": {**_prefixed(_body(s), "module.backbone."), **_head(s, "module.keypoint_head.")}},
    ),
}


@pytest.mark.parametrize("form", POSE_FORMS)
def test_every_form_gives_the_official_heatmaps(form, state, heatmaps, tmp_path):
    kind, write = POSE_FORMS[form]
    net = HRNet(**TINY).eval()
    report = load_weights(net, _saved(tmp_path, write(state)))
    assert report.kind == kind
    assert report.loaded == tuple(state)
    assert report.missing == report.unused == report.mismatched == ()
    with torch.no_grad():
        found = net(draw_images("hrnet_tiny_w8_k3", (2, 3, 96, 64)))
    np.testing.assert_allclose(found.numpy(), heatmaps, rtol=1e-5, atol=2e-5)


def test_files_of_old_torch_and_safetensors_are_read(state, tmp_path):
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "weights.safetensors")
    for name in ("old.pth", "weights.safetensors"):
        net = HRNet(**TINY)
        assert len(load_weights(net, str(tmp_path / name)).loaded) == len(state)
        assert torch.equal(net.state_dict()["conv1.weight"], state["conv1.weight"])


def test_an_imagenet_backbone_follows_the_official_rule(state, tmp_path, caplog):
    classifier = {
        "incre_modules.0.0.conv1.weight": torch.zeros(8),
        "downsamp_modules.0.0.weight": torch.zeros(8),
        "final_layer.0.weight": torch.zeros(8),
        "classifier.weight": torch.zeros(8),
        "stage4.1.fuse_layers.1.0.0.0.weight": torch.zeros(
            8
        ),  # a row of the last exchange that the pose network has not
    }
    net = HRNet(**TINY)
    head = net.final_layer.weight.clone()
    report = load_weights(net, _saved(tmp_path, {**_body(state), **classifier}))
    assert report.kind == "ImageNet backbone"
    assert report.loaded == tuple(_body(state))
    assert report.missing == ("final_layer.weight", "final_layer.bias")
    assert report.unused == tuple(classifier)
    assert torch.equal(net.final_layer.weight, head)
    assert torch.equal(
        net.state_dict()["stage4.0.branches.0.0.conv1.weight"], state["stage4.0.branches.0.0.conv1.weight"]
    )
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


def test_files_without_batch_counters_are_whole(state, tmp_path):
    old = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    assert len(load_weights(HRNet(**TINY), _saved(tmp_path, old)).loaded) == len(old)


def test_a_head_for_other_keypoints_is_refused_and_the_network_left_as_it_was(state, tmp_path):
    net = HRNet(**{**TINY, "num_keypoints": 7})
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(WeightsError, match=r"a head for 7 keypoints.*got one for 5.*num_keypoints=5.*fresh_head=True"):
        load_weights(net, _saved(tmp_path, state))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_fresh_head_keeps_the_network_s_own(state, tmp_path):
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
        ({"width": 4}, r"transition1.0.0.weight of the shape \(4, 256, 3, 3\), but got \(8, .*width 8, the network 4"),
        ({"stage1_width": 32}, r"layer1.0.conv1.weight of the shape \(32, 64, 1, 1\), but got \(64, "),
        ({"num_blocks": 2}, "all weights of the network, but .* are not in it: stage2 .*num_blocks"),
    ],
)
def test_weights_of_another_network_are_refused(change, message, state, tmp_path):
    with pytest.raises(WeightsError, match=message):
        load_weights(HRNet(**{**TINY, **change}), _saved(tmp_path, state))


def test_a_pose_checkpoint_without_its_whole_head_is_refused(state, tmp_path):
    del (part := dict(state))["final_layer.bias"]
    with pytest.raises(WeightsError, match=r"to hold the head, but final_layer.bias are not in it"):
        load_weights(HRNet(**TINY), _saved(tmp_path, part))


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_named(share, zipped, state, tmp_path):
    file = tmp_path / "weights.pth"
    torch.save(state, file, _use_new_zipfile_serialization=zipped)
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
    with pytest.raises(
        WeightsError, match=r"weights.pth to be a whole weight file, but it is damaged or cut off after"
    ):
        load_weights(HRNet(**TINY), file)


def test_a_truncated_safetensors_file_is_named(state, tmp_path):
    file = tmp_path / "weights.safetensors"
    save_file(state, file)
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(WeightsError, match=r"weights.safetensors to be a whole weight file"):
        load_weights(HRNet(**TINY), file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html>", "begins with b'<!DOCTYPE html>'. A web page"),
        (b"version https://git-lfs", "a pointer saved in its place"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_named(content, message, tmp_path):
    file = tmp_path / "weights.pth"
    file.write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        load_weights(HRNet(**TINY), file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "a state_dict, names with tensors, but it holds list"),
        ({}, "but it holds nothing"),
        ({"epoch": 3, "state_dict": {}}, "but it holds epoch, state_dict"),
        ({"encoder.weight": torch.zeros(1)}, "its names are of no known form: encoder.weight"),
        ({"final_layer.scale": torch.zeros(1)}, "all weights of the network, but"),
    ],
)
def test_a_checkpoint_of_something_else_is_named(content, message, tmp_path):
    with pytest.raises(WeightsError, match=message):
        load_weights(HRNet(**TINY), _saved(tmp_path, content))


class _Attack:
    def __reduce__(self):
        return os.mkdir, ("attacked",)


@pytest.mark.parametrize(
    "write", [torch.save, lambda content, file: file.write_bytes(pickle.dumps(content, protocol=2))]
)
def test_code_in_a_file_is_not_run(write, state, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write({"state_dict": {}, "extra": _Attack()}, tmp_path / "weights.pth")
    with pytest.raises(WeightsError, match=r"objects whose code would have to run \(\w+.mkdir\)"):
        load_weights(HRNet(**TINY), tmp_path / "weights.pth")
    assert not (tmp_path / "attacked").exists()


def test_a_pickled_network_is_refused(tmp_path):
    with pytest.raises(
        WeightsError, match=r"\(hrpose.models.hrnet.HRNet\); it was not read. Save the network's state_dict"
    ):
        load_weights(HRNet(**TINY), _saved(tmp_path, HRNet(**TINY)))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"there is none at .*nowhere.pth. Correct the path"):
        load_weights(HRNet(**TINY), tmp_path / "nowhere.pth")
