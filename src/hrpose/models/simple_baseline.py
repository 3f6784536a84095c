"""SimpleBaseline: a ResNet, and transposed convolutions that upsample its features to a quarter of the input.

Xiao, Wu, Wei, "Simple Baselines for Human Pose Estimation and Tracking", ECCV 2018 (https://arxiv.org/abs/1804.06208), on He et
al., "Deep Residual Learning for Image Recognition", CVPR 2016. Parameter names and their order follow the official code
and of torchvision's ResNet, so published weights of both load unchanged.

    conv1, max pooling (1/4) -> layer1 -> layer2 -> layer3 -> layer4 -> deconv_layers -> final_layer
                                1/4       1/8       1/16      1/32      1/4              1/4
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from hrpose.errors import check_choice, check_counts
from hrpose.models.checks import check_final_kernel, check_images, initialise
from hrpose.models.hrnet import BasicBlock, Bottleneck

_BACKBONE_STRIDE = 32  # of layer4; every transposed convolution halves it


class SimpleBaseline(nn.Module):
    """ResNet with a deconvolution head: images (B, 3, H, W) to heatmaps (B, K, H/4, W/4).

    Weights are initialised as in the paper: all convolutions from N(0, 0.001), biases 0, batch norms 1 and 0; `load_weights`
    loads a ResNet trained on ImageNet. The official networks take BGR images (`PoseDataModule(channel_order="bgr")`).

    Args:
        depth: layers of the ResNet; 50, 101 and 152 are the paper's.
        num_keypoints: K, the number of heatmaps; None builds no heatmap head, for networks with another head.
        deconv_channels: output channels of each transposed convolution; each doubles the resolution. () keeps the features of
            the ResNet.
        deconv_kernels: kernel size of each transposed convolution: 2, 3 or 4.
        final_kernel: kernel size of the last convolution in heatmap cells, odd; the paper's is 1.

    Attributes:
        feature_channels: channels of the one map of `forward_features`.
        feature_strides: input pixels per cell of this map.

    Raises:
        ValueError: if the depth is not one of the five, a count is not a positive whole number, a transposed convolution has no
            kernel or one of another size, or `final_kernel` is even.

    Example:
        >>> import torch
        >>> net = SimpleBaseline(18, num_keypoints=5)
        >>> net(torch.zeros(2, 3, 96, 64)).shape
        torch.Size([2, 5, 24, 16])
    """

    head_modules = ("deconv_layers", "final_layer")

    def __init__(
        self,
        depth: Literal[18, 34, 50, 101, 152] = 50,
        num_keypoints: int | None = 17,
        *,
        deconv_channels: Sequence[int] = (256, 256, 256),
        deconv_kernels: Sequence[int] = (4, 4, 4),
        final_kernel: int = 1,
    ) -> None:
        super().__init__()
        check_choice("depth", depth, RESNETS)
        check_counts(num_keypoints=1 if num_keypoints is None else num_keypoints)
        check_final_kernel(final_kernel)
        _check_deconvs(deconv_channels, deconv_kernels)

        block, num_blocks = RESNETS[depth]
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = _layer(block, 64, 64, num_blocks[0])
        self.layer2 = _layer(block, 64 * block.expansion, 128, num_blocks[1], stride=2)
        self.layer3 = _layer(block, 128 * block.expansion, 256, num_blocks[2], stride=2)
        self.layer4 = _layer(block, 256 * block.expansion, 512, num_blocks[3], stride=2)
        channels = [512 * block.expansion, *deconv_channels]
        self.deconv_layers = _deconvs(channels, deconv_kernels)
        self.final_layer: nn.Module = nn.Identity()
        if num_keypoints is not None:
            self.final_layer = nn.Conv2d(channels[-1], num_keypoints, final_kernel, padding=final_kernel // 2)
        self.feature_channels, self.feature_strides = channels[-1:], [_BACKBONE_STRIDE // 2 ** len(deconv_channels)]
        initialise(self)

    def forward_features(self, images: Tensor) -> list[Tensor]:
        """Compute the input of the last convolution, one map, from normalised images (B, 3, H, W).

        Returns:
            (B, deconv_channels[-1], H/4, W/4); without transposed convolutions the features of the ResNet, (B, C, H/32, W/32)
            with C = 512 for depths 18 and 34 and 2048 for the others.

        Raises:
            ValueError: if H or W is not a multiple of 32.
        """
        check_images(images, _BACKBONE_STRIDE, heatmap_stride=self.feature_strides[0])
        features = F.relu(self.bn1(self.conv1(images)), inplace=True)
        features = F.max_pool2d(features, 3, stride=2, padding=1)
        features = self.layer4(self.layer3(self.layer2(self.layer1(features))))
        return [self.deconv_layers(features)]

    def forward(self, images: Tensor) -> Tensor:
        """Map images to heatmaps (B, K, H/4, W/4), without activation; return the features if there is no head."""
        heatmaps: Tensor = self.final_layer(self.forward_features(images)[0])
        return heatmaps


RESNETS: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}  # layers: block, and number of blocks in layer1 to layer4
_DECONV_PADDINGS = {2: (0, 0), 3: (1, 1), 4: (1, 0)}  # kernel: padding and output padding that exactly double the size


def _layer(
    block: type[BasicBlock] | type[Bottleneck], in_channels: int, width: int, num_blocks: int, stride: int = 1
) -> nn.Sequential:
    out_channels = width * block.expansion
    return nn.Sequential(block(in_channels, width, stride), *(block(out_channels, width, 1) for _ in range(num_blocks - 1)))


def _deconvs(channels: Sequence[int], kernels: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after, kernel in zip(channels[:-1], channels[1:], kernels, strict=True):
        padding, output_padding = _DECONV_PADDINGS[kernel]
        layers += [
            nn.ConvTranspose2d(before, after, kernel, 2, padding, output_padding, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def _check_deconvs(channels: Sequence[int], kernels: Sequence[int]) -> None:
    check_counts(**{f"deconv_channels[{index}]": count for index, count in enumerate(channels)})
    if len(channels) != len(kernels) or len(channels) > 5 or not set(kernels) <= set(_DECONV_PADDINGS):
        raise ValueError(
            "Expected arguments `deconv_channels` and `deconv_kernels` to have the same length, at most 5, and kernels of 2 to "
            f"4, but got {tuple(channels)} and {tuple(kernels)}."
        )
