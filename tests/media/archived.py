"""Archives of the files of a folder, as the usual tools write them."""

import tarfile
import zipfile
from pathlib import Path
from typing import Any


def write_zip(file: Path, folder: Path, names: list[str] | None = None, **options: Any) -> Path:
    with zipfile.ZipFile(file, "w", **options) as archive:
        for name in names or files_of(folder):
            archive.write(folder / name, name)
    return file


def write_tar(file: Path, folder: Path, names: list[str] | None = None, **options: Any) -> Path:
    with tarfile.open(file, "w", **options) as archive:
        for name in names or files_of(folder):
            archive.add(folder / name, name)
    return file


def files_of(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


WRITE = {"zip": write_zip, "tar": write_tar}
