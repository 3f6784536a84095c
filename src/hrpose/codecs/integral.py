"""Integral regression: a keypoint is the mean of its heatmap.

Sun, Xiao, Wei, Liang, Wei, "Integral Human Pose Regression", ECCV 2018 (https://arxiv.org/abs/1711.08229).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hrpose.codecs.base import check_heatmaps, check_keypoints, check_sizes
from hrpose.codecs.cells import cells_from_input, divide_by_size, flipped_back, input_from_cells
from hrpose.errors import check_choice
from hrpose.soft_argmax import axis_distributions, expected_cells

_RADIUS = 2.0  # cells around the mean that the score sums


@dataclass(frozen=True)
class IntegralCodec:
    """Heatmaps as distributions, decoded by soft-argmax; its loss is `IntegralLoss`, for any network that outputs heatmaps.

    Convention:
        Cell c of the heatmap corresponds to the input pixel c * stride, along each axis: on the grid "udp" stride = (input_size -
        1) / (heatmap_size - 1), and mirroring is exact; on "plain" it is input_size / heatmap_size.

    Attributes:
        input_size: width and height of the network input in pixels.
        heatmap_size: width w and height h of the heatmaps in cells.
        grid: the pixel grid of the crops; MMPose's integral networks use "plain".

    Raises:
        ValueError: if a size is not two whole numbers above 1, or there is no such grid.

    Example:
        >>> codec = IntegralCodec(input_size=(192, 256), heatmap_size=(48, 64), grid="plain")
        >>> codec.encode(torch.tensor([[[96.0, 64.0]]]), torch.ones(1, 1))[0]
        tensor([[[0.5000, 0.2500]]])
        >>> codec.decode(torch.zeros(1, 1, 64, 48))[0]  # the center of a uniform heatmap
        tensor([[[ 94., 126.]]])
    """

    input_size: tuple[int, int]
    heatmap_size: tuple[int, int]
    grid: Literal["plain", "udp"] = "udp"

    def __post_init__(self) -> None:
        check_sizes(self, least=2)
        check_choice("grid", self.grid, ("plain", "udp"))

    def num_channels(self, num_keypoints: int) -> int:
        """Return the number of heatmaps: one per keypoint."""
        return num_keypoints

    def encode(self, keypoints: Tensor, visibility: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the target means of the heatmaps: (B, K, 2) cells divided by (w, h).

        A keypoint outside the centers of the outermost cells, which no mean can reach, or NaN has weight 0 and target 0. See
        `Codec.encode`.
        """
        check_keypoints(keypoints, visibility)
        cells = cells_from_input(keypoints, self.input_size, self.heatmap_size, self.grid)
        return divide_by_size(cells, visibility, self.heatmap_size)

    def decode(self, heatmaps: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the mean cell under the softmax of each heatmap; (0, 0) for heatmaps with NaN. See `Codec.decode`.

        The score is the share within 2 cells of the mean, the smaller one of both axes. The paper defines none; MMPose's is 1.
        """
        check_heatmaps(heatmaps, self.heatmap_size)
        shares = axis_distributions(heatmaps.float())
        cells = expected_cells(*shares)
        sound = cells.isfinite().all(dim=-1, keepdim=True)
        scores = torch.minimum(*(_share_about(cells[..., axis], shares[axis]) for axis in (0, 1)))
        found = input_from_cells(cells, self.input_size, self.heatmap_size, self.grid)
        return torch.where(sound, found, 0.0), torch.where(sound[..., 0], scores, float("nan"))

    def flip_back(self, heatmaps: Tensor, flip_permutation: Sequence[int]) -> Tensor:
        """Mirror heatmaps back and, on a plain grid, move them one cell to the right; see `Codec.flip_back`.

        The flip test averages before the softmax, so it multiplies the two distributions.
        """
        return flipped_back(heatmaps, flip_permutation, self.grid)


def _share_about(means: Tensor, shares: Tensor) -> Tensor:
    """Sum distributions (..., n) within a radius of their means."""
    places = torch.arange(shares.shape[-1], device=shares.device)
    return (shares * ((places - means[..., None]).abs() <= _RADIUS)).sum(dim=-1)
