"""DARK: a Gaussian that is not rounded to a cell, decoded as the maximum of its logarithm, a parabola.

Zhang et al., "Distribution-Aware Coordinate Representation for Human Pose Estimation", CVPR 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hrpose.codecs.base import check_heatmaps, check_kernel, check_keypoints, check_sizes
from hrpose.codecs.cells import (
    cells_from_input,
    draw_gaussians,
    flipped_back,
    gaussian_blur,
    highest_cells,
    input_from_cells,
    nearest_cells,
    newton_steps,
    windows_at,
)
from hrpose.errors import check_choice, check_positive
from hrpose.geometry import Grid, Rules

_LOWEST = 1e-10  # heights are clamped to this before the logarithm


@dataclass(frozen=True)
class DarkCodec:
    """Gaussian heatmaps, decoded by blur, logarithm and one Newton step from the highest cell.

    Convention:
        With grid "dark", cells and flip test are those of DarkPose: heatmap and input have the same center, and nothing is
        shifted. DarkPose's crops differ slightly: the center of a detected box is x + (w - 1) / 2, half a pixel less than in
        hrpose, and annotated boxes are a pixel wider (docs/codecs.md states the effect on keypoints). With grid "plain", cell c
        corresponds to the input pixel c * input_size / heatmap_size and the flip test shifts by a cell, as in MMPose's DARK.

    Attributes:
        input_size: width and height of the network input in pixels.
        heatmap_size: width and height of the heatmaps in cells.
        sigma: standard deviation of the Gaussian in cells; the paper's is 1 for 128x96, 2 for 256x192 and 3 for 384x288.
        unbiased: whether targets are centered on the keypoint and fill the heatmap; otherwise they are those of `HeatmapCodec`,
            centered on the nearest cell and truncated.
        blur_kernel: odd width in cells of the blur before decoding; 1 does not blur. DarkPose uses 3 for 128x96, else 11.
        grid: "plain", "dark" or "udp".
        rules: an unbiased keypoint with a square of 3 sigma that ends less than a cell before the heatmap has weight 1 with
            "official", as in DarkPose, which drops the fraction, and 0 with "mmpose".

    Raises:
        ValueError: if a size is not two whole numbers above 1, or another argument is out of range.

    Example:
        >>> codec = DarkCodec(input_size=(192, 256), heatmap_size=(48, 64), sigma=2.0)
        >>> target, target_weight = codec.encode(torch.tensor([[[100.0, 42.0]]]), torch.ones(1, 1))
        >>> codec.decode(target)[0].round(decimals=2)
        tensor([[[100.,  42.]]])
    """

    input_size: tuple[int, int]
    heatmap_size: tuple[int, int]
    sigma: float = 2.0
    unbiased: bool = True
    blur_kernel: int = 11
    grid: Grid = "dark"
    rules: Rules = "official"

    def __post_init__(self) -> None:
        check_sizes(self, least=2)
        check_positive("sigma", self.sigma, "heatmap cells (2 for 48x64)")
        check_kernel("blur_kernel", self.blur_kernel, self.heatmap_size)
        check_choice("grid", self.grid, ("plain", "dark", "udp"))
        check_choice("rules", self.rules, ("official", "mmpose"))

    def num_channels(self, num_keypoints: int) -> int:
        """Return the number of heatmaps: one per keypoint."""
        return num_keypoints

    def encode(self, keypoints: Tensor, visibility: Tensor) -> tuple[Tensor, Tensor]:
        """Draw a Gaussian of height 1 for each keypoint: (B, K, h, w); see `Codec.encode`.

        A keypoint more than 3 sigma outside, NaN or infinite has weight 0 and an empty heatmap.
        """
        check_keypoints(keypoints, visibility)
        cells = cells_from_input(keypoints, self.input_size, self.heatmap_size, self.grid)
        centers = cells if self.unbiased else nearest_cells(cells)
        whole_cells = self.rules == "official" or not self.unbiased
        return draw_gaussians(
            centers, centers, visibility, self.heatmap_size, self.sigma, truncated=not self.unbiased, whole_cells=whole_cells
        )

    def decode(self, heatmaps: Tensor) -> tuple[Tensor, Tensor]:
        """Move the highest cell to the maximum of a parabola fitted to the logarithm of the blurred heatmap (equation 9).

        The blurred heatmap is scaled to its original height (equation 11). Peaks on the two outermost cells of a side are not
        moved; a step has no bound. A heatmap without a positive cell gives the first cell. The score is the height of the highest
        cell before the blur. See `Codec.decode`.
        """
        check_heatmaps(heatmaps, self.heatmap_size)
        width, height = self.heatmap_size
        heatmaps = heatmaps.float().contiguous()
        cells, scores = highest_cells(heatmaps)
        blurred = gaussian_blur(heatmaps, self.blur_kernel)
        restored = windows_at(blurred, cells, 2) * (scores / blurred.amax((2, 3)))[..., None, None]
        x, y = cells.unbind(-1)
        inside = (x > 1) & (x < width - 2) & (y > 1) & (y < height - 2)
        step = torch.where(inside[..., None], _step_to_top(restored.clamp(min=_LOWEST).log()), 0.0)
        return input_from_cells(cells + step, self.input_size, self.heatmap_size, self.grid), scores

    def flip_back(self, heatmaps: Tensor, flip_permutation: Sequence[int]) -> Tensor:
        """Mirror heatmaps back and, on a plain grid, move them one cell to the right; see `Codec.flip_back`."""
        return flipped_back(heatmaps, flip_permutation, self.grid)


def _step_to_top(logs: Tensor) -> Tensor:
    """Return the step (..., 2) to the maximum of a parabola (..., 5, 5), from differences over two cells as in DarkPose."""
    middle = logs[..., 2, 2]
    dx = 0.5 * (logs[..., 2, 3] - logs[..., 2, 1])
    dy = 0.5 * (logs[..., 3, 2] - logs[..., 1, 2])
    dxx = 0.25 * (logs[..., 2, 4] - 2 * middle + logs[..., 2, 0])
    dyy = 0.25 * (logs[..., 4, 2] - 2 * middle + logs[..., 0, 2])
    dxy = 0.25 * (logs[..., 3, 3] - logs[..., 1, 3] - logs[..., 3, 1] + logs[..., 1, 1])
    return newton_steps(torch.stack([dx, dy], dim=-1), (dxx, dxy, dyy))
