"""Label the keypoints of one person: in columns beside the picture, or by numbers next to the dots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hrpose.skeletons import Skeleton
from hrpose.visualize.pictures import INK, PAPER, SIDE_COLOURS, Colour, Image, check_image, text_height
from hrpose.visualize.poses import draw_poses

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LEADER: Colour = (150, 148, 144)
_GAP = 6  # pixels between a text and the end of its leader
_DIRECTIONS = 24
_REACHES = (1.1, 1.5, 2.0, 2.6, 3.3, 4.1, 5.0, 6.2, 7.6)  # distances between a dot and its number, in heights of the number


def draw_callouts(image: Image, keypoints: NDArray[Any], skeleton: Skeleton, *, indices: Sequence[int] | None = None) -> Image:
    """Draw a person, and beside it two columns with the index and name of each keypoint, joined to it by a line.

    Args:
        image: (H, W, 3) uint8 RGB.
        keypoints: (K, 2) in pixels of the image.
        skeleton: names and edges of the K keypoints.
        indices: of the keypoints to be shown; all by default.

    Returns:
        (H, W + two margins, 3) uint8 RGB.

    Raises:
        ValueError: if the image is not uint8 RGB, or the keypoints do not fit the skeleton.
    """
    chosen = list(range(skeleton.num_keypoints) if indices is None else indices)
    height = text_height(check_image(image)) + 1
    texts = {k: f"{k} {skeleton.keypoint_names[k]}" for k in chosen}
    margin = max(_text_width(text, height) for text in texts.values()) + 4 * _GAP
    canvas = np.pad(image, ((0, 0), (margin, margin), (0, 0)))
    canvas[:, :margin] = canvas[:, -margin:] = image[0, 0]
    points = np.asarray(keypoints, np.float64) + np.array([margin, 0.0])
    rows: list[tuple[int, float, float]] = []
    for is_left, column in enumerate(_two_columns(points, chosen, canvas.shape[1] / 2)):
        for k, y in zip(column, _spread(points[column, 1], 2.3 * height, canvas.shape[0]), strict=True):
            x = canvas.shape[1] - margin + _GAP if is_left else margin - _GAP
            cv2.line(canvas, _pixel((x, y)), _pixel(points[k]), _LEADER, 1, cv2.LINE_AA)
            rows.append((k, x + _GAP if is_left else x - _GAP - _text_width(texts[k], height), y))
    drawn = draw_poses(canvas, points, skeleton, visibility=_only(chosen, skeleton))
    for k, x, y in rows:
        _write_line(drawn, texts[k], (x, y), height)
    return drawn


def draw_numbers(image: Image, keypoints: NDArray[Any], skeleton: Skeleton, *, indices: Sequence[int] | None = None) -> Image:
    """Draw a person, and the index of each keypoint in free space next to it.

    Args:
        image: (H, W, 3) uint8 RGB.
        keypoints: (K, 2) in pixels of the image.
        skeleton: names and edges of the K keypoints.
        indices: of the keypoints to be shown; all by default.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: if the image is not uint8 RGB, or the keypoints do not fit the skeleton.
    """
    chosen = list(range(skeleton.num_keypoints) if indices is None else indices)
    points = np.asarray(keypoints, np.float64)
    canvas = draw_poses(image, points, skeleton, visibility=_only(chosen, skeleton))
    height = text_height(canvas)
    sizes = np.array([(_text_width(str(k), height) + 3, height + 4) for k in chosen], np.float64)
    places = _free_places(points[chosen], sizes, canvas.shape)
    for k, place, size in zip(chosen, places, sizes, strict=True):
        near = np.clip(points[k], place - size / 2, place + size / 2)
        if np.linalg.norm(near - points[k]) > 1.2 * height:
            cv2.line(canvas, _pixel(near), _pixel(points[k]), INK, 1, cv2.LINE_AA)
    for k, place, size in zip(chosen, places, sizes, strict=True):
        low = _pixel(place - size / 2)
        cv2.rectangle(canvas, low, _pixel(place + size / 2), PAPER, -1)
        cv2.rectangle(canvas, low, _pixel(place + size / 2), SIDE_COLOURS[skeleton.sides[k]], 1)
        _write_line(canvas, str(k), (low[0] + 2, place[1]), height)
    return canvas


def _text_width(text: str, height: int) -> int:
    """Return the width of a line in pixels for capital letters of a height."""
    thickness = max(1, round(height / 9))
    size = cv2.getFontScaleFromHeight(_FONT, height, thickness)
    return int(cv2.getTextSize(text, _FONT, size, thickness)[0][0])


def _write_line(canvas: Image, text: str, place: tuple[float, float], height: int) -> None:
    """Write a line; `place` is its left end at half the height of the capital letters."""
    thickness = max(1, round(height / 9))
    size = cv2.getFontScaleFromHeight(_FONT, height, thickness)
    start = (round(place[0]), round(place[1] + height / 2))
    cv2.putText(canvas, text, start, _FONT, size, INK, thickness, cv2.LINE_AA)


def _only(indices: Sequence[int], skeleton: Skeleton) -> NDArray[np.int64]:
    """Return visibilities (K,) that hide all other keypoints."""
    shown = np.zeros(skeleton.num_keypoints, np.int64)
    shown[list(indices)] = 2
    return shown


def _pixel(point: NDArray[np.float64] | tuple[float, float]) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def _two_columns(points: NDArray[np.float64], indices: Sequence[int], middle: float) -> tuple[list[int], list[int]]:
    """Divide keypoints into a left and a right column, each from top to bottom.

    Keypoints in the middle go to the shorter column.
    """
    ordered = sorted(indices, key=lambda k: (points[k, 1], abs(points[k, 0] - middle)))
    apart = [k for k in ordered if abs(points[k, 0] - middle) > 2]
    columns = ([k for k in apart if points[k, 0] < middle], [k for k in apart if points[k, 0] > middle])
    for k in ordered:
        if k not in apart:
            min(columns, key=len).append(k)
    left, right = (sorted(column, key=lambda k: points[k, 1]) for column in columns)
    return left, right


def _spread(wanted: NDArray[np.float64], step: float, height: int) -> NDArray[np.float64]:
    """Move ascending heights apart by at least `step`, with the smallest squared changes, and inside the picture.

    After subtracting the steps this is an isotonic regression: neighbours in the wrong order are pooled at their mean.
    """
    step = min(step, (height - step) / max(len(wanted) - 1, 1))
    steps = step * np.arange(len(wanted))
    pools: list[list[float]] = []
    for value in (wanted - steps).tolist():
        pools.append([value])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    level = np.array([np.mean(pool) for pool in pools for _ in pool])
    return np.asarray(np.clip(level, step / 2, height - step / 2 - steps[-1]) + steps, np.float64)


def _free_places(points: NDArray[np.float64], sizes: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return for each point (n, 2) the center of a near box of the given size (n, 2) that covers no point and no other box.

    The most crowded points come first. If there is no free box, use the one that covers least.
    """
    distances = np.linalg.norm(points[:, None] - points, axis=-1)
    crowded = np.argsort(np.sort(distances, axis=1)[:, : min(5, len(points))].sum(axis=1), kind="stable")
    turns = np.linspace(0, 2 * np.pi, _DIRECTIONS, endpoint=False)
    directions = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    centre, places = points.mean(axis=0), np.full(points.shape, np.inf)
    for k in crowded.tolist():
        outwards = (points[k] - centre) / max(np.linalg.norm(points[k] - centre), 1e-9)
        best = np.inf
        for reach in _REACHES:
            spots = points[k] + reach * sizes[k, 1] * directions + 0.4 * (sizes[k] - sizes[k, 1]) * directions
            cost = _covered(spots, sizes[k], points, places, sizes, shape) * 100 + reach - 0.35 * directions @ outwards
            if cost.min() < best:
                best, places[k] = float(cost.min()), spots[cost.argmin()]
    return places


def _covered(
    spots: NDArray[np.float64],
    size: NDArray[np.float64],
    points: NDArray[np.float64],
    places: NDArray[np.float64],
    sizes: NDArray[np.float64],
    shape: tuple[int, ...],
) -> NDArray[np.float64]:
    """Count the dots and boxes that boxes of one size around centers (m, 2) cover, and check whether they leave the picture."""
    dots = (np.abs(spots[:, None] - points) < size / 2 + 6).all(axis=-1).sum(axis=1)
    boxes = (np.abs(spots[:, None] - places) < (size + sizes) / 2 + 1).all(axis=-1).sum(axis=1)
    outside = ((spots < size / 2) | (spots > np.array(shape[1::-1]) - 1 - size / 2)).any(axis=1)
    return np.asarray(dots + 2 * boxes + 5 * outside, np.float64)
