"""HRNet: a network that keeps a high resolution from its first stage to its heatmaps.

Sun, Xiao, Liu, Wang, "Deep High-Resolution Representation Learning for Human Pose Estimation", CVPR 2019
(https://arxiv.org/abs/1902.09212). Parameter names and the order of every sum are those of the official code, so published
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
    no exchange but the last, 1 unit       HRNet(exchanges="final")
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from torch import Tensor, nn
from torch.nn import functional as F

from hrpose.models.checks import check_counts, check_final_kernel, check_images
from hrpose.models.hrnet_parts import Exchanges, Transition, build_bottlenecks, build_stage, conv3x3

_FINEST_STRIDE = 4  # pixels to a cell of the first branch
_COARSEST_STRIDE = 32  # of the fourth branch; its nearest-neighbour upsampling meets the others only in whole cells
_NUM_BRANCHES = 4  # of stage 4


class HRNet(nn.Module):
    """HRNet with a heatmap head: images (B, 3, H, W) to heatmaps (B, K, H/4, W/4), or coarser ones of a branch below.

    Weights start as in the paper: convolutions from N(0, 0.001), biases 0, batch norms 1 and 0.

    Args:
        width: channels of the branch at 1/4 resolution; the branches below it have 2, 4 and 8 times as many.
        num_keypoints: K, the number of heatmaps; None builds no heatmap head, for a network of another head on the features.
        stem_width: channels of the two strided convolutions at the entrance.
        stage1_width: inner channels of the bottleneck blocks of stage 1; they put out four times as many.
        stage1_blocks: number of bottleneck blocks of stage 1.
        num_modules: exchange units in stages 2, 3 and 4.
        num_blocks: residual blocks of each branch between two exchanges.
        final_kernel: side of the last convolution's kernel in heatmap cells, odd; the paper's is 1.
        heatmap_branch: the branch that the heatmaps are made from: 0 the finest, at 1/4 of the input, 1 at 1/8, 2 at 1/16,
            3 at 1/32. The codec's heatmap_size has to follow.
        exchanges: which exchange units there are: "all"; "across_stages", the last one of each stage; or "final", the very
            last one. Without one the branches go on side by side.
        all_branches: let stage 4 put out all its four branches, as in the ImageNet network, for heads that use them;
            `forward` takes the one of `heatmap_branch`.

    Attributes:
        feature_channels: of each map that `forward_features` gives.
        feature_strides: input pixels to a cell of each.

    Raises:
        ValueError: if a count is not a positive whole number, if `num_modules` has not three entries, if `final_kernel`
            is even, or if there is no such branch or choice of exchanges.

    Example:
        >>> net = HRNet(width=8, num_keypoints=5, num_modules=(1, 1, 1), num_blocks=1)
        >>> net(torch.zeros(2, 3, 96, 64)).shape
        torch.Size([2, 5, 24, 16])
    """

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
        modules = _three_counts(num_modules)
        _check_choices(heatmap_branch, exchanges)
        self.heatmap_branch = heatmap_branch
        outputs = list(range(_NUM_BRANCHES)) if all_branches else [heatmap_branch]
        self._heatmap_place = outputs.index(heatmap_branch)

        channels = [width, 2 * width, 4 * width, 8 * width]
        self.conv1 = conv3x3(3, stem_width, stride=2)
        self.bn1 = nn.BatchNorm2d(stem_width)
        self.conv2 = conv3x3(stem_width, stem_width, stride=2)
        self.bn2 = nn.BatchNorm2d(stem_width)
        self.layer1 = build_bottlenecks(stem_width, stage1_width, stage1_blocks)
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
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.001)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward_features(self, images: Tensor) -> list[Tensor]:
        """Compute the features under the head.

        Args:
            images: (B, 3, H, W) normalised RGB; H and W are multiples of 32.

        Returns:
            What stage 4 puts out, finest first: the one map that the heatmaps are made from, (B, width, H/4, W/4) in the
            paper's network, or four with `all_branches`.

        Raises:
            ValueError: if the images have another number of channels, or sides that are no multiples of 32.
        """
        check_images(images, _COARSEST_STRIDE, heatmap_stride=_FINEST_STRIDE << self.heatmap_branch)
        stem = F.relu(self.bn1(self.conv1(images)), inplace=True)
        stem = F.relu(self.bn2(self.conv2(stem)), inplace=True)
        features = self.stage2(self.transition1([self.layer1(stem)]))
        features = self.stage3(self.transition2(features))
        outputs: list[Tensor] = self.stage4(self.transition3(features))
        return outputs

    def forward(self, images: Tensor) -> Tensor:
        """Map images, as `forward_features` takes them, to heatmaps (B, K, H/4, W/4), without activation.

        Those of a coarser `heatmap_branch` have H/8, H/16 or H/32 rows. Without a head the features that one would take are
        returned.
        """
        heatmaps: Tensor = self.final_layer(self.forward_features(images)[self._heatmap_place])
        return heatmaps


def _three_counts(num_modules: Sequence[int]) -> tuple[int, int, int]:
    counts = tuple(num_modules)
    if len(counts) != 3:
        raise ValueError(
            "Expected argument `num_modules` to hold three numbers, the exchange units of stages 2, 3 and 4 ((1, 4, 3) in "
            f"the paper), but got {counts}."
        )
    check_counts(**{f"num_modules[{index}]": count for index, count in enumerate(counts)})
    return counts


def _check_choices(heatmap_branch: int, exchanges: str) -> None:
    if isinstance(heatmap_branch, bool) or heatmap_branch not in range(_NUM_BRANCHES):
        raise ValueError(
            "Expected argument `heatmap_branch` to be 0, 1, 2 or 3, the branch at 1/4, 1/8, 1/16 or 1/32 of the input, but got "
            f"{heatmap_branch!r}."
        )
    if exchanges not in get_args(Exchanges):
        raise ValueError(
            f"Expected argument `exchanges` to be one of {', '.join(get_args(Exchanges))}, but got {exchanges!r}."
        )
