"""Read images as the pixels that were annotated.

JPEG files are decoded by simplejpeg, which returns the pixels of OpenCV in less time; unusual JPEG files and all other formats by
OpenCV. If a crop needs only the upper rows of a baseline JPEG, the height in its header is lowered: the decoder stops there, and
the decoded rows are the same.
"""

import os
import stat
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from hrpose.errors import DataError, DataWarning, MissingDataError
from hrpose.files import shorten
from hrpose.media.archives import read_member, split_archive
from hrpose.media.headers import (
    HEADER,
    JPEG_START,
    PNG_START,
    check_size,
    clean_png,
    find_jpeg_size,
    jpeg_segments,
    may_be_turned,
    read_numbers,
    read_orientation,
    stated_size,
)

BIT_DEPTHS = (8, 10, 12, 14, 16)

_FFMPEG_LEVEL = "OPENCV_FFMPEG_LOGLEVEL"  # environment variable that OpenCV reads when it opens the first video
_LIBJPEG = (b"Corrupt JPEG", b"Premature end of JPEG", b"Invalid SOS", b"Unsupported marker", b"Warning: unknown JFIF")
_STDERR = threading.Lock()
_SCAN, _END = b"\xff\xda", b"\xff\xd9"
_MARGIN = 8  # rows below the last one needed that interpolation and the upsampling of colours use


@dataclass(frozen=True)
class Reading:
    """How image files are converted to RGB with 8 bits per channel, in training, validation and prediction.

    Attributes:
        upright: apply the EXIF orientation, as viewers do; otherwise pixels are read as stored, as COCO was annotated.
        bit_depth: bits used by images of 16 bits per channel, 8 to 16: 2**bit_depth - 1 becomes 255. None measures each image,
            with a warning if it uses fewer than 16. Images of 8 bits are never scaled.

    Raises:
        ValueError: if the bit depth is out of range.
    """

    upright: bool = False
    bit_depth: int | None = None

    def __post_init__(self) -> None:
        if self.bit_depth is not None and self.bit_depth not in range(8, 17):
            raise ValueError(f"Expected `bit_depth` to be null or from 8 to 16, but got {self.bit_depth!r}.")


STORED = Reading()


def read_image(
    file: str | Path, *, size: tuple[int, int] | None = None, num_rows: int | None = None, reading: Reading = STORED
) -> NDArray[np.uint8]:
    """Read an image file as RGB (H, W, 3) uint8.

    Args:
        file: of any format that OpenCV reads.
        size: (width, height) that the image must have; None accepts any.
        num_rows: number of rows needed from the top; None reads all. More may be returned.
        reading: orientation and scale.

    Raises:
        MissingDataError: if the file does not exist.
        DataError: if the file is empty, cut off, not an image or of another size.
    """
    content = read_bytes(file)
    turned = reading.upright and may_be_turned(content)
    if num_rows is not None and content.startswith(JPEG_START) and not turned:
        top = decode_top(content, size, num_rows)
        if top is not None:
            return top
    image = decode_image(content, file, reading)
    if size is not None and image.shape[1::-1] != size:
        raise DataError(
            f"Expected {file} to be {size[0]} x {size[1]} pixels, as the annotation file states, but it is {image.shape[1]} x "
            f"{image.shape[0]}, so keypoints would be in the wrong places. {_size_hint(image, size, content, reading)}"
        )
    return image


def read_bytes(file: str | Path, size: int = -1) -> bytes:
    """Read a regular file or a member of an archive, or its first bytes. Pipes would block, and devices do not end.

    Raises:
        MissingDataError: if the file does not exist.
        DataError: if it cannot be read.
    """
    inside = split_archive(file)
    if inside is not None and inside[1]:
        return read_member(*inside, size)
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):  # noqa: PTH116 - as below
            kind = "a folder" if os.path.isdir(file) else "a pipe, a device or a socket"  # noqa: PTH112
            raise MissingDataError(f"Expected an image at {shorten(file)}, but it is {kind}.")
        with open(file, "rb", buffering=0) as stream:  # noqa: PTH123 - Path.open costs more than this whole read
            return stream.read(size)
    except MissingDataError:
        raise
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # ValueError: a NUL in the name
        raise MissingDataError(f"Expected an image at {shorten(file)}, but the file does not exist.") from error
    except OSError as error:
        raise DataError(f"Expected an image at {shorten(file)}, but it cannot be read: {error.strerror}.") from error


