"""The EXIF orientation of JPEG, PNG and WebP files, read from their bytes without decoding them.

Only these are turned by the decoder on demand: it turns TIFF files always, and AVIF files never.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

JPEG_START, PNG_START, RIFF_START = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF"
_ORIENTATION = 0x0112
# byte order, and whether offsets have 8 bytes
_BYTE_ORDERS = {
    **{b"II*\0": ("little", False), b"MM\0*": ("big", False)},
    **{b"II+\0": ("little", True), b"MM\0+": ("big", True)},
}
_NUMBERS = {3: 2, 4: 4, 16: 8}  # bytes of a number by its type
HEADER = 2**16  # bytes: where cameras write the EXIF segment of a JPEG


def read_orientation(content: bytes) -> int:
    """Return the EXIF orientation of an image file, 1 to 8; 1, upright, where there is none.

    3 is upside down, 2, 4, 5 and 7 are mirrored, and 5 to 8 swap the sides.

    Args:
        content: the bytes of the file; of a JPEG or PNG the beginning is enough, WebP files have the tag at their end.
    """
    for tiff in _exif_blocks(content):
        orientation = _orientation_of(tiff)
        if 1 <= orientation <= 8:
            return orientation
    return 1


def may_be_turned(content: bytes) -> bool:
    """Check whether the decoder may turn an image: for JPEG files only if they have an EXIF segment."""
    return not content.startswith(JPEG_START) or b"Exif" in content[:HEADER]


def _exif_blocks(content: bytes) -> Iterator[bytes]:
    """Yield the TIFF structures that hold EXIF tags."""
    if content.startswith(JPEG_START):
        yield from (body[6:] for body in _jpeg_segments(content) if body.startswith(b"Exif\0\0"))
    elif content.startswith(PNG_START):
        yield from (body for kind, body in chunks(content, 8, "big") if kind == b"eXIf")
    elif content.startswith(RIFF_START) and content[8:12] == b"WEBP":
        yield from (body.removeprefix(b"Exif\0\0") for kind, body in chunks(content, 12, "little") if kind == b"EXIF")


def _jpeg_segments(content: bytes) -> Iterator[bytes]:
    """Yield the APP1 segments before the scan (ITU-T T.81, B.1)."""
    place = 2
    while place + 4 <= len(content) and content[place] == 0xFF and content[place + 1] != 0xDA:
        length = int.from_bytes(content[place + 2 : place + 4], "big")
        if content[place + 1] == 0xE1:
            yield content[place + 4 : place + 2 + length]
        place += 2 + length


def chunks(content: bytes, place: int, order: Literal["big", "little"]) -> Iterator[tuple[bytes, bytes]]:
    """Yield (kind, body) of the chunks of a PNG ("big": length, kind, body, checksum) or RIFF file ("little")."""
    while place + 8 <= len(content):
        first, second = content[place : place + 4], content[place + 4 : place + 8]
        kind, size = (second, first) if order == "big" else (first, second)
        length = int.from_bytes(size, order)
        yield kind, content[place + 8 : place + 8 + length]
        place += 8 + length + (4 if order == "big" else length % 2)


def _orientation_of(tiff: bytes) -> int:
    """Read the tag from the first directory of a TIFF structure; 0 where there is none."""
    return read_directory(tiff)[0].get(_ORIENTATION, 0)


def read_directory(tiff: bytes, place: int | None = None) -> tuple[dict[int, int], int]:
    """Read a directory of a TIFF structure (TIFF 6.0, section 2; BigTIFF has longer fields).

    Args:
        tiff: the structure, from its first byte.
        place: of the directory; None takes the first one.

    Returns:
        The first value of each tag that is a number of 16, 32 or 64 bits, and the place of the next directory, 0 for none;
        nothing of what is no TIFF structure.
    """
    order, is_big = _BYTE_ORDERS.get(tiff[:4], ("", False))
    if not order:
        return {}, 0
    offset, entry, head = (
        (8, 20, 8) if is_big else (4, 12, 2)
    )  # bytes of an offset, an entry, and the number of entries

    def number(start: int, size: int) -> int:
        return int.from_bytes(tiff[start : start + size], order)  # type: ignore[arg-type]  # "big" or "little"

    if place is None:
        place = number(8 if is_big else 4, offset)
    count = min(number(place, head), max(len(tiff) - place, 0) // entry)
    tags: dict[int, int] = {}
    for start in range(place + head, place + head + entry * count, entry):
        size = _NUMBERS.get(number(start + 2, 2))
        if size is not None:
            tags.setdefault(number(start, 2), number(start + 4 + offset, size))
    return tags, number(place + head + entry * count, offset)
