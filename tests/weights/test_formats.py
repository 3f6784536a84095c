"""Files of every form with the golden weights give the golden outputs."""

import numpy as np
import pytest
import torch
from foreign_files import FORM_FILES, POSE_FORMS, body, head, imagenet_classifier, prefixed, write_file
from golden_weights import TINY, draw_images, draw_weights

from hrpose.models import HRNet, SimpleBaseline, StackedHourglass
from hrpose.weights import WeightsError, convert_weights, load_weights
from hrpose.weights.formats import describe_architecture


def drawn(net):
    draw_weights(net)
    return net.state_dict()


@pytest.fixture(scope="module")
def state():
    return drawn(HRNet(**TINY))


@pytest.fixture(scope="module")
def resnet():
    return drawn(SimpleBaseline())


@pytest.fixture
def assert_official_heatmaps(golden_dir):
    def check(net):
        with torch.no_grad():
            found = net.eval()(draw_images("hrnet_tiny_w8_k3", (2, 3, 96, 64)))
        np.testing.assert_allclose(found.numpy(), np.load(golden_dir / "hrnet.npz")["tiny_output"], rtol=1e-5, atol=2e-5)

    return check


@pytest.mark.parametrize(
    ("form", "suffix"), [pytest.param(*file, marks=pytest.mark.slow if row % 2 else ()) for row, file in enumerate(FORM_FILES)]
)
def test_every_form_gives_the_official_heatmaps(form, suffix, state, assert_official_heatmaps, tmp_path):
    net = HRNet(**TINY)
    report = load_weights(net, write_file(tmp_path, POSE_FORMS[form].write(state), suffix))
    assert report.kind == POSE_FORMS[form].kind
    assert report.loaded == tuple(state)
    assert report.missing == report.mismatched == ()
    assert set(report.renamed.values()) == (set(state) if form.startswith(("hrpose", "MMPose")) else set())
    assert_official_heatmaps(net)


@pytest.mark.parametrize(
    ("form", "unused"),
    [
        ("MMPose 1.x preprocessor", "data_preprocessor (2)"),
        ("MMPose 1.x integral", "head.linspace_x (1), head.linspace_y (1)"),
        ("MMPose 0.x EMA", "ema_ (518)"),
        ("MMPose 1.x EMA", None),
        ("training", None),
    ],
)
def test_other_tensors_of_a_form_are_reported(form, unused, state, tmp_path):
    lines = str(load_weights(HRNet(**TINY), write_file(tmp_path, POSE_FORMS[form].write(state)))).splitlines()
    assert [line for line in lines if "unused" in line] == ([f"  unused: {unused}"] if unused else [])


@pytest.mark.parametrize("form", [pytest.param("DataParallel", marks=pytest.mark.slow), "MMPose 1.x"])
def test_every_form_gives_the_official_heatmaps_of_the_resnet(form, resnet, golden_dir, tmp_path):
    golden = np.load(golden_dir / "simple_baseline.npz")
    net = SimpleBaseline().eval()
    report = load_weights(net, write_file(tmp_path, POSE_FORMS[form].write(resnet)))
    assert (report.kind, report.loaded) == (POSE_FORMS[form].kind, tuple(resnet))
    with torch.no_grad():
        first = net(draw_images("pose_resnet50_256x192", (2, 3, 256, 192))[:1]).flatten().numpy()
    places = golden["r50_index"] < len(first)
    np.testing.assert_allclose(first[golden["r50_index"][places]], golden["r50_output"][places], atol=2e-6)


def test_every_form_gives_the_official_heatmaps_of_the_full_size_network(golden_dir, tmp_path):
    net = HRNet(32)
    file = write_file(tmp_path, POSE_FORMS["MMPose 1.x"].write(drawn(HRNet(32))))
    assert len(load_weights(net, file).loaded) == 1754
    golden = np.load(golden_dir / "hrnet.npz")
    with torch.no_grad():
        found = net.eval()(draw_images("hrnet_w32_256x192", (2, 3, 256, 192))[:1]).flatten().numpy()
    places = golden["w32_index"] < len(found)
    np.testing.assert_allclose(found[golden["w32_index"][places]], golden["w32_output"][places], atol=1e-4)


