import pytest
import torch

from hrpose.models import HRNet, SimpleBaseline
from hrpose.models.checks import check_final_kernel, check_images

SMALL = {"num_modules": (1, 1, 1), "num_blocks": 1, "stage1_blocks": 1}
NETWORKS = {
    "hrnet": lambda keypoints: HRNet(4, keypoints, **SMALL),
    "hrnet of a coarser branch": lambda keypoints: HRNet(4, keypoints, heatmap_branch=2, **SMALL),
    "hrnet of all branches": lambda keypoints: HRNet(4, keypoints, all_branches=True, **SMALL),
    "simple baseline": lambda keypoints: SimpleBaseline(18, keypoints),
    "resnet": lambda keypoints: SimpleBaseline(18, keypoints, deconv_channels=(), deconv_kernels=()),
}
every = pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS.keys())


def test_valid_arguments_are_accepted():
    check_final_kernel(3)
    check_images(torch.zeros(0, 3, 64, 128), 64)


@pytest.mark.parametrize("value", [0, 2])
def test_an_even_kernel_is_refused(value):
    with pytest.raises(ValueError, match="`final_kernel` to be"):
        check_final_kernel(value)


@pytest.mark.parametrize("shape", [(1, 4, 64, 64), (3, 64, 64)])
def test_images_of_a_wrong_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"`images`.*\(B, 3, H, W\)"):
        check_images(torch.zeros(shape), 32)


def test_the_message_has_the_nearest_size_and_its_heatmap_size():
    with pytest.raises(ValueError, match=r"64.*100 x 20.*128 x 64.*\(16, 8\)"):
        check_images(torch.zeros(1, 3, 20, 100), 64, heatmap_stride=8)


def test_an_image_that_is_too_small_is_refused_with_the_smallest_size():
    check_images(torch.zeros(1, 3, 96, 64), 32, least=64)
    with pytest.raises(ValueError, match=r"32.*64.*96 x 32.*96 x 64"):
        check_images(torch.zeros(1, 3, 32, 96), 32, least=64)


@every
def test_channels_and_strides_are_those_of_the_features(build):
    net = build(None)
    features = net.forward_features(torch.zeros(1, 3, 64, 96))
    assert [maps.shape[1] for maps in features] == list(net.feature_channels)
    assert [tuple(maps.shape[2:]) for maps in features] == [(64 // s, 96 // s) for s in net.feature_strides]


@every
def test_a_network_without_head_lacks_only_the_parameters_of_the_head(build):
    assert build(3).state_dict().keys() - build(None).state_dict().keys() == {"final_layer.weight", "final_layer.bias"}


@every
def test_a_network_without_head_returns_its_features(build):
    net, images = build(None).eval(), torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert any(torch.equal(net(images), maps) for maps in net.forward_features(images))


@every
def test_zero_keypoints_are_refused(build):
    with pytest.raises(ValueError, match=r"`num_keypoints`.*1.*0"):
        build(0)
