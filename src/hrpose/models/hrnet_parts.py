"""The parts of an HRNet: residual blocks, the step between two stages, and the exchange units that a stage is made of.

Sun et al., CVPR 2019; `hrnet.py` puts them together. Parameter names and the order of every sum are those of the official code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from torch import Tensor, nn
from torch.nn import functional as F

Exchanges: TypeAlias = Literal["all", "across_stages", "final"]
"""Which exchange units a network has: all of them; the last one of each stage; the very last one."""


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al., CVPR 2016): the block of stages 2 to 4.

    Args:
        channels: of its input and its output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(channels, channels)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, h, w) to (B, C, h, w)."""
        out = F.relu(self.bn1(self.conv1(features)), inplace=True)
        out = self.bn2(self.conv2(out))
        out += features
        return F.relu(out, inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut (He et al., CVPR 2016): the block of stage 1.

    Args:
        in_channels: of its input.
        width: channels between the 1x1 convolutions; four times as many leave the block.
    """

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        out_channels = 4 * width
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, in_channels, h, w) to (B, 4 * width, h, w)."""
        out = F.relu(self.bn1(self.conv1(features)), inplace=True)
        out = F.relu(self.bn2(self.conv2(out)), inplace=True)
        out = self.bn3(self.conv3(out))
        out += self.downsample(features)
        return F.relu(out, inplace=True)


class Transition(nn.ModuleList):
    """The step between two stages: adds one branch of half the resolution of the last.

    Args:
        before: channels of the branches that come in, finest first.
        after: channels of the branches that go out, one more.
    """

    def __init__(self, before: Sequence[int], after: Sequence[int]) -> None:
        kept = [
            nn.Identity() if old == new else nn.Sequential(*_conv_norm(old, new), nn.ReLU(inplace=True))
            for old, new in zip(before, after, strict=False)
        ]
        added = nn.Sequential(nn.Sequential(*_conv_norm(before[-1], after[-1], stride=2), nn.ReLU(inplace=True)))
        super().__init__([*kept, added])

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Map n branches, finest first, to n + 1."""
        return [path(features[min(branch, len(features) - 1)]) for branch, path in enumerate(self)]


class ExchangeUnit(nn.Module):
    """Residual blocks on every branch, then every output takes in every branch: y_i = ReLU(sum over j of f_ij(x_j)).

    f_ij is the identity for i = j, a 1x1 convolution with nearest-neighbour upsampling from a coarser branch j, and
    strided 3x3 convolutions from a finer one.

    Args:
        channels: of the branches, finest first; at least two.
        num_blocks: residual blocks of each branch.
        outputs: the branches that go out, by their number from 0, the finest.
    """

    def __init__(self, channels: Sequence[int], num_blocks: int, outputs: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(residual_branch(width, num_blocks) for width in channels)
        # a dictionary, so that a row keeps its number, and its parameters their names, where the rows before it are left out
        self.fuse_layers = nn.ModuleDict(
            {
                str(target): nn.ModuleList(_exchange_path(channels, source, target) for source in range(len(channels)))
                for target in outputs
            }
        )

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Map branches, finest first, to the branches that go out."""
        inputs = [branch(feature) for branch, feature in zip(self.branches, features, strict=True)]
        outputs = []
        for paths in self.fuse_layers.values():
            terms = zip(paths, inputs, strict=True)  # type: ignore[call-overload]  # a ModuleList iterates
            outputs.append(_sum_relu([path(feature) for path, feature in terms]))
        return outputs


class SeparateBranches(nn.Module):
    """Residual blocks on every branch and no exchange: what is left where an exchange unit is taken away.

    Args:
        channels: of the branches, finest first.
        num_blocks: residual blocks of each branch.
    """

    def __init__(self, channels: Sequence[int], num_blocks: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(residual_branch(width, num_blocks) for width in channels)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Map each branch to itself."""
        return [branch(feature) for branch, feature in zip(self.branches, features, strict=True)]


def build_stage(
    channels: Sequence[int],
    num_modules: int,
    num_blocks: int,
    *,
    exchanges: Exchanges = "all",
    outputs: Sequence[int] | None = None,
) -> nn.Sequential:
    """Put a stage together.

    Args:
        channels: of the branches, finest first.
        num_modules: how often all branches are followed by an exchange.
        num_blocks: residual blocks of each branch between two exchanges.
        exchanges: which of the exchange units are there.
        outputs: the branches that go out of the last stage; None for a stage that another one follows.
    """
    everything = range(len(channels))

    def unit(is_last: bool) -> nn.Module:
        if is_last and outputs is not None:
            return ExchangeUnit(channels, num_blocks, outputs)
        if exchanges == "all" or (exchanges == "across_stages" and is_last):
            return ExchangeUnit(channels, num_blocks, everything)
        return SeparateBranches(channels, num_blocks)

    return nn.Sequential(*(unit(position == num_modules - 1) for position in range(num_modules)))


def build_bottlenecks(in_channels: int, width: int, num_blocks: int) -> nn.Sequential:
    """Put stage 1 together: bottleneck blocks that put out 4 * width channels."""
    return nn.Sequential(*(Bottleneck(4 * width if block else in_channels, width) for block in range(num_blocks)))


def residual_branch(channels: int, num_blocks: int) -> nn.Sequential:
    """Put the residual blocks of one branch together."""
    return nn.Sequential(*(BasicBlock(channels) for _ in range(num_blocks)))


def conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """Make a 3x3 convolution without bias that keeps the size, or halves it with stride 2."""
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)


def _sum_relu(terms: list[Tensor]) -> Tensor:
    total = terms[0] + terms[1]  # a new tensor: the identity term belongs to the other outputs too
    for term in terms[2:]:
        total += term
    return F.relu(total, inplace=True)


def _exchange_path(channels: Sequence[int], source: int, target: int) -> nn.Module:
    if source == target:
        return nn.Identity()
    if source > target:
        return nn.Sequential(
            nn.Conv2d(channels[source], channels[target], 1, bias=False),
            nn.BatchNorm2d(channels[target]),
            nn.Upsample(scale_factor=2.0 ** (source - target), mode="nearest"),
        )
    width = channels[source]
    steps = [
        nn.Sequential(*_conv_norm(width, width, stride=2), nn.ReLU(inplace=True)) for _ in range(target - source - 1)
    ]
    return nn.Sequential(*steps, nn.Sequential(*_conv_norm(width, channels[target], stride=2)))


def _conv_norm(in_channels: int, out_channels: int, stride: int = 1) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    return conv3x3(in_channels, out_channels, stride), nn.BatchNorm2d(out_channels)
