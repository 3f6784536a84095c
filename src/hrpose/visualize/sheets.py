"""Draw sheets: crops with their target heatmaps, and images with their poses."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hrpose.skeletons import Skeleton
from hrpose.structures import Poses
from hrpose.visualize.pictures import (
    SIDE_COLOURS,
    Image,
    blank,
    check_image,
    keypoint_colours,
    paste,
    resize,
    scale_points,
    tile,
)
from hrpose.visualize.poses import draw_poses

_CROP_HEIGHT = 256  # pixels; smaller crops are enlarged by a whole factor to about this
_ROW_HEIGHT = 360  # pixels of a row of photos, on average
_GAP = 8
_SHEET_ASPECT = 1.6  # width / height
_WIDEST = 4.0  # width / height up to which a photo's place has its shape; the same for height / width
_TALLEST = 1.5  # height of a row, relative to the average, up to which it fills the width
_DIMMED = 0.4  # brightness of the crop under the heatmaps


def draw_crop_sheet(
    images: Image, keypoints: NDArray[Any], visibility: NDArray[Any], heatmaps: NDArray[Any] | None, skeleton: Skeleton
) -> Image:
    """Draw what a network is taught: each crop with its keypoints, and beside it the heatmaps it should answer.

    Args:
        images: (B, H, W, 3) uint8 RGB crops.
        keypoints: (B, K, 2) in input pixels.
        visibility: (B, K): 0 unlabelled, 1 occluded, 2 visible.
        heatmaps: (B, K, h, w) targets; None for a network of coordinates or bins, which draws the crops alone.
        skeleton: names and edges of the K keypoints.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: if there are no crops, the arguments are of unlike lengths, or a shape does not fit the skeleton.
    """
    given = {} if heatmaps is None else {"heatmaps": heatmaps}
    _check_counts(images=images, keypoints=keypoints, visibility=visibility, **given)
    cells = []
    for index, (image, points, seen) in enumerate(zip(images, keypoints, visibility, strict=True)):
        zoom = max(1, round(_CROP_HEIGHT / max(check_image(image).shape[:2])))
        size = (image.shape[1] * zoom, image.shape[0] * zoom)
        taught = draw_poses(resize(image, size), scale_points(points, zoom), skeleton, visibility=seen)
        if heatmaps is not None:
            taught = np.concatenate([taught, resize(draw_heatmaps(image, heatmaps[index], skeleton), size)], axis=1)
        cells.append(taught)
    return tile(cells)


def draw_pose_sheet(
    photos: Sequence[Image], poses: Sequence[Poses], skeleton: Skeleton, *, boxes: bool = False
) -> Image:
    """Draw what a network answers: photos with the estimated poses on them, in rows of equal width.

    Args:
        photos: (H, W, 3) uint8 RGB of any sizes.
        poses: the people of each photo.
        skeleton: names and edges of the K keypoints.
        boxes: whether to frame what the network looked at.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: if there are no photos, the arguments are of unlike lengths, or a shape does not fit the skeleton.
    """
    _check_counts(photos=photos, poses=poses)
    cells, (width, height) = _cells_in_rows([check_image(photo).shape[1] / photo.shape[0] for photo in photos])
    sheet = blank(height, width)
    for photo, people, (left, top, cell_w, cell_h) in zip(photos, poses, cells, strict=True):
        factor = min(cell_w / photo.shape[1], cell_h / photo.shape[0])
        size = (max(1, round(photo.shape[1] * factor)), max(1, round(photo.shape[0] * factor)))
        drawn = _draw_photo(photo, size, people, skeleton, boxes=boxes)
        paste(sheet, drawn, top + (cell_h - size[1]) // 2, left + (cell_w - size[0]) // 2)
    return sheet


def _draw_photo(photo: Image, size: tuple[int, int], people: Poses, skeleton: Skeleton, *, boxes: bool) -> Image:
    """Draw people on a photo that is resized first, so that lines are of the sheet's resolution."""
    factor = np.array(size) / photo.shape[1::-1]
    bboxes = np.concatenate([scale_points(people.center - people.scale / 2, factor), people.scale * factor], axis=-1)
    return draw_poses(
        resize(photo, size),
        scale_points(people.keypoints, factor),
        skeleton,
        scores=people.keypoint_scores,
        bboxes=bboxes if boxes else None,
    )


def _check_counts(**arguments: Sequence[Any] | NDArray[Any]) -> None:
    """Raise if there is nothing to draw or the arguments are not of one length."""
    counts = {name: len(argument) for name, argument in arguments.items()}
    if len(set(counts.values())) > 1 or 0 in counts.values():
        found = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise ValueError(f"Expected as many {' as '.join(counts)}, at least one of each, but got {found}.")


def _cells_in_rows(aspects: Sequence[float]) -> tuple[list[tuple[int, int, int, int]], tuple[int, int]]:
    """Lay photos out in rows of equal width, in their order.

    Args:
        aspects: width / height of each photo.

    Returns:
        The place of each photo, (left, top, width, height) in pixels, and the (width, height) of the sheet. A place has the
        shape of its photo, unless that is extreme.
    """
    sums = np.concatenate([[0.0], np.cumsum(np.clip(aspects, 1 / _WIDEST, _WIDEST))])
    rows = _even_parts(sums, min(max(1, round(math.sqrt(sums[-1] / _SHEET_ASPECT))), len(aspects)))
    inner = round(_ROW_HEIGHT * sums[-1] / len(rows)) + _GAP * (len(aspects) // len(rows) - 1)
    cells, top = [], _GAP
    for row in rows:
        gaps = _GAP * (len(row) - 1)
        height = min((inner - gaps) / (sums[row.stop] - sums[row.start]), _TALLEST * _ROW_HEIGHT)
        borders = np.round((sums[row.start : row.stop + 1] - sums[row.start]) * height).astype(int).tolist()
        left = _GAP + (inner - gaps - borders[-1]) // 2
        for place, (start, end) in enumerate(itertools.pairwise(borders)):
            cells.append((left + start + place * _GAP, top, end - start, round(height)))
        top += round(height) + _GAP
    return cells, (inner + 2 * _GAP, top)


def _even_parts(sums: NDArray[np.float64], count: int) -> list[range]:
    """Cut a sequence with the running sums (n + 1,) into `count` parts whose sums have the least squares."""
    squares = np.where(np.tri(len(sums), k=-1, dtype=bool).T, (sums - sums[:, None]) ** 2, np.inf)
    cost, starts = np.where(sums == 0, 0.0, np.inf), []
    for _ in range(count):
        total = cost[:, None] + squares
        starts.append(total.argmin(axis=0))
        cost = total.min(axis=0)
    parts, end = [], len(sums) - 1
    for start in reversed(starts):
        parts.append(range(int(start[end]), end))
        end = int(start[end])
    return parts[::-1]


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
