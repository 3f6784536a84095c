"""The paper's codec: a Gaussian on a heatmap, and the highest cell moved a quarter towards its higher neighbour.

Xiao, Wu, Wei, "Simple Baselines for Human Pose Estimation and Tracking", ECCV 2018; Sun et al., "Deep High-Resolution
Representation Learning for Human Pose Estimation", CVPR 2019, section 3. Equal to the official code in every rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, get_args

import torch
from torch import Tensor

from hrpose.codecs.base import check_heatmaps, check_keypoints, check_sizes
from hrpose.codecs.cells import (
    cells_from_input,
    draw_gaussians,
    flipped_back,
    highest_cells,
    input_from_cells,
    nearest_cells,
    slopes_at,
)
from hrpose.errors import check_choice, check_positive
from hrpose.geometry import Grid, Rules


@dataclass(frozen=True)
class HeatmapCodec:
    """Gaussian heatmaps, decoded by argmax and quarter offset.

    Convention:
        Cell c of the heatmap corresponds to the input pixel c * stride, stride = input_size / heatmap_size.

    Attributes:
        input_size: width and height of the network input in pixels.
        heatmap_size: width and height of the heatmaps in cells.
        sigma: standard deviation of the Gaussian in cells; the paper's is 2 for 256x192 and 3 for 384x288.
        rules: for cells near the border and heatmaps without a positive cell: "official" moves a cell along both axes or not at
            all, and gives (0, 0) without a positive cell; "mmpose" treats each axis separately, and gives (-1, -1).

    Raises:
        ValueError: if a size is not two positive whole numbers, the input size is no multiple of the heatmap size, sigma is not
            positive, or there are no such rules.

    Example:
        >>> codec = HeatmapCodec(input_size=(192, 256), heatmap_size=(48, 64), sigma=2.0)
        >>> target, target_weight = codec.encode(torch.tensor([[[100.0, 42.0]]]), torch.ones(1, 1))
        >>> codec.decode(target)[0]
        tensor([[[100.,  44.]]])
    """

    input_size: tuple[int, int]
    heatmap_size: tuple[int, int]
    sigma: float = 2.0
    rules: Rules = "official"
    grid: ClassVar[Grid] = "plain"

    def __post_init__(self) -> None:
        check_sizes(self)
        if any(pixels % cells for pixels, cells in zip(self.input_size, self.heatmap_size, strict=True)):
            quarter = tuple(max(1, pixels // 4) for pixels in self.input_size)
            raise ValueError(
                "Expected argument `input_size` to be a multiple of `heatmap_size` in width and in height, but got "
                f"{self.input_size} and {self.heatmap_size}. HRNet's heatmaps have a quarter of the input's size: {quarter}."
            )
        check_positive("sigma", self.sigma, "heatmap cells (2 for 48x64)")
        check_choice("rules", self.rules, get_args(Rules))

    @property
    def stride(self) -> tuple[int, int]:
        """Input pixels per heatmap cell in x and in y."""
        return self.input_size[0] // self.heatmap_size[0], self.input_size[1] // self.heatmap_size[1]

    def num_channels(self, num_keypoints: int) -> int:
        """Return the number of heatmaps: one per keypoint."""
        return num_keypoints

    def encode(self, keypoints: Tensor, visibility: Tensor) -> tuple[Tensor, Tensor]:
        """Draw a Gaussian of height 1 at the cell nearest to each keypoint, truncated at 3 sigma along each axis: (B, K, h, w).

        A keypoint with its square entirely outside, NaN or infinite has weight 0 and an empty heatmap; near the border it keeps
        its weight and the part of its Gaussian that is inside. Occluded keypoints (visibility 1) count like visible ones. See
        `Codec.encode`.
        """
        check_keypoints(keypoints, visibility)
        nearest = nearest_cells(cells_from_input(keypoints, self.input_size, self.heatmap_size, self.grid))
        return draw_gaussians(nearest, nearest, visibility, self.heatmap_size, self.sigma, truncated=True)

    def decode(self, heatmaps: Tensor) -> tuple[Tensor, Tensor]:
        """Move the highest cell of each heatmap by a quarter of a cell along both axes towards the higher neighbour.

        Among equal cells the first in row order counts. Cells on the border or next to it are not moved (see `rules`). A heatmap
        without a positive cell gives (0, 0). The score is the height of the highest cell, NaN for heatmaps with NaN. See
        `Codec.decode`.
        """
        check_heatmaps(heatmaps, self.heatmap_size)
        width, height = self.heatmap_size
        heatmaps = heatmaps.float().contiguous()
        cells, scores = highest_cells(heatmaps)
        x, y = cells.unbind(-1)
        inside = (cells > 1) & torch.stack([x < width - 1, y < height - 1], dim=-1)
        if self.rules == "official":
            inside = inside.all(dim=-1, keepdim=True)
        else:  # each axis separately, but never on the first row or column
            inside = inside & (cells.flip(-1) > 0)
        moved = cells + torch.where(inside, 0.25 * torch.sign(slopes_at(heatmaps, cells)), 0.0)
        if self.rules == "mmpose":
            moved = torch.where((scores > 0)[..., None], moved, -1.0)
        return input_from_cells(moved, self.input_size, self.heatmap_size, self.grid), scores

    def flip_back(self, heatmaps: Tensor, flip_permutation: Sequence[int]) -> Tensor:
        """Mirror heatmaps back and move them one cell to the right. See `Codec.flip_back`."""
        return flipped_back(heatmaps, flip_permutation, self.grid)


def heatmap_accuracy(heatmaps: Tensor, target: Tensor, threshold: float = 0.5) -> tuple[Tensor, Tensor]:
    """Compute how often the highest cell is near the target's highest cell: the training accuracy of the official code.

    Distances are divided by a tenth of the heatmap's size, x by the height and y by the width as in the official code. Targets
    with their peak in the first two columns or rows do not count (an empty target has its peak at (0, 0)).

    Args:
        heatmaps: (B, K, h, w).
        target: (B, K, h, w).
        threshold: largest correct distance, exclusive.

    Returns:
        accuracy: 0-dimensional mean over the measured keypoints; 0 if there are none.
        per_keypoint: (K,) share of instances; NaN where a keypoint was not measured.
    """
    height, width = target.shape[2:]
    actual = highest_cells(target.float())[0]
    offset = (highest_cells(heatmaps.float())[0] - actual).float()
    distance = torch.hypot(offset[..., 0] * (10 / height), offset[..., 1] * (10 / width))
    measured = (actual > 1).all(-1)
    per_keypoint = ((distance < threshold) & measured).sum(0) / measured.sum(0)
    return per_keypoint.nanmean().nan_to_num(0.0), per_keypoint
