"""Write the images of a converted set into uncompressed zip or tar archives, in an order that is drawn."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from hrpose.errors import DataError
from hrpose.files import write_atomically
from hrpose.media.folders import check_images_exist, file_size
from hrpose.media.images import read_bytes
from hrpose.progress import show_progress

ArchiveKind: TypeAlias = Literal["tar", "zip"]
_BYTES_OF_A_HEADER = 1024  # of each member, about


def write_archives(
    names: Mapping[str, Sequence[str]], images: Path, out: Path, *, kind: ArchiveKind, size: float, seed: int
) -> dict[str, Path]:
    """Write archives of the images of each split: `<split>-00000.tar` and so on.

    Neighbours in an archive are unrelated, because the order is drawn. The archives appear together when all are complete.

    Args:
        names: of the images of each split, relative to their folder.
        images: their folder, or archives.
        out: folder of the archives.
        kind: "tar" or "zip".
        size: of an archive, in MB.
        seed: of the order.

    Returns:
        The path pattern of the archives of each split.

    Raises:
        MissingDataError: if images are missing.
        DataError: if the size is not positive, an archive is in the way, or an image cannot be read.
    """
    if size <= 0:
        raise DataError(f"archive_size: expected the MB of an archive, above 0, but got {size:g}.")
    for split, own in names.items():
        check_images_exist(own, images)
        if found := sorted(out.glob(f"{split}-*.{kind}")):
            raise DataError(
                f"Expected to write {split}-*.{kind} into {out}, but there are {len(found)} already. Delete them, or give "
                "another folder: out=<folder>."
            )
    total = sum(map(len, names.values()))
    with ExitStack() as complete, show_progress("Writing archives", total, "images", delay=1) as advance:
        for split, own in names.items():
            order = np.random.default_rng(seed).permutation(len(own))
            for number, part in enumerate(_parts([own[index] for index in order.tolist()], images, size * 1e6)):
                target = out / f"{split}-{number:05}.{kind}"
                _write(complete.enter_context(write_atomically(target)), kind, _read(part, images, advance))
    return {split: out / f"{split}-*.{kind}" for split in names}


def _parts(names: Sequence[str], images: Path, most: float) -> Iterator[list[str]]:
    """Divide images into groups of so many bytes at most, or of one image."""
    part: list[str] = []
    held = 0
    for name in names:
        size = file_size(images / name) + _BYTES_OF_A_HEADER
        if part and held + size > most:
            yield part
            part, held = [], 0
        part.append(name)
        held += size
    yield part


def _read(names: Sequence[str], images: Path, advance: Callable[[], object]) -> Iterator[tuple[str, bytes]]:
    for name in names:
        yield name, read_bytes(images / name)
        advance()


def _write(file: Path, kind: ArchiveKind, members: Iterable[tuple[str, bytes]]) -> None:
    """Write an archive of files, without times and owners."""
    if kind == "zip":
        with zipfile.ZipFile(file, "w") as zipped:
            for name, content in members:
                zipped.writestr(zipfile.ZipInfo(name), content)
        return
    with tarfile.open(file, "w") as tarred:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tarred.addfile(member, io.BytesIO(content))