@contextmanager
def quiet_decoders() -> Iterator[None]:
    """Suppress the warnings of OpenCV and FFmpeg on the terminal; errors of this library name the file."""
    level, own = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT), _FFMPEG_LEVEL not in os.environ
    os.environ.setdefault(_FFMPEG_LEVEL, "-8")
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
        if own:
            os.environ.pop(_FFMPEG_LEVEL, None)


@contextmanager
def _without_libjpeg() -> Iterator[None]:
    """Suppress what libjpeg prints about damaged files; other output to standard error is printed afterwards."""
    with _STDERR, tempfile.TemporaryFile() as caught:
        try:
            terminal = os.dup(2)
        except OSError:  # closed
            yield
            return
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            caught.seek(0)
            os.write(2, b"".join(line for line in caught if not line.startswith(_LIBJPEG)))


def _size_hint(image: NDArray[np.uint8], size: tuple[int, int], content: bytes, reading: Reading) -> str:
    """Return what to do about an image of another size, which may differ by the EXIF orientation."""
    orientation = read_orientation(content)
    if image.shape[:2] == size and orientation > 4:
        made, key = ("stored", "false") if reading.upright else ("upright", "true")
        return f"Its EXIF orientation is {orientation}; the annotations were made on the {made} image: set data.upright={key}."
    return "If it was resized or rotated, use the original."


def decode_image(content: bytes, name: str | Path, reading: Reading = STORED) -> NDArray[np.uint8]:
    """Decode the bytes of an image file as RGB (H, W, 3) uint8; `name` is for messages.

    Raises:
        DataError: if the bytes are empty, cut off or not an image, or the image uses more bits than `reading.bit_depth`.
    """
    return scale_to_8_bits(decode_pixels(content, name, upright=reading.upright), name, reading.bit_depth)


def scale_to_8_bits(pixels: NDArray[np.uint8] | NDArray[np.uint16], name: str | Path, bit_depth: int | None) -> NDArray[np.uint8]:
    """Scale values of 16 bits to 8, see `Reading`; raise DataError if a value has more bits than `bit_depth`."""
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint8, copy=False)
    used = bits_of(pixels)
    if bit_depth is None and used < BIT_DEPTHS[-1]:
        warnings.warn(
            f"{name} has 16 bits per channel and uses {used} of them, so it is scaled from {used} bits. Set `bit_depth` to scale "
            "all images alike.",
            DataWarning,
            stacklevel=4,
        )
    depth = bit_depth or used
    if int(pixels.max(initial=0)) >> depth:
        raise DataError(
            f"Expected {name} to use {depth} bits per channel, but its highest value is {pixels.max()}, which needs {used}. Set "
            f"bit_depth={used} (data.bit_depth={used} in fit and test), or convert the image."
        )
    return (pixels >> (depth - 8)).astype(np.uint8)


