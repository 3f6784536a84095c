"""Draw instances on an image: limbs coloured by side, dots by score, line width by the size of the instance."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hrpose.media.load import ImageSource, load_image
from hrpose.skeletons import Skeleton
from hrpose.structures import Poses
from hrpose.visualize.pictures import (
    INK,
    PAPER,
    SIDE_COLOURS,
    Colour,
    Image,
    check_image,
    id_colours,
    keypoint_colours,
    limb_sides,
    score_colours,
    text_height,
    write_text,
)

_SHIFT = 4  # fractional bits of a coordinate in OpenCV's drawing
_SPILL = 0.65  # pixels by which OpenCV's antialiasing widens a polygon on every side


def draw_poses(
    image: ImageSource,
    poses: Poses | NDArray[Any],
    skeleton: Skeleton | None = None,
    *,
    visibility: NDArray[Any] | None = None,
    scores: NDArray[Any] | None = None,
    score_threshold: float = 0.2,
    bboxes: NDArray[Any] | None = None,
    labels: Sequence[str] | None = None,
    label_colours: Sequence[Colour] | None = None,
) -> Image:
    """Draw poses on a copy of an image, (H, W, 3) uint8 RGB.

    A limb is blue on the left side, orange on the right, green in the middle. A keypoint is a dot in the colour of its side; its
    inner disc shows the score, from plum (0) to cream (1), and is dark if the keypoint is occluded. Keypoints that are
    unlabelled, below the threshold, not finite or outside the image are not drawn, nor are their limbs.

    Args:
        image: (H, W, 3) uint8 RGB, or any other form that `load_image` takes, such as a path.
        poses: estimated poses, or keypoints (N, K, 2) in pixels of the image, or (K, 2) for one instance.
        skeleton: names and edges of the K keypoints; default: the skeleton of the poses.
        visibility: (N, K) or (K,): 0 unlabelled, 1 occluded, 2 visible; default: all visible.
        scores: (N, K) or (K,) confidence of each keypoint; default: the scores of the poses.
        score_threshold: keypoints with a lower score are not drawn.
        bboxes: (N, 4) x, y, width, height in pixels, drawn as frames.
        labels: N texts, one beside each instance.
        label_colours: N background colours of the labels; default: dark.

    Raises:
        ValueError: if the image is not uint8 RGB, the skeleton is missing, or a shape does not fit the skeleton or the number of
            instances.
    """
    skeleton = skeleton or (poses.skeleton if isinstance(poses, Poses) else None)
    if skeleton is None:
        raise ValueError("Expected a `skeleton` for poses without one, but got None.")
    canvas = np.array(check_image(image if isinstance(image, np.ndarray) else load_image(image)), order="C")
    keypoints = poses.keypoints if isinstance(poses, Poses) else np.asarray(poses, np.float64)
    scores = poses.keypoint_scores if isinstance(poses, Poses) and scores is None else scores
    points = _checked_keypoints(keypoints, skeleton)
    labelled = _per_keypoint("visibility", visibility, points.shape[:2], 2.0)
    confidence = None if scores is None else _per_keypoint("scores", scores, points.shape[:2], 0.0)
    boxes = _checked_boxes(bboxes, len(points))
    grounds = list(label_colours) if label_colours is not None else [INK] * len(points)
    if len(labels if labels is not None else points) != len(points) or len(grounds) != len(points):
        raise ValueError(
            f"Expected argument `labels` to be {len(points)} texts, one per instance, but got {len(labels or ())} "
            f"and {len(grounds)} colours."
        )
    shown = ((points > -0.5) & (points < np.array(canvas.shape[1::-1]) - 0.5)).all(axis=-1)  # false for NaN too
    shown &= labelled > 0
    if confidence is not None:
        shown &= confidence >= score_threshold
    for row in range(len(points)):
        width = _limb_width(points[row][shown[row]], canvas)
        if boxes is not None:
            _draw_frame(canvas, boxes[row], width)
        instance = _Instance(points[row], shown[row], labelled[row] == 1, None if confidence is None else confidence[row], width)
        _draw_limbs(canvas, instance, skeleton)
        _draw_dots(canvas, instance, skeleton)
    for row, label in enumerate(labels or ()):
        _draw_label(canvas, label, points[row][shown[row]], None if boxes is None else boxes[row], grounds[row])
    return canvas


@dataclass(frozen=True, eq=False)
class _Instance:
    """One instance to draw: (K, 2) points, (K,) marks, and the width of a limb in pixels."""

    points: NDArray[np.float64]
    shown: NDArray[np.bool_]
    occluded: NDArray[np.bool_]
    scores: NDArray[np.float64] | None
    width: float

    @property
    def outline(self) -> float:
        """Width in pixels of the dark outline of limbs and dots."""
        return 0.3 + 0.12 * self.width


def _checked_keypoints(keypoints: NDArray[Any], skeleton: Skeleton) -> NDArray[np.float64]:
    points = np.asarray(keypoints[None] if keypoints.ndim == 2 else keypoints, np.float64)
    if points.ndim != 3 or points.shape[1:] != (skeleton.num_keypoints, 2):
        raise ValueError(
            f"Expected keypoints (N, {skeleton.num_keypoints}, 2) for the skeleton '{skeleton.name}', "
            f"but got {keypoints.shape}. Pass scores or visibility as arguments, not as a third coordinate."
        )
    return points


def _per_keypoint(name: str, values: NDArray[Any] | None, shape: tuple[int, ...], default: float) -> NDArray[np.float64]:
    """Return an array of one value per keypoint as (N, K), with 0 for NaN."""
    if values is None:
        return np.full(shape, default)
    array = np.nan_to_num(np.asarray(values, np.float64))
    if array.shape not in (shape, shape[1:] if shape[0] == 1 else shape):
        raise ValueError(f"Expected argument `{name}` to be {shape}, one value per keypoint, but got {array.shape}.")
    return array.reshape(shape)


def _checked_boxes(bboxes: NDArray[Any] | None, count: int) -> NDArray[np.float64] | None:
    if bboxes is None:
        return None
    array = np.asarray(bboxes, np.float64)
    array = array[None] if array.ndim == 1 else array
    if array.shape != (count, 4):
        raise ValueError(f"Expected argument `bboxes` to be ({count}, 4), one per instance, but got {array.shape}.")
    return array


def _limb_width(points: NDArray[np.float64], canvas: Image) -> float:
    """Return the width of the limbs in pixels: about 1 % of the extent of the keypoints (n, 2), 2 % if they are few pixels."""
    extent = float(np.hypot(*np.ptp(points, axis=0))) if len(points) else 0.0
    return max(min(0.02 * extent, 0.01 * extent + 1.2), 0.0016 * float(max(canvas.shape[:2])), 1.4)


def _draw_limbs(canvas: Image, instance: _Instance, skeleton: Skeleton) -> None:
    """Draw the limbs with a dark outline, so that they stand out on dark and light clothes."""
    limbs = [
        (instance.points[start], instance.points[end], SIDE_COLOURS[side])
        for (start, end), side in zip(skeleton.edges, limb_sides(skeleton), strict=True)
        if instance.shown[start] and instance.shown[end]
    ]
    for start, end, _ in limbs:
        _draw_line(canvas, start, end, instance.width + 2 * instance.outline, INK)
    for start, end, colour in limbs:
        _draw_line(canvas, start, end, instance.width, colour)


def _draw_dots(canvas: Image, instance: _Instance, skeleton: Skeleton) -> None:
    """Draw the keypoints; where they are close together, as in a small face, the dots are smaller."""
    inner_colours = None if instance.scores is None else score_colours(instance.scores)
    rims = keypoint_colours(skeleton)
    indices = np.flatnonzero(instance.shown)
    points = instance.points[indices]
    distances = np.linalg.norm(points[:, None] - points, axis=-1) + np.where(np.eye(len(points)), np.inf, 0)
    radii = np.clip(0.45 * distances.min(axis=1, initial=np.inf), 0.7 * instance.width, 1.25 * instance.width)
    for index, radius in zip(indices, radii, strict=True):
        _draw_disc(canvas, instance.points[index], radius + instance.outline, INK)
        _draw_disc(canvas, instance.points[index], radius, rims[index])
        if instance.occluded[index]:
            _draw_disc(canvas, instance.points[index], 0.6 * radius, INK)
        elif inner_colours is not None:
            _draw_disc(canvas, instance.points[index], 0.72 * radius, tuple(inner_colours[index].tolist()))


def _draw_frame(canvas: Image, box: NDArray[np.float64], width: float) -> None:
    """Draw a box, clipped to the image; a box that is not finite is not drawn."""
    if not np.isfinite(box).all():
        return
    corners = np.clip([box[:2], box[:2] + box[2:]], 0, np.array(canvas.shape[1::-1]) - 1)
    (left, top), (right, bottom) = corners
    path = [np.array(corner) for corner in ((left, top), (right, top), (right, bottom), (left, bottom), (left, top))]
    thin = max(0.35 * width, 1.3)
    for extra, colour in ((1.0, INK), (0.0, PAPER)):
        for start, end in itertools.pairwise(path):
            _draw_line(canvas, start, end, thin + extra, colour)


def _draw_label(canvas: Image, text: str, points: NDArray[np.float64], box: NDArray[np.float64] | None, ground: Colour) -> None:
    """Write a text at the upper left corner of the box, or above the highest keypoint."""
    if box is not None and np.isfinite(box).all():
        corner = box[:2]
    else:
        corner = points[points[:, 1].argmin()] - 8 if len(points) else np.zeros(2)
    write_text(canvas, text, (corner[0], corner[1]), text_height(canvas), ground=ground)


def _draw_line(canvas: Image, start: NDArray[np.float64], end: NDArray[np.float64], width: float, colour: Colour) -> None:
    """Draw a line of any width, also fractional, with round ends."""
    along = np.arctan2(*(end - start)[::-1])
    turns = along + np.linspace(0.5, 1.5, 7) * np.pi
    cap = max(width / 2 - _SPILL, 0) * np.stack([np.cos(turns), np.sin(turns)], axis=-1)
    cv2.fillConvexPoly(canvas, _fixed(np.concatenate([start + cap, end - cap])), colour, cv2.LINE_AA, _SHIFT)


def _draw_disc(canvas: Image, center: NDArray[np.float64], radius: float, colour: Colour) -> None:
    """Draw a disc as a polygon, because small circles of OpenCV look like diamonds."""
    turns = np.linspace(0, 2 * np.pi, 8 + 2 * round(radius), endpoint=False)
    rim = center + max(radius - _SPILL, 0) * np.stack([np.cos(turns), np.sin(turns)], axis=-1)
    cv2.fillConvexPoly(canvas, _fixed(rim), colour, cv2.LINE_AA, _SHIFT)


def _fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """Convert pixels to OpenCV's fixed-point coordinates."""
    return np.round(points * (1 << _SHIFT)).astype(np.int32)


