"""HigherHRNet: the heatmaps of a whole image at 1/4 and 1/2 of its resolution, with tags that group keypoints into instances.

Cheng, Xiao, Wang, Shi, Huang, Zhang, "HigherHRNet: Scale-Aware Representation Learning for Bottom-Up Human Pose Estimation",
CVPR 2020 (https://arxiv.org/abs/1908.10357); tags: Newell, Huang, Deng, "Associative Embedding", NIPS 2017. Parameter names are
those of the official code, so published weights load unchanged.

    HRNet up to stage4 -> final_layers.0 -> y0: K heatmaps, K tag maps                      1/4
           |                   |
           +---- concatenate --+-> deconv_layers.0 -> final_layers.1 -> y1: K heatmaps      1/2

The networks of the literature, as arguments:

    HigherHRNet-W32, -W48                       HigherHRNet(width=32), HigherHRNet(width=48)
    HRNet-W32 with associative embedding        HigherHRNet(width=32, num_deconvs=0)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from hrpose.errors import check_counts
from hrpose.models.checks import check_final_kernel, initialise
from hrpose.models.hrnet import BasicBlock, HRNet


class HigherHRNet(HRNet):
    """HRNet with heads for heatmaps and tags of a whole image: (B, 3, H, W) to a list of maps, coarsest first.

    Weights are initialised as in `HRNet`.

    Args:
        width: channels of the branch at 1/4 resolution, and of the finer maps.
        num_keypoints: K; the first output has K heatmaps and K tag maps, each further one K heatmaps.
        num_deconvs: transposed convolutions, each followed by an output of twice the resolution; the paper has one.
        stem_width: as for `HRNet`.
        stage1_width: as for `HRNet`.
        stage1_blocks: as for `HRNet`.
        num_modules: as for `HRNet`.
        num_blocks: as for `HRNet`.
        final_kernel: kernel size of the last convolutions, odd; the paper's is 1.
        deconv_blocks: residual blocks after a transposed convolution.

    Raises:
        ValueError: if a count is not a positive whole number; `num_deconvs` may be 0.

    Example:
        >>> net = HigherHRNet(width=8, num_keypoints=5, num_modules=(1, 1, 1), num_blocks=1)
        >>> [tuple(output.shape) for output in net(torch.zeros(2, 3, 96, 64))]
        [(2, 10, 24, 16), (2, 5, 48, 32)]
    """

    head_modules = ("final_layers", "deconv_layers")

    def __init__(
        self,
        width: int = 32,
        num_keypoints: int = 17,
        num_deconvs: int = 1,
        *,
        stem_width: int = 64,
        stage1_width: int = 64,
        stage1_blocks: int = 4,
        num_modules: Sequence[int] = (1, 4, 3),
        num_blocks: int = 4,
        final_kernel: int = 1,
        deconv_blocks: int = 4,
    ) -> None:
        check_counts(num_keypoints=num_keypoints, deconv_blocks=deconv_blocks)
        check_final_kernel(final_kernel)
        if num_deconvs != 0:
            check_counts(num_deconvs=num_deconvs)
        super().__init__(
            width,
            None,
            stem_width=stem_width,
            stage1_width=stage1_width,
            stage1_blocks=stage1_blocks,
            num_modules=num_modules,
            num_blocks=num_blocks,
        )
        channels = [2 * num_keypoints, *[num_keypoints] * num_deconvs]  # heatmaps with tags, then heatmaps
        self.final_layers = nn.ModuleList(nn.Conv2d(width, count, final_kernel, padding=final_kernel // 2) for count in channels)
        self.deconv_layers = nn.ModuleList(_upsampling(width + count, width, deconv_blocks) for count in channels[:-1])
        initialise(self)

    def forward(self, images: Tensor) -> list[Tensor]:  # type: ignore[override]  # several outputs instead of one
        """Map images to heatmaps and tags.

        Args:
            images: (B, 3, H, W) normalised RGB; H and W are multiples of 32.

        Returns:
            (B, 2K, H/4, W/4), K heatmaps and then K tag maps, and for each deconvolution heatmaps of twice the previous
            resolution, (B, K, H/2, W/2); without activation, and in float32 also under autocast.

        Raises:
            ValueError: if H or W is not a multiple of 32.
        """
        features = self.forward_features(images)[0]
        outputs: list[Tensor] = [_in_float32(self.final_layers[0], features)]
        for upsample, final_layer in zip(self.deconv_layers, list(self.final_layers)[1:], strict=True):
            features = upsample(torch.cat([features, outputs[-1]], dim=1))
            outputs.append(_in_float32(final_layer, features))
        return outputs


def _in_float32(head: nn.Module, features: Tensor) -> Tensor:
    """Compute a head in float32, also under autocast: grouping compares small distances of tags."""
    if features.dtype == next(head.parameters()).dtype:
        return cast(Tensor, head(features))
    with torch.autocast(features.device.type, enabled=False):
        return cast(Tensor, head(features.float()))


def _upsampling(in_channels: int, width: int, num_blocks: int) -> nn.Sequential:
    """Build a transposed convolution that doubles the resolution, and residual blocks, nested as in the official code."""
    enlarge = nn.Sequential(
        nn.ConvTranspose2d(in_channels, width, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
    )
    return nn.Sequential(enlarge, *(nn.Sequential(BasicBlock(width, width)) for _ in range(num_blocks)))
