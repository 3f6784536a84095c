"""Crops, the input of a network, one by one and in batches.

Legend of the shapes: K keypoints, B batch, H W input, h w heatmap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # the records are numpy: what only evaluates need not wait for torch
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Crop:
    """A rotated, possibly mirrored rectangle of an image, which a network takes as input.

    Attributes:
        center: (2,) in image pixels, of the image as it is (not mirrored).
        scale: (2,) width and height in image pixels.
        rotation: degrees.
        flip: whether the crop is mirrored left to right.
        extent: (2,) width and height in image pixels of what the crop shows, padded, before one side was grown to the aspect
            ratio of `scale`; None stands for `scale`.
    """

    center: NDArray[np.float64]
    scale: NDArray[np.float64]
    rotation: float = 0.0
    flip: bool = False
    extent: NDArray[np.float64] | None = None


class Sample(TypedDict):
    """One crop, as a dataset makes it."""

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
    """Crops as bytes, not floats, with everything that maps the poses found in them back to their images."""

    images: Tensor  # (B, H, W, 3) uint8 RGB
    image_from_input: Tensor  # (B, 2, 3) float64
    center: Tensor  # (B, 2) float64
    scale: Tensor  # (B, 2) float64
    bbox_scores: Tensor  # (B,) float64
    image_ids: Tensor  # (B,) int64
    instance_ids: Tensor  # (B,) int64


class ImageBatch(TypedDict):
    """Windows of whole images as bytes, for training; on the device `images` becomes (B, 3, H, W) float32."""

    images: Tensor  # (B, H, W, 3) uint8 RGB
    keypoints: (
        Tensor  # (B, P, K, 2) float32 in input pixels; P is the largest number of instances in an image of the batch
    )
    visibility: Tensor  # (B, P, K) uint8, 0 in the rows that pad an image with fewer instances
    masks: tuple[Tensor, ...]  # (B, h, w) bool for each output of the network, False where the loss does not count
    image_from_input: Tensor  # (B, 2, 3) float64
    image_ids: Tensor  # (B,) int64


class WholeImageBatch(TypedDict):
    """One whole image as a network takes it, as bytes; on the device the images become (1, 3, H, W) float32."""

    images: Tensor  # (1, H, W, 3) uint8 RGB at scale 1
    rescaled: tuple[Tensor, ...]  # the same at each of the codec's other scales, (1, H', W', 3)
    image_from_input: Tensor  # (1, 2, 3) float64, of `images`
    center: Tensor  # (1, 2) float64, of what the input shows, in image pixels
    scale: Tensor  # (1, 2) float64
    image_ids: Tensor  # (1,) int64


class RawBatch(CropBatch):
    """Crops of annotated instances as the loader's workers return them."""

    keypoints: Tensor  # (B, K, 2) float32 in input pixels
    visibility: Tensor  # (B, K) uint8


class Batch(RawBatch):
    """A batch on the device: `images` has become (B, 3, H, W) float32, normalised; the codec has added the target."""

    target: Tensor  # (B, K, h, w) float32 heatmaps, or what else the codec teaches
    target_weight: Tensor  # (B, K, 1) float32