@dataclass(frozen=True)
class PosePainter:
    """Draw poses on images with the same settings.

    Attributes:
        labels: whether to write the instance ids of a video, or the scores on single images. None writes ids only.
        boxes: whether to draw the boxes of the crops. None draws a box only if it is the whole image.
        min_score: instances with a lower score are not drawn.
        min_keypoint_score: keypoints with a lower score are not drawn.
    """

    labels: bool | None = None
    boxes: bool | None = None
    min_score: float = 0.2
    min_keypoint_score: float = 0.2

    def __call__(self, image: Image, poses: Poses, skeleton: Skeleton, *, numbered: bool = False) -> Image:
        """Draw poses on a copy of an image (H, W, 3) uint8 RGB; `numbered` if `instance_ids` identify instances in a video."""
        shown = poses[poses.scores >= self.min_score]
        texts = [str(number) for number in shown.instance_ids] if numbered else [f"{score:.2f}" for score in shown.scores]
        labelled = numbered if self.labels is None else self.labels
        bbox = shown.bbox if shown.bbox is not None else np.hstack([shown.center - shown.scale / 2, shown.scale])
        size = np.array(image.shape[1::-1])
        # without given boxes the only box is the whole image
        if self.boxes is None and poses.bbox is not None and poses.bbox.tolist() == [[0, 0, *size]]:
            image = image.copy()
            width = _limb_width(np.zeros((0, 2)), image)
            _draw_frame(image, np.array([width, width, *(size - 1 - 2 * width)]), 2 * width)  # inside the image
        return draw_poses(
            image,
            shown,
            skeleton,
            score_threshold=self.min_keypoint_score,
            bboxes=bbox if self.boxes else None,
            labels=texts if labelled else None,
            label_colours=id_colours(shown.instance_ids) if numbered else None,
        )
