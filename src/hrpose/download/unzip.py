"""Unpack a zip archive safely: no file outside the folder, no links, no incomplete files; existing files are kept."""

from __future__ import annotations

import errno
import stat
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath

from hrpose.download.http import DownloadError, Report, require_space, silent

_CHUNK_BYTES = 1 << 20
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError)  # NotImplementedError: unknown compression


def unpack(
    archive: Path, folder: Path, *, wanted: Callable[[str], bool] = lambda name: True, report: Report = silent
) -> dict[str, int]:
    """Unpack the selected files of a zip archive into ``folder``.

    All names are checked before the first byte is written. An existing file of the right size is kept; any other is written under
    a temporary name, verified by its CRC, and renamed, so that a file with its final name is complete.

    Args:
        archive: the zip file.
        folder: destination; it is created.
        wanted: function from the name of a file in the archive to whether it is unpacked.
        report: called with ``("unpack", bytes processed, total bytes)``.

    Returns:
        The size in bytes of every selected file, by name.

    Raises:
        DownloadError: if the archive is damaged or unsafe (a name outside the folder, a link, an encrypted file), or the disk is
            full.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [info for info in opened.infolist() if not info.is_dir()]
            for info in members:
                _require_safe(info, archive)
            return _unpack_members(opened, [info for info in members if wanted(info.filename)], folder, report)
    except _BROKEN as error:
        message = f"{archive} is not a complete zip archive ({error}). Delete it and run the same command again."
        raise DownloadError(message) from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DownloadError(f"The disk of {folder} is full. Free some space and run the same command again.") from error


def _unpack_members(opened: zipfile.ZipFile, members: list[zipfile.ZipInfo], folder: Path, report: Report) -> dict[str, int]:
    sizes = {info.filename: info.file_size for info in members}
    missing = [info for info in members if not has_size(folder / info.filename, info.file_size)]
    num_missing_bytes = sum(info.file_size for info in missing)
    folder.mkdir(parents=True, exist_ok=True)
    require_space(folder, num_missing_bytes, f"Unpacking {opened.filename}")
    total = sum(sizes.values())
    done = total - num_missing_bytes
    report("unpack", done, total)
    for info in missing:
        _write(opened, info, folder / info.filename)
        done += info.file_size
        report("unpack", done, total)
    return sizes


def _require_safe(info: zipfile.ZipInfo, archive: Path) -> None:
    """Raise if the file could be written outside the folder, or cannot be read."""
    name = info.filename
    has_parent = ".." in PurePosixPath(name).parts or ".." in PureWindowsPath(name).parts
    kind = stat.S_IFMT(info.external_attr >> 16)
    if has_parent or PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor:
        fault = "a path outside the target folder"
    elif kind not in (0, stat.S_IFREG):
        fault = "a link or a device instead of a regular file"
    elif info.flag_bits & 0x1:
        fault = "an encrypted file"
    else:
        return
    raise DownloadError(f"{archive} contains {name!r}, {fault}. Nothing was unpacked; use another source.")


def has_size(file: Path, size: int) -> bool:
    """Check whether a file exists and has a number of bytes."""
    return file.is_file() and file.stat().st_size == size


def _write(opened: zipfile.ZipFile, info: zipfile.ZipInfo, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(file.name + ".part")
    try:
        with opened.open(info) as source, partial.open("wb") as sink:
            while chunk := source.read(_CHUNK_BYTES):
                sink.write(chunk)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
