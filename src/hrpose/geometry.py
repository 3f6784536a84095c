"""Boxes, crops and the matrix between image and network input.

The box of an instance is converted to a center and a scale, and these to the matrix `input_from_image` that maps image pixels to
input pixels. The same matrix warps the pixels and moves the keypoints.

Convention (of every function here):
    Points are (x, y) in pixels, 0-based; x grows to the right, y downwards. Sizes are (width, height).
    A matrix named A_from_B maps points of B to points of A; matrices are (2, 3) and act on column vectors (x, y, 1).
    `scale` is the (width, height) of the padded box in image pixels; the official code stores it divided by 200.
    `rotation` is in degrees; positive angles rotate the content of the crop counter-clockwise on the screen.
    The center of the box is mapped to (W/2, H/2) of the input, as in the official code, not to ((W-1)/2, (H-1)/2); `Grid` lists
    the other pixel grids of codecs.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Grid: TypeAlias = Literal["plain", "dark", "udp"]
"""The pixel grid of a crop in its box, an attribute of codecs and an argument of `input_from_image`.

"plain": W pixels fill the width S of the box (Xiao et al., ECCV 2018; HRNet, MMPose). A mirrored crop is one pixel off.
"dark": the W - 1 steps between pixels fill the S - 1 steps of the box, with the same zoom in y (Zhang et al., CVPR 2020).
"udp": the W - 1 and H - 1 steps between pixels fill the width and the height of the box (Huang et al., CVPR 2020).
"dark" and "udp" are symmetric about the center, so mirroring is exact.
"""

Rules: TypeAlias = Literal["official", "mmpose"]
"""The code to follow where the HRNet authors' and MMPose 1.x differ; docs/recipes.md lists the differences."""


