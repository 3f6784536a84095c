"""Images in uncompressed zip and tar archives: an index of their names, places and lengths, and one or two reads per image.

A path below an archive names a member, as in Python's zipimport: `images.zip/train/a.jpg`. A pattern joins archives into one
folder: `shards/*.tar/a.jpg`. A folder whose name ends like an archive remains a folder.
"""

from __future__ import annotations

import glob
import os
import re
import stat
import struct
import zipfile
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hrpose.errors import DataError, MissingDataError
from hrpose.files import shorten
from hrpose.media.headers import has_image_name
from hrpose.progress import show_progress
from hrpose.structures import PackedStrings, SharedArrays

Member: TypeAlias = tuple[str, int, int]
"""Name; place of the data in a tar file, of the local header in a zip file; bytes."""

_SUFFIX = re.compile(r"\.(?:zip|tar)(?=/|$)", re.IGNORECASE)
_MOST_OPEN = 256  # archives that a process keeps open; a block shuffle reads about 64 at the same time
_opened: dict[str, Archives] = {}  # of this process, by absolute path or pattern
_OUTSIDE = re.compile(r"^/|^.:|\\|\0|(?:^|/)\.\.(?:/|$)")
_PACK_AGAIN = "Pack the images again: `zip -0 -r images.zip <folder>`, `tar -cf images.tar <folder>`, or `hrpose convert"

# zip (PKWARE APPNOTE 4.3); the last two numbers of a local header are the lengths of the name and of the extra field
_LOCAL_HEADER, _LOCAL_START = struct.Struct("<4s5H3L2H"), b"PK\3\4"
_UNIX, _ENCRYPTED, _UTF8 = 3, 1, 1 << 11

_BLOCK, _ZEROS = 512, bytes(512)  # of a tar file
_REGULAR, _LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL = (b"0", b"\0", b"7"), b"L", b"K", (b"x", b"X"), b"g"
_WITHOUT_DATA = (b"1", b"2", b"3", b"4", b"5", b"6")  # links, devices, folders and pipes
_LONGEST_EXTENSION = 2**20  # bytes of a pax header or a long name
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"(\xb5": "zstd"}


