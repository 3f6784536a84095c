import copy
import hashlib
import json

import numpy as np
import pytest
import torch
from golden_weights import TINY, draw_images, draw_weights

from hrpose.losses import HeatmapMSELoss
from hrpose.models import HRNet, count_macs, count_parameters

NETWORKS = {
    "tiny_w8_k3": TINY,
    "w18_small_v1_256x192": {"width": 16, "stage1_width": 32, "stage1_blocks": 1, "num_modules": (1, 1, 1), "num_blocks": 2},
    "w18_small_v2_256x192": {"width": 18, "stage1_blocks": 2, "num_modules": (1, 3, 2), "num_blocks": 2},
    "w18_256x192": {"width": 18},
    "w32_256x192": {},
    "w32_384x288": {"width": 32},
    "w32_mpii_256x256": {"width": 32, "num_keypoints": 16},
    "w48_256x192": {"width": 48},
    "w48_384x288": {"width": 48},
    "w48_mpii_256x256": {"width": 48, "num_keypoints": 16},
}
SMALL = {"width": 8, "num_keypoints": 5, "num_modules": (1, 1, 1), "num_blocks": 1, "stage1_blocks": 1}


@pytest.fixture(scope="module")
def golden(golden_dir):
    return np.load(golden_dir / "hrnet.npz")


@pytest.fixture(scope="module")
def facts(golden_dir):
    return json.loads((golden_dir / "hrnet_state_dicts.json").read_text())


@pytest.fixture(scope="module")
def tiny():
    net = HRNet(**TINY)
    draw_weights(net)
    return net


def test_every_golden_network_is_tested(facts):
    assert facts.keys() == NETWORKS.keys()


@pytest.mark.parametrize("name", NETWORKS)
def test_names_shapes_order_parameters_and_macs_are_official(name, facts):
    with torch.device("meta"):
        net = HRNet(**NETWORKS[name])
    rows = [
        f"{key} {'x'.join(map(str, value.shape))} {str(value.dtype).removeprefix('torch.')}"
        for key, value in net.state_dict().items()
    ]
    assert len(rows) == facts[name]["tensors"]
    assert hashlib.sha256("\n".join(rows).encode()).hexdigest() == facts[name]["sha256"]
    assert count_parameters(net) == facts[name]["parameters"]
    assert count_macs(net, facts[name]["input_size"]) == facts[name]["macs"]


def test_tiny_heatmaps_equal_the_official_ones(tiny, golden):
    with torch.no_grad():
        heatmaps = copy.deepcopy(tiny).eval()(draw_images("hrnet_tiny_w8_k3", (2, 3, 96, 64)))
    np.testing.assert_allclose(heatmaps.numpy(), golden["tiny_output"], rtol=1e-5, atol=2e-5)


def test_w32_heatmaps_equal_the_official_ones_also_in_channels_last(golden):
    net = HRNet(width=32).eval()
    draw_weights(net)
    images = draw_images("hrnet_w32_256x192", (2, 3, 256, 192))
    with torch.no_grad():
        plain = net(images).flatten()[golden["w32_index"]]
        net, images = net.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
        heatmaps = net(images)
    assert heatmaps.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(plain.numpy(), golden["w32_output"], atol=1e-4)
    np.testing.assert_allclose(heatmaps.contiguous().flatten()[golden["w32_index"]].numpy(), golden["w32_output"], atol=1e-4)


@pytest.mark.slow
def test_w48_heatmaps_equal_the_official_ones(golden):
    net = HRNet(width=48).eval()
    draw_weights(net)
    with torch.no_grad():
        heatmaps = net(draw_images("hrnet_w48_384x288", (1, 3, 384, 288)))
    np.testing.assert_allclose(heatmaps.flatten()[golden["w48_index"]].numpy(), golden["w48_output"], atol=1e-4)


