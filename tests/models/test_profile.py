import pytest
import torch
from torch import nn

from hrpose.models import HRNet, count_macs, count_parameters, find_heatmap_size
from hrpose.models.checks import refuses_one_image


def test_macs_of_each_layer_follow_from_its_shapes():
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),  # 4 x 6 cells, 3 * 9 weights each, 8 channels
        nn.Conv2d(8, 8, 3, padding=1, groups=4),  # 2 input channels to a group
        nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1),  # counted once for each input cell
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 5),
    )
    assert count_macs(net, (12, 8)) == 24 * 8 * 27 + 24 * 8 * 18 + 24 * 8 * 4 * 16 + 4 * 5
    assert count_parameters(net) == 8 * 27 + (8 * 18 + 8) + (8 * 4 * 16 + 4) + 25


def test_counting_changes_nothing():
    net = HRNet(width=4, num_keypoints=2, num_modules=(1, 1, 1), num_blocks=1).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    count_macs(net, (32, 32))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())


def test_the_size_of_heatmaps_is_found_from_shapes():
    small = {"width": 4, "num_keypoints": 2, "num_modules": (1, 1, 1), "num_blocks": 1}
    assert find_heatmap_size(HRNet(**small), (96, 160)) == (24, 40)
    assert find_heatmap_size(HRNet(**small, heatmap_branch=3), (96, 160)) == (3, 5)
    assert find_heatmap_size(nn.Flatten(), (96, 160)) is None


def test_one_image_is_refused_where_features_are_one_cell():
    net = HRNet(width=4, num_keypoints=2, num_modules=(1, 1, 1), num_blocks=1).train()
    for size, refused in (((32, 32), True), ((32, 64), False), ((64, 64), False)):
        assert refuses_one_image(net, size) is refused
        if refused:
            with pytest.raises(ValueError, match="more than 1 value per channel"):
                net(torch.zeros(1, 3, *size[::-1]))
        else:
            net(torch.zeros(1, 3, *size[::-1]))
    assert not any(module._forward_pre_hooks for module in net.modules())
