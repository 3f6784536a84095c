"""List image folders of the file system or of archives; check that images exist, and match names written on another system."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

from hrpose.errors import DataError, MissingDataError
from hrpose.media.archives import Archives, list_archives, open_archives, split_archive
from hrpose.media.headers import has_image_name

_MOST_FOLDERS = 100  # that are searched for a missing image

# kinds of difference between a name and its file
BACKSLASHES, ABSOLUTE = "have backslashes", "are absolute paths inside the folder"
ELSEWHERE, ESCAPED = "are absolute paths outside the folder", "are URL-encoded"
CASE, UNICODE = "differ from the file in case", "differ from the file in their Unicode form"


def is_image_folder(path: str | Path) -> bool:
    """Check whether a path is a folder or names archives; these are not opened."""
    inside = split_archive(path)
    return os.path.isdir(path) if inside is None else bool(list_archives(inside[0]))  # noqa: PTH112 - texts


def is_image_file(path: str | Path) -> bool:
    """Check whether a file, or a member of an archive, exists."""
    inside = split_archive(path)
    if inside is None or not inside[1]:
        return os.path.isfile(path)  # noqa: PTH113 - False for names too long
    return is_image_folder(inside[0]) and open_archives(inside[0]).find(inside[1]) >= 0


def real_file(path: str | Path) -> str:
    """Return the one path of a file with several names; for a member of an archive the absolute path."""
    inside = split_archive(path)
    return os.path.realpath(path) if inside is None else os.path.abspath(path)  # noqa: PTH100 - a link may have no suffix


def is_same_file(one: str | Path, other: str | Path) -> bool:
    """Check whether two paths lead to the same file or member; hard links do."""
    if split_archive(one) is None and split_archive(other) is None:
        return os.path.samefile(one, other)  # noqa: PTH121 - texts
    return real_file(one) == real_file(other)


def file_size(path: str | Path) -> int:
    """Return the size in bytes of a file or a member; 0 if it does not exist."""
    inside = split_archive(path)
    if inside is None:
        try:
            return os.path.getsize(path)  # noqa: PTH202 - texts
        except OSError:
            return 0
    return open_archives(inside[0]).length(inside[1])


def list_folder(path: str | Path) -> set[str]:
    """Return the names in a folder; raise OSError if it does not exist, DataError if an archive cannot be used."""
    inside = split_archive(path)
    if inside is None:
        return set(os.listdir(path))  # noqa: PTH208 - names, not paths
    return {name.partition("/")[0] for name in open_archives(inside[0]).below(inside[1])}


def list_images(path: str | Path) -> list[str]:
    """Return the images in a folder and its subfolders, as names relative to it; raise DataError for an unusable archive."""
    inside = split_archive(path)
    if inside is not None:
        return open_archives(inside[0]).below(inside[1])
    found = []
    for place, _, names in os.walk(path):
        start = Path(place).relative_to(path).as_posix()
        found += [name if start == "." else f"{start}/{name}" for name in names if has_image_name(os.fsencode(name))]
    return found


def check_file_name(name: str, place: str) -> None:
    """Raise DataError for a `file_name` that is empty or could lead out of the image folder; `place` describes its owner."""
    parts = name.split("/")
    if not name or name.startswith("/") or ".." in parts or "\\" in name or "\0" in name or name[1:2] == ":":
        raise DataError(
            f"Expected `file_name` of {place} to be a path below the image folder, with forward slashes, but got {name!r}. "
            "Write it relative to the image folder, without '..'."
        )


def check_images_exist(file_names: Iterable[str], image_dir: str | Path) -> None:
    """Check that all images exist, by listing their folders or reading the index of their archives.

    File names are relative to the image folder, which may itself be a symbolic link.

    Raises:
        MissingDataError: if the folder or an image is missing; with the number of missing images and the first three.
        DataError: if a name or a symbolic link leads out of the folder.
    """
    root = Path(image_dir)
    if not is_image_folder(root):
        raise MissingDataError(f"Expected the image folder {root}, but it does not exist.")
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
    """Search for a missing image one folder up, one folder down or in the whole archive; return what to do."""
    inside = split_archive(root)
    if inside is not None:
        return _find_in_archive(open_archives(inside[0]), name)
    folders = [root.absolute().parent, *sorted(path for path in root.iterdir() if path.is_dir())]
    found = [folder for folder in folders[:_MOST_FOLDERS] if os.path.isfile(folder / name)]  # noqa: PTH113 - False for names too long
    if found:
        return f"{name} is in {found[0]}: is this the image folder?"
    last = name.rpartition("/")[2]
    if last != name and os.path.isfile(root / last):  # noqa: PTH113
        return (
            f"{last} is there without {name.removesuffix(last)!r}: remove this folder from the file names, or move the images "
            f"into {root / name.removesuffix(last)}."
        )
    return "Add them, or set the image folder to where they are."


def _find_in_archive(archives: Archives, name: str) -> str:
    """Search for a member whose path ends with the name of an image; else describe the members."""
    members = archives.below("")
    found = next((member for member in members if f"/{member}".endswith(f"/{name}")), None)
    if found is not None:
        folder = f"{archives.pattern}/{found.removesuffix(name).rstrip('/')}"
        return f"{archives.pattern}/{found} exists: is {folder} the image folder?"
    return f"The archive has {len(members):,} images, such as {members[0]}. Add it, or set the image folder to where it is."


def _missing_in(root: Path, folder: str, names: list[str]) -> list[str]:
    """Return the names that are missing in one folder of images."""
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
    """Refuse a symbolic link that leads out of the image folder."""
    target = os.path.realpath(path)
    if target != home and not target.startswith(home.rstrip(os.sep) + os.sep):
        raise DataError(
            f"Expected {path} to be in the image folder, but it is a symbolic link to {target}. "
            "Copy or hard-link the image, or make the image folder itself the link."
        )


def match_files(names: Sequence[str], folder: str | Path) -> tuple[dict[int, str], dict[str, list[int]]]:
    """Find the files of names that do not exist as written, such as names from another system.

    A name never matches a file outside the folder, one of several candidates, or the file of another name.

    Returns:
        New names, relative to the folder with forward slashes, by index in `names`; and the indices by kind of difference.
        Neither has names that exist as written or have no file.

    Raises:
        DataError: if two different names match one file.
    """
    listing = _Listing(Path(folder))
    found: dict[int, str] = {}
    kinds: dict[str, list[int]] = {kind: [] for kind in (BACKSLASHES, ABSOLUTE, ELSEWHERE, ESCAPED, CASE, UNICODE)}
    for index, name in enumerate(names):
        if listing.has(name):
            continue
        path = _relative(name, Path(folder)).replace("\\", "/")
        match = path if listing.has(path) else listing.find(path) or listing.find_end(path)
        match = match or (unquote(path) if listing.has(unquote(path)) else None)
        if match is None or ".." in match.split("/"):
            continue
        found[index] = match
        kinds[_kind(name, path, match)].append(index)
    _check_distinct(names, found, folder)
    return found, {kind: indices for kind, indices in kinds.items() if indices}


def _kind(name: str, path: str, match: str) -> str:
    if _is_absolute(path):
        return ELSEWHERE
    if match != path and match == unquote(path):
        return ESCAPED
    if match != path:
        same_form = unicodedata.normalize("NFC", match) != unicodedata.normalize("NFC", path)
        return CASE if same_form else UNICODE
    return BACKSLASHES if "\\" in name and not name.startswith("/") else ABSOLUTE


def _relative(name: str, folder: Path) -> str:
    """Return an absolute path inside the folder relative to it, and other names unchanged."""
    if not name.startswith("/"):
        return name
    for home in (os.path.abspath(folder), os.path.realpath(folder)):  # noqa: PTH100 - Path.resolve follows links
        if name.startswith(home.rstrip("/") + "/"):
            return name[len(home.rstrip("/")) + 1 :]
    return name


def _is_absolute(path: str) -> bool:
    return path.startswith("/") or path[1:3] == ":/"


def _check_distinct(names: Sequence[str], found: Mapping[int, str], folder: str | Path) -> None:
    """Raise DataError if two different names match one file: one of them belongs to another image."""
    if not found:
        return
    owners: dict[str, str] = {}
    for index, name in enumerate(names):
        match = found.get(index, name)
        other = owners.setdefault(match, name)
        if other != name:
            raise DataError(
                f"Expected each `file_name` to match its own file, but {other!r} and {name!r} both match "
                f"{Path(folder) / match}. Add the missing image, or correct the name."
            )


class _Listing:
    """The names in an image folder and its subfolders; each folder is listed once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._exact: dict[str, set[str]] = {}
        self._by_key: dict[str, dict[str, str | None]] = {}

    def has(self, name: str) -> bool:
        """Check whether a relative path exists; False for absolute paths and for paths with ".."."""
        folder, _, last = name.rpartition("/")
        return not name.startswith("/") and ".." not in folder.split("/") and last in self._names(folder)

    def find(self, name: str) -> str | None:
        """Return the only path that differs in case or Unicode form alone; None if there is none."""
        found = ""
        for part in name.split("/"):
            match = part if part in self._names(found) else self._keys(found).get(_key(part))
            if not match:
                return None
            found = f"{found}/{match}" if found else match
        return found

    def find_end(self, path: str) -> str | None:
        """Return the longest end of an absolute path that exists in the folder; None if there is none."""
        parts = path.split("/") if _is_absolute(path) else []
        ends = ("/".join(parts[start:]) for start in range(1, len(parts)))
        return next((end for end in ends if end and self.has(end)), None)

    def _names(self, folder: str) -> set[str]:
        if folder not in self._exact:
            try:
                self._exact[folder] = list_folder(self._root / folder)
            except DataError:  # an archive that cannot be used
                raise
            except (OSError, ValueError):
                self._exact[folder] = set()
        return self._exact[folder]

    def _keys(self, folder: str) -> dict[str, str | None]:
        """Return the names in a folder by their normalised form; None where several share it."""
        if folder not in self._by_key:
            keys: dict[str, str | None] = {}
            for name in self._names(folder):
                key = _key(name)
                keys[key] = None if key in keys else name
            self._by_key[folder] = keys
        return self._by_key[folder]


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
