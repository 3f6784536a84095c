"""Codec and network have to agree on the size of the heatmaps."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from hrpose.codecs import HeatmapCodec
from hrpose.config import ConfigError
from hrpose.models import HRNet, StackedHourglass
from hrpose.tasks.sizes import check_heatmap_size

SMALL = {"width": 4, "num_keypoints": 3, "num_modules": (1, 1, 1), "num_blocks": 1, "stage1_blocks": 1}


@pytest.mark.parametrize("branch", [0, 1, 2, 3])
def test_sizes_that_agree_pass(branch):
    cells = (64 >> branch + 2, 96 >> branch + 2)
    check_heatmap_size(HRNet(**SMALL, heatmap_branch=branch), HeatmapCodec((64, 96), cells))


def test_a_heatmap_of_another_size_is_told_with_both_keys():
    net = HRNet(**SMALL, heatmap_branch=1)
    with pytest.raises(ConfigError) as error:
        check_heatmap_size(net, HeatmapCodec((64, 96), (16, 24)))
    assert "codec.heatmap_size: expected [8, 12]" in str(error.value)
    assert "got [16, 24]. Set codec.heatmap_size=[8,12], or change model.heatmap_branch" in str(error.value)


def test_a_network_without_branches_is_not_said_to_have_them():
    net = StackedHourglass(1, 3, width=8).train()  # puts out (B, S, K, h, w)
    check_heatmap_size(net, HeatmapCodec((64, 128), (16, 32)))
    with pytest.raises(ConfigError, match=r"model \(StackedHourglass\).*or change model or codec") as error:
        check_heatmap_size(net, HeatmapCodec((64, 128), (32, 64)))
    assert "heatmap_branch" not in str(error.value)


def test_what_is_no_heatmap_is_not_looked_at():
    net = nn.Sequential(nn.Flatten(), nn.LazyLinear(6))
    net(torch.zeros(1, 3, 8, 8))
    check_heatmap_size(net, HeatmapCodec((8, 8), (2, 2)))
    check_heatmap_size(net, SimpleNamespace(input_size=(8, 8)))
