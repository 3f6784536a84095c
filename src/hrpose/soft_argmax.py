"""Soft-argmax: the mean of a heatmap as a distribution over its cells (x, y), 0-based.

Sun, Xiao, Wei, Liang, Wei, "Integral Human Pose Regression", ECCV 2018, equations 1 and 2.
"""

from __future__ import annotations

import torch
from torch import Tensor


def axis_distributions(heatmaps: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the softmax over all cells of heatmaps (..., h, w), in float32 or higher, and sum it along either axis.

    Returns:
        along_x: (..., w) the share of each column.
        along_y: (..., h) the share of each row.
    """
    exact = heatmaps.to(torch.promote_types(heatmaps.dtype, torch.float32))
    shares = exact.flatten(-2).softmax(-1).reshape_as(exact)
    return shares.sum(-2), shares.sum(-1)


def expected_cells(along_x: Tensor, along_y: Tensor) -> Tensor:
    """Compute the means of distributions (..., w) and (..., h) along the axes, as points (..., 2) in cells."""
    means = [(share * torch.arange(share.shape[-1], device=share.device)).sum(dim=-1) for share in (along_x, along_y)]
    return torch.stack(means, dim=-1)


def soft_argmax(heatmaps: Tensor) -> Tensor:
    """Compute the mean cell under the softmax of each heatmap: (..., h, w) to (..., 2), differentiable everywhere."""
    return expected_cells(*axis_distributions(heatmaps))
