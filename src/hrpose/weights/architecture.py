"""Which network is it? Read off the names and shapes of its tensors, where a weight file says nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor, nn

from hrpose.models.hourglass import StackedHourglass
from hrpose.models.hrnet import HRNet
from hrpose.models.simple_baseline import RESNETS, Bottleneck, SimpleBaseline


def build_like(tensors: Mapping[str, Tensor]) -> nn.Module | None:
    """Build the network that tensors belong to, with fresh weights.

    Args:
        tensors: by the names of the official code: HRNet, SimpleBaseline or the stacked hourglass, with its head.

    Returns:
        The network; None if it is none of these.
    """
    for build in (_hrnet, _simple_baseline, _hourglass):
        try:
            net = build(tensors)
        except (KeyError, IndexError, ValueError):  # a part of it is not there, or of a size that no such network has
            continue
        if net is not None:
            return net
    return None


def _hrnet(tensors: Mapping[str, Tensor]) -> nn.Module:
    head = tensors["final_layer.weight"]
    stages = [_count(tensors, f"stage{stage}.") for stage in (2, 3, 4)]
    return HRNet(
        width=tensors["stage2.0.branches.0.0.conv1.weight"].shape[0],
        num_keypoints=head.shape[0],
        stem_width=tensors["conv1.weight"].shape[0],
        stage1_width=tensors["layer1.0.conv1.weight"].shape[0],
        stage1_blocks=_count(tensors, "layer1."),
        num_modules=stages,
        num_blocks=_count(tensors, "stage2.0.branches.0."),
        final_kernel=head.shape[-1],
    )


def _simple_baseline(tensors: Mapping[str, Tensor]) -> nn.Module | None:
    head = tensors["final_layer.weight"]
    blocks = tuple(_count(tensors, f"layer{stage}.") for stage in (1, 2, 3, 4))
    has_bottlenecks = "layer1.0.conv3.weight" in tensors
    deconvs = [tensor for name, tensor in tensors.items() if re.fullmatch(r"deconv_layers\.\d+\.weight", name)]
    deconvs = [tensor for tensor in deconvs if tensor.ndim == 4]  # the others are of batch norms
    for depth, (block, num_blocks) in RESNETS.items():
        if tuple(num_blocks) == blocks and (block is Bottleneck) == has_bottlenecks:
            return SimpleBaseline(
                depth,  # type: ignore[arg-type]  # a key of RESNETS
                head.shape[0],
                deconv_channels=[tensor.shape[1] for tensor in deconvs],
                deconv_kernels=[tensor.shape[-1] for tensor in deconvs],
                final_kernel=head.shape[-1],
            )
    return None


def _hourglass(tensors: Mapping[str, Tensor]) -> nn.Module:
    head = tensors["score.0.weight"]
    return StackedHourglass(
        _count(tensors, "hg."), head.shape[0], width=head.shape[1], num_blocks=_count(tensors, "res.0.")
    )


def _count(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """Count the numbered parts of a module."""
    return len({name.removeprefix(prefix).split(".")[0] for name in tensors if name.startswith(prefix)})
