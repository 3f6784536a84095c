"""Boxes, crops and the one matrix between image and network input.

A top-down network sees one instance at a time: the instance's box becomes a center and a scale, and those become the matrix
`input_from_image` that maps image pixels to input pixels. The same matrix warps the pixels and moves the keypoints.

Convention (of every function here):
    Points are (x, y) in pixels, 0-based; x grows to the right, y downwards. Sizes are (width, height).
    A matrix named A_from_B maps points of B to points of A; matrices are (2, 3) and act on column vectors (x, y, 1).
    `scale` is the (width, height) of the padded box in image pixels; the official code stores it divided by 200.
    `rotation` is in degrees; a positive one turns the content of the crop counter-clockwise as seen on the screen.
    The center of the box lands on (W/2, H/2) of the input, as in the official code, not on ((W-1)/2, (H-1)/2); `Grid` names
    the other ways to lay pixels, for codecs that ask for them.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Grid: TypeAlias = Literal["plain", "dark", "udp"]
"""How the pixels of a crop lie in its box: a codec states it, `input_from_image` crops by it.

"plain": W pixels fill the width S of the box (Xiao et al., ECCV 2018; HRNet, MMPose). A mirrored crop is one pixel off.
"dark": the W - 1 steps between pixels fill the S - 1 steps of the box; the height follows (Zhang et al., CVPR 2020).
"udp": the W - 1 and H - 1 steps between pixels fill the width and the height of the box (Huang et al., CVPR 2020).
In "dark" and "udp" the first and the last pixel lie alike about the center, so mirroring is exact.
"""


Rules: TypeAlias = Literal["official", "mmpose"]
"""Where the code of the HRNet authors and MMPose 1.x differ, the one to follow; docs/recipes.md lists the differences."""


def clip_bbox(bbox: ArrayLike, image_size: ArrayLike, rules: Rules = "official") -> Array:
    """Clip boxes to the image.

    Convention:
        "official": the last pixel is taken as part of the box, so an unclipped box of width w comes out w - 1 wide. The right
        edge is measured from the left edge after clipping. "mmpose": each edge is clipped alone, and an unclipped box stays
        as it is. In both the last pixel's center is the outermost edge.

    Args:
        bbox: (..., 4) boxes x, y, width, height in image pixels.
        image_size: (..., 2) width and height of the images.
        rules: whose clipping.

    Returns:
        (..., 4) clipped boxes x, y, width, height; where nothing of the box is left the width or height is not positive
        ("mmpose"), or negative ("official").
    """
    box = np.asarray(bbox, dtype=np.float64)
    last = np.asarray(image_size, dtype=np.float64) - 1
    if rules == "mmpose":
        edges = [np.minimum(np.maximum(edge, 0), last) for edge in (box[..., :2], box[..., :2] + box[..., 2:])]
        return np.concatenate([edges[0], edges[1] - edges[0]], axis=-1)
    first_corner = np.maximum(box[..., :2], 0)
    last_corner = np.minimum(last, first_corner + np.maximum(box[..., 2:] - 1, 0))
    return np.concatenate([first_corner, last_corner - first_corner], axis=-1)


def fit_aspect_ratio(size: ArrayLike, aspect_ratio: float) -> Array:
    """Grow width or height until width / height equals the aspect ratio.

    Args:
        size: (..., 2) widths and heights.
        aspect_ratio: width / height of the network input.

    Returns:
        (..., 2) sizes; one of the two sides is unchanged, the other is not smaller than before.
    """
    width, height = np.moveaxis(np.asarray(size, dtype=np.float64), -1, 0)
    return np.stack([np.maximum(width, height * aspect_ratio), np.maximum(height, width / aspect_ratio)], axis=-1)


def bbox_iou(bbox: ArrayLike, other: ArrayLike) -> Array:
    """Measure how much boxes overlap: the shared area over the area of both together.

    Args:
        bbox: (N, 4) boxes x, y, width, height.
        other: (M, 4) boxes of the same image.

    Returns:
        (N, M) from 0 to 1; 0 for boxes without area.
    """
    one, two = np.asarray(bbox, np.float64).reshape(-1, 1, 4), np.asarray(other, np.float64).reshape(1, -1, 4)
    last = np.minimum(one[..., :2] + one[..., 2:], two[..., :2] + two[..., 2:])
    shared = np.clip(last - np.maximum(one[..., :2], two[..., :2]), 0, None).prod(axis=-1)
    union = one[..., 2:].prod(axis=-1) + two[..., 2:].prod(axis=-1) - shared
    overlap = np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)
    # by rounding a tiny box far from the origin shares a little more than it has
    return np.asarray(np.minimum(overlap, 1.0))


def bbox_nms(bbox: ArrayLike, scores: ArrayLike, threshold: float) -> NDArray[np.int64]:
    """Keep the boxes that do not overlap too much with a better box that is kept.

    Args:
        bbox: (N, 4) boxes x, y, width, height of one image.
        scores: (N,) of which higher is better; among equals the earlier row is better.
        threshold: IoU above which the worse box goes.

    Returns:
        The rows that stay, the best first.
    """
    overlap = bbox_iou(bbox, bbox) > threshold
    kept: list[int] = []
    for row in np.argsort(-np.asarray(scores, np.float64), kind="stable").tolist():
        if not overlap[row, kept].any():
            kept.append(row)
    return np.array(kept, np.int64)


def center_scale_from_bbox(bbox: ArrayLike, aspect_ratio: float, padding: float = 1.25) -> tuple[Array, Array]:
    """Turn boxes into the center and scale of their crops.

    Args:
        bbox: (..., 4) boxes x, y, width, height in image pixels.
        aspect_ratio: width / height of the network input.
        padding: factor by which the box is enlarged about its center; the paper's is 1.25.

    Returns:
        center: (..., 2) in image pixels.
        scale: (..., 2) width and height of the padded box of the right aspect ratio, in image pixels.
    """
    box = np.asarray(bbox, dtype=np.float64)
    return box[..., :2] + box[..., 2:] * 0.5, fit_aspect_ratio(box[..., 2:], aspect_ratio) * padding


def input_from_image(
    center: ArrayLike,
    scale: ArrayLike,
    rotation: float,
    input_size: Sequence[int],
    *,
    flip: bool = False,
    grid: Grid = "plain",
) -> Array:
    """Build the matrix that takes image pixels to the pixels of the network input.

    Convention:
        p_input = k R F (p_image - center) + (W/2, H/2) with k = W / scale_width, R = [[cos r, sin r], [-sin r, cos r]] and
        F = diag(-1, 1) for a flipped crop. The center stays in pixels of the image as it is. Mirroring the image first
        (x -> image_width - 1 - x, the center with it), as the official code does, gives the same matrix: the width of the
        image cancels. Only the width of the scale matters; its height follows from the aspect ratio.
        Grid "dark": k = (W - 1) / (scale_width - 1) and ((W - 1)/2, (H - 1)/2). Grid "udp": the same middle, and after the
        turn x and y are stretched by (W - 1) / scale_width and (H - 1) / scale_height.

    Args:
        center: (2,) center of the crop in image pixels.
        scale: (2,) width and height of the crop in image pixels.
        rotation: degrees.
        input_size: (width, height) of the network input.
        flip: whether the crop is mirrored left to right.
        grid: how the pixels lie in the box; a codec's `grid`.

    Returns:
        (2, 3) float64 matrix.

    Raises:
        ValueError: if there is no such grid.
    """
    (zoom_x, zoom_y), middle = _zoom_and_middle(np.asarray(scale, dtype=np.float64), input_size, grid)
    cos, sin = np.cos(np.deg2rad(rotation)), np.sin(np.deg2rad(rotation))
    mirror = -1.0 if flip else 1.0
    linear = np.array([[mirror * (zoom_x * cos), zoom_x * sin], [-mirror * (zoom_y * sin), zoom_y * cos]])
    offset = np.array(middle) - linear @ np.asarray(center, dtype=np.float64)
    return np.concatenate([linear, offset[:, None]], axis=1)


def fit_whole_image(
    image_size: Sequence[int], short_side: int, scales: Sequence[float] = (1.0,)
) -> tuple[list[tuple[int, int]], Array, Array]:
    """Fit a whole image into inputs of a network: the short side exactly, the long one with a band on both ends.

    Convention:
        Sides are multiples of 64 at the smallest scale, and the inputs of the other scales have the same aspect ratio. The center
        is rounded to whole pixels, as in HigherHRNet's official code. `input_from_image` of center, scale and size is the matrix.

    Args:
        image_size: (width, height) in pixels.
        short_side: of the input at scale 1, in pixels.
        scales: of the inputs.

    Returns:
        sizes: (width, height) of the input at each scale.
        center: (2,) in image pixels.
        scale: (2,) width and height of what the inputs show, in image pixels.
    """
    width, height = map(int, image_size)
    smallest = min(scales)
    short = _next_multiple(smallest * short_side)
    long = _next_multiple(short / min(width, height) * max(width, height))
    sides = [(int(short * scale / smallest), int(long * scale / smallest)) for scale in scales]
    shown = np.array([float(min(width, height)), sides[0][1] / sides[0][0] * min(width, height)])
    upright = width < height
    sizes = [(one, other) if upright else (other, one) for one, other in sides]
    center = np.array([int(width / 2 + 0.5), int(height / 2 + 0.5)], np.float64)
    return sizes, center, shown if upright else shown[::-1].copy()


def invert_affine(matrix: ArrayLike) -> Array:
    """Invert affine matrices: B_from_A for A_from_B.

    Args:
        matrix: (..., 2, 3) invertible matrices.

    Returns:
        (..., 2, 3) matrices.

    Raises:
        numpy.linalg.LinAlgError: if a matrix is singular.
    """
    affine = np.asarray(matrix, dtype=np.float64)
    linear = np.linalg.inv(affine[..., :2])
    return np.concatenate([linear, -linear @ affine[..., 2:]], axis=-1)


def transform_points(points: ArrayLike, matrix: ArrayLike) -> Array:
    """Map points through affine matrices.

    Args:
        points: (..., N, 2) points.
        matrix: (..., 2, 3) matrices; the leading dimensions broadcast against those of the points.

    Returns:
        (..., N, 2) points.
    """
    affine = np.asarray(matrix, dtype=np.float64)
    return np.asarray(points, dtype=np.float64) @ np.swapaxes(affine[..., :2], -1, -2) + affine[..., None, :, 2]


def flip_keypoints(
    keypoints: ArrayLike, visibility: NDArray[np.generic], flip_permutation: Sequence[int], image_width: float
) -> tuple[Array, NDArray[np.generic]]:
    """Mirror keypoints left to right and give each the name of its counterpart.

    Convention:
        x becomes image_width - 1 - x: pixel centers have integer coordinates. Applied twice it is the identity on labelled
        keypoints; unlabelled ones (visibility 0) become (0, 0), as in the official code.

    Args:
        keypoints: (..., K, 2) in pixels.
        visibility: (..., K); 0 stands for unlabelled.
        flip_permutation: K indices; entry k is the keypoint that keypoint k becomes in the mirror.
        image_width: pixels.

    Returns:
        The mirrored keypoints (..., K, 2) and their visibility (..., K).
    """
    permutation = list(flip_permutation)
    mirrored = np.asarray(keypoints, dtype=np.float64)[..., permutation, :] * [-1.0, 1.0] + [image_width - 1.0, 0.0]
    flipped_visibility = np.asarray(visibility)[..., permutation]
    return np.where(flipped_visibility[..., None] > 0, mirrored, 0.0), flipped_visibility


def _next_multiple(side: float, step: int = 64) -> int:
    """Round up to a multiple of 64, as the official code does with a fraction of a pixel: it is cut after 63 are added."""
    return int((side + step - 1) // step * step)


def _zoom_and_middle(
    scale: Array, input_size: Sequence[int], grid: Grid
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Give input pixels per image pixel in x and in y, and the point of the input where the center of the box lands."""
    width, height = input_size
    if grid == "plain":
        zoom = width / float(scale[0])
        return (zoom, zoom), (width / 2, height / 2)
    middle = ((width - 1) / 2, (height - 1) / 2)
    if grid == "udp":
        return ((width - 1) / float(scale[0]), (height - 1) / float(scale[1])), middle
    if grid == "dark":
        zoom = (width - 1) / (float(scale[0]) - 1)
        return (zoom, zoom), middle
    raise ValueError(f'Expected argument `grid` to be "plain", "dark" or "udp", but got {grid!r}.')
