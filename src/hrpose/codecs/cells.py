"""Cells of heatmaps: conversion to and from input pixels, highest cells and their neighbours, Gaussians, mirroring.

Legend: B batch, K keypoints, h w heatmap. Cells are (x, y), 0-based; whole numbers are the centers of cells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from hrpose.codecs.base import check_permutation
from hrpose.geometry import Grid

_SMALL_KERNELS = {  # up to 9 cells OpenCV uses these weights instead of sampling a Gaussian
    1: (1.0,),
    3: (0.25, 0.5, 0.25),
    5: (0.0625, 0.25, 0.375, 0.25, 0.0625),
    7: (0.03125, 0.109375, 0.21875, 0.28125, 0.21875, 0.109375, 0.03125),
    9: (0.015625, 0.05078125, 0.1171875, 0.19921875, 0.234375, 0.19921875, 0.1171875, 0.05078125, 0.015625),
}


def cells_from_input(points: Tensor, input_size: tuple[int, int], heatmap_size: tuple[int, int], grid: Grid) -> Tensor:
    """Map points (..., 2) of the input, in pixels, to cells of the heatmap; float64 stays float64."""
    (stride_x, stride_y), (first_x, first_y) = input_from_cells_map(input_size, heatmap_size, grid)
    x, y = (points if points.dtype == torch.float64 else points.float()).unbind(-1)
    return torch.stack([(x - first_x) / stride_x, (y - first_y) / stride_y], dim=-1)


def input_from_cells(cells: Tensor, input_size: tuple[int, int], heatmap_size: tuple[int, int], grid: Grid) -> Tensor:
    """Map points (..., 2) of the heatmap, in cells, to pixels of the input."""
    (stride_x, stride_y), (first_x, first_y) = input_from_cells_map(input_size, heatmap_size, grid)
    x, y = cells.unbind(-1)
    return torch.stack([x * stride_x + first_x, y * stride_y + first_y], dim=-1)


def input_from_cells_map(
    input_size: tuple[int, int], heatmap_size: tuple[int, int], grid: Grid
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the input pixels per cell in x and in y, and the input point of the first cell.

    Heatmap and input are crops of one box on one grid (see `hrpose.geometry.Grid`): "plain" has strides W/w, "udp" (W - 1)/(w -
    1) and (H - 1)/(h - 1), "dark" (W - 1)/(w - 1) along both axes from the common center.
    """
    (width, height), (columns, rows) = input_size, heatmap_size
    if grid == "plain":
        return (width / columns, height / rows), (0.0, 0.0)
    stride = (width - 1) / (columns - 1)
    if grid == "udp":
        return (stride, (height - 1) / (rows - 1)), (0.0, 0.0)
    return (stride, stride), (0.0, (height - 1) / 2 - stride * ((rows - 1) / 2))