@pytest.mark.trains
def test_a_training_step_equals_the_official_one(tiny, golden):
    """Compute in float64: in float32 the rounding of some processors switches a ReLU, which changes gradients by .3 %."""
    net = copy.deepcopy(tiny).double().train()
    batch = (torch.from_numpy(golden[f"train_{key}"]).double() for key in ("input", "target", "target_weight"))
    images, target, weight = batch
    heatmaps = net(images)
    loss = HeatmapMSELoss()(heatmaps, target, weight)
    loss.backward()
    np.testing.assert_allclose(heatmaps.detach().numpy(), golden["train_output_train_mode"], rtol=1e-4, atol=1e-4)
    assert loss.item() == pytest.approx(float(golden["train_loss"]), rel=1e-5)
    for parameter, key in ((net.conv1.weight, "conv1"), (net.final_layer.weight, "final")):
        want = golden[f"train_grad_{key}_weight"]
        np.testing.assert_allclose(parameter.grad.numpy(), want, rtol=0, atol=2e-5 * np.abs(want).max())
    np.testing.assert_allclose(net.bn1.running_mean.numpy(), golden["train_bn1_running_mean_after"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(net.bn1.running_var.numpy(), golden["train_bn1_running_var_after"], rtol=1e-5)
    norms = dict(zip(golden["train_grad_names"].tolist(), golden["train_grad_norms"].tolist(), strict=True))
    found = {name: float(parameter.grad.double().norm()) for name, parameter in net.named_parameters()}
    assert found.keys() == norms.keys()
    for name, norm in norms.items():
        assert found[name] == pytest.approx(norm, rel=2e-5), name


def test_features_are_the_input_of_the_head(tiny):
    net = copy.deepcopy(tiny).eval()
    images = draw_images("any", (1, 3, 64, 32))
    with torch.no_grad():
        (features,) = net.forward_features(images)
        assert features.shape == (1, 8, 16, 8)
        assert features.min() >= 0
        assert torch.equal(net.final_layer(features), net(images))


@pytest.mark.parametrize("branch", [0, 1, 2, 3])
def test_heatmaps_are_those_of_the_chosen_branch(branch):
    net = HRNet(**SMALL, heatmap_branch=branch).train()
    images = draw_images("any", (2, 3, 96, 64))
    (features,) = net.eval().forward_features(images)
    assert features.shape == (2, 8 << branch, 24 >> branch, 16 >> branch)
    heatmaps = net.train()(images)
    assert heatmaps.shape == (2, 5, 24 >> branch, 16 >> branch)
    heatmaps.sum().backward()  # training on several devices refuses parameters without gradient
    assert all(parameter.grad is not None for parameter in net.parameters())
    names = [name for name in net.state_dict() if name.startswith("stage4.0.fuse_layers.")]
    assert {name.split(".")[3] for name in names} == {str(branch)}


@pytest.mark.parametrize("branch", [0, 2])
def test_all_branches_of_stage_4_have_the_names_of_the_imagenet_network(branch):
    one = HRNet(**SMALL, heatmap_branch=branch).eval()
    every = HRNet(**SMALL, heatmap_branch=branch, all_branches=True).eval()
    draw_weights(one)
    draw_weights(every)
    images = draw_images("any", (1, 3, 64, 32))
    with torch.no_grad():
        features = every.forward_features(images)
        assert [tuple(each.shape[1:]) for each in features] == [(8, 16, 8), (16, 8, 4), (32, 4, 2), (64, 2, 1)]
        torch.testing.assert_close(features[branch], one.forward_features(images)[0])
        torch.testing.assert_close(every(images), one(images))
    added = every.state_dict().keys() - one.state_dict().keys()
    assert {name.split(".")[3] for name in added} == {"0", "1", "2", "3"} - {str(branch)}
    assert "stage4.0.fuse_layers.3.0.2.0.weight" in every.state_dict()


@pytest.mark.parametrize(
    ("exchanges", "units"), [pytest.param("all", 8, marks=pytest.mark.slow), ("across_stages", 3), ("final", 1)]
)
def test_exchange_units_are_counted_as_in_the_papers_table_6(exchanges, units):
    with torch.device("meta"):
        net = HRNet(exchanges=exchanges)
    names = {".".join(name.split(".")[:2]) for name in net.state_dict() if ".fuse_layers." in name}
    assert len(names) == units
    branches = [name for name in net.state_dict() if ".branches." in name]
    with torch.device("meta"):
        assert branches == [name for name in HRNet().state_dict() if ".branches." in name]  # the depth stays
        assert tuple(net(torch.empty(2, 3, 64, 64)).shape) == (2, 17, 16, 16)


def test_without_exchange_a_branch_is_independent_until_the_last_unit():
    net = HRNet(**{**SMALL, "num_modules": (1, 2, 1)}, exchanges="final").eval()
    draw_weights(net)
    finest, coarse = torch.rand(1, 8, 8, 8), torch.rand(1, 16, 4, 4)
    with torch.no_grad():
        before, after = (net.stage3([finest, other, torch.rand(1, 32, 2, 2)]) for other in (coarse, coarse + 1))
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])


