"""Functions that all drawings use: colours, checking, resizing, text, tiling and writing images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hrpose.files import write_atomically
from hrpose.skeletons import Skeleton

Image = NDArray[np.uint8]

_SHEET_ASPECT = 1.5  # width / height of a sheet, approximately
MAX_JPEG_SIDE = 65500  # pixels, of libjpeg
_GAP = 8  # pixels between the images of a sheet and around them
_ENCODINGS: dict[str, list[int]] = {".png": [], ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 92], ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, 92]}
_FONT = cv2.FONT_HERSHEY_SIMPLEX
Colour = tuple[float, float, float]

INK: Colour = (22, 24, 29)
PAPER: Colour = (250, 248, 243)
SIDE_COLOURS: dict[str, Colour] = {"left": (72, 160, 234), "right": (246, 146, 62), "middle": (134, 205, 152)}
_ID_COLOURS: tuple[Colour, ...] = (  # dark enough for light letters; consecutive colours differ clearly
    *((176, 58, 46), (31, 97, 141), (25, 111, 61), (125, 60, 152), (156, 100, 12)),
    *((17, 122, 101), (148, 49, 98), (71, 84, 103), (110, 71, 40), (58, 63, 158)),
)
_SCORES = (0.0, 0.5, 1.0)
_SCORE_COLOURS = ((70, 22, 92), (222, 88, 122), (255, 247, 224))  # plum, rose, cream


def check_image(image: Image) -> Image:
    """Return the image; raise ValueError if it is not uint8 RGB."""
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise ValueError(
            f"Expected an image (H, W, 3) of uint8 RGB, but got {array.dtype} of shape {array.shape}. "
            "Convert floats of 0..1 with `(255 * image).round().astype(np.uint8)`; the channels are last, without alpha."
        )
    return array


def resize(image: Image, size: tuple[int, int]) -> Image:
    """Resample an image to (width, height)."""
    shrinks = size[0] * size[1] < image.shape[0] * image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)


def scale_points(points: NDArray[Any], factor: NDArray[Any] | float) -> NDArray[np.float64]:
    """Scale points (..., 2) with an image that is resized by a factor, or by factors (2,) in x and y.

    Convention:
        Integers are centers of pixels, so the border of the image is at -0.5.
    """
    return np.asarray((np.asarray(points, np.float64) + 0.5) * factor - 0.5, np.float64)


def text_height(canvas: Image) -> int:
    """Return the height in pixels of capital letters that are readable on an image of this size."""
    return max(8, round(0.016 * float(max(canvas.shape[:2]))))


def write_text(canvas: Image, text: str, corner: tuple[float, float], height: int, *, ground: Colour = INK) -> None:
    """Write one line of text on a filled rectangle whose lower left corner is `corner`, moved inside the canvas if necessary."""
    thickness = max(1, round(height / 9))
    size = cv2.getFontScaleFromHeight(_FONT, height, thickness)
    (width, _), below = cv2.getTextSize(text, _FONT, size, thickness)
    pad = max(2, height // 3)
    plate_w, plate_h = width + 2 * pad, height + below // 2 + 2 * pad
    left = int(min(max(corner[0], 0), max(canvas.shape[1] - plate_w, 0)))
    bottom = int(max(min(corner[1], canvas.shape[0]), min(plate_h, canvas.shape[0])))
    cv2.rectangle(canvas, (left, bottom - plate_h), (left + plate_w - 1, bottom - 1), ground, -1)
    place = (left + pad, bottom - pad - below // 2)
    cv2.putText(canvas, text, place, _FONT, size, PAPER, thickness, cv2.LINE_AA)


def tile(images: Sequence[Image]) -> Image:
    """Arrange images (H, W, 3) uint8 RGB of any sizes on one sheet, row by row, with a width of about 1.5 times the height.

    Each is centred, unscaled, in a cell of the size of the largest.

    Raises:
        ValueError: if there are no images, or one is not uint8 RGB.
    """
    if len(images) == 0:
        raise ValueError("Expected at least one image for the sheet, but got none.")
    height = max(check_image(image).shape[0] for image in images) + _GAP
    width = max(image.shape[1] for image in images) + _GAP
    columns = _columns(len(images), width / height)
    sheet = np.full((-(-len(images) // columns) * height + _GAP, columns * width + _GAP, 3), INK, np.uint8)
    for index, image in enumerate(images):
        top = index // columns * height + (height + _GAP - image.shape[0]) // 2
        left = index % columns * width + (width + _GAP - image.shape[1]) // 2
        sheet[top : top + image.shape[0], left : left + image.shape[1]] = image
    return sheet


def save_image(path: str | Path, image: Image) -> None:
    """Write an image to a .png, .jpg or .jpeg file; folders are created.

    Raises:
        ValueError: if the image is not uint8 RGB, the suffix is unknown, or the image is too large for the format.
    """
    file = Path(path)
    if file.suffix.lower() not in _ENCODINGS:
        raise ValueError(f"Expected an image file with the suffix {', '.join(_ENCODINGS)}, but got {file}.")
    content = encode_image(check_image(image), file.suffix.lower())
    with write_atomically(file, durable=False) as partial:
        partial.write_bytes(content)


def encode_image(image: Image, suffix: str) -> bytes:
    """Return the content of a ".png" or ".jpg" file of an image (H, W, 3) uint8 RGB, or (H, W, 4) with opacity for ".png"."""
    channels = [2, 1, 0, 3][: image.shape[2]]
    written, content = cv2.imencode(suffix, np.ascontiguousarray(image[..., channels]), _ENCODINGS[suffix])
    if not written:
        raise ValueError(
            f"Expected an image that can be encoded as {suffix}, but {image.shape[1]} x {image.shape[0]} pixels are too many."
        )
    return content.tobytes()


def _columns(count: int, cell_aspect: float) -> int:
    """Return the number of columns with the best aspect ratio and the fewest empty cells."""

    def penalty(columns: int) -> float:
        rows = math.ceil(count / columns)
        return abs(math.log(columns * cell_aspect / rows / _SHEET_ASPECT)) + (rows * columns - count) / count

    return min(range(1, count + 1), key=penalty)


def keypoint_colours(skeleton: Skeleton) -> list[Colour]:
    """Return the colour of each keypoint by its side."""
    return [SIDE_COLOURS[side] for side in skeleton.sides]


def limb_sides(skeleton: Skeleton) -> list[str]:
    """Return the side of each edge: an edge from a side to the middle belongs to the side."""
    pairs = [{skeleton.sides[start], skeleton.sides[end]} - {"middle"} for start, end in skeleton.edges]
    return [pair.pop() if len(pair) == 1 else "middle" for pair in pairs]


def id_colours(instance_ids: NDArray[np.integer[Any]]) -> list[Colour]:
    """Return a colour for each instance id (N,): the same id has the same colour in every frame of a video."""
    return [_ID_COLOURS[(int(number) - 1) % len(_ID_COLOURS)] for number in instance_ids]


def score_colours(scores: NDArray[Any]) -> NDArray[np.float64]:
    """Return a colour (..., 3) for each score (...), from plum for 0 to cream for 1; scores are clipped to 0..1."""
    channels = [np.interp(scores, _SCORES, channel) for channel in zip(*_SCORE_COLOURS, strict=True)]
    return np.stack(channels, axis=-1)
