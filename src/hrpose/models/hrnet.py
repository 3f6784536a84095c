"""HRNet: a network with high-resolution features in every stage.

Sun, Xiao, Liu, Wang, "Deep High-Resolution Representation Learning for Human Pose Estimation", CVPR 2019
(https://arxiv.org/abs/1902.09212). Parameter names and the order of every sum follow the official code, so published
weights load unchanged and give the published heatmaps.

    stem (1/4) -> layer1 -> transition1 -> stage2 -> transition2 -> stage3 -> transition3 -> stage4 -> final_layer
                  1/4       1/4, 1/8                 .. 1/16                  .. 1/32                  1/4

The networks of the literature, as arguments:

    W32, W48, W18     HRNet(width=32), HRNet(width=48), HRNet(width=18)
    W18-small v1      HRNet(width=16, stage1_width=32, stage1_blocks=1, num_modules=(1, 1, 1), num_blocks=2)
    W18-small v2      HRNet(width=18, stage1_blocks=2, num_modules=(1, 3, 2), num_blocks=2)

and those of the paper's ablation (section 4.4):

    heatmaps from the 2x or the 4x map     HRNet(heatmap_branch=1), HRNet(heatmap_branch=2)
    exchange across stages only, 3 units   HRNet(exchanges="across_stages")
    only the last exchange, 1 unit         HRNet(exchanges="final")
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

from torch import Tensor, nn
from torch.nn import functional as F

from hrpose.errors import check_choice, check_counts
from hrpose.models.checks import check_final_kernel, check_images, initialise

Exchanges: TypeAlias = Literal["all", "across_stages", "final"]
"""Which exchange units a network has: all of them; the last one of each stage; the very last one."""

_FINEST_STRIDE = 4  # pixels per cell of the first branch
_COARSEST_STRIDE = 32  # of the fourth branch; nearest-neighbour upsampling to the other branches needs whole cells
_NUM_BRANCHES = 4  # of stage 4


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al., CVPR 2016): the block of stages 2 to 4."""

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

    It has `width` channels between the 1x1 convolutions and four times as many in its output.
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
            self.downsample = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels))

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, in_channels, h, w) to (B, 4 * width, h, w)."""
        out = F.relu(self.bn1(self.conv1(features)), inplace=True)
        out = F.relu(self.bn2(self.conv2(out)), inplace=True)
        out = self.bn3(self.conv3(out))
        out += self.downsample(features)
        return F.relu(out, inplace=True)


class Branch(nn.Sequential):
    """Residual blocks in a row."""

    compiles_alone = True  # see `compile_network`

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, h, w) to (B, C', h, w)."""
        for block in self:
            features = block(features)
        return features


class Transition(nn.ModuleList):
    """The step between two stages: adds a branch of half the resolution of the last.

    Args:
        before: channels of the input branches, finest first.
        after: channels of the output branches, one more.
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


class Exchange(nn.ModuleDict):
    """A sum over the branches for every output: y_i = ReLU(sum over j of f_ij(x_j)).

    f_ij is the identity for i = j, a 1x1 convolution with nearest-neighbour upsampling from a coarser branch j, and strided 3x3
    convolutions from a finer one.

    Args:
        channels: of the branches, finest first.
        outputs: indices of the output branches, 0 the finest. They are the keys, so that parameter names are the same where
            earlier outputs are left out.
    """

    compiles_alone = True  # see `compile_network`

    def __init__(self, channels: Sequence[int], outputs: Sequence[int]) -> None:
        sources = range(len(channels))
        super().__init__(
            {str(target): nn.ModuleList(_exchange_path(channels, source, target) for source in sources) for target in outputs}
        )

    def forward(self, inputs: list[Tensor]) -> list[Tensor]:
        """Map branches, finest first, to the output branches."""
        outputs = []
        for paths in self.values():
            terms = zip(paths, inputs, strict=True)  # type: ignore[call-overload]  # a ModuleList iterates
            outputs.append(_sum_relu([path(feature) for path, feature in terms]))
        return outputs


class ExchangeUnit(nn.Module):
    """Residual blocks on every branch, then an exchange between the branches; without outputs there is no exchange.

    Args:
        channels: of the branches, finest first; at least two.
        num_blocks: residual blocks of each branch.
        outputs: indices of the output branches, 0 the finest.
    """

    def __init__(self, channels: Sequence[int], num_blocks: int, outputs: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(Branch(*(BasicBlock(width) for _ in range(num_blocks))) for width in channels)
        self.fuse_layers = Exchange(channels, outputs)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Map branches, finest first, to the output branches."""
        inputs = [branch(feature) for branch, feature in zip(self.branches, features, strict=True)]
        outputs: list[Tensor] = self.fuse_layers(inputs) if len(self.fuse_layers) else inputs
        return outputs


