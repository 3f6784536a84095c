"""Read the index of an uncompressed zip or tar archive: name, place and length of each image in it. Nothing is unpacked.

The directory at the end of a zip file is read in one piece (PKWARE APPNOTE 4.3 and 4.5.3). A tar file has none: it is followed
from header to header (POSIX.1-2017, pax interchange format, and the long names of GNU tar). Members whose names do not end as
those of image files do are left out.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from hrpose.errors import DataError
from hrpose.media.headers import has_image_name

Member: TypeAlias = tuple[str, int, int]
"""Name; place of the data in a tar file, of the local header in a zip file; bytes."""

LOCAL_HEADER = struct.Struct(
    "<4s5H3L2H"
)  # zip: its last two numbers are the lengths of the name and of the extra field
LOCAL_START = b"PK\3\4"
_ENTRY, _ENTRY_START = struct.Struct("<4s6H3L5H2L"), b"PK\1\2"
_END, _END_START = struct.Struct("<4s4H2LH"), b"PK\5\6"
_LOCATOR, _LOCATOR_START = struct.Struct("<4sLQL"), b"PK\6\7"
_END64, _END64_START = struct.Struct("<4sQ2H2L4Q"), b"PK\6\6"
_LONGEST_COMMENT, _MAX_16, _MAX_32 = 2**16, 2**16 - 1, 2**32 - 1
_OUTSIDE = re.compile(r"^/|^.:|\\|\0|(?:^|/)\.\.(?:/|$)")
_UNIX, _ENCRYPTED, _UTF8 = 3, 1, 1 << 11

_BLOCK, _ZEROS = 512, bytes(512)  # of a tar file
_REGULAR, _LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL = (b"0", b"\0", b"7"), b"L", b"K", (b"x", b"X"), b"g"
_WITHOUT_DATA = (b"1", b"2", b"3", b"4", b"5", b"6")  # links, devices, folders and pipes
_LONGEST_EXTENSION = 2**20  # bytes of a pax header or a long name
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"(\xb5": "zstd"}
_PACK_AGAIN = (
    "Pack the images again: `zip -0 -r images.zip <folder>`, `tar -cf images.tar <folder>`, or `hrpose convert"
)


@dataclass(frozen=True)
class _Archive:
    """An open archive: its path, its descriptor and its size in bytes."""

    path: str
    descriptor: int
    size: int

    def read(self, place: int, length: int) -> bytes:
        """Read some bytes; fewer at the end of the file."""
        content = os.pread(self.descriptor, length, place)
        while len(content) < length and (
            more := os.pread(self.descriptor, length - len(content), place + len(content))
        ):
            content += more  # a call returns 2 GiB at most
        return content

    def fault(self, what: str, fix: str = "Copy or download it again.") -> DataError:
        """Return an error about this archive."""
        return DataError(f"{self.path}: {what}. {fix}")


def list_members(path: str) -> Iterator[Member]:
    """Yield the images of an archive, in the order in which they lie there.

    Args:
        path: of a file that ends in .zip or .tar.

    Raises:
        DataError: if it cannot be read, is compressed, encrypted, cut off or damaged, or an image in it is a link or no regular
            file, or has a name that leads out of the archive.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise DataError(f"{path}: expected a zip or tar archive, but it cannot be read: {error.strerror}.") from error
    archive = _Archive(path, descriptor, os.fstat(descriptor).st_size)
    try:
        yield from _zip_members(archive) if path.lower().endswith(".zip") else _tar_members(archive)
    except (struct.error, ValueError, IndexError, OverflowError) as error:
        if isinstance(error, DataError):
            raise
        raise archive.fault(f"expected a whole archive, but its directory is damaged ({error})") from error
    except OSError as error:
        raise archive.fault(f"expected a zip or tar archive, but it cannot be read: {error.strerror}", "") from error
    finally:
        os.close(descriptor)