class Archives(SharedArrays):
    """The index of the images in archives: 20 bytes and the name of each, shared with the workers of a loader.

    Attributes:
        names: of all images, sorted.

    Raises:
        MissingDataError: if there are no images.
        DataError: as `list_members`, or if two images have the same name.
    """

    def __init__(self, pattern: str, files: Sequence[str]) -> None:
        self.pattern, self.files, self.stamps = pattern, tuple(files), tuple(map(_stamp, files))
        names: list[str] = []
        numbers, places, lengths = array("i"), array("q"), array("q")
        with show_progress(f"Reading the index of {pattern}", len(files), "archives", delay=1) as advance:
            for number, file in enumerate(files):
                for name, place, length in list_members(file):
                    names.append(name)
                    numbers.append(number)
                    places.append(place)
                    lengths.append(length)
                advance()
        if not names:
            raise MissingDataError(f"Expected images in {pattern}, but there are none in {len(files)} archives.")
        if len(set(names)) < len(names):
            raise _duplicate(pattern, names, [files[number] for number in numbers])
        order = sorted(range(len(names)), key=names.__getitem__)
        self.names = PackedStrings(sorted(names))
        self._numbers = np.array(numbers, np.int32)[order]
        self._places = np.array(places, np.int64)[order]
        self._lengths = np.array(lengths, np.int64)[order]

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        # A spawned process does not read the index again. A link may have no suffix, so it is not followed.
        _opened.setdefault(os.path.abspath(self.pattern), self)  # noqa: PTH100

    @property
    def nbytes(self) -> int:
        """Memory of the index in bytes."""
        return self.names.nbytes + self._numbers.nbytes + self._places.nbytes + self._lengths.nbytes

    def find(self, name: str) -> int:
        """Return the row of an image; -1 if no image has this name."""
        row = bisect_left(self.names, name)
        return row if row < len(self.names) and self.names[row] == name else -1

    def length(self, name: str) -> int:
        """Return the size of an image in bytes; 0 if no image has this name."""
        row = self.find(name)
        return int(self._lengths[row]) if row >= 0 else 0

    def below(self, folder: str) -> list[str]:
        """Return the images in a folder and its subfolders, as names relative to it; "" is the whole archive."""
        prefix = f"{folder.rstrip('/')}/" if folder.strip("/") else ""
        start = bisect_left(self.names, prefix)
        end = bisect_left(self.names, prefix[:-1] + "0") if prefix else len(self.names)  # "0" follows "/"
        return [name[len(prefix) :] for name in self.names.tolist(start, end)]

    def stored_order(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Return the rank of each name in the order in which the images are stored."""
        row_of = {name: row for row, name in enumerate(self.names.tolist())}
        rows = np.array([row_of[name] for name in names], np.int64)
        ranks = np.empty(len(rows), np.int64)
        ranks[np.lexsort((self._places[rows], self._numbers[rows]))] = np.arange(len(rows))
        return ranks

    def read(self, row: int, size: int = -1) -> bytes:
        """Read an image, or its first bytes; raise DataError if the archive cannot be read, or has changed since the indexing."""
        number, place, length = int(self._numbers[row]), int(self._places[row]), int(self._lengths[row])
        file = self.files[number]
        length = length if size < 0 else min(size, length)
        try:
            opened = _open(file, self.stamps[number])  # a reference, because another thread may drop it from the cache
            if file.lower().endswith(".zip"):
                mark, *_, n, m = _LOCAL_HEADER.unpack(os.pread(opened.number, _LOCAL_HEADER.size, place))
                if mark != _LOCAL_START:
                    raise DataError(f"{file}: expected {self.names[row]} at byte {place:,}, but the archive is damaged there.")
                place += _LOCAL_HEADER.size + n + m
            content = os.pread(opened.number, length, place)
        except OSError as error:
            raise DataError(f"{file}: expected an archive of images, but it cannot be read: {error.strerror}.") from error
        if len(content) < length:
            raise DataError(f"{file}: expected {length:,} bytes of {self.names[row]}, but got {len(content):,}.")
        return content


def _duplicate(pattern: str, names: Sequence[str], files: Sequence[str]) -> DataError:
    """Return the error for a duplicate name."""
    owners: dict[str, str] = {}
    for name, file in zip(names, files, strict=True):
        if name in owners:
            break
        owners[name] = file
    where = f"twice in {file}" if owners[name] == file else f"in {owners[name]} and in {file}"
    return DataError(f"Expected each image once in {pattern}, but {name} is {where}. Pack the images again.")


class _Descriptor:
    """A file descriptor that is closed when the object is deleted."""

    def __init__(self, file: str) -> None:
        self.number = os.open(file, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self, close: Any = os.close) -> None:
        if hasattr(self, "number"):
            close(self.number)


@lru_cache(maxsize=_MOST_OPEN)
def _open(file: str, stamp: tuple[int, int]) -> _Descriptor:
    descriptor = _Descriptor(file)
    if _stamp(descriptor.number) != stamp:
        raise DataError(f"{file}: expected an unchanged archive, but it has changed since it was indexed. Start again.")
    return descriptor


def _stamp(file: str | int) -> tuple[int, int]:
    """Return size and modification time of a file."""
    found = os.stat(file)  # noqa: PTH116 - of a descriptor too
    return found.st_size, found.st_mtime_ns


def split_archive(path: str | Path) -> tuple[str, str] | None:
    """Split a path into archive and member, `("images.zip", "train/a.jpg")`; None if it contains no archive."""
    text = str(path)
    for match in _SUFFIX.finditer(text):
        if not os.path.isdir(text[: match.end()]):  # noqa: PTH112 - for each image: Path costs more
            return text[: match.end()], text[match.end() :].strip("/")
    return None


def list_archives(pattern: str) -> list[str]:
    """Return the archives of a path or a pattern, sorted."""
    return [pattern] if os.path.isfile(pattern) else sorted(filter(os.path.isfile, glob.glob(pattern, recursive=True)))  # noqa: PTH113, PTH207 - texts


def open_archives(pattern: str) -> Archives:
    """Return the index of archives, which is read again if they have changed; errors as `Archives`, or if there are none."""
    files = [os.path.abspath(file) for file in list_archives(pattern)]  # noqa: PTH100 - a link may have no suffix
    if not files:
        raise MissingDataError(f"Expected zip or tar archives at {shorten(pattern)}, found none.")
    index = tuple(files), tuple(map(_stamp, files))
    known = next((known for known in _opened.values() if index == (known.files, known.stamps)), None)
    _opened[os.path.abspath(pattern)] = found = known or Archives(pattern, files)  # noqa: PTH100 - as above
    return found


def archives_of(folder: str | Path) -> Archives | None:
    """Return the index of the archives that contain an image folder; None for a folder of the file system."""
    inside = split_archive(folder)
    return None if inside is None else open_archives(inside[0])


def read_member(archive: str, name: str, size: int = -1) -> bytes:
    """Read an image of an archive, or its first bytes; raise MissingDataError if there is none, and errors of `Archives.read`."""
    opened = _opened.get(os.path.abspath(archive)) or open_archives(archive)  # noqa: PTH100 - for each image: Path costs more
    row = opened.find(name)
    if row < 0:
        raise MissingDataError(f"Expected an image at {shorten(f'{archive}/{name}')}, but the archive has none of this name.")
    return opened.read(row, size)


@dataclass(frozen=True)
class _Archive:
    """An open archive: its path, its descriptor and its size in bytes."""

    path: str
    descriptor: int
    size: int

    def _read(self, place: int, length: int) -> bytes:
        """Read some bytes; fewer at the end of the file."""
        return os.pread(self.descriptor, length, place)

    def _fault(self, what: str, fix: str = "Copy or download it again.") -> DataError:
        """Return an error about this archive."""
        return DataError(f"{self.path}: {what}. {fix}")

    def zip_members(self) -> Iterator[Member]:
        """Yield the images in the directory at the end of a zip file."""
        with zipfile.ZipFile(self.path) as opened:
            members = opened.infolist()
        images = [entry for entry in members if has_image_name(entry.filename.encode())]
        compressed = [entry.filename for entry in images if entry.compress_type != zipfile.ZIP_STORED]
        if compressed:
            raise self._fault(
                f"expected images that are stored as they are, but {len(compressed):,} of {len(members):,} members are "
                f"compressed, the first is {compressed[0]}",
                f"Unpack it. {_PACK_AGAIN} <annotations> images=<folder> archive=tar`.",
            )
        for entry in images:
            name = self._checked_name(_zip_name(entry))
            if entry.flag_bits & _ENCRYPTED:
                raise self._fault(f"expected images that can be read, but {name} is encrypted", f"{_PACK_AGAIN}`.")
            if entry.create_system == _UNIX and stat.S_ISLNK(entry.external_attr >> 16):
                raise self._link(name, "a symbolic link")
            if not 0 <= entry.header_offset <= opened.start_dir - _LOCAL_HEADER.size - entry.file_size:
                raise self._fault(f"expected a whole zip archive, but {name} would be outside of it")
            yield name, entry.header_offset, entry.file_size

    def tar_members(self) -> Iterator[Member]:
        """Yield the images of a tar file, from header to header (POSIX.1-2017, pax format, and the long names of GNU tar).

        Four times as fast as tarfile, which also ends at a damaged header without an error.
        """
        place = 0
        given: dict[str, bytes] = {}
        while (header := self._read(place, _BLOCK)) != _ZEROS:
            kind, length = self._tar_header(header, place)
            data, place = place + _BLOCK, place + _BLOCK
            place += 0 if kind in _WITHOUT_DATA else -(-length // _BLOCK) * _BLOCK
            if kind in (_LONG_NAME, _LONG_LINK, *_PAX, _PAX_GLOBAL):
                if length > _LONGEST_EXTENSION:
                    raise self._fault(f"expected a tar archive, but a header at byte {data - _BLOCK:,} has {length:,} bytes")
                content = self._read(data, length)
                given |= {"path": content.rstrip(b"\0")} if kind == _LONG_NAME else _records(content) if kind in _PAX else {}
                continue
            raw, is_sparse = given.get("path") or _tar_name(header), any(key.startswith("GNU.sparse") for key in given)
            if "size" in given:
                length = abs(int(given["size"]))
                place = data + -(-length // _BLOCK) * _BLOCK
            given = {}
            if kind == b"5" or not has_image_name(raw):
                continue
            name = self._checked_name(raw.decode())
            if kind not in _REGULAR or is_sparse:
                raise self._link(name, "a link" if kind in (b"1", b"2") else "no regular file")
            if data + length > self.size:
                raise self._cut()
            yield name, data, length
        if self._read(place, 2**20).strip(b"\0"):
            raise self._fault(
                "expected nothing after the end of the archive, but there is more, as in concatenated tar files",
                "Use the separate tar files.",
            )

    def _tar_header(self, header: bytes, place: int) -> tuple[bytes, int]:
        """Check a header; return the kind of its member and the size of the data after it."""
        if place == 0 and (method := _COMPRESSED.get(header[:2])):
            raise self._fault(f"expected an uncompressed tar archive, but it is compressed with {method}", "Unpack it to a .tar.")
        if len(header) < _BLOCK:
            raise self._cut()
        stated = header[148:156].strip(b" \0")
        if not stated.isdigit() or int(stated, 8) != sum(header[:148]) + sum(header[156:]) + 8 * ord(" "):
            raise self._fault(f"expected a whole tar archive, but the header at byte {place:,} is damaged")
        field = header[124:136]
        length = int.from_bytes(field[1:], "big") if field[0] == 0x80 else int(field.strip(b" \0") or b"0", 8)
        if length < 0:
            raise self._fault(f"expected a whole tar archive, but the header at byte {place:,} states {length:,} bytes")
        return header[156:157], length

    def _checked_name(self, name: str) -> str:
        """Return a name without "./" at its start."""
        while name.startswith("./"):
            name = name[2:]
        if _OUTSIDE.search(name):
            raise self._fault(
                f"expected names below the archive, with forward slashes, but found {name!r}",
                "Pack the images again, with names relative to their folder.",
            )
        return name

    def _link(self, name: str, kind: str) -> DataError:
        return self._fault(
            f"expected images in the archive, but {name} is {kind}",
            "Pack the images themselves: `tar --dereference --hard-dereference -cf images.tar <folder>`, or `zip -0 -r`.",
        )

    def _cut(self) -> DataError:
        return self._fault(f"expected a whole tar archive, but it is cut off after {self.size:,} bytes")


def list_members(path: str) -> Iterator[Member]:
    """Yield the images of a .zip or .tar file, in the order in which they are stored; nothing is unpacked.

    Raises:
        DataError: if the archive cannot be read, is compressed, encrypted, cut off or damaged, or an image in it is a link or no
            regular file, or has a name that leads out of the archive.
    """
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - a text
            archive = _Archive(path, file.fileno(), os.fstat(file.fileno()).st_size)
            yield from archive.zip_members() if path.lower().endswith(".zip") else archive.tar_members()
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path}: expected a zip or tar archive, but it cannot be read: {error.strerror}.") from error
    except (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError, LookupError, OverflowError) as error:
        raise DataError(
            f"{path}: expected a whole archive, but its directory is damaged or cut off ({error}). Copy or download it again."
        ) from error


def _zip_name(entry: zipfile.ZipInfo) -> str:
    """Return a name decoded as UTF-8, which many tools write without the flag, or in the code page of MS-DOS."""
    try:
        return entry.filename if entry.flag_bits & _UTF8 else entry.filename.encode("cp437").decode()
    except UnicodeError:
        return entry.filename


def _tar_name(header: bytes) -> bytes:
    name, prefix = header[:100].partition(b"\0")[0], header[345:500].partition(b"\0")[0]
    return prefix + b"/" + name if prefix and header[257:263] == b"ustar\0" else name  # GNU tar has dates in its place


def _records(content: bytes) -> dict[str, bytes]:
    """Parse the records of a pax header: `<length> <key>=<value>` and a newline each."""
    found, place = {}, 0
    while place < len(content) and content[place : place + 1] != b"\0":
        length = int(content[place:].partition(b" ")[0])
        key, _, value = content[place : place + length - 1].partition(b" ")[2].partition(b"=")
        found[key.decode()] = value
        place += max(length, 1)
    return found
