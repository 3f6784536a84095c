"""What every drawing shares: the check of a picture, text on it, and the way to disk."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]

INK: Colour = (24, 26, 30)
PAPER: Colour = (250, 250, 250)


def check_image(image: Image) -> Image:
    """Return the image.

    Raises:
        ValueError: if it is not uint8 RGB; says what came and how to mend it.
    """
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise ValueError(
            f"Expected an image (H, W, 3) of uint8 RGB, but got {array.dtype} of the shape {array.shape}. "
            "Scale floats to 0..255 and convert them with `.astype(np.uint8)`; move channels last."
        )
    return array


def write_text(canvas: Image, text: str, corner: tuple[int, int]) -> None:
    """Write a line into the picture; its lower left corner is moved inside if need be."""
    place = (max(corner[0], 2), min(max(corner[1], 12), canvas.shape[0] - 3))
    for colour, thickness in ((INK, 3), (PAPER, 1)):
        cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, thickness, cv2.LINE_AA)


def enlarge(image: Image, zoom: int) -> Image:
    """Make a picture larger by a whole factor."""
    if zoom == 1:
        return image
    size = (image.shape[1] * zoom, image.shape[0] * zoom)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def save_image(path: str | Path, image: Image) -> None:
    """Write a picture; the suffix of the file (.png, .jpg) chooses the format, folders are made.

    Raises:
        ValueError: if the image is not uint8 RGB, or the format is unknown.
    """
    file = Path(path)
    check_image(image)
    if not cv2.haveImageWriter(f"picture{file.suffix}"):
        raise ValueError(f"Expected a picture file that ends in .png or .jpg, but got {file}.")
    _, data = cv2.imencode(file.suffix, np.ascontiguousarray(image[..., ::-1]))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data.tobytes())