def bits_of(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> int:
    """Return the smallest of `BIT_DEPTHS` that holds the highest value."""
    return next(depth for depth in BIT_DEPTHS if not int(pixels.max(initial=0)) >> depth)


def decode_pixels(content: bytes, name: str | Path, *, upright: bool = False) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Decode an image as RGB (H, W, 3) with the stored values, uint8 or uint16; raise DataError as `decode_image`."""
    if not content:
        raise DataError(f"Expected an image at {name}, but the file is empty. Copy or download it again.")
    check_size(content, name)
    if content.startswith(PNG_START):
        content = clean_png(content, name)
    turned = upright and may_be_turned(content)
    if content.startswith(JPEG_START):
        try:
            image = decode_jpeg(content)
        except ValueError as error:
            if is_truncated(content):
                raise DataError(
                    f"Expected a whole JPEG at {name}, but it is cut off after {len(content)} bytes. Copy or download it again."
                ) from error
        else:
            if not turned:
                return image
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | (0 if turned else cv2.IMREAD_IGNORE_ORIENTATION)
    try:
        with _without_libjpeg() if content.startswith(JPEG_START) else nullcontext():
            decoded = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:  # larger than OpenCV's limits
        decoded = None
    if decoded is None:
        raise DataError(
            f"Expected an image at {name}, but its {len(content)} bytes, beginning with {content[:8]!r}, cannot be decoded. "
            "Copy or download it again, or convert it to JPEG or PNG."
        )
    if decoded.dtype not in (np.uint8, np.uint16):
        raise DataError(
            f"Expected an image of 8 or 16 bits per channel at {name}, but its pixels are {decoded.dtype}, from "
            f"{decoded.min():g} to {decoded.max():g}. Convert it to PNG or JPEG."
        )
    rgb: NDArray[Any] = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
    return rgb


def read_size(file: str | Path, *, upright: bool = False) -> tuple[int, int]:
    """Return width and height of an image, upright or as stored, without decoding JPEG and PNG; errors as `read_image`."""
    size, orientation = read_size_and_orientation(file)
    return size[::-1] if upright and orientation > 4 else size


def read_size_and_orientation(file: str | Path) -> tuple[tuple[int, int], int]:
    """Return the stored (width, height) of an image, and its EXIF orientation; errors as `read_size`."""
    content = read_bytes(file, HEADER)
    if not content.startswith(PNG_START) and find_jpeg_size(content) is None:
        content = read_bytes(file)
    size = stated_size(content) if content.startswith((JPEG_START, PNG_START)) else None
    if size is None or 0 in size:
        height, width = decode_pixels(content, file).shape[:2]
        size = width, height
    return size, read_orientation(content)


def decode_jpeg(content: bytes) -> NDArray[np.uint8]:
    """Decode a whole JPEG as RGB (H, W, 3), exactly as OpenCV; raise ValueError if it is unusual in any way, harmless or not."""
    image: NDArray[np.uint8] = simplejpeg.decode_jpeg(content, "RGB", fastdct=False, fastupsample=False)
    return image


def decode_top(content: bytes, size: tuple[int, int] | None, num_rows: int) -> NDArray[np.uint8] | None:
    """Decode the first rows of a JPEG that should have the size (width, height); None accepts any.

    Returns:
        RGB (R, W, 3) uint8 with R >= num_rows; the first `num_rows` equal those of the whole image. None if this saves nothing,
        or if the file is of another kind or size, cut off or damaged.
    """
    lowered = num_rows + _MARGIN
    if size is not None and lowered >= 0.9 * size[1]:
        return None
    place = _find_height(content)
    if place is None:
        return None
    height, width = read_numbers(content, place, 2, "big")
    if size not in (None, (width, height)) or lowered >= 0.9 * height:
        return None
    changed = bytearray(content)
    changed[place : place + 2] = lowered.to_bytes(2, "big")
    try:
        # not strict, because the scan goes on after the last row
        image: NDArray[np.uint8] = simplejpeg.decode_jpeg(changed, "RGB", fastdct=False, fastupsample=False, strict=False)
    except ValueError:
        return None
    return image


def is_truncated(content: bytes) -> bool:
    """Check whether a JPEG lacks the end marker after its last scan; the marker cannot occur within a scan."""
    return content.rfind(_END) < content.rfind(_SCAN) or _SCAN not in content


def _find_height(content: bytes) -> int | None:
    """Return the place of the height in the header of a baseline JPEG with one scan and an end marker (ITU-T T.81, B.2)."""
    height_place, components = None, -1
    for marker, place, _ in jpeg_segments(content):
        if place + 10 >= len(content):
            return None
        if marker in (0xC0, 0xC1):  # sequential, Huffman-coded
            height_place, components = place + 5, content[place + 9]
        elif marker == 0xDA and content[place + 4] == components and content.rfind(_END, place) > 0:
            return height_place
    return None
