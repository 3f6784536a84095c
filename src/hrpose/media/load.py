"""Load an image from a path, an open file, bytes, an array, a tensor or a Pillow image."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from hrpose.errors import DataError, DataWarning
from hrpose.files import shorten
from hrpose.media.headers import has_more_pages
from hrpose.media.images import Reading, decode_image, read_bytes, scale_to_8_bits

ImageSource: TypeAlias = "str | Path | bytes | BinaryIO | NDArray[Any] | torch.Tensor | Any"
"""What `load_image` takes; the last is a `PIL.Image.Image`."""

_LONGEST_NAME = 255  # characters of a file name
_BASE64 = re.compile(r"[A-Za-z0-9+/_=\s-]+")


def load_image(source: ImageSource, *, upright: bool = True, bit_depth: int | None = None) -> NDArray[np.uint8]:
    """Load an image as RGB.

    Convention:
        Images from files (path, open file, bytes) are rotated upright by their EXIF orientation, as viewers show them: boxes and
        keypoints are in pixels of the upright image. With `upright=False` the pixels are as stored, as COCO was annotated.
        Images in memory (array, tensor, Pillow) are not rotated.

    Args:
        source: a path; a binary file open for reading, or the bytes of one; an array (H, W, 3) uint8 RGB, or (H, W) uint8 grey; a
            tensor (3, H, W), uint8 RGB or floating point from 0 to 1; or a Pillow image of any mode (numbers of the modes I and F
            from 0 to 255).
        upright: whether images from files are rotated upright.
        bit_depth: bits used by images of 16 bits per channel, see `hrpose.media.images.Reading`; None measures the image.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        MissingDataError: if the file does not exist.
        DataError: if a file cannot be decoded, or the source has another type, shape or dtype.

    Warns:
        DataWarning: if a file has several pages or frames.
    """
    reading = Reading(upright, bit_depth)
    if isinstance(source, str | Path):
        return _decode(_read_file(source), str(source), reading)
    if isinstance(source, bytes | bytearray | memoryview):
        return _decode(bytes(source), "the bytes given", reading)
    if isinstance(source, torch.Tensor):
        return _from_tensor(source)
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if hasattr(source, "read"):
        return _decode(_read_stream(source), str(getattr(source, "name", "the open file")), reading)
    if hasattr(source, "convert") and hasattr(source, "getbands"):  # Pillow, which need not be installed
        return _from_pillow(source, bit_depth)
    raise DataError(
        "Expected an image: a path, an open binary file, bytes, an array (H, W, 3) uint8 RGB, a tensor (3, H, W) or a Pillow "
        f"image, but got {type(source).__name__}."
    )


def _decode(content: bytes, name: str, reading: Reading) -> NDArray[np.uint8]:
    image = decode_image(content, name, reading)
    if has_more_pages(content):
        warnings.warn(f"{name} has several pages or frames; the first was read.", DataWarning, stacklevel=4)
    return image


def _read_file(file: str | Path) -> bytes:
    text = str(file)
    if "://" in text[:32] or text.startswith(("http:/", "https:/")):  # Path removes one of two slashes
        raise DataError(f"Expected the path of an image, but got the URL {shorten(text)}. Download it and pass the file.")
    try:
        return read_bytes(file)
    except DataError:
        if text.startswith("data:") or (len(text) > _LONGEST_NAME and _BASE64.fullmatch(text)):
            raise DataError(
                f"Expected the path of an image, but got {len(text):,} characters that look like base64. Pass the bytes: "
                "base64.b64decode(text)."
            ) from None
        raise


def _read_stream(stream: BinaryIO) -> bytes:
    try:
        content: bytes | str = stream.read()
    except UnicodeDecodeError:
        content = ""
    if not isinstance(content, bytes):
        raise DataError(
            f"Expected a file opened in binary mode, but it returned {type(content).__name__}. Open it with mode 'rb'."
        )
    if not content and hasattr(stream, "seekable") and stream.seekable() and stream.tell():
        raise DataError("Expected an open file at its beginning, but its position is at the end. Call seek(0) first.")
    return content


def _from_pillow(picture: Any, bit_depth: int | None) -> NDArray[np.uint8]:
    if picture.mode.startswith("I;16"):  # Pillow would clip at 255
        return _from_array(scale_to_8_bits(np.asarray(picture, np.uint16), "the Pillow image", bit_depth))
    if picture.mode in ("I", "F"):
        lowest, highest = picture.getextrema()
        if not 0 <= lowest <= highest <= 255 or (picture.mode == "F" and highest <= 1):
            raise DataError(
                f"Expected a Pillow image from 0 to 255, but its mode {picture.mode} goes from {lowest:g} to {highest:g}. "
                "Scale it, and pass it as an array of uint8."
            )
    return np.ascontiguousarray(np.asarray(picture.convert("RGB"), np.uint8))


def _from_array(array: NDArray[Any]) -> NDArray[np.uint8]:
    if array.dtype != np.uint8:
        hint = " If it is from 0 to 1, pass (255 * image).round().astype(np.uint8)." if array.dtype.kind == "f" else ""
        raise DataError(f"Expected an image array of uint8, from 0 to 255, but got {array.dtype}.{hint}")
    grey = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if grey.ndim == 2 and grey.size:
        return np.repeat(grey[..., None], 3, axis=2)
    if array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise DataError(f"Expected an image array (H, W, 3) RGB, but got the shape {array.shape}.{_shape_hint(array.shape)}")
    return np.ascontiguousarray(array)


def _from_tensor(tensor: torch.Tensor) -> NDArray[np.uint8]:
    if tensor.ndim != 3 or tensor.shape[0] != 3 or not tensor.numel():
        hint = " Pass a list of its images." if tensor.ndim == 4 else ""
        raise DataError(f"Expected an image tensor (3, H, W), but got the shape {tuple(tensor.shape)}.{hint}")
    pixels = tensor.detach().permute(1, 2, 0)
    if tensor.is_floating_point():
        lowest, highest = (float(value) for value in torch.aminmax(pixels.float()))
        if not (lowest >= 0 and highest <= 1):  # false for NaN too
            raise DataError(
                f"Expected a floating-point image tensor from 0 to 1, but it is from {lowest:g} to {highest:g}. Pass it before "
                "it is normalised, or as uint8."
            )
        pixels = (pixels.float() * 255).round().to(torch.uint8)
    if pixels.dtype != torch.uint8:
        raise DataError(f"Expected an image tensor of uint8 or of floating point from 0 to 1, but got {tensor.dtype}.")
    array: NDArray[np.uint8] = pixels.contiguous().cpu().numpy()
    return array


def _shape_hint(shape: tuple[int, ...]) -> str:
    if len(shape) == 4:
        return " Pass a list of its images."
    if len(shape) == 3 and shape[2] == 4:
        return " Remove the opacity: image[..., :3]."
    if len(shape) == 3 and shape[0] == 3:
        return " Its channels come first: pass image.transpose(1, 2, 0)."
    return ""