IMAGENET = {
    "official, timm": ("ImageNet backbone", lambda s: {**body(s), **imagenet_classifier(8)}),
    "timm training": ("ImageNet backbone", lambda s: {"state_dict": {**body(s), **imagenet_classifier(8)}, "arch": "hrnet"}),
    "timm features": ("ImageNet backbone", lambda s: {**body(s), "incre_modules.0.0.conv1.weight": torch.zeros(8, 8, 1, 1)}),
    "headless": ("backbone", body),
    "headless MMPose": ("backbone", lambda s: {"state_dict": prefixed(body(s), "backbone.")}),
    "without increase": ("backbone", lambda s: {**body(s), "final_layer.0.weight": torch.zeros(5, 8, 1, 1)}),
}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("form", IMAGENET)
def test_every_backbone_gives_the_official_heatmaps_with_the_official_head(
    form, suffix, state, assert_official_heatmaps, tmp_path
):
    kind, write = IMAGENET[form]
    content = write(state)
    net = HRNet(**TINY)
    own = net.final_layer.weight.clone()
    flat = content.get("state_dict", content) if suffix == ".safetensors" else content
    report = load_weights(net, write_file(tmp_path, flat, suffix))
    assert (report.kind, report.loaded, set(report.missing)) == (kind, tuple(body(state)), set(head(state)))
    assert torch.equal(net.final_layer.weight, own)  # the final_layer of a classifier is not loaded
    net.load_state_dict(head(state), strict=False)
    assert_official_heatmaps(net)


@pytest.mark.parametrize(
    ("extra", "where"),
    [
        ({"keypoint_head.final_layer.0.weight": torch.zeros(8, 8, 3, 3)}, r"head.conv_layers \(1\)"),  # 0 is not the last then
        ({"keypoint_head.conv_layers.0.weight": torch.zeros(8, 8, 3, 3)}, r"head.conv_layers \(1\)"),
        ({"keypoint_head.mlp_head_x.weight": torch.zeros(8, 8)}, r"head.mlp_head_x \(1\)"),
    ],
)
def test_a_head_with_more_layers_is_refused(extra, where, state, tmp_path):
    named = {
        name.replace("final_layer.", "final_layer.3.") if "final_layer.0" in str(extra) else name: value
        for name, value in POSE_FORMS["MMPose 0.x flat"].write(state).items()
    }
    file = write_file(tmp_path, named | extra)
    with pytest.raises(WeightsError, match=rf"\b1\b.*{where}"):
        load_weights(HRNet(**TINY), file)
    assert len(load_weights(HRNet(**TINY), file, fresh_head=True).loaded) == len(state)


def test_parameters_of_a_loss_are_left_out(state, tmp_path):
    named = POSE_FORMS["MMPose 1.x flat"].write(state) | {"head.loss_module.flow.weight": torch.zeros(2)}
    assert load_weights(HRNet(**TINY), write_file(tmp_path, named)).unused == ("head.loss_module.flow.weight",)


def test_counters_are_left_out(state, assert_official_heatmaps, tmp_path):
    averaged = torch.optim.swa_utils.AveragedModel(HRNet(**TINY))
    averaged.module.load_state_dict(state)
    counted = {"total_ops": torch.zeros(1), "layer1.0.total_params": torch.zeros(1)}
    file = write_file(tmp_path, {**averaged.state_dict(), **prefixed(counted, "module.")})
    net = HRNet(**TINY)
    assert load_weights(net, file).unused == ("n_averaged", "total_ops", "layer1.0.total_params")
    assert_official_heatmaps(net)
    assert convert_weights(file, tmp_path / "bare.pth").num_tensors == len(state)


def test_the_offset_form_of_udp_has_three_channels_for_a_keypoint(tmp_path):
    state = HRNet(**TINY | {"num_keypoints": 51}).state_dict()
    net = HRNet(**TINY | {"num_keypoints": 51})
    assert load_weights(net, write_file(tmp_path, prefixed(state, "module."))).loaded == tuple(state)
    assert torch.equal(net.final_layer.weight, state["final_layer.weight"])


@pytest.mark.parametrize(
    ("net", "name"),
    [
        (lambda: HRNet(48), "HRNet-W48"),
        (lambda: SimpleBaseline(18), "SimpleBaseline ResNet-18"),
        (lambda: SimpleBaseline(152), "SimpleBaseline ResNet-152"),
        (lambda: SimpleBaseline(50, deconv_channels=(), deconv_kernels=()), "ResNet-50"),
        (lambda: StackedHourglass(4), "Stacked Hourglass, 4 stacks"),
    ],
)
def test_an_architecture_is_recognised_by_its_tensors(net, name):
    with torch.device("meta"):
        tensors = net().state_dict()
    assert describe_architecture(tensors) == name
    assert describe_architecture({"encoder.weight": tensors["conv1.weight"]}) is None