def _checked(archive: _Archive, name: str) -> str:
    """Return a name without "./" at its start."""
    while name.startswith("./"):
        name = name[2:]
    if _OUTSIDE.search(name):
        raise archive.fault(
            f"expected names below the archive, with forward slashes, but found {name!r}",
            "Pack the images again, with names relative to their folder.",
        )
    return name


def _zip_members(archive: _Archive) -> Iterator[Member]:
    start, length, count = _zip_directory(archive)
    content = archive.read(start, length)
    place, compressed, first = 0, 0, ""
    for _ in range(count):
        mark, made_by, _, flags, method, *_, packed, size, n, m, k, _, _, mode, offset = _ENTRY.unpack_from(
            content, place
        )
        if mark != _ENTRY_START:
            raise archive.fault(f"expected a whole zip archive, but its directory is damaged at byte {start + place}")
        body, place = place + _ENTRY.size, place + _ENTRY.size + n + m + k
        if not has_image_name(raw := content[body : body + n]):
            continue
        name = _checked(archive, _zip_name(raw, is_utf8=bool(flags & _UTF8)))
        if flags & _ENCRYPTED:
            raise archive.fault(f"expected images that can be read, but {name} is encrypted", f"{_PACK_AGAIN}`.")
        if made_by >> 8 == _UNIX and stat.S_ISLNK(mode >> 16):
            raise _link(archive, name, "a symbolic link")
        if method:
            compressed, first = compressed + 1, first or name
            continue
        if _MAX_32 in (packed, size, offset):
            size, offset = _large(content[body + n : body + n + m], size, packed, offset)
        if offset + LOCAL_HEADER.size + n + size > start:
            raise archive.fault(f"expected a whole zip archive, but {name} would lie behind its directory")
        yield name, offset, size
    if compressed:
        raise archive.fault(
            f"expected images that are stored as they are, but {compressed:,} of {count:,} members are compressed, the first is "
            f"{first}",
            f"Unpack it. {_PACK_AGAIN} <annotations> images=<folder> archive=tar`.",
        )


def _zip_directory(archive: _Archive) -> tuple[int, int, int]:
    """Find the central directory; return its place, its length and the number of its entries."""
    before = max(archive.size - _END.size - _LONGEST_COMMENT, 0)
    tail = archive.read(before, archive.size - before)
    place = tail.rfind(_END_START)
    if place < 0:
        raise archive.fault(
            f"expected a zip archive, but it has no directory at its end: cut off after {archive.size:,} bytes"
        )
    _, disk, first_disk, _, count, length, start, _ = _END.unpack_from(tail, place)
    end = before + place
    if count == _MAX_16 or _MAX_32 in (length, start):
        mark, _, place64, _ = _LOCATOR.unpack(archive.read(end - _LOCATOR.size, _LOCATOR.size))
        if mark == _LOCATOR_START:
            mark, *_, disk, first_disk, _, count, length, start = _END64.unpack(archive.read(place64, _END64.size))
            if mark != _END64_START:
                raise archive.fault("expected a whole zip archive, but its directory is not where it should be")
    if disk or first_disk:
        raise archive.fault(
            "expected a zip archive in one file, but this is a part of several", "Join them: `zip -s 0`."
        )
    if start + length > end:
        raise archive.fault("expected a whole zip archive, but its directory is longer than the file")
    return start, length, count


