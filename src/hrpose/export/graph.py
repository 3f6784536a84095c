"""The computation of an exported file as one torch module: uint8 crops to keypoints, or whole images to heatmaps and tags.

The steps are those of `hrpose.inference`, in operations that every engine supports.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn

from hrpose.codecs import AssociativeEmbedding
from hrpose.codecs.grouping import aggregate
from hrpose.export.record import ExportRecord


class CropGraph(nn.Module):
    """Crops to keypoints in image pixels, by a copy of a network from images (B, 3, H, W) to heatmaps (B, C, h, w)."""

    def __init__(self, net: nn.Module, record: ExportRecord, *, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.net = _copy(net).to(dtype)
        self.normalize = _Normalize(record)
        self.record = record
        self.dtype = dtype

    def forward(self, images: Tensor, image_from_input: Tensor) -> tuple[Tensor, ...]:
        """Estimate the poses of crops (B, H, W, 3) uint8 RGB with matrices (B, 2, 3) float32.

        Returns:
            keypoints: (B, K, 2) float32 in image pixels.
            scores: (B, K) float32.
            heatmaps: (B, C, h, w) float32, if the record has them as an output.
        """
        heatmaps = self._predict(images)
        keypoints, scores = self.record.codec.decode(heatmaps)
        poses = _transform(keypoints, image_from_input), scores
        return (*poses, heatmaps) if self.record.heatmaps else poses

    def _predict(self, images: Tensor) -> Tensor:
        """Compute heatmaps (B, C, h, w); the flip test is one pass of twice as many images."""
        inputs = self.normalize(images).to(self.dtype)
        if not self.record.flip_test:
            heatmaps: Tensor = self.net(inputs).float()
            return heatmaps
        both: Tensor = self.net(torch.cat([inputs, inputs.flip(-1)])).float()
        straight, mirrored = both.reshape(2, -1, *both.shape[1:]).unbind(0)
        flipped_back: Tensor = self.record.codec.flip_back(mirrored, self.record.skeleton.flip_permutation)
        return (straight + flipped_back) * 0.5


class ImageGraph(nn.Module):
    """Whole images to heatmaps and tags; `codec.decode` finds the instances outside of the file.

    The module uses a copy of the network: images (B, 3, H, W) to [(B, 2K, h', w'), (B, K, h, w)].
    """

    def __init__(self, net: nn.Module, record: ExportRecord) -> None:
        super().__init__()
        self.net = _copy(net).float()
        self.normalize = _Normalize(record)
        self.record = record

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (B, H, W, 3) uint8 to heatmaps (B, K, h, w) and tags (B, K, T, h, w); see `inference.predict_maps`."""
        inputs = self.normalize(images)
        heatmaps, tags = aggregate(self.net(inputs))
        if not self.record.flip_test:
            return heatmaps, tags
        codec = cast(AssociativeEmbedding, self.record.codec)
        flipped_back = codec.flip_back(self.net(inputs.flip(-1)), self.record.skeleton.flip_permutation)
        mirrored, other_tags = aggregate(flipped_back)
        return (heatmaps + mirrored) * 0.5, torch.cat([tags, other_tags], dim=2)


class _Normalize(nn.Module):
    """Images (B, H, W, 3) uint8 RGB to (B, 3, H, W) float32, (image / 255 - mean) / std."""

    factor: Tensor
    offset: Tensor

    def __init__(self, record: ExportRecord) -> None:
        super().__init__()
        self.reverse = record.channel_order == "bgr"
        mean, std = (torch.tensor(values, dtype=torch.float64) for values in (record.mean, record.std))
        self.register_buffer("factor", (1 / (255 * std)).float()[:, None, None])
        self.register_buffer("offset", (-mean / std).float()[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        pixels = images.flip(-1) if self.reverse else images
        return pixels.permute(0, 3, 1, 2).float() * self.factor + self.offset


def _copy(net: nn.Module) -> nn.Module:
    copied: nn.Module = copy.deepcopy(net).to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return copied.eval()


def _transform(points: Tensor, matrices: Tensor) -> Tensor:
    """Map points (B, K, 2) by matrices (B, 2, 3), in float32.

    Products and sums, because engines may compute a matrix product in lower precision. In an image 6,000 pixels wide the rounding
    error is below 0.002 pixels.
    """
    x, y = points[..., 0:1], points[..., 1:2]
    return x * matrices[:, None, :, 0] + y * matrices[:, None, :, 1] + matrices[:, None, :, 2]
