"""Direct regression: a network predicts coordinates, and optionally their sigmas.

Toshev, Szegedy, "DeepPose: Human Pose Estimation via Deep Neural Networks", CVPR 2014; with sigmas Li et al., "Human Pose
Regression with Residual Log-likelihood Estimation", ICCV 2021. Targets and flip test are those of MMPose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hrpose.codecs.base import check_keypoints, settle_sizes
from hrpose.codecs.cells import counterparts
from hrpose.geometry import Grid


@dataclass(frozen=True)
class RegressionCodec:
    """Coordinates in input sizes: (x / W, y / H); its losses are `CoordinateLoss` and `RLELoss`.

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
        settle_sizes(self)

    def num_channels(self, num_keypoints: int) -> int:
        """Return the number of rows of coordinates for so many keypoints: one for each."""
        return num_keypoints

    def encode(self, keypoints: Tensor, visibility: Tensor) -> tuple[Tensor, Tensor]:
        """Divide the coordinates by the input's size: (B, K, 2).

        A keypoint outside the crop, beyond the middles of its first and last pixels, has weight 0 and target 0; so has one that
        is NaN. See `Codec.encode`.
        """
        check_keypoints(keypoints, visibility)
        width, height = self.input_size
        x, y = keypoints.unbind(-1)
        inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
        weight = (visibility.float().clamp(max=1) * inside)[..., None]
        target = torch.stack([x / width, y / height], dim=-1).float()
        return torch.where(weight > 0, target, 0.0), weight

    def decode(self, answers: Tensor) -> tuple[Tensor, Tensor]:
        """Multiply the coordinates by the input's size.

        Args:
            answers: (B, K, 2) coordinates, or (B, K, 4) coordinates and their sigmas, in input sizes.

        Returns:
            keypoints: (B, K, 2) float32 in input pixels; (0, 0) where a network predicts NaN.
            scores: (B, K) float32: 1 minus the mean sigma, as in RLE's paper; 1 without sigmas.

        Raises:
            ValueError: if the shape is another.
        """
        _check_answers(answers)
        exact = answers.float()
        x, y = exact[..., 0] * self.input_size[0], exact[..., 1] * self.input_size[1]
        keypoints = torch.stack([x, y], dim=-1)
        sigmas = exact[..., 2:] if answers.shape[2] == 4 else torch.zeros_like(keypoints)
        sound = keypoints.isfinite().all(dim=-1)
        scores = torch.where(sound, 1 - sigmas.mean(dim=-1), float("nan"))
        return torch.where(sound[..., None], keypoints, 0.0), scores

    def flip_back(self, answers: Tensor, flip_permutation: Sequence[int]) -> Tensor:
        """Mirror the coordinates of mirrored images back, pixel x to W - 1 - x, and give each row to its counterpart.

        Sigmas stay as they are. See `Codec.flip_back`.
        """
        _check_answers(answers)
        last = (self.input_size[0] - 1) / self.input_size[0]
        mirrored = torch.cat([last - answers[..., :1], answers[..., 1:]], dim=-1)
        return counterparts(mirrored, flip_permutation)


def _check_answers(answers: Tensor) -> None:
    if answers.ndim != 3 or answers.shape[2] not in (2, 4):
        raise ValueError(
            "Expected coordinates (B, K, 2), or (B, K, 4) with their sigmas, but got the shape "
            f"{tuple(answers.shape)}. The codec belongs to a network that puts out coordinates, such as model=deeppose_50."
        )
