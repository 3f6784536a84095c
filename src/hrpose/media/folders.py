"""Folders of images: a folder of the file system, or zip and tar archives, whose members have the same relative names."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from hrpose.errors import DataError, MissingDataError
from hrpose.media.archives import Archives, list_archives, open_archives, split_archive
from hrpose.media.headers import has_image_name

_MOST_FOLDERS = 100  # in which a missing image is looked for


def is_image_folder(path: str | Path) -> bool:
    """Check whether a path is a folder, or leads to archives; which members these have is not read."""
    inside = split_archive(path)
    return os.path.isdir(path) if inside is None else bool(list_archives(inside[0]))  # noqa: PTH112 - texts


def is_image_file(path: str | Path) -> bool:
    """Check whether there is a file, or a member of an archive."""
    inside = split_archive(path)
    if inside is None or not inside[1]:
        return os.path.isfile(path)  # noqa: PTH113 - False for names too long
    return is_image_folder(inside[0]) and open_archives(inside[0]).find(inside[1]) >= 0


def real_file(path: str | Path) -> str:
    """Return the path that stands for a file under any of its names; of a member, the absolute one of its archive."""
    inside = split_archive(path)
    return os.path.realpath(path) if inside is None else os.path.abspath(path)  # noqa: PTH100 - a link may have no suffix


def is_same_file(one: str | Path, other: str | Path) -> bool:
    """Check whether two paths of files or members lead to the same one; hard links do."""
    if split_archive(one) is None and split_archive(other) is None:
        return os.path.samefile(one, other)  # noqa: PTH121 - texts
    return real_file(one) == real_file(other)


def file_size(path: str | Path) -> int:
    """Return the bytes of a file or a member; 0 if there is none."""
    inside = split_archive(path)
    if inside is None:
        try:
            return os.path.getsize(path)  # noqa: PTH202 - texts
        except OSError:
            return 0
    archives = open_archives(inside[0])
    row = archives.find(inside[1])
    return archives.length(row) if row >= 0 else 0


def list_folder(path: str | Path) -> set[str]:
    """Return the names in a folder.

    Raises:
        OSError: if there is no such folder.
        DataError: if an archive cannot be used.
    """
    inside = split_archive(path)
    if inside is None:
        return set(os.listdir(path))  # noqa: PTH208 - names, not paths
    return {name.partition("/")[0] for name in open_archives(inside[0]).below(inside[1])}


def list_images(path: str | Path) -> list[str]:
    """Return the images in a folder and the folders in it, by their names relative to it.

    Raises:
        DataError: if an archive cannot be used.
    """
    inside = split_archive(path)
    if inside is not None:
        return open_archives(inside[0]).below(inside[1])
    found = []
    for place, _, names in os.walk(path):
        start = Path(place).relative_to(path).as_posix()
        found += [name if start == "." else f"{start}/{name}" for name in names if has_image_name(os.fsencode(name))]
    return found


def check_file_name(name: str, place: str) -> None:
    """Refuse a `file_name` that could lead out of the image folder; messages say that it is of `place`.

    Raises:
        DataError: if the name is empty, absolute, contains ".." or a backslash.
    """
    parts = name.split("/")
    if not name or name.startswith("/") or ".." in parts or "\\" in name or "\0" in name or name[1:2] == ":":
        raise DataError(
            f"Expected `file_name` of {place} to be a path below the image folder, with forward slashes, but got {name!r}. "
            "Write it relative to the image folder, without '..'."
        )


def check_images_exist(file_names: Iterable[str], image_dir: str | Path) -> None:
    """Check that all images exist, by listing their folders: no file is opened, of archives the index is read.

    Args:
        file_names: paths relative to the image folder.
        image_dir: the image folder, which may itself be a symbolic link; or archives.

    Raises:
        MissingDataError: if the folder or images are missing, with their number and the first three.
        DataError: if a name or a symbolic link leads out of the folder.
    """
    root = Path(image_dir)
    if not is_image_folder(root):
        raise MissingDataError(f"Expected the image folder {root}, but there is no such folder.")
    by_folder: dict[str, list[str]] = {}
    for name in file_names:
        check_file_name(name, f"an image of {root}")
        by_folder.setdefault(name.rpartition("/")[0], []).append(name)
    missing = [name for folder, names in by_folder.items() for name in _missing_in(root, folder, names)]
    if missing:
        shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        total = sum(map(len, by_folder.values()))
        raise MissingDataError(
            f"Expected {total} images in {root}, but {len(missing)} {'is' if len(missing) == 1 else 'are'} missing: {shown}. "
            f"{find_whereabouts(root, missing[0])}"
        )


def find_whereabouts(root: Path, name: str) -> str:
    """Search for an image one folder up and one folder down from where it should be, or in all of an archive."""
    inside = split_archive(root)
    if inside is not None:
        return _find_in_archive(open_archives(inside[0]), root, name)
    folders = [root.absolute().parent, *sorted(path for path in root.iterdir() if path.is_dir())]
    found = [folder for folder in folders[:_MOST_FOLDERS] if os.path.isfile(folder / name)]  # noqa: PTH113 - False for names too long
    if found:
        return f"{name} is in {found[0]}: is that the image folder?"
    last = name.rpartition("/")[2]
    if last != name and os.path.isfile(root / last):  # noqa: PTH113
        return (
            f"{last} is there without {name.removesuffix(last)!r}: take this folder out of the file names, or move the images "
            f"into {root / name.removesuffix(last)}."
        )
    return "Add them, or point the image folder at where they are."


def _find_in_archive(archives: Archives, root: Path, name: str) -> str:
    """Search for a member whose path ends like that of an image; or name those that are there."""
    members = archives.below("")
    end = f"/{name}"
    found = next((member for member in members if f"/{member}".endswith(end)), None)
    if found is not None:
        folder = f"{archives.pattern}/{found.removesuffix(name).rstrip('/')}"
        return f"{archives.pattern}/{found} is there: is {folder} the image folder?"
    return f"There are {len(members):,} images, such as {members[0]}. Add them, or point the image folder at where they are."


def _missing_in(root: Path, folder: str, names: list[str]) -> list[str]:
    """List one folder of images; return the names that it lacks."""
    if split_archive(root) is not None:
        there = list_folder(root / folder)
        return [name for name in names if name.rpartition("/")[2] not in there]
    home = os.path.realpath(root)
    _check_inside(root / folder, home)
    try:
        with os.scandir(root / folder) as entries:
            links = {entry.name: entry.is_symlink() for entry in entries}
    except (FileNotFoundError, NotADirectoryError):
        return names
    for name in names:
        if links.get(name.rpartition("/")[2]):
            _check_inside(root / name, home)
    return [name for name in names if name.rpartition("/")[2] not in links]


def _check_inside(path: Path, home: str) -> None:
    """Follow symbolic links and refuse those that leave the image folder."""
    target = os.path.realpath(path)
    if target != home and not target.startswith(home.rstrip(os.sep) + os.sep):
        raise DataError(
            f"Expected {path} to lie in the image folder, but it is a symbolic link to {target}. "
            "Copy or hard-link the image, or make the image folder itself the link."
        )
