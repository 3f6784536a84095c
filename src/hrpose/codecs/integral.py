"""Integral regression: a keypoint lies at the mean of its heatmap, and no cell has to be the highest.

Sun, Xiao, Wei, Liang, Wei, "Integral Human Pose Regression", ECCV 2018 (https://arxiv.org/abs/1711.08229).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hrpose.codecs.base import check_choice, check_heatmaps, check_keypoints, settle_sizes
from hrpose.codecs.cells import cells_from_input, flipped_back, input_from_cells
from hrpose.soft_argmax import axis_distributions, expected_cells

_NEAR = 2.0  # cells about the mean whose share is the score


@dataclass(frozen=True)
class IntegralCodec:
    """Heatmaps as distributions, decoded by soft-argmax; its loss is `IntegralLoss`, and any network of heatmaps will do.

    Convention:
        Cell c of the heatmap stands for the input pixel c * stride, along each axis: on the grid "udp" stride = (input_size -
        1) / (heatmap_size - 1), and mirroring is exact; on "plain" it is input_size / heatmap_size.

    Attributes:
        input_size: width and height of the network input in pixels.
        heatmap_size: width w and height h of the heatmaps in cells.
        grid: how the pixels of the crops lie in their boxes; MMPose's integral networks saw "plain" ones.

    Raises:
        ValueError: if a size is not two whole numbers above 1, or there is no such grid.

    Example:
        >>> codec = IntegralCodec(input_size=(192, 256), heatmap_size=(48, 64), grid="plain")
        >>> codec.encode(torch.tensor([[[96.0, 64.0]]]), torch.ones(1, 1))[0]
        tensor([[[0.5000, 0.2500]]])
        >>> codec.decode(torch.zeros(1, 1, 64, 48))[0]  # no cell above another: the middle
        tensor([[[ 94., 126.]]])
    """

    input_size: tuple[int, int]
    heatmap_size: tuple[int, int]
    grid: Literal["plain", "udp"] = "udp"

    def __post_init__(self) -> None:
        settle_sizes(self, least=2)
        check_choice("grid", self.grid, ("plain", "udp"))

    def num_channels(self, num_keypoints: int) -> int:
        """Return the number of heatmaps for so many keypoints: one for each."""
        return num_keypoints

    def encode(self, keypoints: Tensor, visibility: Tensor) -> tuple[Tensor, Tensor]:
        """Compute where the mean of each heatmap should lie: (B, K, 2) in heatmap sizes, the cell divided by (w, h).

        A keypoint beyond the middles of the outermost cells has weight 0 and target 0, because no mean lies there; so has one
        that is NaN. See `Codec.encode`.
        """
        check_keypoints(keypoints, visibility)
        width, height = self.heatmap_size
        x, y = cells_from_input(keypoints, self.input_size, self.heatmap_size, self.grid).unbind(-1)
        inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
        weight = (visibility.float().clamp(max=1) * inside)[..., None]
        target = torch.stack([x / width, y / height], dim=-1).float()
        return torch.where(weight > 0, target, 0.0), weight

    def decode(self, heatmaps: Tensor) -> tuple[Tensor, Tensor]:
        """Take the mean cell under the softmax of each heatmap; (0, 0) where a heatmap holds a NaN. See `Codec.decode`.

        The score is the share within 2 cells of the mean, of the axis where it is the smaller one. The paper leaves it open;
        MMPose says 1.
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

        Both views are averaged before the softmax, so the two distributions are multiplied.
        """
        return flipped_back(heatmaps, flip_permutation, self.grid)


def _share_about(means: Tensor, shares: Tensor) -> Tensor:
    """Sum what lies near the mean of a distribution (..., n) along an axis."""
    places = torch.arange(shares.shape[-1], device=shares.device)
    return (shares * ((places - means[..., None]).abs() <= _NEAR)).sum(dim=-1)
