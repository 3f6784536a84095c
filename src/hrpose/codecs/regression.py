"""Direct regression: a network predicts coordinates, and optionally their sigmas.

Toshev, Szegedy, "DeepPose: Human Pose Estimation via Deep Neural Networks", CVPR 2014; with sigmas Li et al., "Human Pose
Regression with Residual Log-likelihood Estimation", ICCV 2021. Targets and flip test are as in MMPose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hrpose.codecs.base import check_keypoints, check_sizes
from hrpose.codecs.cells import divide_by_size, swap_pairs
from hrpose.geometry import Grid


@dataclass(frozen=True)
class RegressionCodec:
    """Coordinates in units of the input's size: (x / W, y / H); its losses are `CoordinateLoss` and `RLELoss`.

    Attributes:
        input_size: width W and height H of the network input in pixels.

    Raises:
        ValueError: if the size is not two positive whole numbers.

    Example:
        >>> codec = RegressionCodec(input_size=(192, 256))
        >>> target, target_weight = codec.encode(torch.tensor([[[96.0, 64.0]]]), torch.ones(1, 1))
        >>> target, codec.decode(target)[0]
        (tensor([[[0.5000, 0.2500]]]), tensor([[[96., 64.]]]))
    """

    input_size: tuple[int, int]
    grid: ClassVar[Grid] = "plain"

    def __post_init__(self) -> None:
        check_sizes(self)

    def num_channels(self, num_keypoints: int) -> int:
        """Return the number of rows of coordinates: one per keypoint."""
        return num_keypoints

    def encode(self, keypoints: Tensor, visibility: Tensor) -> tuple[Tensor, Tensor]:
        """Divide the coordinates by the input's size: (B, K, 2).

        A keypoint outside the centers of the outermost pixels or NaN has weight 0 and target 0. See `Codec.encode`.
        """
        check_keypoints(keypoints, visibility)
        return divide_by_size(keypoints, visibility, self.input_size)

    def decode(self, answers: Tensor) -> tuple[Tensor, Tensor]:
        """Multiply coordinates (B, K, 2), or (B, K, 4) with sigmas, by the input's size; (0, 0) for NaN. See `Codec.decode`.

        Scores are 1 minus the mean sigma, as in the paper of RLE; 1 without sigmas.
        """
        _check_coordinates(answers)
        exact = answers.float()
        x, y = exact[..., 0] * self.input_size[0], exact[..., 1] * self.input_size[1]
        keypoints = torch.stack([x, y], dim=-1)
        sigmas = exact[..., 2:] if exact.shape[2] == 4 else torch.zeros_like(keypoints)
        sound = keypoints.isfinite().all(dim=-1)
        scores = torch.where(sound, 1 - sigmas.mean(dim=-1), float("nan"))
        return torch.where(sound[..., None], keypoints, 0.0), scores

    def flip_back(self, answers: Tensor, flip_permutation: Sequence[int]) -> Tensor:
        """Mirror coordinates back, pixel x to W - 1 - x, and exchange mirror pairs; sigmas stay. See `Codec.flip_back`."""
        _check_coordinates(answers)
        last = (self.input_size[0] - 1) / self.input_size[0]
        return swap_pairs(torch.cat([last - answers[..., :1], answers[..., 1:]], dim=-1), flip_permutation)


def _check_coordinates(coordinates: Tensor) -> None:
    if coordinates.ndim != 3 or coordinates.shape[2] not in (2, 4):
        raise ValueError(
            "Expected coordinates (B, K, 2), or (B, K, 4) with their sigmas, but got the shape "
            f"{tuple(coordinates.shape)}. The codec requires a network that outputs coordinates, such as model=deeppose_50."
        )