def build_stage(
    channels: Sequence[int],
    num_modules: int,
    num_blocks: int,
    *,
    exchanges: Exchanges = "all",
    outputs: Sequence[int] | None = None,
) -> nn.Sequential:
    """Build a stage.

    Args:
        channels: of the branches, finest first.
        num_modules: number of exchange units.
        num_blocks: residual blocks of each branch between two exchanges.
        exchanges: which of the exchange units are kept.
        outputs: the output branches of the last stage; None for other stages.
    """
    everything = range(len(channels))

    def unit(is_last: bool) -> nn.Module:
        if is_last and outputs is not None:
            return ExchangeUnit(channels, num_blocks, outputs)
        if exchanges == "all" or (exchanges == "across_stages" and is_last):
            return ExchangeUnit(channels, num_blocks, everything)
        return ExchangeUnit(channels, num_blocks, ())

    return nn.Sequential(*(unit(position == num_modules - 1) for position in range(num_modules)))


def conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """Return a 3x3 convolution without bias that keeps the size, or halves it with stride 2."""
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)


class HRNet(nn.Module):
    """HRNet with a heatmap head: images (B, 3, H, W) to heatmaps (B, K, H/4, W/4), or coarser ones of a later branch.

    Weights are initialised as in the paper: convolutions from N(0, 0.001), biases 0, batch norms 1 and 0.

    Args:
        width: channels of the branch at 1/4 resolution; the coarser branches have 2, 4 and 8 times as many.
        num_keypoints: K, the number of heatmaps; None builds no heatmap head, for networks with another head.
        stem_width: channels of the first two convolutions.
        stage1_width: inner channels of the bottleneck blocks of stage 1; their output has four times as many.
        stage1_blocks: number of bottleneck blocks of stage 1.
        num_modules: exchange units in stages 2, 3 and 4.
        num_blocks: residual blocks of each branch between two exchanges.
        final_kernel: kernel size of the last convolution in heatmap cells, odd; the paper's is 1.
        heatmap_branch: the branch of the heatmaps: 0 at 1/4 of the input, 1 at 1/8, 2 at 1/16, 3 at 1/32. Set the codec's
            heatmap_size accordingly.
        exchanges: which exchange units there are: "all"; "across_stages", the last one of each stage; or "final", the very
            last one.
        all_branches: output all four branches of stage 4, as in the ImageNet network, for heads that use them; `forward` uses
            the branch `heatmap_branch`.

    Attributes:
        feature_channels: channels of each map of `forward_features`.
        feature_strides: input pixels per cell of each map.

    Raises:
        ValueError: if a count is not a positive whole number, `num_modules` has not three entries, `final_kernel` is even, or
            there is no such branch or choice of exchanges.

    Example:
        >>> import torch
        >>> net = HRNet(width=8, num_keypoints=5, num_modules=(1, 1, 1), num_blocks=1)
        >>> net(torch.zeros(2, 3, 96, 64)).shape
        torch.Size([2, 5, 24, 16])
    """

    head_modules: tuple[str, ...] = ("final_layer",)

    def __init__(
        self,
        width: int = 32,
        num_keypoints: int | None = 17,
        *,
        stem_width: int = 64,
        stage1_width: int = 64,
        stage1_blocks: int = 4,
        num_modules: Sequence[int] = (1, 4, 3),
        num_blocks: int = 4,
        final_kernel: int = 1,
        heatmap_branch: int = 0,
        exchanges: Exchanges = "all",
        all_branches: bool = False,
    ) -> None:
        super().__init__()
        check_counts(width=width, num_keypoints=1 if num_keypoints is None else num_keypoints, stem_width=stem_width)
        check_counts(stage1_width=stage1_width, stage1_blocks=stage1_blocks, num_blocks=num_blocks)
        check_final_kernel(final_kernel)
        modules = _check_modules(num_modules)
        if isinstance(heatmap_branch, bool) or heatmap_branch not in range(_NUM_BRANCHES):
            raise ValueError(
                "Expected argument `heatmap_branch` to be 0, 1, 2 or 3, the branch at 1/4, 1/8, 1/16 or 1/32 of the input, but "
                f"got {heatmap_branch!r}."
            )
        check_choice("exchanges", exchanges, get_args(Exchanges))
        self.heatmap_branch = heatmap_branch
        outputs = list(range(_NUM_BRANCHES)) if all_branches else [heatmap_branch]
        self._heatmap_place = outputs.index(heatmap_branch)

        channels = [width, 2 * width, 4 * width, 8 * width]
        self.conv1 = conv3x3(3, stem_width, stride=2)
        self.bn1 = nn.BatchNorm2d(stem_width)
        self.conv2 = conv3x3(stem_width, stem_width, stride=2)
        self.bn2 = nn.BatchNorm2d(stem_width)
        self.layer1 = Branch(
            *(Bottleneck(4 * stage1_width if block else stem_width, stage1_width) for block in range(stage1_blocks))
        )
        self.transition1 = Transition([4 * stage1_width], channels[:2])
        self.stage2 = build_stage(channels[:2], modules[0], num_blocks, exchanges=exchanges)
        self.transition2 = Transition(channels[:2], channels[:3])
        self.stage3 = build_stage(channels[:3], modules[1], num_blocks, exchanges=exchanges)
        self.transition3 = Transition(channels[:3], channels)
        self.stage4 = build_stage(channels, modules[2], num_blocks, exchanges=exchanges, outputs=outputs)
        self.final_layer: nn.Module = nn.Identity()
        if num_keypoints is not None:
            width = channels[heatmap_branch]
            self.final_layer = nn.Conv2d(width, num_keypoints, final_kernel, padding=final_kernel // 2)
        self.feature_channels = tuple(channels[branch] for branch in outputs)
        self.feature_strides = tuple(_FINEST_STRIDE << branch for branch in outputs)
        initialise(self)

    def forward_features(self, images: Tensor) -> list[Tensor]:
        """Compute the input of the head from normalised RGB images (B, 3, H, W).

        Returns:
            One map, (B, width, H/4, W/4) in the paper's network; four maps with `all_branches`, finest first.

        Raises:
            ValueError: if H or W is not a multiple of 32.
        """
        check_images(images, _COARSEST_STRIDE, heatmap_stride=_FINEST_STRIDE << self.heatmap_branch)
        stem = F.relu(self.bn1(self.conv1(images)), inplace=True)
        stem = F.relu(self.bn2(self.conv2(stem)), inplace=True)
        features = self.stage2(self.transition1([self.layer1(stem)]))
        features = self.stage3(self.transition2(features))
        outputs: list[Tensor] = self.stage4(self.transition3(features))
        return outputs

    def forward(self, images: Tensor) -> Tensor:
        """Map images to heatmaps (B, K, H/4, W/4), without activation; return the features if there is no head."""
        heatmaps: Tensor = self.final_layer(self.forward_features(images)[self._heatmap_place])
        return heatmaps


def _check_modules(num_modules: Sequence[int]) -> tuple[int, int, int]:
    counts = tuple(num_modules)
    if len(counts) != 3:
        raise ValueError(
            "Expected argument `num_modules` to hold three numbers, the exchange units of stages 2, 3 and 4 ((1, 4, 3) in "
            f"the paper), but got {counts}."
        )
    check_counts(**{f"num_modules[{index}]": count for index, count in enumerate(counts)})
    return counts


def _sum_relu(terms: list[Tensor]) -> Tensor:
    total = terms[0] + terms[1]  # a new tensor, because other outputs use the identity term too
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
    steps = [nn.Sequential(*_conv_norm(width, width, stride=2), nn.ReLU(inplace=True)) for _ in range(target - source - 1)]
    return nn.Sequential(*steps, nn.Sequential(*_conv_norm(width, channels[target], stride=2)))


def _conv_norm(in_channels: int, out_channels: int, stride: int = 1) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    return conv3x3(in_channels, out_channels, stride), nn.BatchNorm2d(out_channels)
