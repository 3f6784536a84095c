import pytest
import torch
from golden_weights import draw_images, draw_weights

from hrpose.models import HRNet, SimCC, SimpleBaseline, count_parameters
from hrpose.weights import load_weights

SIZE = (64, 96)
SMALL = {"num_keypoints": None, "num_modules": (1, 1, 1), "num_blocks": 1, "stage1_blocks": 1}


def hrnet(**arguments):
    return SimCC(HRNet(width=4, **SMALL), 3, input_size=SIZE, **arguments)


def test_the_head_is_a_convolution_and_two_linear_layers_that_all_keypoints_share():
    with torch.device("meta"):
        net = SimCC(SimpleBaseline(50, None))
        heatmaps = SimpleBaseline(50)
    linear = {name: tuple(value.shape) for name, value in net.state_dict().items() if name.startswith("head.")}
    assert linear == {
        "head.final_layer.weight": (17, 256, 1, 1),
        "head.final_layer.bias": (17,),
        "head.mlp_head_x.weight": (384, 3072),
        "head.mlp_head_x.bias": (384,),
        "head.mlp_head_y.weight": (512, 3072),
        "head.mlp_head_y.bias": (512,),
    }
    assert count_parameters(net) == count_parameters(heatmaps) + 896 * 3073


def test_bins_come_from_the_flat_map_of_the_keypoint():
    net = hrnet().eval()
    draw_weights(net)
    images = draw_images("any", (2, 3, 96, 64))
    with torch.no_grad():
        logits = net(images)
        assert logits.shape == (2, 3, 2 * (64 + 96))
        maps = net.head.final_layer(net.backbone(images))
        want = net.head.mlp_head_y(maps[:, 1].reshape(2, -1))
        torch.testing.assert_close(logits[:, 1, 128:], want)


@pytest.mark.parametrize("split_ratio", [1, 3])
def test_the_number_of_bins_follows_the_ratio(split_ratio):
    assert hrnet(split_ratio=split_ratio)(torch.zeros(2, 3, 96, 64)).shape == (2, 3, split_ratio * 160)


def test_the_finest_of_several_branches_is_used():
    net = SimCC(HRNet(width=4, all_branches=True, **SMALL), 3, input_size=SIZE)
    assert net.head.final_layer.in_channels == 4
    assert net(torch.zeros(1, 3, 96, 64)).shape == (1, 3, 320)


def test_without_deconvolutions_the_maps_are_coarse():
    resnet = SimpleBaseline(18, None, deconv_channels=(), deconv_kernels=())
    net = SimCC(resnet, 3, input_size=SIZE)
    assert net.head.mlp_head_x.in_features == 2 * 3
    assert net(torch.zeros(2, 3, 96, 64)).shape == (2, 3, 320)


def test_a_training_step_reaches_every_parameter():
    net = hrnet()
    draw_weights(net)
    net(draw_images("any", (2, 3, 96, 64))).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in net.parameters())


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="have no heatmap head"):
        SimCC(SimpleBaseline(18, 5))
    with pytest.raises(ValueError, match=r"`split_ratio`.*1.*0"):
        hrnet(split_ratio=0)
    with pytest.raises(ValueError, match=r"\(64, 96\).*\(1, 3, 64, 64\)"):
        hrnet()(torch.zeros(1, 3, 64, 64))


def test_export_keeps_the_batch_free():
    net = hrnet().eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(net, (torch.zeros(2, 3, 96, 64),), dynamic_shapes=({0: batch},))
    images = draw_images("any", (5, 3, 96, 64))
    with torch.no_grad():
        torch.testing.assert_close(program.module()(images), net(images))


def test_a_file_of_mmpose_for_this_network_loads_completely(tmp_path):
    net = hrnet()
    draw_weights(net)
    torch.save({"meta": {}, "state_dict": net.state_dict()}, tmp_path / "simcc.pth")
    other = hrnet()
    assert load_weights(other, tmp_path / "simcc.pth").missing == ()
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in other.state_dict().items())


def test_mmposes_deconvolutions_of_a_resnet_move_to_the_backbone(tmp_path):
    net = SimCC(SimpleBaseline(18, None, deconv_channels=(8, 8, 8)), 3, input_size=SIZE)
    draw_weights(net)
    state = {
        name.replace("backbone.deconv_layers", "head.deconv_head.deconv_layers").replace(
            "head.final_layer", "head.deconv_head.final_layer"
        ): value
        for name, value in net.state_dict().items()
    }
    torch.save({"meta": {}, "state_dict": state}, tmp_path / "simcc.pth")
    other = SimCC(SimpleBaseline(18, None, deconv_channels=(8, 8, 8)), 3, input_size=SIZE)
    assert load_weights(other, tmp_path / "simcc.pth").missing == ()
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in other.state_dict().items())
