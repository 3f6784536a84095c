import pytest
import torch
from torch import nn

from hrpose.models import HigherHRNet, HRNet, count_macs, count_parameters, split_modules

SMALL = {"width": 8, "num_keypoints": 5, "num_modules": (1, 1, 1), "num_blocks": 1}


def on_meta(*arguments, **options):
    with torch.device("meta"):
        return HigherHRNet(*arguments, **options)


@pytest.fixture(scope="module")
def w32():
    return on_meta(32)


@pytest.mark.parametrize(("width", "num_keypoints", "expected"), [(48, 17, 63_827_139), (32, 14, 28_641_962)])
def test_parameters_are_those_of_the_official_module(width, num_keypoints, expected):
    net = on_meta(width, num_keypoints)
    assert count_parameters(net) == expected
    assert len(net.state_dict()) == 1810


def test_w32_has_the_names_of_the_official_module(w32):
    names = w32.state_dict()
    assert count_parameters(w32) == 28_645_331
    assert len(names) == 1810
    for name, shape in {
        "deconv_layers.0.0.0.weight": (66, 32, 4, 4),
        "deconv_layers.0.0.1.running_var": (32,),
        "deconv_layers.0.1.0.conv1.weight": (32, 32, 3, 3),
        "deconv_layers.0.4.0.bn2.bias": (32,),
        "final_layers.0.weight": (34, 32, 1, 1),
        "final_layers.0.bias": (34,),
        "final_layers.1.weight": (17, 32, 1, 1),
        "final_layers.1.bias": (17,),
    }.items():
        assert tuple(names[name].shape) == shape
    assert "deconv_layers.0.0.0.bias" not in names


def test_macs_are_the_published_ones_if_deconvolutions_count_output_cells(w32):
    """The paper's table has 47.9, 74.8 and 154.3 multiply-adds / 1e9; the official module gives 47.864, 74.788 and 154.305."""
    cases = ((w32, 512, 46.203, 47.864), (w32, 640, 72.193, 74.788), (on_meta(48), 640, 149.469, 154.305))
    for net, side, true, published in cases:
        macs = count_macs(net, (side, side))
        deconvolution = net.deconv_layers[0][0][0].weight.numel() * (side // 4) ** 2
        assert macs / 1e9 == pytest.approx(true, abs=6e-4)
        assert (macs + 3 * deconvolution) / 1e9 == pytest.approx(published, abs=6e-4)


def test_without_deconvolutions_it_is_hrnet_with_twice_the_heatmaps():
    plain = on_meta(**SMALL, num_deconvs=0)
    with torch.device("meta"):
        hrnet = HRNet(**{**SMALL, "num_keypoints": 10})
    assert count_parameters(plain) == count_parameters(hrnet)
    shapes = {name.replace("final_layers.0", "final_layer"): value.shape for name, value in plain.state_dict().items()}
    assert shapes == {name: value.shape for name, value in hrnet.state_dict().items()}
    assert [tuple(output.shape) for output in plain(torch.empty(1, 3, 64, 96, device="meta"))] == [(1, 10, 16, 24)]


def test_each_deconvolution_doubles_the_resolution():
    outputs = on_meta(**SMALL, num_deconvs=2)(torch.empty(2, 3, 64, 96, device="meta"))
    assert [tuple(output.shape) for output in outputs] == [(2, 10, 16, 24), (2, 5, 32, 48), (2, 5, 64, 96)]


def test_the_finer_heatmaps_give_gradients_to_the_coarser_ones():
    """The first output is concatenated without a detach."""
    net = HigherHRNet(**SMALL)
    net(torch.randn(2, 3, 64, 64))[1].sum().backward()
    assert net.final_layers[0].weight.grad.abs().sum() > 0


def test_the_input_of_a_deconvolution_is_features_then_heatmaps():
    net = HigherHRNet(**SMALL).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        net.deconv_layers[0][0][0].weight[:8] = 0  # the features
        first, before = net(images)
        net.final_layers[0].weight.zero_()
        net.final_layers[0].bias.zero_()
        _, after = net(images)
    assert first.shape[1] == 10
    assert not torch.equal(before, after)
    with torch.no_grad():
        net.stage4[0].branches[0][0].conv1.weight.mul_(2)
        assert torch.equal(net(images)[1], after)  # the features no longer matter


def test_weights_are_initialised_as_in_the_paper():
    net = HigherHRNet(16, num_modules=(1, 1, 1))
    for layer in net.modules():
        if isinstance(layer, nn.ConvTranspose2d) or layer is net.final_layers[0]:
            assert layer.weight.std().item() == pytest.approx(0.001, rel=0.2)
    assert not any(layer.bias.any() for layer in net.final_layers)


def test_only_the_heads_depend_on_the_number_of_keypoints():
    backbone, head = split_modules(on_meta(**SMALL))
    assert set(head) == {"final_layers", "deconv_layers"}
    assert "stage4" in backbone


@pytest.mark.parametrize("count", [-1, True, 1.5])
def test_a_number_of_deconvolutions_is_a_whole_number(count):
    with pytest.raises(ValueError, match="num_deconvs"):
        on_meta(num_deconvs=count)


def test_outputs_are_float32_under_autocast():
    net = HigherHRNet(width=4, num_keypoints=3, num_modules=(1, 1, 1), num_blocks=1, stage1_blocks=1).eval()
    torch.nn.init.normal_(net.final_layers[0].weight)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        outputs = net(torch.randn(1, 3, 64, 64))
    assert [output.dtype for output in outputs] == [torch.float32] * 2
    assert not torch.equal(outputs[0], outputs[0].bfloat16().float())
