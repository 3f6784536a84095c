"""Paint shaded solids on an image of twice the size, and record which part of which person each pixel shows.

Points are in pixels of the finished image (the centre of the top left pixel is (0, 0)); the canvas is `OVERSAMPLING` times as
large, and its average over the pixels of the image smooths the edges.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Colour = npt.NDArray[np.float64]

OVERSAMPLING = 2
# Nested outlines of one solid, from the rim to the highlight: fraction of the radius, brightness.
SHADES = np.array([(1.0, 0.62), (0.86, 0.8), (0.68, 0.93), (0.46, 1.03), (0.24, 1.12)])
_HALF_CIRCLE = np.linspace(-np.pi / 2, np.pi / 2, 9)
_SHIFT = 4  # fractional bits of a coordinate


class Canvas:
    """An unfinished image."""

    def __init__(self, pixels: npt.NDArray[np.uint8], light: Floats) -> None:
        size = (pixels.shape[1] * OVERSAMPLING, pixels.shape[0] * OVERSAMPLING)
        self.pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR)  # (2H, 2W, 3) RGB
        # (2H, 2W) the person and part that a pixel shows, see `people.OWNER_STRIDE`; 0 is the scenery
        self.owners = np.zeros(self.pixels.shape[:2], np.uint16)
        self.light = light  # (2,) unit vector towards the light, in the plane of the image

    def blur(self, radius: float) -> None:
        """Blur the canvas with a standard deviation of `radius` pixels of the image."""
        self.pixels = cv2.GaussianBlur(self.pixels, (0, 0), radius * OVERSAMPLING)

    def finish(self) -> npt.NDArray[np.uint8]:
        """Return the image (H, W, 3)."""
        size = (self.owners.shape[1] // OVERSAMPLING, self.owners.shape[0] // OVERSAMPLING)
        return cv2.resize(self.pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)

    def polygon(self, points: Floats, colour: Colour, owner: int) -> None:
        """Fill one polygon (N, 2) with one colour."""
        fixed = _fixed_point(points)
        cv2.fillPoly(self.pixels, [fixed], _scalar(colour), shift=_SHIFT)
        cv2.fillPoly(self.owners, [fixed], owner, shift=_SHIFT)

    def capsule(self, start: Floats, end: Floats, radii: tuple[float, float], colour: Colour, owner: int) -> None:
        """Paint a rounded, tapered limb from `start` to `end` (2,) with a radius at each end."""
        axis = end - start
        angle = np.arctan2(axis[1], axis[0])
        circle = _directions(np.concatenate([_HALF_CIRCLE + angle, _HALF_CIRCLE + angle + np.pi]))
        ends = np.repeat(np.stack([end, start]), len(_HALF_CIRCLE), axis=0)
        radius = np.repeat([radii[1], radii[0]], len(_HALF_CIRCLE))[:, None]
        share = SHADES[:, 0, None, None]
        shift = (1 - share) * 0.45 * radius * self.light
        self._nested(ends + shift + share * radius * circle, colour, owner)

    def hull(self, centres: Floats, radii: Floats, colour: Colour, owner: int) -> None:
        """Paint the convex hull of circles: centres (N, 2), radii (N,)."""
        circle = _directions(np.linspace(0, 2 * np.pi, 12, endpoint=False))
        points = (centres[:, None] + radii[:, None, None] * circle).reshape(-1, 2)
        outline = cv2.convexHull(points.astype(np.float32))[:, 0].astype(np.float64)
        middle = outline.mean(0)
        share = SHADES[:, 0, None, None]
        extent = np.ptp(outline, axis=0).min() / 2
        self._nested(middle + share * (outline - middle) + (1 - share) * 0.45 * extent * self.light, colour, owner)

    def ellipse(self, centre: Floats, axes: Floats, colour: Colour, owner: int) -> None:
        """Fill an ellipse with half axes (2, 2), one per row."""
        self.polygon(centre + _directions(np.linspace(0, 2 * np.pi, 16, endpoint=False)) @ axes, colour, owner)

    def region(self, points: Floats, margin: float) -> tuple[slice, slice]:
        """Return the rows and columns of the canvas around points (N, 2), clipped to the canvas."""
        low = np.floor(to_canvas(points.min(0) - margin)).astype(int)
        high = np.ceil(to_canvas(points.max(0) + margin)).astype(int) + 1
        height, width = self.owners.shape
        left, right = np.clip((low[0], high[0]), 0, width)
        top, bottom = np.clip((low[1], high[1]), 0, height)
        return slice(int(top), int(bottom)), slice(int(left), int(right))

    def _nested(self, outlines: Floats, colour: Colour, owner: int) -> None:
        fixed = _fixed_point(outlines)
        for points, brightness in zip(fixed, SHADES[:, 1], strict=True):
            cv2.fillConvexPoly(self.pixels, points, _scalar(colour * brightness), shift=_SHIFT)
        cv2.fillConvexPoly(self.owners, fixed[0], owner, shift=_SHIFT)


def to_canvas(points: Floats) -> Floats:
    """Convert pixels of the image to pixels of the canvas; a pixel centre is in the middle of four canvas pixels."""
    return points * OVERSAMPLING + (OVERSAMPLING - 1) / 2


def to_image(points: Floats) -> Floats:
    """Convert pixels of the canvas to pixels of the image."""
    return (points - (OVERSAMPLING - 1) / 2) / OVERSAMPLING


def _directions(angles: Floats) -> Floats:
    """Return the unit vectors (N, 2) of angles (N,)."""
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _fixed_point(points: Floats) -> npt.NDArray[np.int32]:
    return np.round(to_canvas(points) * (1 << _SHIFT)).astype(np.int32)


def _scalar(colour: Colour) -> tuple[float, float, float]:
    red, green, blue = np.minimum(colour, 255.0).tolist()
    return red, green, blue
