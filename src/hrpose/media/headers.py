"""Read the size, the EXIF orientation and the number of pages of an image file from its header, without decoding it.

The memory for an image depends on its stated size, not on the size of its file: a PNG of 60,000 x 60,000 pixels can have 10 kB.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from hrpose.errors import DataError

# formats that OpenCV reads as 8 or 16 bits per channel
IMAGE_SUFFIXES = (
    *(".apng", ".avif", ".bmp", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jpx"),
    *(".pbm", ".pgm", ".png", ".pnm", ".ppm", ".ras", ".sr", ".tif", ".tiff", ".webp"),
)
_IMAGE_SUFFIXES = tuple(suffix.encode() for suffix in IMAGE_SUFFIXES)
JPEG_START, PNG_START, RIFF_START = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF"
_ORIENTATION = 0x0112
_LITTLE, _BIG = (b"II*\0", b"II+\0"), (b"MM\0*", b"MM\0+")  # first bytes of TIFF and of BigTIFF, by byte order
_NUMBERS = {3: 2, 4: 4, 16: 8}  # bytes of a number by its type
HEADER = 2**16  # bytes that contain the size, and the EXIF segment that a camera writes
MAX_PIXELS = 2**28  # the largest cameras have 2 * 10**8
_J2K_SIZE = b"\xff\x4f\xff\x51"  # the first two markers of a JPEG 2000 codestream (ITU-T T.800, A.5.1)
_PNG_USED = (b"tRNS", b"eXIf", b"acTL", b"fcTL", b"fdAT")  # non-critical chunks that change the pixels
_REDUCED = 0x00FE, 1  # TIFF: tag NewSubfileType, and its bit for a thumbnail of another page


def has_image_name(path: bytes) -> bool:
    """Check whether a path has the suffix of an image and is not hidden; macOS writes hidden files beside others."""
    return path.lower().endswith(_IMAGE_SUFFIXES) and not path.rpartition(b"/")[2].startswith(b".")


def check_size(content: bytes, name: str | Path) -> None:
    """Raise DataError if the header of an image states more than `MAX_PIXELS` pixels."""
    width, height = stated_size(content) or (0, 0)
    if width * height > MAX_PIXELS:
        raise DataError(
            f"Expected an image of at most {MAX_PIXELS // 10**6} million pixels at {name}, but its header states {width} x "
            f"{height}. Reduce it, or cut it into tiles."
        )


def stated_size(content: bytes) -> tuple[int, int] | None:
    """Return width and height in the header of an image; None for formats whose files are never much smaller than the image."""
    if content.startswith(JPEG_START):
        return find_jpeg_size(content)
    if content.startswith(PNG_START):
        return read_numbers(content, 16, 4, "big")
    if content.startswith(b"BM"):
        width, height = read_numbers(content, 18, 4 if content[14:15] != b"\x0c" else 2, "little")
        return width, min(height, 2**32 - height)  # negative: from the top row down
    if content.startswith(b"GIF8"):
        return read_numbers(content, 6, 2, "little")
    if content.startswith(RIFF_START) and content[12:16] == b"VP8X":
        width, height = read_numbers(content, 24, 3, "little")
        return width + 1, height + 1
    if content.startswith((b"II", b"MM")):
        tags, _ = read_directory(content)
        return tags.get(256, 0), tags.get(257, 0)
    if (place := content.find(_J2K_SIZE)) >= 0:
        right, bottom = read_numbers(content, place + 8, 4, "big")
        left, top = read_numbers(content, place + 16, 4, "big")
        return max(right - left, 0), max(bottom - top, 0)
    return None


def find_jpeg_size(content: bytes) -> tuple[int, int] | None:
    """Return width and height in the frame header of a JPEG (ITU-T T.81, B.2.2); None if there is none."""
    for marker, place, _ in jpeg_segments(content):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and place + 9 < len(content):
            height, width = read_numbers(content, place + 5, 2, "big")
            return width, height
    return None


def jpeg_segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, place and length without marker of the segments of a JPEG up to its first scan (ITU-T T.81, B.1)."""
    place = 2 if content.startswith(JPEG_START) else len(content)
    while place + 4 <= len(content) and content[place] == 0xFF:
        marker, length = content[place + 1], int.from_bytes(content[place + 2 : place + 4], "big")
        yield marker, place, length
        place = len(content) if marker == 0xDA else place + 2 + length