def divide_by_size(points: Tensor, visibility: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return points (B, K, 2) divided by (width, height), 0 outside of the outermost centers, and weights (B, K, 1)."""
    width, height = size
    x, y = points.unbind(-1)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    weight = (visibility.float().clamp(max=1) * inside)[..., None]
    target = torch.stack([x / width, y / height], dim=-1).float()
    return torch.where(weight > 0, target, 0.0), weight


def highest_cells(heatmaps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first highest cell of heatmaps (B, K, h, w) in row order, (B, K, 2) int64, and its height (B, K).

    The cell is (0, 0) unless it is positive.
    """
    cell = first_argmax(heatmaps.flatten(2))
    x, y = cell % heatmaps.shape[3], cell // heatmaps.shape[3]
    scores = values_at(heatmaps, x, y)
    return torch.stack([x, y], dim=-1) * (scores > 0)[..., None], scores


def values_at(heatmaps: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return the values (B, K) of heatmaps (B, K, h, w) at one cell each, x and y (B, K) int64."""
    return heatmaps.flatten(2).gather(2, (y * heatmaps.shape[3] + x)[..., None])[..., 0]


def slopes_at(heatmaps: Tensor, cells: Tensor) -> Tensor:
    """Return next minus previous neighbour of cells (B, K, 2) int64 along x and y, (B, K, 2); undefined at the border."""
    width, count = heatmaps.shape[3], heatmaps.shape[2] * heatmaps.shape[3]
    place = cells[..., 1] * width + cells[..., 0]
    around = torch.stack([place - 1, place - width, place + 1, place + width], dim=-1)
    values = heatmaps.flatten(2).gather(2, around.clamp(0, count - 1))
    return values[..., 2:] - values[..., :2]


def windows_at(heatmaps: Tensor, cells: Tensor, radius: int) -> Tensor:
    """Return a square around one cell (B, K, 2) int64 of each heatmap: (B, K, 2 * radius + 1, 2 * radius + 1) as [..., y, x].

    Border cells are repeated outside.
    """
    height, width = heatmaps.shape[2:]
    around = torch.arange(-radius, radius + 1, device=heatmaps.device)
    columns = (cells[..., 0, None] + around).clamp(0, width - 1)
    rows = (cells[..., 1, None] + around).clamp(0, height - 1)
    places = rows[..., :, None] * width + columns[..., None, :]
    return heatmaps.flatten(2).gather(2, places.flatten(2)).view(places.shape)


def flipped_back(heatmaps: Tensor, flip_permutation: Sequence[int], grid: Grid) -> Tensor:
    """Convert heatmaps (B, K, h, w) of mirrored images to those of the original images; see `Codec.flip_back`.

    The center of a plain crop is at W/2, not (W - 1)/2, so mirroring moves heatmaps by about one cell. As in the official code,
    they are moved one cell to the right, and the first column keeps its values.
    """
    back = swap_pairs(heatmaps.flip(-1), flip_permutation)
    return torch.cat([back[..., :1], back[..., :-1]], dim=-1) if grid == "plain" else back


def swap_pairs(outputs: Tensor, flip_permutation: Sequence[int]) -> Tensor:
    """Exchange the outputs (B, K, ...) of mirror pairs."""
    check_permutation(flip_permutation, outputs.shape[1])
    rows = outputs.unbind(1)
    return torch.stack([rows[index] for index in flip_permutation], dim=1)


def first_argmax(values: Tensor) -> Tensor:
    """Return the argmax along the last axis; on the CPU with numpy, which is ten times faster than torch."""
    recorded = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    if values.device.type == "cpu" and not recorded:
        return torch.from_numpy(values.detach().numpy().argmax(-1))
    return values.argmax(-1)


def draw_gaussians(
    centers: Tensor,
    anchors: Tensor,
    visibility: Tensor,
    heatmap_size: tuple[int, int],
    sigma: float,
    *,
    truncated: bool,
    whole_cells: bool = True,
) -> tuple[Tensor, Tensor]:
    """Draw a Gaussian of height 1 for each keypoint: target (B, K, h, w) and target_weight (B, K, 1), float32.

    A keypoint with its square of 3 sigma around the anchor entirely outside, NaN or infinite has weight 0 and an empty heatmap.
    Centers of Gaussians and anchors are (B, K, 2). `truncated` Gaussians are 0 outside their square; `whole_cells` truncates the
    ends of the square to whole cells before they are compared with the heatmap.
    """
    radius = math.ceil(3 * sigma)
    weight = visibility.float().clamp(max=1)
    reach = radius if whole_cells else 3 * sigma
    for axis in (0, 1):
        ends = anchors[..., axis] - reach, anchors[..., axis] + reach + 1
        first, last = map(torch.trunc, ends) if whole_cells else ends
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
    """Return the weights of OpenCV's Gaussian blur with an odd kernel size."""
    if size in _SMALL_KERNELS:
        return _SMALL_KERNELS[size]
    sigma = 0.3 * ((size - 1) / 2 - 1) + 0.8
    weights = [math.exp(-((place - size // 2) ** 2) / (2 * sigma**2)) for place in range(size)]
    return tuple(weight / sum(weights) for weight in weights)


def gaussian_blur(heatmaps: Tensor, kernel_size: int, *, mirrored_border: bool = False) -> Tensor:
    """Blur heatmaps (B, K, h, w) like OpenCV, padded with zeros or by reflection.

    Shifting and adding keeps float32 under autocast and TF32.
    """
    radius = kernel_size // 2
    padded = pad(heatmaps, [radius] * 4, mode="reflect" if mirrored_border else "constant")
    return _slide(_slide(padded, kernel_size, dim=2), kernel_size, dim=3)


def newton_steps(gradient: Tensor, hessian: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Return the step (..., 2) to the extremum of a parabola, -H^-1 g; 0 where there is none.

    The gradient (..., 2) has the derivatives in x and y, the Hessian the second derivatives xx, xy and yy, each (...).
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
