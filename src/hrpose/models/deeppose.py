"""DeepPose: backbone, global average pooling, and a linear layer that predicts the coordinates.

Toshev, Szegedy, "DeepPose: Human Pose Estimation via Deep Neural Networks", CVPR 2014, with one stage. With sigmas it is the
network of Li et al., "Human Pose Regression with Residual Log-likelihood Estimation", ICCV 2021. Parameter names are MMPose's.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from hrpose.errors import check_counts
from hrpose.models.checks import Backbone, check_backbone


class DeepPose(nn.Module):
    """Direct regression: images (B, 3, H, W) to coordinates (B, K, 2), in units of the input's width and height.

    With `sigmas` the output is (B, K, 4): x, y and their standard deviations. Several feature maps (`HRNet(all_branches=True)`)
    are averaged and concatenated. The linear layer is initialised from N(0, 0.01), the coordinates at the middle of the image.

    Args:
        backbone: `HRNet` or `SimpleBaseline` with `num_keypoints=None`; `SimpleBaseline(deconv_channels=(), deconv_kernels=())`
            is a plain ResNet.
        num_keypoints: K.
        sigmas: whether to predict sigmas too, for `RLELoss`.

    Raises:
        ValueError: if the backbone has no features or a heatmap head, or `num_keypoints` is no positive whole number.

    Example:
        >>> from hrpose.models import SimpleBaseline
        >>> resnet = SimpleBaseline(18, None, deconv_channels=(), deconv_kernels=())
        >>> DeepPose(resnet, num_keypoints=5)(torch.zeros(2, 3, 96, 64)).shape
        torch.Size([2, 5, 2])
    """

    head_modules = ("head",)

    def __init__(self, backbone: nn.Module, num_keypoints: int = 17, *, sigmas: bool = False) -> None:
        super().__init__()
        check_counts(num_keypoints=num_keypoints)
        check_backbone(backbone)
        self.backbone = backbone
        self.head = RegressionHead(sum(cast(Backbone, backbone).feature_channels), num_keypoints, sigmas=sigmas)

    def forward(self, images: Tensor) -> Tensor:
        """Map images, as the backbone takes them, to coordinates (B, K, 2), or (B, K, 4) with sigmas."""
        features = cast(Backbone, self.backbone).forward_features(images)
        coordinates: Tensor = self.head(torch.cat([maps.mean(dim=(2, 3)) for maps in features], dim=1))
        return coordinates


class RegressionHead(nn.Module):
    """A linear layer from pooled features to coordinates, and to sigmas through a sigmoid, in float32."""

    def __init__(self, in_channels: int, num_keypoints: int, *, sigmas: bool) -> None:
        super().__init__()
        self.num_values = 4 if sigmas else 2
        self.fc = nn.Linear(in_channels, num_keypoints * self.num_values)
        nn.init.normal_(self.fc.weight, std=0.01)
        with torch.no_grad():
            self.fc.bias.view(num_keypoints, self.num_values)[:, :2] = 0.5
            self.fc.bias.view(num_keypoints, self.num_values)[:, 2:] = 0.0

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C) to (B, K, 2) or (B, K, 4)."""
        values: Tensor = self.fc(features).float().unflatten(1, (-1, self.num_values))
        return torch.cat([values[..., :2], values[..., 2:].sigmoid()], dim=-1)
