"""Stacked Hourglass: several networks in a row, each of which pools the features to 1/64 and upsamples them again.

Newell, Yang, Deng, "Stacked Hourglass Networks for Human Pose Estimation", ECCV 2016 (https://arxiv.org/abs/1603.06937), in the
form of Yang's PyTorch code, which DarkPose trained on COCO; parameter names and their order are those of that code, so its
weights load unchanged. 4 stacks have 13.0 M parameters, as in DarkPose, and 8 have 25.6 M (25.1 M in the HRNet paper).

    stem (1/4) -> hourglass -> features -> heatmaps     every stack is supervised; its features and heatmaps go to the next
                  1/4 .. 1/64    1/4         1/4
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hrpose.errors import check_counts
from hrpose.models.checks import check_images

_WHOLE_STRIDE = 32  # before the last pooling, which may drop an odd row or column
_LEAST_SIDE = 64  # one cell at the coarsest resolution


class StackedHourglass(nn.Module):
    """Hourglasses with a heatmap head each: images (B, 3, H, W) to heatmaps (B, K, H/4, W/4) of the last.

    In training mode the output is the heatmaps of all S stacks, (B, S, K, H/4, W/4): intermediate supervision; the losses of
    `hrpose.losses` sum over the stacks.

    Layers have PyTorch's initial weights, except the heads: N(0, 0.001) and bias 0, as in the other networks here. With
    PyTorch's initial weights, as in the published runs, heads hardly learn in the first thousand steps.

    Args:
        num_stacks: S; 8 in the paper.
        num_keypoints: K, the number of heatmaps.
        width: channels of the features in the hourglasses, a multiple of 4.
        num_blocks: residual blocks per path of an hourglass.

    Raises:
        ValueError: if a count is not a positive whole number, or `width` no multiple of 4.

    Example:
        >>> net = StackedHourglass(2, num_keypoints=5, width=16).eval()
        >>> net(torch.zeros(2, 3, 128, 64)).shape
        torch.Size([2, 5, 32, 16])
        >>> net.train()(torch.zeros(2, 3, 128, 64)).shape
        torch.Size([2, 2, 5, 32, 16])
    """

    head_modules = ("score", "score_")

    def __init__(self, num_stacks: int = 8, num_keypoints: int = 17, *, width: int = 256, num_blocks: int = 1) -> None:
        super().__init__()
        check_counts(num_stacks=num_stacks, num_keypoints=num_keypoints, width=width, num_blocks=num_blocks)
        if width % 4:
            raise ValueError(f"Expected argument `width` to be a multiple of 4, but got {width}.")
        num_links = num_stacks - 1
        self.conv1 = nn.Conv2d(3, width // 4, 7, stride=2, padding=3)
        self.bn1 = nn.BatchNorm2d(width // 4)
        self.layer1 = nn.Sequential(Bottleneck(width // 4, width // 2))
        self.layer2 = nn.Sequential(Bottleneck(width // 2, width))
        self.layer3 = nn.Sequential(Bottleneck(width, width))
        self.hg = nn.ModuleList(Hourglass(width, num_blocks) for _ in range(num_stacks))
        self.res = nn.ModuleList(_bottlenecks(width, num_blocks) for _ in range(num_stacks))
        self.fc = nn.ModuleList(_conv_norm_relu(width) for _ in range(num_stacks))
        heads = [nn.Conv2d(width, num_keypoints, 1) for _ in range(num_stacks)]
        self.score = nn.ModuleList(heads)
        self.fc_ = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(num_links))
        self.score_ = nn.ModuleList(nn.Conv2d(num_keypoints, width, 1) for _ in range(num_links))
        for head in heads:
            nn.init.normal_(head.weight, std=0.001)
            assert head.bias is not None
            nn.init.zeros_(head.bias)

    def forward_features(self, images: Tensor) -> list[Tensor]:
        """Compute the input of the last stack's head, one map (B, width, H/4, W/4), from normalised images (B, 3, H, W).

        Raises:
            ValueError: if H or W is not a multiple of 32 or below 64.
        """
        return self._run_stacks(images)[0][-1:]

    def forward(self, images: Tensor) -> Tensor:
        """Map images to heatmaps (B, K, H/4, W/4) of the last stack; in training mode (B, S, K, H/4, W/4) of all."""
        heatmaps = self._run_stacks(images)[1]
        return torch.stack(heatmaps, dim=1) if self.training else heatmaps[-1]

    def _run_stacks(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Compute the features and the heatmaps of every stack."""
        check_images(images, _WHOLE_STRIDE, least=_LEAST_SIDE)
        stem = F.relu(self.bn1(self.conv1(images)), inplace=True)
        inputs = self.layer3(self.layer2(F.max_pool2d(self.layer1(stem), 2)))
        features: list[Tensor] = []
        heatmaps: list[Tensor] = []
        for stack, hourglass in enumerate(self.hg):
            if stack:
                inputs = inputs + self.fc_[stack - 1](features[-1]) + self.score_[stack - 1](heatmaps[-1])
            features.append(self.fc[stack](self.res[stack](hourglass(inputs))))
            heatmaps.append(self.score[stack](features[-1]))
        return features, heatmaps


class Hourglass(nn.Module):
    """Down to 1/16 of the resolution and up again, with a shortcut at each resolution."""

    compiles_alone = True  # see `compile_network`

    def __init__(self, width: int, num_blocks: int) -> None:
        super().__init__()
        num_paths = [4, 3, 3, 3]  # shortcut, down, up; and, at the coarsest resolution, the middle
        self.hg = nn.ModuleList(nn.ModuleList(_bottlenecks(width, num_blocks) for _ in range(count)) for count in num_paths)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, width, h, w) to the same shape; h and w are multiples of 8, at least 16.

        Where the last pooling drops a row or column (a 128x96 crop: from 4x3 to 2x1 cells), the upsampled features are resized to
        the shortcut, as in DarkPose.
        """
        levels = [list(level.children()) for level in self.hg]  # coarsest first
        shortcuts: list[Tensor] = []
        for shortcut, down, *_ in reversed(levels):
            shortcuts.append(shortcut(features))
            features = down(F.max_pool2d(features, 2))
        features = levels[0][3](features)
        for _, _, up, *_ in levels:
            fine = shortcuts.pop()
            features = fine + F.interpolate(up(features), size=fine.shape[-2:], mode="nearest")
        return features


class Bottleneck(nn.Module):
    """Pre-activation bottleneck (He et al., ECCV 2016) with `out_channels // 2` channels between the 1x1 convolutions."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        width = out_channels // 2
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, width, 1)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.bn3 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1)
        self.downsample: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.downsample = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, in_channels, h, w) to (B, out_channels, h, w)."""
        out: Tensor = self.conv1(F.relu(self.bn1(features), inplace=True))
        out = self.conv2(F.relu(self.bn2(out), inplace=True))
        out = self.conv3(F.relu(self.bn3(out), inplace=True))
        out += self.downsample(features)
        return out


def _bottlenecks(width: int, num_blocks: int) -> nn.Sequential:
    return nn.Sequential(*(Bottleneck(width, width) for _ in range(num_blocks)))


def _conv_norm_relu(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width, width, 1), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
