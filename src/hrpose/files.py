"""Atomic writing of files, and JSON without NaN and Infinity (RFC 8259), which Python's json module writes by default."""

from __future__ import annotations

import json
import math
import os
import secrets
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_MAX_UNPACKED = 4  # times the size of the archive
_MAX_SHOWN = 512  # characters of a name in a message
_PACKAGE = Path(__file__).resolve().parent
_NAME_CHARACTERS = 40  # of the target in the temporary name, which file systems limit to 255 bytes


@contextmanager
def write_atomically(path: str | Path, *, durable: bool = True) -> Iterator[Path]:
    """Write a temporary file in the folder of the target and move it to the target when it is complete.

    The folder is created. The temporary file is hidden and ends in `.part`. It is removed if the block raises; it remains only if
    the process is killed.

    Args:
        path: the target; an existing file is replaced.
        durable: flush the file and its folder to the disk, so that the file survives a power failure. This takes milliseconds.

    Yields:
        The temporary path to write to.

    Raises:
        OSError: with the name of the target, if the file cannot be written.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(target)
    try:
        yield partial
        replace_file(partial, target, durable=durable)
    except OSError as error:
        if error.filename in (None, str(partial)):  # a full disk
            error.filename = str(target)
        raise
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: str | Path, content: Any, *, undefined_as_null: bool = False, indent: int | None = None) -> None:
    """Write a JSON file atomically, see `write_atomically` and `dumps`."""
    text = dumps(content, undefined_as_null=undefined_as_null, indent=indent)
    with write_atomically(path) as partial:
        partial.write_text(text, encoding="utf-8")


def dumps(content: Any, *, undefined_as_null: bool = False, indent: int | None = None) -> str:
    """Convert plain containers to JSON.

    Args:
        content: dicts, lists, tuples, text and numbers.
        undefined_as_null: write NaN and infinity as null, for numbers that can be undefined, such as the AP of a size without
            instances.
        indent: spaces per level; None writes one line.

    Raises:
        ValueError: if a number is NaN or infinite.
    """
    written = _finite(content) if undefined_as_null else content
    try:
        return json.dumps(written, indent=indent, allow_nan=False)
    except ValueError as error:
        raise ValueError(f"Expected finite numbers in JSON, found NaN or infinity at {_find(content)}.") from error


def partial_path(target: Path, suffix: str = ".part") -> Path:
    """Return a hidden, unused path in the folder of the target."""
    return target.with_name(f".{target.name[:_NAME_CHARACTERS]}.{secrets.token_hex(4)}{suffix}")


def replace_file(source: Path, target: Path, *, durable: bool = True) -> None:
    """Move a file to a target on the same file system, which is replaced."""
    if durable:
        _flush(source)
    source.replace(target)
    if durable and os.name == "posix":  # other systems cannot open a folder
        _flush(target.parent)


def shorten(name: object) -> str:
    """Return a name for a message, truncated if it is very long."""
    text = str(name)
    return text if len(text) <= _MAX_SHOWN else f"{text[:80]}... ({len(text):,} characters)"


def archive_fault(file: Path) -> str | None:
    """Return the fault of the directory of a zip archive of weights, which hardly compress; None if there is none."""
    size = file.stat().st_size
    try:
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except Exception as error:  # zipfile raises errors of many classes for damaged archives
        return f"cut off after {size:,} bytes" if "not a zip file" in str(error) else str(error)
    return f"its {size:,} bytes unpack to {unpacked:,}" if unpacked > _MAX_UNPACKED * size else None


def list_files(name: str, folder: Path, notes: Mapping[str, str]) -> list[str]:
    """Return lines that list the expected files of a dataset, which of them exist, and a note on each."""
    found = {file: "found  " if (folder / file).exists() else "MISSING" for file in notes}
    rows = (f"  {found[file]}  {file}  {note}".rstrip() for file, note in notes.items())
    return [f"{name} is expected under {folder} like this:", *rows]


def _flush(path: Path) -> None:
    """Flush a file or folder from the cache of the system to the disk."""
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _finite(content: Any) -> Any:
    """Copy containers, with None instead of numbers that are not finite."""
    if isinstance(content, Mapping):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if _is_undefined(content) else content


def _find(content: Any, place: str = "$") -> str:
    """Return the path of the first number that is not finite; "" if there is none."""
    if isinstance(content, Mapping):
        return next((found for key, value in content.items() if (found := _find(value, f"{place}.{key}"))), "")
    if isinstance(content, list | tuple):
        return next((found for index, value in enumerate(content) if (found := _find(value, f"{place}[{index}]"))), "")
    return place if _is_undefined(content) else ""


def _is_undefined(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def conf_dir() -> Path:
    """Return the folder of the configuration files of the installed package or the checkout, or raise FileNotFoundError."""
    places = (_PACKAGE / "conf", _PACKAGE.parents[1] / "conf")
    for place in places:
        if (place / "fit.yaml").is_file():
            return place
    raise FileNotFoundError(f"The conf folder is neither at {places[0]} nor at {places[1]}: the installation is incomplete.")
