"""The weight files of HigherHRNet in the forms in which they were published."""

import pytest
import torch
from foreign_files import body, imagenet_classifier, prefixed

from hrpose.models import HigherHRNet, HRNet
from hrpose.weights import WeightsError, convert_weights, load_weights, save_weights
from hrpose.weights.formats import build_like

SMALL = {"width": 8, "num_modules": (1, 1, 1), "num_blocks": 1}


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(5)
    return HigherHRNet(num_keypoints=17, **SMALL).state_dict()


def heads(state):
    return {name: value for name, value in state.items() if name.startswith(("final_layers.", "deconv_layers."))}


def trunk(state):
    return {name: value for name, value in body(state).items() if name not in heads(state)}


def mmpose_0(state):
    return {"state_dict": {**prefixed(trunk(state), "backbone."), **prefixed(heads(state), "keypoint_head.")}}


FORMS = {
    "official": ("pose checkpoint", dict),
    "half precision": ("pose checkpoint", lambda state: prefixed(state, "1.")),  # w32_640 and w48_640
    "DataParallel": ("pose checkpoint", lambda state: prefixed(state, "module.1.")),
    "MMPose 0.x": ("MMPose 0.x checkpoint", mmpose_0),
    "hrpose": ("hrpose checkpoint", lambda state: {"state_dict": prefixed(state, "net.")}),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_network(form, state, tmp_path):
    kind, write = FORMS[form]
    torch.save(write(state), tmp_path / "weights.pth")
    net = HigherHRNet(num_keypoints=17, **SMALL)
    report = load_weights(net, tmp_path / "weights.pth")
    assert (report.kind, report.loaded, report.unused) == (kind, tuple(state), ())
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())


def test_an_imagenet_backbone_is_loaded(state, tmp_path):
    torch.save({**trunk(state), **imagenet_classifier(8)}, tmp_path / "hrnet.pth")
    net = HigherHRNet(num_keypoints=17, **SMALL)
    report = load_weights(net, tmp_path / "hrnet.pth", fresh_head=True)
    assert report.kind == "ImageNet backbone"
    assert set(report.missing) == set(heads(state))
    assert torch.equal(net.stage4[0].branches[0][0].conv1.weight, state["stage4.0.branches.0.0.conv1.weight"])


def test_for_other_keypoints_only_the_layers_that_depend_on_them_are_not_loaded(state, tmp_path):
    torch.save(state, tmp_path / "coco.pth")
    net = HigherHRNet(num_keypoints=14, **SMALL)
    with pytest.raises(WeightsError, match="num_keypoints"):
        load_weights(net, tmp_path / "coco.pth")
    report = load_weights(net, tmp_path / "coco.pth", fresh_head=True)
    assert {name.removesuffix(".weight").removesuffix(".bias") for name in report.mismatched} == {
        "final_layers.0",
        "final_layers.1",
        "deconv_layers.0.0.0",
    }


def test_a_top_down_network_is_refused(tmp_path):
    torch.save(HRNet(num_keypoints=17, **SMALL).state_dict(), tmp_path / "top_down.pth")
    with pytest.raises(WeightsError, match="deconv_layers"):
        load_weights(HigherHRNet(num_keypoints=17, **SMALL), tmp_path / "top_down.pth")


@pytest.mark.parametrize("num_deconvs", [0, 1, 2])
def test_the_network_of_a_file_is_built_again(num_deconvs):
    options = {"deconv_blocks": 2, "final_kernel": 3} if num_deconvs else {}
    state = HigherHRNet(num_keypoints=5, num_deconvs=num_deconvs, **options, **SMALL).state_dict()
    net = build_like(state)
    assert isinstance(net, HigherHRNet)
    assert {name: value.shape for name, value in net.state_dict().items()} == {name: value.shape for name, value in state.items()}


def test_files_are_written_in_the_forms_that_support_the_network(state, tmp_path):
    net = HigherHRNet(num_keypoints=17, **SMALL)
    net.load_state_dict(state)
    source = save_weights(net, tmp_path / "official.pth")
    conversion = convert_weights(source, tmp_path / "hrpose.ckpt", form="hrpose")
    assert (conversion.architecture, conversion.num_tensors) == ("HigherHRNet-W8", len(state))
    assert load_weights(HigherHRNet(num_keypoints=17, **SMALL), tmp_path / "hrpose.ckpt").loaded == tuple(state)
    with pytest.raises(WeightsError, match="MMPose"):
        convert_weights(source, tmp_path / "mmpose.pth", form="mmpose")
