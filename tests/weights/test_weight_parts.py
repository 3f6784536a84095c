"""Weights of networks with a backbone and a regression or classification head."""

import pytest
import torch
from foreign_files import write_file

from hrpose.models import DeepPose, SimCC, SimpleBaseline
from hrpose.skeletons import COCO, MPII
from hrpose.weights import WeightsError, convert_weights, load_weights, save_weights
from hrpose.weights.files import read_weight_file


def plain_resnet():
    return SimpleBaseline(18, None, deconv_channels=(), deconv_kernels=())


NETWORKS = {
    "DeepPose": lambda count=5: DeepPose(plain_resnet(), count),
    "RLE": lambda count=5: DeepPose(plain_resnet(), count, sigmas=True),
    "SimCC": lambda count=5: SimCC(SimpleBaseline(18, None), num_keypoints=count, input_size=(64, 96)),
}


def assert_same(net, other):
    state, found = net.state_dict(), other.state_dict()
    assert state.keys() == found.keys()
    assert [name for name in state if not torch.equal(state[name], found[name])] == []


@pytest.mark.parametrize("form", [pytest.param("mmpose", marks=pytest.mark.slow), "hrpose"])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_with_other_heads_are_written_and_read_with_the_same_bits(name, form, tmp_path):
    net, other, back = (NETWORKS[name]() for _ in range(3))
    file = save_weights(net, tmp_path / "net.safetensors", form=form)
    report = load_weights(other, file)
    assert (report.missing, report.unused, report.mismatched) == ((), (), ())
    assert_same(net, other)
    load_weights(back, convert_weights(file, tmp_path / "back.pth", form={"mmpose": "hrpose", "hrpose": "mmpose"}[form]).target)
    assert_same(net, back)


def test_the_deconvolutions_of_simcc_have_the_names_of_mmpose(tmp_path):
    names = list(read_weight_file(save_weights(NETWORKS["SimCC"](), tmp_path / "net.pth", form="mmpose")).tensors)
    heads = {".".join(name.split(".")[:3]) for name in names if name.startswith("head.")}
    assert {"head.deconv_head.deconv_layers", "head.deconv_head.final_layer", "head.mlp_head_x.weight"} <= heads
    assert not any(name.startswith("backbone.deconv_layers") for name in names)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_official_form_refuses_other_heads(name, tmp_path):
    with pytest.raises(WeightsError, match="another head"):
        save_weights(NETWORKS[name](), tmp_path / "net.pth")


def test_the_flow_of_the_loss_is_left_out(tmp_path):
    net = NETWORKS["RLE"]()
    named = {name.replace("head.", "keypoint_head."): value for name, value in net.state_dict().items()}
    other = NETWORKS["RLE"]()
    flow = {"keypoint_head.loss.flow_model.mask": torch.ones(2)}
    report = load_weights(other, write_file(tmp_path, {"state_dict": named | flow}))
    assert (report.kind, report.unused) == ("MMPose 0.x checkpoint", tuple(flow))
    assert_same(net, other)


@pytest.mark.parametrize("name", ["DeepPose", "SimCC"])
def test_an_imagenet_backbone_is_loaded_without_the_head(name, tmp_path, caplog):
    state = {**plain_resnet().state_dict(), "fc.weight": torch.zeros(10, 512)}
    net = NETWORKS[name]()
    report = load_weights(net, write_file(tmp_path, state))
    assert (report.kind, report.unused) == ("ImageNet backbone", ("fc.weight",))
    assert torch.equal(net.backbone.state_dict()["layer4.1.conv2.weight"], state["layer4.1.conv2.weight"])
    assert not caplog.records


@pytest.mark.parametrize("name", NETWORKS)
def test_the_backbone_of_a_heatmap_network_is_loaded_with_a_fresh_head_only(name, tmp_path):
    net, source = NETWORKS[name](), SimpleBaseline(18, 5)
    file = save_weights(source, tmp_path / "heatmaps.pth")
    with pytest.raises(WeightsError, match=r"Expected only weights of the network|Expected a head"):
        load_weights(net, file)
    report = load_weights(net, file, fresh_head=True)
    assert all(name.startswith("head.") for name in report.missing)
    assert torch.equal(net.backbone.layer4[1].conv2.weight, source.layer4[1].conv2.weight)


def test_coordinates_are_loaded_keypoint_by_keypoint(tmp_path):
    source, net = NETWORKS["RLE"](17), NETWORKS["RLE"](16)
    report = load_weights(
        net, save_weights(source, tmp_path / "coco.pth", form="mmpose"), keypoint_names=MPII.keypoint_names, fresh_head=True
    )
    assert len(report.keypoints_by_name) == 12
    place, source_place = MPII.keypoint_names.index("left_knee"), COCO.keypoint_names.index("left_knee")
    assert torch.equal(
        net.head.fc.weight[4 * place : 4 * place + 4], source.head.fc.weight[4 * source_place : 4 * source_place + 4]
    )
