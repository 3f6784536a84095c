"""UDP: sizes measured in steps between pixels, so that crops, heatmaps and mirror images agree to the last fraction.

Huang et al., "The Devil is in the Details: Delving into Unbiased Data Processing for Human Pose Estimation", CVPR 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import torch
from torch import Tensor

from hrpose.codecs.cells import cells_from_input, flipped_back, highest_cells, input_from_cells, windows_at
from hrpose.codecs.checks import (
    check_choice,
    check_heatmaps,
    check_kernel,
    check_keypoints,
    check_positive,
    settle_sizes,
)
from hrpose.codecs.gaussians import gaussian_blur, nearest_cells, newton_steps, paint_gaussians
from hrpose.geometry import Grid

Smoothing: TypeAlias = Literal["official", "mmpose"]
_LOWEST, _HIGHEST = 0.001, 50.0  # heights are clamped to these before the logarithm


@dataclass(frozen=True)
class UdpCodec:
    """Gaussian heatmaps on the UDP grid, decoded by blur, logarithm and one Newton step from the highest cell.

    Convention:
        Cell c of the heatmap stands for the input pixel c * (input_size - 1) / (heatmap_size - 1), along each axis.

    Attributes:
        input_size: width and height of the network input in pixels.
        heatmap_size: width and height of the heatmaps in cells.
        sigma: standard deviation of the Gaussian in cells; the paper's is 2 for 256x192 and 3 for 384x288.
        blur_kernel: odd width in cells of the blur before decoding; 1 does not blur. The official code takes 7, MMPose 11.
        smoothing: "official": heatmaps go on beyond their border as in a mirror, and the blurred ones are stretched from
            their lowest to their highest cell; "mmpose": they go on with zeros, and are scaled to their old height.

    Raises:
        ValueError: if a size is not two whole numbers above 1, or another argument is out of range.

    Example:
        >>> codec = UdpCodec(input_size=(192, 256), heatmap_size=(48, 64), sigma=2.0)
        >>> target, target_weight = codec.encode(torch.tensor([[[100.0, 42.0]]]), torch.ones(1, 1))
        >>> codec.decode(target)[0].round(decimals=1)
        tensor([[[100.,  42.]]])
    """

    input_size: tuple[int, int]
    heatmap_size: tuple[int, int]
    sigma: float = 2.0
    blur_kernel: int = 7
    smoothing: Smoothing = "official"
    grid: ClassVar[Grid] = "udp"

    def __post_init__(self) -> None:
        settle_sizes(self, least=2)
        check_positive("sigma", self.sigma, "heatmap cells (2 for 48x64)")
        check_kernel("blur_kernel", self.blur_kernel, self.heatmap_size)
        check_choice("smoothing", self.smoothing, ("official", "mmpose"))

    def num_channels(self, num_keypoints: int) -> int:
        """Count the heatmaps of so many keypoints: one for each."""
        return num_keypoints

    def encode(self, keypoints: Tensor, visibility: Tensor) -> tuple[Tensor, Tensor]:
        """Paint a Gaussian around each keypoint, cut off 3 sigma away from the nearest cell along each axis.

        A keypoint whose square lies wholly outside weighs 0 and its heatmap is empty, and so does one that is NaN or infinite.

        Args:
            keypoints: (B, K, 2) in input pixels, of any floating type.
            visibility: (B, K); 0 stands for unlabelled.

        Returns:
            target: (B, K, h, w) float32.
            target_weight: (B, K, 1) float32.

        Raises:
            ValueError: if the shapes do not belong together.
        """
        check_keypoints(keypoints, visibility)
        cells = cells_from_input(keypoints, self.input_size, self.heatmap_size, self.grid)
        return paint_gaussians(cells, nearest_cells(cells), visibility, self.heatmap_size, self.sigma, truncated=True)

    def decode(self, heatmaps: Tensor) -> tuple[Tensor, Tensor]:
        """Step from the highest cell to the top of the parabola through the logarithm of the blurred heatmap.

        Beyond the border the outermost cells go on. A step has no bound. A heatmap without a positive cell gives (0, 0); its
        score is its maximum.

        Args:
            heatmaps: (B, K, h, w).

        Returns:
            keypoints: (B, K, 2) float32 in input pixels.
            scores: (B, K) float32, the height of the highest cell before the blur.

        Raises:
            ValueError: if the heatmaps have another size than `heatmap_size`.
        """
        check_heatmaps(heatmaps, self.heatmap_size)
        heatmaps = heatmaps.float().contiguous()
        cells, scores = highest_cells(heatmaps)
        blurred = gaussian_blur(heatmaps, self.blur_kernel, mirrored_border=self.smoothing == "official")
        floor = blurred.amin((2, 3)) if self.smoothing == "official" else torch.zeros_like(scores)
        height = (scores / (blurred.amax((2, 3)) - floor))[..., None, None]
        restored = (windows_at(blurred, cells, 1) - floor[..., None, None]) * height
        step = _step_to_top(restored.clamp(_LOWEST, _HIGHEST).log())
        moved = cells + torch.where((scores > 0)[..., None], step, 0.0)
        return input_from_cells(moved, self.input_size, self.heatmap_size, self.grid), scores

    def flip_back(self, heatmaps: Tensor, flip_permutation: Sequence[int]) -> Tensor:
        """Mirror heatmaps back; nothing has to be shifted. See `Codec.flip_back`."""
        return flipped_back(heatmaps, flip_permutation, self.grid)


def _step_to_top(logs: Tensor) -> Tensor:
    """Measure the parabola (..., 3, 3) with differences over one cell; give the step (..., 2) to its top."""
    middle = logs[..., 1, 1]
    left, right, above, below = logs[..., 1, 0], logs[..., 1, 2], logs[..., 0, 1], logs[..., 2, 1]
    dxx, dyy = right - 2 * middle + left, below - 2 * middle + above
    dxy = 0.5 * (logs[..., 2, 2] - right - below + 2 * middle - left - above + logs[..., 0, 0])
    gradient = torch.stack([0.5 * (right - left), 0.5 * (below - above)], dim=-1)
    return newton_steps(gradient, (dxx, dxy, dyy))
