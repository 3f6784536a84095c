"""Gaussians on heatmaps: painting them, blurring with them, and finding the top of one from the cells around its peak.

Legend: B batch, K keypoints, h w heatmap. Lengths are in cells.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

_SMALL_KERNELS = {  # up to 9 cells OpenCV takes these weights instead of sampling a Gaussian
    1: (1.0,),
    3: (0.25, 0.5, 0.25),
    5: (0.0625, 0.25, 0.375, 0.25, 0.0625),
    7: (0.03125, 0.109375, 0.21875, 0.28125, 0.21875, 0.109375, 0.03125),
    9: (0.015625, 0.05078125, 0.1171875, 0.19921875, 0.234375, 0.19921875, 0.1171875, 0.05078125, 0.015625),
}


def paint_gaussians(
    centers: Tensor,
    anchors: Tensor,
    visibility: Tensor,
    heatmap_size: tuple[int, int],
    sigma: float,
    *,
    truncated: bool,
    whole_cells: bool = True,
) -> tuple[Tensor, Tensor]:
    """Paint a Gaussian of height 1 for each keypoint: target (B, K, h, w) and target_weight (B, K, 1), float32.

    A keypoint whose square of 3 sigma about its anchor lies wholly outside has weight 0 and an empty heatmap, and so has one that
    is NaN or infinite.

    Args:
        centers: (B, K, 2) the tops of the Gaussians.
        anchors: (B, K, 2) the middles of their squares.
        visibility: (B, K); 0 stands for unlabelled.
        heatmap_size: (width, height).
        sigma: standard deviation.
        truncated: whether the Gaussian ends with its square, rather than with the heatmap.
        whole_cells: whether the ends of the square are truncated to whole cells before they are compared with the heatmap.
    """
    radius = math.ceil(3 * sigma)
    weight = visibility.float().clamp(max=1)
    for axis in (0, 1):
        reach = radius if whole_cells else 3 * sigma
        first, last = anchors[..., axis] - reach, anchors[..., axis] + reach + 1
        if whole_cells:
            first, last = torch.trunc(first), torch.trunc(last)
        weight = weight * ((first < heatmap_size[axis]) & (last >= 0))
    profiles = []
    for axis in (0, 1):
        places = torch.arange(heatmap_size[axis], device=centers.device)
        distance = (places - centers[..., axis, None]).float()
        inside = weight[..., None] > 0.5
        if truncated:
            inside = inside & ((places - anchors[..., axis, None]).abs() <= radius)
        profiles.append(torch.where(inside, torch.exp(distance.square() / (-2 * sigma**2)), 0.0))
    return profiles[1][..., :, None] * profiles[0][..., None, :], weight[..., None]


def nearest_cells(cells: Tensor) -> Tensor:
    """Round to whole cells, truncating toward zero like int() in the official code: -1.4 becomes 0, not -1."""
    return torch.trunc(cells + 0.5)


def gaussian_kernel(size: int) -> tuple[float, ...]:
    """Return the weights that OpenCV takes for a Gaussian blur of an odd kernel size."""
    if size in _SMALL_KERNELS:
        return _SMALL_KERNELS[size]
    sigma = 0.3 * ((size - 1) / 2 - 1) + 0.8
    weights = [math.exp(-((place - size // 2) ** 2) / (2 * sigma**2)) for place in range(size)]
    return tuple(weight / sum(weights) for weight in weights)


def gaussian_blur(heatmaps: Tensor, kernel_size: int, *, mirrored_border: bool = False) -> Tensor:
    """Blur heatmaps (B, K, h, w) as OpenCV does, by shifting and adding: float32 stays float32, under autocast and TF32 too.

    Beyond the border heatmaps are mirrored or, by default, zero.
    """
    radius = kernel_size // 2
    padded = pad(heatmaps, [radius] * 4, mode="reflect" if mirrored_border else "constant")
    return _slide(_slide(padded, kernel_size, dim=2), kernel_size, dim=3)


def newton_steps(gradient: Tensor, hessian: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Step from where a parabola was measured to its top: -H^-1 g, (..., 2); no step where there is no such top.

    Args:
        gradient: (..., 2) first derivatives in x and y.
        hessian: second derivatives xx, xy, yy, each (...).
    """
    dx, dy = gradient.unbind(-1)
    dxx, dxy, dyy = hessian
    determinant = dxx * dyy - dxy * dxy
    step = torch.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], dim=-1) / determinant[..., None]
    return torch.where(step.isfinite().all(-1, keepdim=True), step, 0.0)


def _slide(padded: Tensor, kernel_size: int, *, dim: int) -> Tensor:
    length = padded.shape[dim] - kernel_size + 1
    total = torch.zeros_like(padded.narrow(dim, 0, length))
    for place, weight in enumerate(gaussian_kernel(kernel_size)):
        total = total.add_(padded.narrow(dim, place, length), alpha=weight)
    return total
