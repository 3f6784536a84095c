"""A network of one convolution, codecs for small crops, and crops with bright spots, which are exported quickly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from hrpose.codecs import Codec, DarkCodec, HeatmapCodec, IntegralCodec, RegressionCodec, SimccCodec, UdpCodec, UdpOffsetCodec
from hrpose.export import ExportRecord
from hrpose.skeletons import Skeleton

SKELETON = Skeleton.from_names(
    ("nose", "left_wrist", "right_wrist", "left_ankle", "right_ankle"),
    name="five",
    edges=((0, 1), (0, 2)),
    sigmas=(0.03, 0.06, 0.06, 0.09, 0.09),
)
SIZES = {"input_size": (48, 64), "heatmap_size": (12, 16)}
CODECS: dict[str, Codec] = {
    "heatmap": HeatmapCodec(**SIZES, sigma=1.5),
    "dark": DarkCodec(**SIZES, sigma=1.5, blur_kernel=5),
    "dark_plain": DarkCodec(**SIZES, sigma=1.5, blur_kernel=11, grid="plain"),
    "udp": UdpCodec(**SIZES, sigma=1.5),
    "udp_mmpose": UdpCodec(**SIZES, sigma=1.5, blur_kernel=5, smoothing="mmpose"),
    "udp_offset": UdpOffsetCodec(**SIZES, radius=2.0, disk_kernel=7, offset_kernel=3),
    "simcc": SimccCodec(input_size=SIZES["input_size"]),
    "regression": RegressionCodec(input_size=SIZES["input_size"]),
    "integral": IntegralCodec(**SIZES),
}


class Patches(nn.Module):
    """Images (B, 3, H, W) to heatmaps (B, C, H/4, W/4): a convolution and a batch norm with random statistics."""

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, num_channels, 8, stride=4, padding=2, bias=False)
        self.norm = nn.BatchNorm2d(num_channels)
        generator = torch.Generator().manual_seed(num_channels)
        with torch.no_grad():
            self.conv.weight.copy_(torch.randn(self.conv.weight.shape, generator=generator) * 0.1)
            self.norm.running_mean.copy_(torch.randn(num_channels, generator=generator) * 0.1)
            self.norm.running_var.copy_(torch.rand(num_channels, generator=generator) + 0.5)

    def forward(self, images: Tensor) -> Tensor:
        heatmaps: Tensor = self.norm(self.conv(images))
        return heatmaps


class Rows(nn.Module):
    """Images (B, 3, H, W) to rows (B, C, n): patches, and a linear layer; between 0 and 1 if they are coordinates."""

    def __init__(self, num_channels: int, length: int, *, bounded: bool) -> None:
        super().__init__()
        self.patches = Patches(num_channels)
        self.bounded = bounded
        generator = torch.Generator().manual_seed(length)
        self.register_buffer("weight", torch.randn(12 * 16, length, generator=generator) * 0.2)

    def forward(self, images: Tensor) -> Tensor:
        rows = self.patches(images).flatten(2) @ self.weight
        return rows.sigmoid() if self.bounded else rows


def make_net(codec: Codec) -> nn.Module:
    num_channels = codec.num_channels(SKELETON.num_keypoints)
    if isinstance(codec, SimccCodec):
        return Rows(num_channels, sum(codec.num_bins), bounded=False).eval()
    if isinstance(codec, RegressionCodec):
        return Rows(num_channels, 4, bounded=True).eval()
    return Patches(num_channels).eval()


def make_record(codec: Codec, **changes) -> ExportRecord:
    record = ExportRecord(
        precision="fp32",
        skeleton=SKELETON,
        codec=codec,
        flip_test=True,
        heatmaps=False,
        bbox_padding=1.25,
        keypoint_score_threshold=0.2,
        channel_order="rgb",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        source="tiny.ckpt",
    )
    return replace(record, **changes)


def make_crops(count: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw crops (B, 64, 48, 3) of noise with bright spots, and image_from_input (B, 2, 3) with rotation and scale."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 60, (count, 64, 48, 3), dtype=np.uint8)
    for image in images:
        for x, y in rng.integers((6, 6), (42, 58), (4, 2)):
            image[y - 4 : y + 5, x - 4 : x + 5] += rng.integers(60, 190, 3, dtype=np.uint8)
    angles, zooms = rng.uniform(-0.5, 0.5, count), rng.uniform(0.5, 4, count)
    cos, sin = zooms * np.cos(angles), zooms * np.sin(angles)
    offsets = rng.uniform(-50, 400, (2, count))
    matrices = np.stack([np.stack([cos, -sin, offsets[0]], -1), np.stack([sin, cos, offsets[1]], -1)], axis=1)
    return images, matrices


def as_batch(images: np.ndarray, matrices: np.ndarray) -> dict[str, Tensor]:
    """Return crops as a batch of a data loader."""
    count = len(images)
    return {
        "images": torch.from_numpy(images),
        "image_from_input": torch.from_numpy(matrices),
        "center": torch.zeros(count, 2, dtype=torch.float64),
        "scale": torch.ones(count, 2, dtype=torch.float64),
        "bbox_scores": torch.ones(count),
        "image_ids": torch.arange(count),
        "instance_ids": torch.arange(count),
    }
