"""Put pictures on sheets: crops with their targets, photos with their poses; and heatmaps on a crop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hrpose.skeletons import Skeleton
from hrpose.structures import Poses
from hrpose.visualize.images import INK, Image, check_image, enlarge, write_text
from hrpose.visualize.poses import draw_poses


def draw_heatmaps(image: Image, heatmaps: NDArray[Any]) -> Image:
    """Lay heatmaps over a dimmed copy of a crop, each keypoint in a hue of its own.

    Convention:
        Cell c of a heatmap lies over the pixel c * stride of the image, as in `HeatmapCodec`.

    Args:
        image: (H, W, 3) uint8 RGB.
        heatmaps: (K, h, w); values are clipped to 0..1, NaN counts as 0.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: if the image is not uint8 RGB, or the heatmaps are not (K, h, w).
    """
    maps = np.asarray(heatmaps)
    if maps.ndim != 3:
        raise ValueError(f"Expected argument `heatmaps` to be (K, h, w), but got the shape {maps.shape}.")
    height, width = check_image(image).shape[:2]
    stride = np.array([[width / maps.shape[2], 0, 0], [0, height / maps.shape[1], 0]])
    colour = np.zeros((height, width, 3), np.float32)
    total, strongest = np.full((height, width, 1), 1e-6, np.float32), np.zeros((height, width, 1), np.float32)
    for hue, heatmap in zip(_hues(len(maps)), np.clip(np.nan_to_num(maps), 0, 1).astype(np.float32), strict=True):
        heat = cv2.warpAffine(heatmap, stride, (width, height), flags=cv2.INTER_LINEAR)[..., None]
        colour += heat * hue
        total += heat
        strongest = np.maximum(strongest, heat)
    overlay = 0.4 * image * (1 - strongest) + strongest * colour / total
    return np.asarray(np.clip(overlay, 0, 255), np.uint8)


def tile(
    images: Sequence[Image], *, columns: int | None = None, gap: int = 6, captions: Sequence[str] | None = None
) -> Image:
    """Put pictures side by side on one sheet; each is centred in a cell of the size of the largest.

    Args:
        images: (H, W, 3) uint8 RGB of any sizes.
        columns: how many in a row; about as many as there are rows by default.
        gap: pixels between pictures.
        captions: a text for each picture, written under it.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: if there are no pictures, or another number of captions.
    """
    if not images:
        raise ValueError("Expected at least one picture to put on a sheet, but got none.")
    if captions is not None and len(captions) != len(images):
        raise ValueError(f"Expected {len(images)} captions, one a picture, but got {len(captions)}.")
    columns = min(columns or int(np.ceil(np.sqrt(len(images)))), len(images))
    footer = 20 if captions is not None else 0
    cell_h = max(check_image(image).shape[0] for image in images) + footer + gap
    cell_w = max(image.shape[1] for image in images) + gap
    rows = -(-len(images) // columns)
    sheet: Image = np.full((rows * cell_h + gap, columns * cell_w + gap, 3), INK, np.uint8)
    for index, image in enumerate(images):
        height, width = image.shape[:2]
        top = gap + (index // columns) * cell_h + (cell_h - gap - footer - height) // 2
        left = gap + (index % columns) * cell_w + (cell_w - gap - width) // 2
        sheet[top : top + height, left : left + width] = image
        if captions is not None:
            write_text(sheet, captions[index], (left, gap + (index // columns + 1) * cell_h - gap - 6))
    return sheet


def draw_crop_sheet(
    images: Image, keypoints: NDArray[Any], visibility: NDArray[Any], heatmaps: NDArray[Any], skeleton: Skeleton
) -> Image:
    """Draw what a network is taught: each crop with its keypoints, and beside it the heatmaps it should answer.

    Args:
        images: (B, H, W, 3) uint8 RGB crops.
        keypoints: (B, K, 2) in input pixels.
        visibility: (B, K): 0 unlabelled, 1 occluded, 2 visible.
        heatmaps: (B, K, h, w) targets.
        skeleton: names and edges of the K keypoints.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: if there are no crops, or a shape does not fit the skeleton.
    """
    zoom = max(1, round(200 / images.shape[1])) if len(images) else 1
    pairs = []
    for image, points, seen, maps in zip(images, keypoints, visibility, heatmaps, strict=True):
        large = enlarge(image, zoom)
        moved = (np.asarray(points, np.float64) + 0.5) * zoom - 0.5
        drawn = draw_poses(large, moved, skeleton, visibility=seen)
        pairs.append(np.concatenate([drawn, enlarge(draw_heatmaps(image, maps), zoom)], axis=1))
    return tile(pairs, columns=max(1, round(np.sqrt(len(pairs) * 0.8))))


def draw_pose_sheet(
    images: Sequence[Image], poses: Sequence[Poses], skeleton: Skeleton, *, score_threshold: float = 0.2
) -> Image:
    """Draw what a network answers: photos with the estimated poses on them.

    Args:
        images: photos (H, W, 3) uint8 RGB.
        poses: the people of each photo.
        skeleton: names and edges of the K keypoints.
        score_threshold: keypoints with a lower score are not drawn.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: if there are no photos, or a shape does not fit the skeleton.
    """
    drawn = []
    for image, people in zip(images, poses, strict=True):
        zoom = max(1, round(480 / max(image.shape[:2])))
        moved = (people.keypoints + 0.5) * zoom - 0.5
        drawn.append(
            draw_poses(
                enlarge(image, zoom), moved, skeleton, scores=people.keypoint_scores, score_threshold=score_threshold
            )
        )
    return tile(drawn)


def _hues(count: int) -> NDArray[np.float32]:
    """Return `count` bright colours (count, 3), neighbours far apart."""
    hue = np.arange(count)[:, None] * 0.381966  # the golden angle
    return np.asarray(155 + 100 * np.cos(2 * np.pi * (hue - np.array([0, 1 / 3, 2 / 3]))), np.float32)
