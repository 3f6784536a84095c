"""Draw people on a photo.

Limbs and joints of the left side are blue, of the right side orange, of the middle green, for any skeleton that says left
and right in its names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hrpose.skeletons import Skeleton
from hrpose.visualize.images import INK, PAPER, Colour, Image, check_image, write_text

LEFT: Colour = (66, 165, 245)
RIGHT: Colour = (255, 145, 48)
MIDDLE: Colour = (124, 214, 92)
_SHIFT = 4  # fractional bits of a coordinate in OpenCV's drawing
_FAR = 10_000.0  # pixels; OpenCV's fixed-point coordinates overflow not far beyond


def draw_poses(
    image: Image,
    keypoints: NDArray[Any],
    skeleton: Skeleton,
    *,
    visibility: NDArray[Any] | None = None,
    scores: NDArray[Any] | None = None,
    score_threshold: float = 0.2,
    bboxes: NDArray[Any] | None = None,
    labels: Sequence[str] | None = None,
) -> Image:
    """Draw people on a copy of a photo.

    Lines are as thick as the person is large. The dot of an occluded keypoint is hollow; one with a score is the paler the
    surer the network is. Keypoints without label, below the threshold or not finite are left out, and limbs that end there.

    Args:
        image: (H, W, 3) uint8 RGB.
        keypoints: (N, K, 2) in pixels of the image, or (K, 2) for one person.
        skeleton: names and edges of the K keypoints.
        visibility: (N, K) or (K,): 0 unlabelled, 1 occluded, 2 visible; all are visible by default.
        scores: (N, K) or (K,); a confidence for each keypoint.
        score_threshold: keypoints with a lower score are not drawn.
        bboxes: (N, 4) xywh in pixels, drawn as frames.
        labels: N texts, written above the people.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: if the image is not uint8 RGB, or a shape does not fit the skeleton.
    """
    canvas = check_image(image).copy()
    points = np.asarray(keypoints, np.float64)
    points = points[None] if points.ndim == 2 else points
    if points.ndim != 3 or points.shape[1:] != (skeleton.num_keypoints, 2):
        raise ValueError(
            f"Expected argument `keypoints` to be (N, {skeleton.num_keypoints}, 2) for the skeleton '{skeleton.name}', "
            f"but got the shape {np.shape(keypoints)}."
        )
    seen = _per_keypoint("visibility", visibility, points, 2.0)
    sure = _per_keypoint("scores", scores, points, 1.0)
    shown = (seen > 0) & (sure >= score_threshold) & np.isfinite(points).all(-1) & (np.abs(points) < _FAR).all(-1)
    for person, _ in enumerate(points):
        box = None if bboxes is None else np.asarray(bboxes, np.float64).reshape(-1, 4)[person]
        thickness = _thickness(points[person][shown[person]])
        if box is not None and np.isfinite(box).all():
            cv2.rectangle(canvas, _fixed(box[:2]), _fixed(box[:2] + box[2:]), PAPER, 1, cv2.LINE_AA, _SHIFT)
        _draw_limbs(canvas, points[person], shown[person], skeleton, thickness)
        _draw_dots(canvas, points[person], shown[person], seen[person] == 1, sure[person], skeleton, thickness)
        if labels is not None:
            corner = box[:2] if box is not None else _top_left(points[person][shown[person]])
            write_text(canvas, labels[person], (int(corner[0]), int(corner[1]) - 4))
    return canvas


def _per_keypoint(name: str, values: NDArray[Any] | None, points: NDArray[Any], default: float) -> NDArray[np.float64]:
    if values is None:
        return np.full(points.shape[:2], default)
    array = np.nan_to_num(np.asarray(values, np.float64))
    if array.size != points.shape[0] * points.shape[1]:
        raise ValueError(f"Expected argument `{name}` to be {points.shape[:2]}, but got the shape {np.shape(values)}.")
    return array.reshape(points.shape[:2])


def _side_colour(name: str) -> Colour:
    words = {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}
    return LEFT if words & {"left", "l"} else RIGHT if words & {"right", "r"} else MIDDLE


def _thickness(points: NDArray[np.float64]) -> int:
    extent = float(np.hypot(*np.ptp(points, axis=0))) if len(points) else 0.0
    return int(np.clip(round(extent / 90), 1, 6))


def _draw_limbs(
    canvas: Image, points: NDArray[np.float64], shown: NDArray[np.bool_], skeleton: Skeleton, thickness: int
) -> None:
    """Draw all limbs in ink first and in colour over it, so that they stand out on any ground."""
    limbs = [(start, end) for start, end in skeleton.edges if shown[start] and shown[end]]
    colours = [_side_colour(name) for name in skeleton.keypoint_names]
    for ink in (True, False):
        for start, end in limbs:
            sides = {colours[start], colours[end]} - {MIDDLE}
            colour = sides.pop() if len(sides) == 1 else MIDDLE
            cv2.line(
                canvas,
                _fixed(points[start]),
                _fixed(points[end]),
                INK if ink else colour,
                thickness + 2 if ink else thickness,
                cv2.LINE_AA,
                _SHIFT,
            )


def _draw_dots(
    canvas: Image,
    points: NDArray[np.float64],
    shown: NDArray[np.bool_],
    occluded: NDArray[np.bool_],
    sure: NDArray[np.float64],
    skeleton: Skeleton,
    thickness: int,
) -> None:
    radius = round((thickness + 1.2) * (1 << _SHIFT))
    for index in np.flatnonzero(shown):
        colour, middle = _side_colour(skeleton.keypoint_names[index]), _fixed(points[index])
        cv2.circle(canvas, middle, radius + (1 << _SHIFT), INK, -1, cv2.LINE_AA, _SHIFT)
        cv2.circle(canvas, middle, radius, colour, -1, cv2.LINE_AA, _SHIFT)
        if occluded[index]:
            cv2.circle(canvas, middle, round(radius * 0.55), INK, -1, cv2.LINE_AA, _SHIFT)
        else:
            pale = np.clip(sure[index], 0, 1) * (255 - np.array(colour)) * 0.85 + colour
            cv2.circle(canvas, middle, round(radius * 0.55), tuple(pale.tolist()), -1, cv2.LINE_AA, _SHIFT)


def _top_left(points: NDArray[np.float64]) -> NDArray[np.float64]:
    return points.min(axis=0) - 4 if len(points) else np.array([4.0, 16.0])


def _fixed(point: NDArray[np.float64]) -> tuple[int, int]:
    x, y = np.round(point * (1 << _SHIFT)).astype(int).tolist()
    return x, y
