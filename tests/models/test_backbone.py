"""Networks without their heatmap head."""

import pytest
import torch

from hrpose.models import HRNet, SimpleBaseline

SMALL = {"num_modules": (1, 1, 1), "num_blocks": 1, "stage1_blocks": 1}
NETWORKS = {
    "hrnet": lambda keypoints: HRNet(4, keypoints, **SMALL),
    "hrnet of a coarser branch": lambda keypoints: HRNet(4, keypoints, heatmap_branch=2, **SMALL),
    "hrnet of all branches": lambda keypoints: HRNet(4, keypoints, all_branches=True, **SMALL),
    "simple baseline": lambda keypoints: SimpleBaseline(18, keypoints),
    "resnet": lambda keypoints: SimpleBaseline(18, keypoints, deconv_channels=(), deconv_kernels=()),
}
every = pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS.keys())


@every
def test_channels_and_strides_are_those_of_the_features(build):
    net = build(None)
    features = net.forward_features(torch.zeros(1, 3, 64, 96))
    assert [maps.shape[1] for maps in features] == list(net.feature_channels)
    assert [tuple(maps.shape[2:]) for maps in features] == [(64 // s, 96 // s) for s in net.feature_strides]


@every
def test_without_a_head_only_the_head_is_gone(build):
    assert build(3).state_dict().keys() - build(None).state_dict().keys() == {"final_layer.weight", "final_layer.bias"}


@every
def test_without_a_head_the_features_come_out(build):
    net, images = build(None).eval(), torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert any(torch.equal(net(images), maps) for maps in net.forward_features(images))


@every
def test_no_keypoints_at_all_are_still_refused(build):
    with pytest.raises(ValueError, match="`num_keypoints` to be a whole number of at least 1, but got 0"):
        build(0)