def _zip_name(raw: bytes, *, is_utf8: bool) -> str:
    """Decode a name: as UTF-8, which many tools write without saying so, or in the code page of MS-DOS."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        if is_utf8:
            raise
        return raw.decode("cp437")


def _large(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int]:
    """Return size and offset from the zip64 field, which has those numbers that do not fit 32 bits, in this order."""
    place = 0
    while place + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, place)
        if kind == 1:
            numbers = iter(struct.unpack_from(f"<{length // 8}Q", extra, place + 4))
            size, _, offset = (next(numbers) if value == _MAX_32 else value for value in (size, packed, offset))
        place += 4 + length
    return size, offset


def _tar_members(archive: _Archive) -> Iterator[Member]:
    place = 0
    given: dict[str, bytes] = {}
    while (header := archive.read(place, _BLOCK)) != _ZEROS:
        kind, length = _tar_header(archive, header, place)
        data, place = place + _BLOCK, place + _BLOCK
        place += 0 if kind in _WITHOUT_DATA else -(-length // _BLOCK) * _BLOCK
        if kind in (_LONG_NAME, _LONG_LINK, *_PAX, _PAX_GLOBAL):
            if length > _LONGEST_EXTENSION:
                raise archive.fault(
                    f"expected a tar archive, but a header at byte {data - _BLOCK:,} has {length:,} bytes"
                )
            content = archive.read(data, length)
            given |= (
                {"path": content.rstrip(b"\0")} if kind == _LONG_NAME else _records(content) if kind in _PAX else {}
            )
            continue
        raw, is_sparse = given.get("path") or _tar_name(header), any(key.startswith("GNU.sparse") for key in given)
        if "size" in given:
            length = abs(int(given["size"]))
            place = data + -(-length // _BLOCK) * _BLOCK
        given = {}
        if kind == b"5" or not has_image_name(raw):
            continue
        name = _checked(archive, raw.decode())
        if kind not in _REGULAR or is_sparse:
            raise _link(archive, name, "a link" if kind in (b"1", b"2") else "no regular file")
        if data + length > archive.size:
            raise _cut(archive)
        yield name, data, length
    if archive.read(place, 2**20).strip(b"\0"):
        raise archive.fault(
            "expected nothing behind the end of the archive, but there is more: tar files were joined",
            "Give the files of which it was made.",
        )


def _tar_header(archive: _Archive, header: bytes, place: int) -> tuple[bytes, int]:
    """Check a header; return the kind of its member and the bytes of the data behind it."""
    if place == 0 and (method := _COMPRESSED.get(header[:2])):
        raise archive.fault(
            f"expected an uncompressed tar archive, but it is compressed with {method}", "Unpack it to a .tar."
        )
    if len(header) < _BLOCK:
        raise _cut(archive)
    stated = header[148:156].strip(b" \0")
    if not stated.isdigit() or int(stated, 8) != sum(header[:148]) + sum(header[156:]) + 8 * ord(" "):
        raise archive.fault(f"expected a whole tar archive, but the header at byte {place:,} is damaged")
    field = header[124:136]
    length = int.from_bytes(field[1:], "big") if field[0] == 0x80 else int(field.strip(b" \0") or b"0", 8)
    if length < 0:
        raise archive.fault(f"expected a whole tar archive, but the header at byte {place:,} states {length:,} bytes")
    return header[156:157], length


def _tar_name(header: bytes) -> bytes:
    name, prefix = header[:100].partition(b"\0")[0], header[345:500].partition(b"\0")[0]
    return prefix + b"/" + name if prefix and header[257:263] == b"ustar\0" else name  # GNU tar has dates in its place


def _records(content: bytes) -> dict[str, bytes]:
    """Parse the records of a pax header, `<length> <key>=<value>` and a new line each."""
    found, place = {}, 0
    while place < len(content) and content[place : place + 1] != b"\0":
        length = int(content[place:].partition(b" ")[0])
        key, _, value = content[place : place + length - 1].partition(b" ")[2].partition(b"=")
        found[key.decode()] = value
        place += max(length, 1)
    return found


def _link(archive: _Archive, name: str, kind: str) -> DataError:
    return archive.fault(
        f"expected images in the archive, but {name} is {kind}",
        "Pack the images themselves: `tar --dereference --hard-dereference -cf images.tar <folder>`, or `zip -0 -r`.",
    )


def _cut(archive: _Archive) -> DataError:
    return archive.fault(f"expected a whole tar archive, but it is cut off after {archive.size:,} bytes")