def has_more_pages(content: bytes) -> bool:
    """Check whether an image file has pages or frames after the first, which is the one that is decoded."""
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
    """Return a PNG without the chunks that do not change its pixels (libpng warns of some); raise DataError if it is damaged."""
    kept, place = [PNG_START], len(PNG_START)
    for kind, body in chunks(content, place, "big"):
        end = place + 12 + len(body)
        if kind[:1].isupper() or kind in _PNG_USED:
            if zlib.crc32(content[place + 4 : end - 4]) != int.from_bytes(content[end - 4 : end], "big"):
                break
            kept.append(content[place:end])
        place = end
        if kind == b"IEND":
            return content if sum(map(len, kept)) == place else b"".join(kept)
    raise DataError(
        f"Expected a whole PNG at {name}, but it is damaged or cut off after {place} of its {len(content)} bytes. "
        "Copy or download it again."
    )


def read_numbers(content: bytes, place: int, size: int, order: Literal["big", "little"]) -> tuple[int, int]:
    """Read two adjacent unsigned integers."""
    first, second = content[place : place + size], content[place + size : place + 2 * size]
    return int.from_bytes(first, order), int.from_bytes(second, order)


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
        while place < len(content) and content[place]:  # blocks, each after its length
            place += 1 + content[place]
        place += 1


def _colour_table(content: bytes, place: int) -> int:
    """Return the size of the colour table in bytes, from the flags at a place."""
    flags = content[place] if place < len(content) else 0
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def read_orientation(content: bytes) -> int:
    """Return the EXIF orientation of an image file, 1 to 8; 1 (upright) if there is none.

    3 is upside down, 2, 4, 5 and 7 are mirrored, and 5 to 8 swap width and height. The first `HEADER` bytes of a file are enough
    for JPEG and PNG; WebP files have the tag at their end.
    """
    found = (read_directory(tiff)[0].get(_ORIENTATION, 0) for tiff in _exif_blocks(content))
    return next((orientation for orientation in found if 1 <= orientation <= 8), 1)


def may_be_turned(content: bytes) -> bool:
    """Check whether the decoder may rotate an image: for JPEG files only if they have an EXIF segment."""
    return not content.startswith(JPEG_START) or b"Exif" in content[:HEADER]


def _exif_blocks(content: bytes) -> Iterator[bytes]:
    """Yield the TIFF structures with EXIF tags."""
    if content.startswith(JPEG_START):
        for marker, place, length in jpeg_segments(content):
            if marker == 0xE1 and content.startswith(b"Exif\0\0", place + 4):
                yield content[place + 10 : place + 2 + length]
    elif content.startswith(PNG_START):
        yield from (body for kind, body in chunks(content, 8, "big") if kind == b"eXIf")
    elif content.startswith(RIFF_START) and content[8:12] == b"WEBP":
        yield from (body.removeprefix(b"Exif\0\0") for kind, body in chunks(content, 12, "little") if kind == b"EXIF")


def chunks(content: bytes, place: int, order: Literal["big", "little"]) -> Iterator[tuple[bytes, bytes]]:
    """Yield (kind, body) of the chunks of a PNG ("big": length, kind, body, checksum) or RIFF file ("little")."""
    while place + 8 <= len(content):
        first, second = content[place : place + 4], content[place + 4 : place + 8]
        kind, size = (second, first) if order == "big" else (first, second)
        length = int.from_bytes(size, order)
        yield kind, content[place + 8 : place + 8 + length]
        place += 8 + length + (4 if order == "big" else length % 2)


def read_directory(tiff: bytes, place: int | None = None) -> tuple[dict[int, int], int]:
    """Read the directory of a TIFF structure at a place, by default the first (TIFF 6.0, section 2; BigTIFF has longer fields).

    Returns:
        The first value of each tag with numbers of 16, 32 or 64 bits, and the place of the next directory, 0 for none. Empty and
        0 if this is no TIFF structure.
    """
    mark = tiff[:4]
    if mark not in _LITTLE + _BIG:
        return {}, 0
    order: Literal["little", "big"] = "little" if mark in _LITTLE else "big"
    is_big = mark in (_LITTLE[1], _BIG[1])
    # bytes of an offset, of an entry, and of the number of entries
    offset, entry, head = (8, 20, 8) if is_big else (4, 12, 2)

    def number(start: int, size: int) -> int:
        return int.from_bytes(tiff[start : start + size], order)

    if place is None:
        place = number(8 if is_big else 4, offset)
    count = min(number(place, head), max(len(tiff) - place, 0) // entry)
    tags: dict[int, int] = {}
    for start in range(place + head, place + head + entry * count, entry):
        size = _NUMBERS.get(number(start + 2, 2))
        if size is not None:
            tags.setdefault(number(start, 2), number(start + 4 + offset, size))
    return tags, number(place + head + entry * count, offset)
