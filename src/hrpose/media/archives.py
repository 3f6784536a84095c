"""Images in zip and tar archives, read in place: an index of their names, and one or two reads of the file for each image.

A path below an archive names a member, as paths of Python's zipimport do: `images.zip/train/a.jpg`. A pattern joins archives to
one folder: `shards/*.tar/a.jpg`. A folder that is called like an archive stays a folder.
"""

from __future__ import annotations

import glob
import os
import re
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrpose.errors import DataError, MissingDataError
from hrpose.files import shorten
from hrpose.media.archive_index import LOCAL_HEADER, LOCAL_START, list_members
from hrpose.progress import show_progress
from hrpose.structures import PackedStrings, SharedArrays

_SUFFIX = re.compile(r"\.(?:zip|tar)(?=/|$)", re.IGNORECASE)
_MOST_OPEN = 256  # archives that a process keeps open; a block shuffle reads about 64 at a time
_opened: dict[str, Archives] = {}  # of this process, by absolute path or pattern


class Archives(SharedArrays):
    """The index of the images in some archives: 20 bytes each and their names, shared with the workers of a loader.

    Args:
        pattern: path or pattern of the archives.
        files: their paths.

    Attributes:
        names: of all images, sorted.

    Raises:
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
        # A spawned process need not read the index again. A link may have no suffix, so it is not followed.
        _opened.setdefault(os.path.abspath(self.pattern), self)  # noqa: PTH100

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.names.nbytes + self._numbers.nbytes + self._places.nbytes + self._lengths.nbytes

    def find(self, name: str) -> int:
        """Return the row of an image; -1 if there is none of this name."""
        row = bisect_left(self.names, name)
        return row if row < len(self.names) and self.names[row] == name else -1

    def length(self, row: int) -> int:
        """Return the bytes of an image."""
        return int(self._lengths[row])

    def below(self, folder: str) -> list[str]:
        """Return the images of a folder and the folders in it, by their names relative to it; "" is the whole."""
        prefix = f"{folder.rstrip('/')}/" if folder.strip("/") else ""
        start = bisect_left(self.names, prefix)
        end = bisect_left(self.names, prefix[:-1] + "0") if prefix else len(self.names)  # "0" comes behind "/"
        return [name[len(prefix) :] for name in self.names.tolist(start, end)]

    def stored_order(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Return for each of some names its rank in the order in which their images are stored."""
        row_of = {name: row for row, name in enumerate(self.names.tolist())}
        rows = np.array([row_of[name] for name in names], np.int64)
        ranks = np.empty(len(rows), np.int64)
        ranks[np.lexsort((self._places[rows], self._numbers[rows]))] = np.arange(len(rows))
        return ranks

    def read(self, row: int, size: int = -1) -> bytes:
        """Read an image, or its first bytes.

        Raises:
            DataError: if the archive cannot be read, or is not the one that the index is of.
        """
        number, place, length = int(self._numbers[row]), int(self._places[row]), int(self._lengths[row])
        file = self.files[number]
        length = length if size < 0 else min(size, length)
        try:
            opened = _open(file, self.stamps[number])  # held until the end: another thread may drop it from the cache
            if file.lower().endswith(".zip"):
                mark, *_, n, m = LOCAL_HEADER.unpack(os.pread(opened.number, LOCAL_HEADER.size, place))
                if mark != LOCAL_START:
                    raise DataError(
                        f"{file}: expected {self.names[row]} at byte {place:,}, but the archive is damaged there."
                    )
                place += LOCAL_HEADER.size + n + m
            content = os.pread(opened.number, length, place)
        except OSError as error:
            raise DataError(
                f"{file}: expected an archive of images, but it cannot be read: {error.strerror}."
            ) from error
        if len(content) < length:
            raise DataError(f"{file}: expected {length:,} bytes of {self.names[row]}, but got {len(content):,}.")
        return content


def _duplicate(pattern: str, names: Sequence[str], files: Sequence[str]) -> DataError:
    """Return the error for a name that is there twice."""
    owners: dict[str, str] = {}
    for name, file in zip(names, files, strict=True):
        if name in owners:
            break
        owners[name] = file
    where = f"twice in {file}" if owners[name] == file else f"in {owners[name]} and in {file}"
    return DataError(f"Expected each image once in {pattern}, but {name} is {where}. Pack the images again.")


class _Descriptor:
    """A file descriptor, closed when nobody refers to it any more."""

    def __init__(self, file: str) -> None:
        self.number = os.open(file, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self, close: Any = os.close) -> None:
        if hasattr(self, "number"):
            close(self.number)


@lru_cache(maxsize=_MOST_OPEN)
def _open(file: str, stamp: tuple[int, int]) -> _Descriptor:
    descriptor = _Descriptor(file)
    if _stamp(descriptor.number) != stamp:
        raise DataError(f"{file}: expected the archive that the index was made of, but it has changed. Start again.")
    return descriptor


def _stamp(file: str | int) -> tuple[int, int]:
    """Return size and time of a file: whether it is still the same."""
    found = os.stat(file)  # noqa: PTH116 - of a descriptor too
    return found.st_size, found.st_mtime_ns


def split_archive(path: str | Path) -> tuple[str, str] | None:
    """Split a path at the archive that it leads into, `("images.zip", "train/a.jpg")`; None if it leads into none."""
    text = str(path)
    for match in _SUFFIX.finditer(text):
        if not os.path.isdir(text[: match.end()]):  # noqa: PTH112 - for each image: Path costs more
            return text[: match.end()], text[match.end() :].strip("/")
    return None


def list_archives(pattern: str) -> list[str]:
    """Return the archives that a path or a pattern stands for, sorted."""
    return [pattern] if os.path.isfile(pattern) else sorted(filter(os.path.isfile, glob.glob(pattern, recursive=True)))  # noqa: PTH113, PTH207 - texts


def open_archives(pattern: str) -> Archives:
    """Return the index of archives; it is read again if they have changed.

    Raises:
        MissingDataError: if there are none.
        DataError: as `Archives`.
    """
    files = [os.path.abspath(file) for file in list_archives(pattern)]  # noqa: PTH100 - a link may have no suffix
    if not files:
        raise MissingDataError(f"Expected zip or tar archives at {shorten(pattern)}, but there are none.")
    index = tuple(files), tuple(map(_stamp, files))
    for known in _opened.values():
        if index == (known.files, known.stamps):
            break
    else:
        known = Archives(pattern, files)
    _opened[os.path.abspath(pattern)] = known  # noqa: PTH100 - as above
    return known


def read_member(archive: str, name: str, size: int = -1) -> bytes:
    """Read an image of an archive, or its first bytes.

    Raises:
        MissingDataError: if there is no such archive, or no such image in it.
        DataError: as `Archives.read`.
    """
    opened = _opened.get(os.path.abspath(archive)) or open_archives(archive)  # noqa: PTH100 - for each image: Path costs more
    row = opened.find(name)
    if row < 0:
        raise MissingDataError(
            f"Expected an image at {shorten(f'{archive}/{name}')}, but the archive has none of this name."
        )
    return opened.read(row, size)
