import hashlib
import json

import numpy as np
import pytest
import torch
from golden_weights import draw_images, draw_weights

from hrpose.models import SimpleBaseline, count_macs, count_parameters

NETWORKS = {
    "r50_256x192": {},
    "r50_384x288": {"depth": 50},
    "r50_mpii_256x256": {"num_keypoints": 16},
    "r101_256x192": {"depth": 101},
    "r152_256x192": {"depth": 152},
    "r152_384x288": {"depth": 152},
}
TORCHVISION = {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160, 152: 60_192_808}  # with 1000 classes
SMALL = {"depth": 18, "num_keypoints": 5, "deconv_channels": (8, 8, 8)}


@pytest.fixture(scope="module")
def golden(golden_dir):
    return np.load(golden_dir / "simple_baseline.npz")


@pytest.fixture(scope="module")
def facts(golden_dir):
    return json.loads((golden_dir / "simple_baseline_state_dicts.json").read_text())


@pytest.fixture(scope="module")
def small():
    net = SimpleBaseline(**SMALL).eval()
    draw_weights(net)
    return net


def _on_meta(**arguments):
    with torch.device("meta"):
        return SimpleBaseline(**arguments)


def test_every_golden_network_is_tested(facts):
    assert facts.keys() == NETWORKS.keys()


@pytest.mark.parametrize("name", NETWORKS)
def test_names_shapes_order_parameters_and_macs_are_official(name, facts):
    net = _on_meta(**NETWORKS[name])
    rows = [
        f"{key} {'x'.join(map(str, value.shape))} {str(value.dtype).removeprefix('torch.')}"
        for key, value in net.state_dict().items()
    ]
    assert len(rows) == facts[name]["tensors"]
    assert hashlib.sha256("\n".join(rows).encode()).hexdigest() == facts[name]["sha256"]
    assert count_parameters(net) == facts[name]["parameters"]
    assert count_macs(net, facts[name]["input_size"]) == facts[name]["macs"]


@pytest.mark.parametrize("depth", TORCHVISION)
def test_the_backbone_is_torchvisions_without_its_classes(depth):
    channels = 512 if depth < 50 else 2048
    net = _on_meta(depth=depth, num_keypoints=1000, deconv_channels=(), deconv_kernels=())
    assert net.final_layer.in_channels == channels
    assert count_parameters(net) == TORCHVISION[depth]  # a 1x1 convolution has the weights of a linear layer


def test_features_and_heatmaps_equal_the_official_ones(golden):
    net = SimpleBaseline().eval()
    draw_weights(net)
    found = {}
    stages = {name: module for name, module in net.named_children() if f"r50_{name}" in golden}
    for name, module in stages.items():
        module.register_forward_hook(lambda _, __, out, name=name: found.update({name: out.clone()}))
    with torch.no_grad():
        heatmaps = net(draw_images("pose_resnet50_256x192", (2, 3, 256, 192)))
    assert list(found) == ["layer1", "layer2", "layer3", "layer4", "deconv_layers"]
    for name, features in found.items():
        values = features.flatten()[golden[f"r50_{name}_index"]].numpy()
        np.testing.assert_allclose(values, golden[f"r50_{name}"], rtol=1e-5, atol=1e-5)
    assert heatmaps.shape == (2, 17, 64, 48)
    np.testing.assert_allclose(heatmaps.flatten()[golden["r50_index"]].numpy(), golden["r50_output"], atol=2e-6)


def test_features_are_the_input_of_the_head(small):
    images = draw_images("any", (1, 3, 64, 32))
    with torch.no_grad():
        (features,) = small.forward_features(images)
        assert features.shape == (1, 8, 16, 8)
        assert torch.equal(small.final_layer(features), small(images))


def test_without_deconvolutions_the_features_are_the_backbones():
    net = SimpleBaseline(18, 5, deconv_channels=(), deconv_kernels=())
    images = torch.zeros(2, 3, 64, 96)
    assert net.forward_features(images)[0].shape == (2, 512, 2, 3)
    assert net(images).shape == (2, 5, 2, 3)


@pytest.mark.parametrize("kernel", [2, 3, 4])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_each_deconvolution_doubles_the_resolution(kernel, count):
    net = _on_meta(**{**SMALL, "deconv_channels": [8] * count, "deconv_kernels": [kernel] * count})
    assert net(torch.empty(1, 3, 64, 32, device="meta")).shape == (1, 5, 2 * 2**count, 2**count)


def test_weights_are_initialised_as_in_the_paper():
    torch.manual_seed(0)
    for module in SimpleBaseline(**SMALL).modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            sampling = 0.001 * 5 / (2 * module.weight.numel()) ** 0.5  # five standard errors of a standard deviation
            assert module.weight.std().item() == pytest.approx(0.001, abs=sampling)
            assert module.bias is None or not module.bias.any()
        if isinstance(module, torch.nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert not module.bias.any()
            assert (module.eps, module.momentum) == (1e-5, 0.1)


def test_images_are_not_changed(small):
    images = draw_images("any", (2, 3, 64, 64))
    before = images.clone()
    with torch.no_grad():
        small(images)
    assert torch.equal(images, before)


def test_a_training_step_reaches_every_parameter():
    net = SimpleBaseline(**SMALL)
    draw_weights(net)
    net(draw_images("any", (2, 3, 64, 64))).square().mean().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in net.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 51}, r"`depth`.*18, 34, 50, 101, 152.*51"),
        ({"num_keypoints": 0}, "`num_keypoints`.*got 0"),
        ({"final_kernel": 2}, "`final_kernel` to be odd"),
        ({"deconv_channels": (256, 0, 256)}, r"`deconv_channels\[1\]`.*got 0"),
        ({"deconv_channels": (256, 256)}, r"`deconv_kernels`.*got \(256, 256\) and \(4, 4, 4\)"),
        ({"deconv_kernels": (4, 4, 5)}, r"kernels of 2 to 4.*\(4, 4, 5\)"),
    ],
)
def test_a_wrong_argument_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SimpleBaseline(**arguments)


def test_a_wrong_input_size_is_refused_with_the_nearest_valid_one(small):
    with pytest.raises(ValueError, match=r"32.*100 x 48.*96 x 64.*\(24, 16\)"):
        small(torch.zeros(1, 3, 48, 100))


def test_export_keeps_the_batch_free(small):
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(small, (torch.zeros(2, 3, 64, 32),), dynamic_shapes=({0: batch},))
    images = draw_images("any", (5, 3, 64, 32))
    with torch.no_grad():
        torch.testing.assert_close(program.module()(images), small(images))
