"""What an image file says before its pixels are decoded: its size, and whether it has several pages or frames.

Memory for an image is bounded by its stated size, not by the size of its file: a PNG of 60,000 x 60,000 pixels can have 10 kB.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

from hrpose.errors import DataError
from hrpose.media.exif import JPEG_START, PNG_START, RIFF_START, chunks, read_directory

MAX_PIXELS = 2**28  # the largest cameras have 2 * 10**8
_J2K_SIZE = b"\xff\x4f\xff\x51"  # the first two markers of a JPEG 2000 codestream (ITU-T T.800, A.5.1)
_PNG_USED = (b"tRNS", b"eXIf", b"acTL", b"fcTL", b"fdAT")  # chunks beside the critical ones that change the pixels
_REDUCED = 0x00FE, 1  # TIFF: tag NewSubfileType, and its bit for a thumbnail of another page


def check_size(content: bytes, name: str | Path) -> None:
    """Refuse an image of more than `MAX_PIXELS` pixels by its header.

    Raises:
        DataError: with the stated size.
    """
    width, height = stated_size(content) or (0, 0)
    if width * height > MAX_PIXELS:
        raise DataError(
            f"Expected an image of at most {MAX_PIXELS // 10**6} million pixels at {name}, but its header states {width} x "
            f"{height}. Reduce it, or cut it into tiles."
        )


def stated_size(content: bytes) -> tuple[int, int] | None:
    """Return width and height that the header of an image states; None for other formats, whose files cannot be much smaller."""
    if content.startswith(JPEG_START):
        return find_jpeg_size(content)
    if content.startswith(PNG_START):
        return _numbers(content, 16, 4, "big")
    if content.startswith(b"BM"):
        width, height = _numbers(content, 18, 4 if content[14:15] != b"\x0c" else 2, "little")
        return width, min(height, 2**32 - height)  # negative: from the top row down
    if content.startswith(b"GIF8"):
        return _numbers(content, 6, 2, "little")
    if content.startswith(RIFF_START) and content[12:16] == b"VP8X":
        width, height = _numbers(content, 24, 3, "little")
        return width + 1, height + 1
    if content.startswith((b"II", b"MM")):
        tags, _ = read_directory(content)
        return tags.get(256, 0), tags.get(257, 0)
    if (place := content.find(_J2K_SIZE)) >= 0:
        right, bottom = _numbers(content, place + 8, 4, "big")
        left, top = _numbers(content, place + 16, 4, "big")
        return max(right - left, 0), max(bottom - top, 0)
    return None


def find_jpeg_size(content: bytes) -> tuple[int, int] | None:
    """Find width and height in the frame header of a JPEG (ITU-T T.81, B.2.2); None if there is none."""
    if not content.startswith(JPEG_START):
        return None
    place = 2
    while place + 9 < len(content) and content[place] == 0xFF:
        marker = content[place + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = _numbers(content, place + 5, 2, "big")
            return width, height
        place += 2 + int.from_bytes(content[place + 2 : place + 4], "big")
    return None


def has_more_pages(content: bytes) -> bool:
    """Check whether an image file has pages or frames behind the first, which is the one that is decoded."""
    if content.startswith((b"II", b"MM")):
        _, place = read_directory(content)
        tag, thumbnail = _REDUCED
        return place > 0 and not read_directory(content, place)[0].get(tag, 0) & thumbnail
    if content.startswith(PNG_START):
        return b"acTL" in content[: content.find(b"IDAT")]
    if content.startswith(RIFF_START):
        return content[12:16] == b"VP8X" and bool(content[20] & 2)
    if content.startswith(b"GIF8"):
        return sum(1 for _ in zip(range(2), _gif_frames(content), strict=False)) > 1
    return content[4:12] == b"ftypavis"


def clean_png(content: bytes, name: str | Path) -> bytes:
    """Return a PNG without the chunks that do not change its pixels; libpng prints warnings of many, such as colour profiles.

    Raises:
        DataError: if the file is cut short, or a chunk is damaged.
    """
    kept, place, is_whole = [PNG_START], len(PNG_START), False
    for kind, body in chunks(content, place, "big"):
        end = place + 12 + len(body)
        if kind[:1].isupper() or kind in _PNG_USED:
            if zlib.crc32(content[place + 4 : end - 4]) != int.from_bytes(content[end - 4 : end], "big"):
                break
            kept.append(content[place:end])
        place, is_whole = end, kind == b"IEND"
        if is_whole:
            return content if sum(map(len, kept)) == place else b"".join(kept)
    raise DataError(
        f"Expected a whole PNG at {name}, but it is damaged or breaks off after {place} of its {len(content)} bytes. "
        "Copy or download it again."
    )


def _numbers(content: bytes, place: int, size: int, order: str) -> tuple[int, int]:
    """Read two adjacent unsigned integers."""
    first, second = content[place : place + size], content[place + size : place + 2 * size]
    return int.from_bytes(first, order), int.from_bytes(second, order)  # type: ignore[arg-type]  # "big" or "little"


def _gif_frames(content: bytes) -> Iterator[int]:
    """Yield the places of the image descriptors of a GIF (GIF89a specification, 17 to 26)."""
    place = 13 + _colour_table(content, 10)
    while place < len(content):
        kind = content[place]
        if kind == 0x2C:
            yield place
            place += 11 + _colour_table(content, place + 9)
        elif kind == 0x21:
            place += 2
        else:
            return
        while place < len(content) and content[place]:  # blocks, each behind its length
            place += 1 + content[place]
        place += 1


def _colour_table(content: bytes, place: int) -> int:
    """Return the bytes of the colour table that the flags at a place announce."""
    flags = content[place] if place < len(content) else 0
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0