def test_weights_are_initialised_as_in_the_paper():
    torch.manual_seed(0)
    net = HRNet(**SMALL)
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            sampling = 0.001 * 5 / (2 * module.weight.numel()) ** 0.5  # five standard errors of a standard deviation
            assert module.weight.std().item() == pytest.approx(0.001, abs=sampling)
            assert module.bias is None or not module.bias.any()
        if isinstance(module, torch.nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert not module.bias.any()
            assert (module.eps, module.momentum) == (1e-5, 0.1)


def test_an_identity_transition_has_no_weights():
    names = HRNet(**{**SMALL, "width": 16, "stage1_width": 4}).state_dict()
    assert not [name for name in names if name.startswith("transition1.0")]


def test_arguments_are_not_changed():
    counts = [1, 2, 1]
    HRNet(**{**SMALL, "num_modules": counts})
    assert counts == [1, 2, 1]


def test_images_are_not_changed(tiny):
    images = draw_images("any", (2, 3, 64, 64))
    before = images.clone()
    copy.deepcopy(tiny).train()(images).sum().backward()
    assert torch.equal(images, before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0}, r"`width`.*1.*0"),
        ({"num_keypoints": -1}, "`num_keypoints`"),
        ({"num_keypoints": 17.0}, "`num_keypoints`.*got 17.0"),
        ({"num_blocks": True}, "`num_blocks`.*got True"),
        ({"num_modules": (1, 4)}, r"`num_modules`.*\(1, 4\)"),
        ({"num_modules": (1, 0, 3)}, r"`num_modules\[1\]`.*got 0"),
        ({"final_kernel": 2}, "`final_kernel` to be odd"),
        ({"heatmap_branch": 4}, r"`heatmap_branch`.*0, 1, 2.*3.*4"),
        ({"heatmap_branch": True}, "`heatmap_branch`.*got True"),
        ({"exchanges": "none"}, r"`exchanges`.*across_stages.*'none'"),
    ],
)
def test_a_wrong_argument_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        HRNet(**arguments)


def test_a_wrong_input_size_is_refused_with_the_nearest_valid_one(tiny):
    with pytest.raises(ValueError, match=r"32.*100 x 48.*96 x 64.*\(24, 16\)"):
        tiny(torch.zeros(1, 3, 48, 100))


@pytest.mark.parametrize("shape", [(1, 4, 64, 64), (3, 64, 64)])
def test_images_of_a_wrong_shape_are_refused(tiny, shape):
    with pytest.raises(ValueError, match=r"`images`.*\(B, 3, H, W\)"):
        tiny(torch.zeros(shape))


def test_export_keeps_the_batch_free():
    net = HRNet(**SMALL).eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(net, (torch.zeros(2, 3, 64, 32),), dynamic_shapes=({0: batch},))
    images = draw_images("any", (5, 3, 64, 32))
    with torch.no_grad():
        torch.testing.assert_close(program.module()(images), net(images))


def test_the_graph_compiles_without_breaks():
    net = HRNet(**SMALL).eval()
    images = draw_images("any", (2, 3, 64, 32))
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(net, backend="eager", fullgraph=True)(images), net(images))
