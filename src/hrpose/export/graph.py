"""What an exported file computes, as one torch module: uint8 crops to keypoints, or whole images to heatmaps and tags.

The steps are those of `hrpose.inference`, written with operations that every engine has.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hrpose.codecs import AssociativeEmbedding, Codec
from hrpose.codecs.grouping import aggregate


class CropGraph(nn.Module):
    """Crops in, keypoints in image pixels out.

    Args:
        net: images (B, 3, H, W) to heatmaps (B, C, h, w).
        codec: decodes the heatmaps.
        flip_permutation: K indices for the flip test; None leaves it out.
        mean: of the network's channels, with 1 for full brightness.
        std: of the network's channels, with 1 for full brightness.
        channel_order: of the network's input, "rgb" or "bgr".
        dtype: of the network's arithmetic.
        heatmaps: whether the heatmaps are an output too.
    """

    def __init__(
        self,
        net: nn.Module,
        codec: Codec,
        *,
        flip_permutation: Sequence[int] | None,
        mean: Sequence[float],
        std: Sequence[float],
        channel_order: str = "rgb",
        dtype: torch.dtype = torch.float32,
        heatmaps: bool = False,
    ) -> None:
        super().__init__()
        self.net = net.to(dtype).eval()
        self.codec = codec
        self.flip_permutation = list(flip_permutation) if flip_permutation is not None else None
        self.normalize = _Normalize(mean, std, channel_order)
        self.dtype = dtype
        self.heatmaps = heatmaps

    def forward(self, images: Tensor, image_from_input: Tensor) -> tuple[Tensor, ...]:
        """Estimate.

        Args:
            images: (B, H, W, 3) uint8 RGB.
            image_from_input: (B, 2, 3) float32.

        Returns:
            keypoints: (B, K, 2) float32 in image pixels.
            scores: (B, K) float32.
            heatmaps: (B, C, h, w) float32, if `heatmaps` is set.
        """
        heatmaps = self.predict(images)
        keypoints, scores = self.codec.decode(heatmaps)
        placed = transform(keypoints, image_from_input)
        return (placed, scores, heatmaps) if self.heatmaps else (placed, scores)

    def predict(self, images: Tensor) -> Tensor:
        """Compute the heatmaps (B, C, h, w) of crops (B, H, W, 3) uint8; the flip test is one pass of twice as many."""
        inputs = self.normalize(images).to(self.dtype)
        if self.flip_permutation is None:
            heatmaps: Tensor = self.net(inputs).float()
            return heatmaps
        both: Tensor = self.net(torch.cat([inputs, inputs.flip(-1)])).float()
        straight, mirrored = both.reshape(2, -1, *both.shape[1:]).unbind(0)
        flipped_back: Tensor = self.codec.flip_back(mirrored, self.flip_permutation)
        return (straight + flipped_back) * 0.5


class ImageGraph(nn.Module):
    """Whole images in, heatmaps and tags out; instances are found outside of the file, by `codec.decode`.

    Args:
        net: images (B, 3, H, W) to [(B, 2K, h', w'), (B, K, h, w)].
        codec: turns the outputs for mirrored images back.
        flip_permutation: K indices for the flip test; None leaves it out.
        mean: as for `CropGraph`.
        std: as for `CropGraph`.
        channel_order: as for `CropGraph`.
    """

    def __init__(
        self,
        net: nn.Module,
        codec: AssociativeEmbedding,
        *,
        flip_permutation: Sequence[int] | None,
        mean: Sequence[float],
        std: Sequence[float],
        channel_order: str = "rgb",
    ) -> None:
        super().__init__()
        self.net = net.float().eval()
        self.codec = codec
        self.flip_permutation = list(flip_permutation) if flip_permutation is not None else None
        self.normalize = _Normalize(mean, std, channel_order)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (B, H, W, 3) uint8 to heatmaps (B, K, h, w) and tags (B, K, T, h, w), as `inference.predict_maps` does."""
        inputs = self.normalize(images)
        heatmaps, tags = aggregate(self.net(inputs))
        if self.flip_permutation is None:
            return heatmaps, tags
        mirrored, other_tags = aggregate(self.codec.flip_back(self.net(inputs.flip(-1)), self.flip_permutation))
        return (heatmaps + mirrored) * 0.5, torch.cat([tags, other_tags], dim=2)


class _Normalize(nn.Module):
    """Images (B, H, W, 3) uint8 RGB to (B, 3, H, W) float32, (image / 255 - mean) / std."""

    factor: Tensor
    offset: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], channel_order: str) -> None:
        super().__init__()
        self.reverse = channel_order == "bgr"
        means, deviations = torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64)
        self.register_buffer("factor", (1 / (255 * deviations)).float()[:, None, None])
        self.register_buffer("offset", (-means / deviations).float()[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        pixels = images.flip(-1) if self.reverse else images
        return pixels.permute(0, 3, 1, 2).float() * self.factor + self.offset


def transform(points: Tensor, matrices: Tensor) -> Tensor:
    """Map points (B, K, 2) by matrices (B, 2, 3), in float32.

    Written as products and sums, because engines may compute a matrix product in lower precision. In an image 6,000 pixels wide
    the rounding error is below 0.002 pixels.
    """
    x, y = points[..., 0:1], points[..., 1:2]
    return x * matrices[:, None, :, 0] + y * matrices[:, None, :, 1] + matrices[:, None, :, 2]
