"""SimCC: each coordinate is classified into one of the bins of its axis.

Li et al., "SimCC: a Simple Coordinate Classification Perspective for Human Pose Estimation", ECCV 2022
(https://arxiv.org/abs/2107.03332). Targets are as in MMPose, with Gaussian label smoothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hrpose.codecs.base import check_keypoints, check_sizes
from hrpose.codecs.cells import first_argmax, swap_pairs
from hrpose.errors import check_counts, check_positive
from hrpose.geometry import Grid


@dataclass(frozen=True)
class SimccCodec:
    """Bins along x, then bins along y, in one row per keypoint; its loss is `SimccLoss`.

    Convention:
        A row has X + Y numbers, X = split_ratio * W bins along x and Y = split_ratio * H along y. Bin b corresponds to the input
        pixel b / split_ratio.

    Attributes:
        input_size: width W and height H of the network input in pixels.
        split_ratio: bins per pixel; 1 to 3 in the paper.
        sigma: standard deviation of the targets in bins.

    Raises:
        ValueError: if the size or the ratio is not positive whole numbers, or sigma is not positive.

    Example:
        >>> codec = SimccCodec(input_size=(192, 256))
        >>> target, target_weight = codec.encode(torch.tensor([[[100.0, 42.3]]]), torch.ones(1, 1))
        >>> target.shape, codec.decode(target)[0]
        (torch.Size([1, 1, 896]), tensor([[[100.0000,  42.5000]]]))
    """

    input_size: tuple[int, int]
    split_ratio: int = 2
    sigma: float = 6.0
    grid: ClassVar[Grid] = "plain"

    def __post_init__(self) -> None:
        check_sizes(self)
        check_counts(split_ratio=self.split_ratio)
        check_positive("sigma", self.sigma, "bins (6 for 2 bins to a pixel)")

    @property
    def num_bins(self) -> tuple[int, int]:
        """Bins along x and along y."""
        return self.input_size[0] * self.split_ratio, self.input_size[1] * self.split_ratio

    def num_channels(self, num_keypoints: int) -> int:
        """Return the number of rows of bins: one per keypoint."""
        return num_keypoints

    def encode(self, keypoints: Tensor, visibility: Tensor) -> tuple[Tensor, Tensor]:
        """Compute a normalised Gaussian around the bin nearest to each coordinate: (B, K, X + Y).

        The bins of an axis sum to 1, except near the border. A keypoint more than 3 sigma outside along an axis, NaN or infinite
        has weight 0 and empty bins. See `Codec.encode`.
        """
        check_keypoints(keypoints, visibility)
        middles = (keypoints * self.split_ratio).round()
        reach = 3 * self.sigma
        weight = visibility.float().clamp(max=1)
        for axis, count in enumerate(self.num_bins):
            middle = middles[..., axis]
            weight = weight * ((middle - reach < count) & (middle + reach + 1 >= 0))
        shares = []
        for axis, count in enumerate(self.num_bins):
            distance = (torch.arange(count, device=keypoints.device) - middles[..., axis, None]).float()
            shares.append(torch.exp(distance.square() / (-2 * self.sigma**2)) * self._top)
        return torch.where(weight[..., None] > 0, torch.cat(shares, dim=-1), 0.0), weight[..., None]

    def decode(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first highest bin along each axis of logits (B, K, X + Y). See `Codec.decode`.

        The score is the probability of the highest bin, relative to the probability of a target's highest bin; the
        lower one of both axes. The paper does not define it.
        """
        self._check_bins(logits)
        places, scores = [], []
        for bins in logits.float().tensor_split([self.num_bins[0]], 2):
            place = first_argmax(bins)
            places.append(place / self.split_ratio)
            scores.append((bins.softmax(dim=-1).amax(dim=-1) / self._top).clamp(max=1))
        return torch.stack(places, dim=-1), torch.minimum(*scores)

    def flip_back(self, logits: Tensor, flip_permutation: Sequence[int]) -> Tensor:
        """Mirror the bins along x back, and exchange mirror pairs. See `Codec.flip_back`.

        Pixel x becomes W - 1 - x, so bin b becomes X - split_ratio - b: reversed bins move split_ratio - 1 to the left (not in
        MMPose, which is half a pixel off). The last bins keep their values.
        """
        self._check_bins(logits)
        across, down = logits.tensor_split([self.num_bins[0]], 2)
        reverse, step = across.flip(-1), self.split_ratio - 1
        kept = reverse[..., reverse.shape[2] - step :]
        return swap_pairs(torch.cat([reverse[..., step:], kept, down], dim=-1), flip_permutation)

    @property
    def _top(self) -> float:
        """The highest bin of a target."""
        return 1 / (self.sigma * math.sqrt(2 * math.pi))

    def _check_bins(self, logits: Tensor) -> None:
        across, down = self.num_bins
        if logits.ndim != 3 or logits.shape[2] != across + down:
            raise ValueError(
                f"Expected bins (B, K, {across + down}), {across} along x and {down} along y, but got the shape "
                f"{tuple(logits.shape)}. The codec requires a network that outputs bins, such as model=simcc_50, with the same "
                "input_size and split_ratio."
            )