def clip_bbox(bbox: ArrayLike, image_size: ArrayLike, rules: Rules = "official") -> Array:
    """Clip boxes to the image.

    Convention:
        "official": a box of width w inside the image is w - 1 wide after clipping, and the right edge is measured from the
        clipped left edge. "mmpose": each edge is clipped separately, and boxes inside the image do not change. In both, the
        outermost edge is the center of the last pixel.

    Args:
        bbox: (..., 4) boxes x, y, width, height in image pixels.
        image_size: (..., 2) width and height of the images.
        rules: see above.

    Returns:
        (..., 4) clipped boxes x, y, width, height; for boxes outside the image the width or height is not positive ("mmpose"), or
        negative ("official").
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
    """Increase the width or the height of sizes (..., 2) until width / height equals the aspect ratio."""
    width, height = np.moveaxis(np.asarray(size, dtype=np.float64), -1, 0)
    return np.stack([np.maximum(width, height * aspect_ratio), np.maximum(height, width / aspect_ratio)], axis=-1)


def bbox_iou(bbox: ArrayLike, other: ArrayLike) -> Array:
    """Compute the intersection over union (N, M) of boxes (N, 4) and (M, 4) x, y, width, height; 0 for boxes without area."""
    one, two = np.asarray(bbox, np.float64).reshape(-1, 1, 4), np.asarray(other, np.float64).reshape(1, -1, 4)
    last = np.minimum(one[..., :2] + one[..., 2:], two[..., :2] + two[..., 2:])
    shared = np.clip(last - np.maximum(one[..., :2], two[..., :2]), 0, None).prod(axis=-1)
    union = one[..., 2:].prod(axis=-1) + two[..., 2:].prod(axis=-1) - shared
    overlap = np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)
    # the intersection of a tiny box far from the origin may be rounded up
    return np.asarray(np.minimum(overlap, 1.0))


def bbox_nms(bbox: ArrayLike, scores: ArrayLike, threshold: float) -> NDArray[np.int64]:
    """Remove boxes with a high IoU with a better box.

    Args:
        bbox: (N, 4) boxes x, y, width, height of one image.
        scores: (N,), higher is better; among equals the earlier row is better.
        threshold: IoU above which the worse box is removed.

    Returns:
        The remaining rows, best first.
    """
    overlap = bbox_iou(bbox, bbox) > threshold
    kept: list[int] = []
    for row in np.argsort(-np.asarray(scores, np.float64), kind="stable").tolist():
        if not overlap[row, kept].any():
            kept.append(row)
    return np.array(kept, np.int64)


def center_scale_from_bbox(bbox: ArrayLike, aspect_ratio: float, padding: float = 1.25) -> tuple[Array, Array]:
    """Compute the center and scale of the crops of boxes.

    Args:
        bbox: (..., 4) boxes x, y, width, height in image pixels.
        aspect_ratio: width / height of the network input.
        padding: factor by which boxes are enlarged; 1.25 in the paper.

    Returns:
        center: (..., 2) in image pixels.
        scale: (..., 2) width and height of the padded box with this aspect ratio, in image pixels.
    """
    box = np.asarray(bbox, dtype=np.float64)
    return box[..., :2] + box[..., 2:] * 0.5, fit_aspect_ratio(box[..., 2:], aspect_ratio) * padding


def input_from_image(
    center: ArrayLike, scale: ArrayLike, rotation: float, input_size: Sequence[int], *, flip: bool = False, grid: Grid = "plain"
) -> Array:
    """Compute the matrix that maps image pixels to pixels of the network input.

    Convention:
        p_input = k R F (p_image - center) + (W/2, H/2) with k = W / scale_width, R = [[cos r, sin r], [-sin r, cos r]] and
        F = diag(-1, 1) for a flipped crop. The center is in pixels of the original image. The official code mirrors image and
        center first (x -> image_width - 1 - x), with the same matrix: the image width cancels. The height of the scale is unused.
        Grid "dark": k = (W - 1) / (scale_width - 1) and ((W - 1)/2, (H - 1)/2). Grid "udp": the same center, and after the
        rotation x and y are scaled by (W - 1) / scale_width and (H - 1) / scale_height.

    Args:
        center: (2,) center of the crop in image pixels.
        scale: (2,) width and height of the crop in image pixels.
        rotation: degrees.
        input_size: (width, height) of the network input.
        flip: whether the crop is mirrored left to right.
        grid: the pixel grid of the codec.

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
    """Fit a whole image into network inputs: the short side exactly, the long side with padding on both ends.

    Convention:
        Sides are multiples of 64 at the smallest scale; the inputs of other scales have the same aspect ratio. The center is
        rounded to whole pixels, as in HigherHRNet's official code.

    The short side is the short side of the input at scale 1; sizes are (width, height) in pixels.

    Returns:
        sizes: (width, height) of the input at each scale.
        center: (2,) in image pixels.
        scale: (2,) width and height of the inputs in image pixels.
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
    """Invert affine matrices (..., 2, 3): B_from_A for A_from_B."""
    affine = np.asarray(matrix, dtype=np.float64)
    linear = np.linalg.inv(affine[..., :2])
    return np.concatenate([linear, -linear @ affine[..., 2:]], axis=-1)


def transform_points(points: ArrayLike, matrix: ArrayLike) -> Array:
    """Map points (..., N, 2) through affine matrices (..., 2, 3); leading dimensions are broadcast."""
    affine = np.asarray(matrix, dtype=np.float64)
    return np.asarray(points, dtype=np.float64) @ np.swapaxes(affine[..., :2], -1, -2) + affine[..., None, :, 2]


def flip_keypoints(
    keypoints: ArrayLike, visibility: NDArray[np.generic], flip_permutation: Sequence[int], image_width: float
) -> tuple[Array, NDArray[np.generic]]:
    """Mirror keypoints left to right and exchange mirror pairs.

    Convention:
        x becomes image_width - 1 - x: pixel centers have integer coordinates. Applied twice it is the identity on labelled
        keypoints; unlabelled ones (visibility 0) become (0, 0), as in the official code.

    Args:
        keypoints: (..., K, 2) in pixels.
        visibility: (..., K); 0 is unlabelled.
        flip_permutation: K indices; entry k is the mirrored keypoint of keypoint k.
        image_width: pixels.

    Returns:
        The mirrored keypoints (..., K, 2) and their visibility (..., K).
    """
    permutation = list(flip_permutation)
    mirrored = np.asarray(keypoints, dtype=np.float64)[..., permutation, :] * [-1.0, 1.0] + [image_width - 1.0, 0.0]
    flipped_visibility = np.asarray(visibility)[..., permutation]
    return np.where(flipped_visibility[..., None] > 0, mirrored, 0.0), flipped_visibility


def _next_multiple(side: float, step: int = 64) -> int:
    """Round up to a multiple, like the official code, which adds 63 and truncates."""
    return int((side + step - 1) // step * step)


def _zoom_and_middle(scale: Array, input_size: Sequence[int], grid: Grid) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return input pixels per image pixel in x and in y, and the input point of the center of the box."""
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
