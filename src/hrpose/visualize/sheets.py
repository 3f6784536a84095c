"""Draw sheets: crops with their target heatmaps, and images with their poses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hrpose.skeletons import Skeleton
from hrpose.structures import Poses
from hrpose.visualize.pictures import SIDE_COLOURS, Image, check_image, keypoint_colours, resize, scale_points, tile
from hrpose.visualize.poses import draw_poses

_CROP_HEIGHT = 256  # pixels; smaller crops are enlarged by an integer factor to about this
_CELL_SIZE = np.array([480, 360])  # width and height in pixels that an image is scaled to fit into
_DIMMED = 0.4  # brightness of the crop under the heatmaps


def draw_crop_sheet(
    images: Image, keypoints: NDArray[Any], visibility: NDArray[Any], heatmaps: NDArray[Any] | None, skeleton: Skeleton
) -> Image:
    """Draw training samples, (H, W, 3) uint8 RGB: each crop with its keypoints, and its target heatmaps beside it.

    Args:
        images: (B, H, W, 3) uint8 RGB crops.
        keypoints: (B, K, 2) in input pixels, or (B, P, K, 2) of P instances.
        visibility: (B, K) or (B, P, K): 0 unlabelled, 1 occluded, 2 visible.
        heatmaps: (B, K, h, w) targets; None (a network without heatmaps) draws the crops only.
        skeleton: names and edges of the K keypoints.

    Raises:
        ValueError: if there are no crops, the arguments have different lengths, or a shape does not fit the skeleton.
    """
    given = {} if heatmaps is None else {"heatmaps": heatmaps}
    _check_counts(images=images, keypoints=keypoints, visibility=visibility, **given)
    cells = []
    for index, (image, points, labels) in enumerate(zip(images, keypoints, visibility, strict=True)):
        zoom = max(1, round(_CROP_HEIGHT / max(check_image(image).shape[:2])))
        size = (image.shape[1] * zoom, image.shape[0] * zoom)
        drawn = draw_poses(resize(image, size), scale_points(points, zoom), skeleton, visibility=labels)
        if heatmaps is not None:
            drawn = np.concatenate([drawn, resize(draw_heatmaps(image, heatmaps[index], skeleton), size)], axis=1)
        cells.append(drawn)
    return tile(cells)


def draw_pose_sheet(images: Sequence[Image], poses: Sequence[Poses], skeleton: Skeleton) -> Image:
    """Draw the estimated poses on their images, each scaled to a cell of the sheet, (H, W, 3) uint8 RGB.

    Args:
        images: (H, W, 3) uint8 RGB of any sizes.
        poses: the poses of each image.
        skeleton: names and edges of the K keypoints.

    Raises:
        ValueError: if there are no images, the arguments have different lengths, or a shape does not fit the skeleton.
    """
    _check_counts(images=images, poses=poses)
    cells = []
    for image, image_poses in zip(images, poses, strict=True):
        old = np.array(check_image(image).shape[1::-1])
        width, height = np.maximum(1, np.round(old * (_CELL_SIZE / old).min())).astype(int).tolist()
        points = scale_points(image_poses.keypoints, np.array([width, height]) / old)
        # resized before drawing, so that lines have the resolution of the sheet
        cells.append(draw_poses(resize(image, (width, height)), points, skeleton, scores=image_poses.keypoint_scores))
    return tile(cells)


def draw_heatmaps(image: Image, heatmaps: NDArray[Any], skeleton: Skeleton | None = None) -> Image:
    """Draw all heatmaps over a dimmed grey copy of a crop: the colour shows the side, the opacity the value.

    Convention:
        Cell c of a heatmap is drawn at the pixel c * stride of the image, as in `HeatmapCodec`.

    Args:
        image: (H, W, 3) uint8 RGB.
        heatmaps: (K, h, w); values are clipped to 0..1, NaN counts as 0.
        skeleton: sides of the K keypoints; None draws all heatmaps in the same colour.

    Raises:
        ValueError: if the image is not uint8 RGB, or the heatmaps are not (K, h, w).
    """
    height, width = check_image(image).shape[:2]
    mixed, opacity = _mix_heatmaps(heatmaps, skeleton)
    pixel_from_cell = np.array([[width / mixed.shape[1], 0, 0], [0, height / mixed.shape[0], 0]])
    layer = cv2.warpAffine(
        np.concatenate([mixed * opacity, opacity], axis=-1),
        pixel_from_cell,
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    grey = _DIMMED * np.asarray(image, np.float32).mean(axis=-1, keepdims=True)
    return np.asarray(np.round(grey * (1 - layer[..., 3:]) + layer[..., :3]), np.uint8)


def heatmap_layer(heatmaps: NDArray[Any], skeleton: Skeleton) -> Image:
    """Return heatmaps (K, h, w) as one image (h, w, 4) uint8 of RGB and opacity, to be drawn over a crop."""
    mixed, opacity = _mix_heatmaps(heatmaps, skeleton)
    return np.asarray(np.concatenate([mixed, 255 * opacity], axis=-1).round(), np.uint8)


def _mix_heatmaps(heatmaps: NDArray[Any], skeleton: Skeleton | None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the mixed colours of heatmaps (K, h, w): (h, w, 3) from 0 to 255, and the opacity (h, w, 1) from 0 to 1."""
    maps = np.asarray(heatmaps)
    count = len(maps) if skeleton is None else skeleton.num_keypoints
    if maps.ndim != 3 or 0 in maps.shape[1:] or len(maps) != count:
        raise ValueError(
            f"Expected argument `heatmaps` to be (K, h, w){'' if skeleton is None else f' with K = {count}'}, "
            f"but got {maps.shape}. Draw one crop of a batch at a time."
        )
    heat = np.clip(np.nan_to_num(maps.astype(np.float32)), 0, 1)
    colours = [SIDE_COLOURS["middle"]] * count if skeleton is None else keypoint_colours(skeleton)
    mixed = np.tensordot(heat, np.reshape(colours, (-1, 3)).astype(np.float32), axes=(0, 0))
    mixed /= np.maximum(heat.sum(axis=0)[..., None], 1e-6)
    return mixed, heat.max(axis=0, initial=0)[..., None]


def _check_counts(**arguments: Sequence[Any] | NDArray[Any]) -> None:
    """Raise if there is nothing to draw or the lengths of the arguments differ."""
    counts = {name: len(argument) for name, argument in arguments.items()}
    if len(set(counts.values())) > 1 or 0 in counts.values():
        found = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise ValueError(f"Expected as many {' as '.join(counts)}, at least one of each, but got {found}.")
