"""Write files so that a killed process leaves the old file or the new one, never a part of it."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NAME_CHARACTERS = 40  # of the target's name in the temporary one, which file systems hold to 255 bytes


@contextmanager
def write_atomically(path: str | Path, *, durable: bool = True) -> Iterator[Path]:
    """Write a file beside its target and move it there when it is complete.

    The folder is made. The temporary file is hidden and ends in `.part`, so that no pattern for the target's suffix matches
    it. It is removed if the block raises; a killed process leaves it behind.

    Args:
        path: the target; an existing file is replaced.
        durable: flush the file and its folder to the disk, so that the file also survives a power failure. This takes
            milliseconds, too long for each of thousands of pictures.

    Yields:
        The temporary path to write to.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(target)
    try:
        yield partial
        replace_file(partial, target, durable=durable)
    finally:
        partial.unlink(missing_ok=True)


def partial_path(target: Path, suffix: str = ".part") -> Path:
    """Return a hidden, unused path beside the target."""
    return target.with_name(f".{target.name[:_NAME_CHARACTERS]}.{secrets.token_hex(4)}{suffix}")


def replace_file(source: Path, target: Path, *, durable: bool = True) -> None:
    """Move a complete file to a target on the same file system, and replace what is there."""
    if durable:
        _flush(source)
    source.replace(target)
    if durable and os.name == "posix":  # other systems cannot open a folder
        _flush(target.parent)


def _flush(path: Path) -> None:
    """Write what the system holds of a file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
