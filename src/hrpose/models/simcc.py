"""SimCC: a backbone, and two linear layers that map the features of each keypoint to bins along x and along y.

Li et al., "SimCC: a Simple Coordinate Classification Perspective for Human Pose Estimation", ECCV 2022
(https://arxiv.org/abs/2107.03332). Parameter names of the head are MMPose's; here the deconvolutions of a ResNet are part of the
backbone.

    backbone -> finest map -> final_layer (1x1) -> one flat map per keypoint -> mlp_head_x, mlp_head_y
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from hrpose.errors import check_counts
from hrpose.models.checks import Backbone, check_backbone


class SimCC(nn.Module):
    """Coordinate classification: images (B, 3, H, W) to logits of bins (B, K, X + Y), X along x before Y along y.

    Convolutions are initialised from N(0, 0.001), linear layers from N(0, 0.01), biases with 0, as in MMPose.

    Args:
        backbone: `HRNet` or `SimpleBaseline` with `num_keypoints=None`; the finest of several feature maps is used.
        num_keypoints: K.
        input_size: width W and height H of the images in pixels; it fixes the size of the linear layers.
        split_ratio: bins per pixel, along both axes.

    Raises:
        ValueError: if the backbone has no features or a heatmap head, or a count is not a positive whole number.

    Example:
        >>> from hrpose.models import SimpleBaseline
        >>> resnet = SimpleBaseline(18, None)
        >>> SimCC(resnet, num_keypoints=5, input_size=(64, 96))(torch.zeros(2, 3, 96, 64)).shape
        torch.Size([2, 5, 320])
    """

    head_modules = ("head",)

    def __init__(
        self, backbone: nn.Module, num_keypoints: int = 17, *, input_size: Sequence[int] = (192, 256), split_ratio: int = 2
    ) -> None:
        super().__init__()
        check_backbone(backbone)
        check_counts(num_keypoints=num_keypoints, split_ratio=split_ratio)
        width, height = input_size
        check_counts(**{"input_size[0]": width, "input_size[1]": height})
        network = cast(Backbone, backbone)
        self.input_size = (width, height)
        self.backbone = backbone
        num_cells = (width // network.feature_strides[0]) * (height // network.feature_strides[0])
        num_bins = (width * split_ratio, height * split_ratio)
        self.head = SimccHead(network.feature_channels[0], num_keypoints, num_cells=num_cells, num_bins=num_bins)

    def forward(self, images: Tensor) -> Tensor:
        """Map images of `input_size` to logits (B, K, X + Y).

        Raises:
            ValueError: if the images have another size.
        """
        if tuple(images.shape[:1:-1]) != self.input_size:
            raise ValueError(
                f"Expected images of {self.input_size} pixels (width, height), the input_size of the network, but got the shape "
                f"{tuple(images.shape)}. Build the network with the codec's input_size."
            )
        logits: Tensor = self.head(cast(Backbone, self.backbone).forward_features(images)[0])
        return logits


class SimccHead(nn.Module):
    """A 1x1 convolution to one map per keypoint, and one linear layer per axis from `num_cells` to its number of bins."""

    def __init__(self, in_channels: int, num_keypoints: int, *, num_cells: int, num_bins: tuple[int, int]) -> None:
        super().__init__()
        self.final_layer = nn.Conv2d(in_channels, num_keypoints, 1)
        self.mlp_head_x, self.mlp_head_y = (nn.Linear(num_cells, count) for count in num_bins)
        for layer, spread in ((self.final_layer, 0.001), (self.mlp_head_x, 0.01), (self.mlp_head_y, 0.01)):
            nn.init.normal_(layer.weight, std=spread)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, h, w) to (B, K, X + Y)."""
        maps = self.final_layer(features).flatten(2)
        return torch.cat([self.mlp_head_x(maps), self.mlp_head_y(maps)], dim=2)
