"""Crops, samples and batches.

Legend of the shapes: K keypoints, B batch, H W input, h w heatmap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # an evaluation imports these records and needs no torch
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Crop:
    """A rotated, possibly mirrored rectangle of an image.

    Attributes:
        center: (2,) in pixels of the image before mirroring.
        scale: (2,) width and height in image pixels.
        rotation: degrees.
        flip: whether the crop is mirrored left to right.
        extent: (2,) width and height in image pixels of the padded box, before one side was enlarged to the aspect ratio of
            `scale`; None means `scale`.
    """

    center: NDArray[np.float64]
    scale: NDArray[np.float64]
    rotation: float = 0.0
    flip: bool = False
    extent: NDArray[np.float64] | None = None


class Sample(TypedDict):
    """One crop of a dataset."""

    image: NDArray[np.uint8]  # (H, W, 3) RGB
    keypoints: NDArray[np.float32]  # (K, 2) in input pixels, 0 where unlabelled
    visibility: NDArray[np.uint8]  # (K,)
    image_from_input: NDArray[np.float64]  # (2, 3)
    center: NDArray[np.float64]  # (2,) in image pixels
    scale: NDArray[np.float64]  # (2,) in image pixels
    bbox_score: float
    image_id: int
    instance_id: int


class CropBatch(TypedDict):
    """Crops, with what maps their poses to image pixels."""

    images: Tensor  # (B, H, W, 3) uint8 RGB
    image_from_input: Tensor  # (B, 2, 3) float64
    center: Tensor  # (B, 2) float64
    scale: Tensor  # (B, 2) float64
    bbox_scores: Tensor  # (B,) float64
    image_ids: Tensor  # (B,) int64
    instance_ids: Tensor  # (B,) int64


class ImageBatch(TypedDict):
    """Windows of whole images for training; on the device `images` becomes (B, 3, H, W) float32."""

    images: Tensor  # (B, H, W, 3) uint8 RGB
    keypoints: Tensor  # (B, P, K, 2) float32 in input pixels; P is the largest number of instances in an image
    visibility: Tensor  # (B, P, K) uint8, 0 in rows that pad images with fewer instances
    masks: tuple[Tensor, ...]  # (B, h, w) bool for each output of the network, False where the loss does not count
    image_from_input: Tensor  # (B, 2, 3) float64
    image_ids: Tensor  # (B,) int64


class WholeImageBatch(TypedDict):
    """One whole image; on the device the images become (1, 3, H, W) float32."""

    images: Tensor  # (1, H, W, 3) uint8 RGB at scale 1
    rescaled: tuple[Tensor, ...]  # the same image at each of the codec's other scales, (1, H', W', 3)
    image_from_input: Tensor  # (1, 2, 3) float64, of `images`
    center: Tensor  # (1, 2) float64, of the input, in image pixels
    scale: Tensor  # (1, 2) float64, width and height of the input in image pixels
    image_ids: Tensor  # (1,) int64


class RawBatch(CropBatch):
    """Crops of annotated instances from a data loader."""

    keypoints: Tensor  # (B, K, 2) float32 in input pixels
    visibility: Tensor  # (B, K) uint8


class Batch(RawBatch):
    """A batch on the device: `images` is (B, 3, H, W) float32, normalised, and the codec has added the target."""

    target: Tensor  # (B, K, h, w) float32 heatmaps, or another target of the codec
    target_weight: Tensor  # (B, K, 1) float32
