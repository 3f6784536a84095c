"""JPEG decoding for crops: the pixels of OpenCV, and only as many rows as a crop needs.

A baseline JPEG is decoded from top to bottom. If its header says that it is lower than it is, the decoder stops there, and
what it has decoded is the same as ever: a crop that ends above the bottom of the photo needs no more than that.
"""

import numpy as np
import simplejpeg
from numpy.typing import NDArray

JPEG_START = b"\xff\xd8\xff"
_SCAN, _END = b"\xff\xda", b"\xff\xd9"
_MARGIN = 8  # rows: what interpolation and the smoothing of subsampled colours look at beyond the last row needed


def decode_jpeg(content: bytes) -> NDArray[np.uint8]:
    """Decode a whole JPEG as RGB (H, W, 3); slow and exact transforms, as OpenCV uses.

    Raises:
        ValueError: if anything is out of the ordinary, harmless or not.
    """
    image: NDArray[np.uint8] = simplejpeg.decode_jpeg(content, "RGB", fastdct=False, fastupsample=False)
    return image


def decode_top(content: bytes, size: tuple[int, int] | None, num_rows: int) -> NDArray[np.uint8] | None:
    """Decode the first rows of a JPEG as RGB.

    Args:
        content: the file.
        size: (width, height) that the photo should have; None takes any.
        num_rows: rows needed.

    Returns:
        (at least `num_rows`, W, 3) uint8, of which the first `num_rows` equal those of the whole photo; or None where it is
        not worth while, or the file is of another kind or size, cut short or broken.
    """
    lowered = num_rows + _MARGIN
    if size is not None and lowered >= 0.9 * size[1]:
        return None
    place = _find_height(content)
    if place is None:
        return None
    stated = _read_short(content, place + 2), _read_short(content, place)
    if stated != (size or stated) or lowered >= 0.9 * stated[1]:
        return None
    changed = bytearray(content)
    changed[place : place + 2] = lowered.to_bytes(2, "big")
    try:
        # not strict: that the scan goes on behind the last row is what we want
        image: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            changed, "RGB", fastdct=False, fastupsample=False, strict=False
        )
    except ValueError:
        return None
    return image


def is_truncated(content: bytes) -> bool:
    """Whether a JPEG lacks the end marker behind its last scan; within a scan the marker cannot occur."""
    return content.rfind(_END) < content.rfind(_SCAN) or _SCAN not in content


def _find_height(content: bytes) -> int | None:
    """Find the image height in the header of a baseline JPEG of one scan that has its end marker (ITU-T T.81, B.2)."""
    place, height_place, components = 2, None, -1
    while place + 10 < len(content) and content[place] == 0xFF:
        marker, length = content[place + 1], _read_short(content, place + 2)
        if marker in (0xC0, 0xC1):  # sequential, Huffman-coded
            height_place, components = place + 5, content[place + 9]
        elif marker == 0xDA:
            one_scan = content[place + 4] == components
            return height_place if one_scan and content.rfind(_END, place) > 0 else None
        place += 2 + length
    return None


def _read_short(content: bytes, place: int) -> int:
    return content[place] << 8 | content[place + 1]
