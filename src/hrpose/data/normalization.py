"""From bytes to what a network sees, and back: done on the device, the same for training, validation and the estimator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ChannelOrder: TypeAlias = Literal["rgb", "bgr"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Normalization:
    """(image / 255 - mean) / std, with the channels in the order that the network was trained on.

    Args:
        channel_order: of the network's input. The official ResNets were trained on "bgr", with the mean and std of RGB in
            their places.
        mean: of the input's first, second and third channel, with 1 for full brightness.
        std: of the input's first, second and third channel, with 1 for full brightness.

    Raises:
        ValueError: if the order is another one, mean or std are not three numbers, or a std is not positive.
    """

    def __init__(
        self,
        channel_order: ChannelOrder = "rgb",
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        if channel_order not in ("rgb", "bgr"):
            raise ValueError(f'Expected `channel_order` to be "rgb" or "bgr", but got {channel_order!r}.')
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ValueError(
                "Expected `mean` and `std` to be three numbers each, one a channel, with a positive std, but got "
                f"{list(mean)} and {list(std)}."
            )
        self.channel_order: ChannelOrder = channel_order
        self.mean, self.std = tuple(map(float, mean)), tuple(map(float, std))
        self._row_factors: dict[tuple[torch.device, int], tuple[Tensor, Tensor]] = {}

    def __call__(self, images: Tensor) -> Tensor:
        """Normalise a batch of crops on their device.

        Args:
            images: (B, H, W, 3) uint8 RGB.

        Returns:
            (B, 3, H, W) float32 in channels_last memory, as the bytes came.
        """
        if self.channel_order == "bgr":
            images = images.flip(-1)
        count, height, width, channels = images.shape
        factor, offset = self._row_factors_on(images.device, width)
        rows = images.reshape(count, height, width * channels)
        return torch.addcmul(offset, rows, factor).view(count, height, width, channels).permute(0, 3, 1, 2)

    def undo(self, images: Tensor) -> NDArray[np.uint8]:
        """Turn normalised images (B, 3, H, W) back into RGB pictures (B, H, W, 3) uint8."""
        pixels = images.detach().permute(0, 2, 3, 1).to("cpu", torch.float64).numpy()
        picture: NDArray[np.uint8] = (
            ((pixels * np.array(self.std) + np.array(self.mean)) * 255).round().clip(0, 255).astype(np.uint8)
        )
        return np.ascontiguousarray(picture[..., ::-1]) if self.channel_order == "bgr" else picture

    def _row_factors_on(self, device: torch.device, width: int) -> tuple[Tensor, Tensor]:
        """Give factor and offset of a row of `width` RGB pixels; whole rows keep the multiply-add in long vectors."""
        if (device, width) not in self._row_factors:
            mean, std = np.array(self.mean), np.array(self.std)
            self._row_factors[device, width] = (
                torch.tensor(np.tile(1 / (255 * std), width), dtype=torch.float32, device=device),
                torch.tensor(np.tile(-mean / std, width), dtype=torch.float32, device=device),
            )
        return self._row_factors[device, width]
