"""Draw what a network answers, before it is decoded."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hrpose.skeletons import Skeleton
from hrpose.visualize.colours import SIDE_COLOURS, keypoint_colours
from hrpose.visualize.pictures import Image, check_image

_DIMMED = 0.4  # brightness of the crop under the heatmaps


def draw_heatmaps(image: Image, heatmaps: NDArray[Any], skeleton: Skeleton | None = None) -> Image:
    """Lay all heatmaps over a dimmed grey copy of a crop: the colour tells the side, the opacity the height.

    Convention:
        Cell c of a heatmap lies over the pixel c * stride of the image, as in `HeatmapCodec`.

    Args:
        image: (H, W, 3) uint8 RGB.
        heatmaps: (K, h, w); heights are clipped to 0..1, NaN counts as 0.
        skeleton: tells the sides of the K keypoints; without one all heatmaps have the same colour.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: if the image is not uint8 RGB, or the heatmaps are not (K, h, w).
    """
    maps = np.asarray(heatmaps)
    count = len(maps) if skeleton is None else skeleton.num_keypoints
    if maps.ndim != 3 or 0 in maps.shape[1:] or len(maps) != count:
        raise ValueError(
            f"Expected argument `heatmaps` to be (K, h, w){'' if skeleton is None else f' with K = {count}'}, "
            f"but got the shape {maps.shape}. Draw one crop of a batch at a time."
        )
    height, width = check_image(image).shape[:2]
    heat = np.clip(np.nan_to_num(maps.astype(np.float32)), 0, 1)
    colours = [SIDE_COLOURS["middle"]] * count if skeleton is None else keypoint_colours(skeleton)
    opacity = heat.max(axis=0, initial=0)[..., None]
    mixed = np.tensordot(heat, np.reshape(colours, (-1, 3)).astype(np.float32), axes=(0, 0))
    mixed /= np.maximum(heat.sum(axis=0)[..., None], 1e-6)
    pixel_from_cell = np.array([[width / maps.shape[2], 0, 0], [0, height / maps.shape[1], 0]])
    layer = cv2.warpAffine(
        np.concatenate([mixed * opacity, opacity], axis=-1),
        pixel_from_cell,
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    grey = _DIMMED * np.asarray(image, np.float32).mean(axis=-1, keepdims=True)
    return np.asarray(np.round(grey * (1 - layer[..., 3:]) + layer[..., :3]), np.uint8)
