"""Find the files that names stand for which were written on another system: with backslashes, in another case or Unicode form."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

from hrpose.errors import DataError
from hrpose.media.folders import list_folder

BACKSLASHES, ABSOLUTE = "have backslashes", "are absolute paths inside the folder"
ELSEWHERE, ESCAPED = "are absolute paths outside the folder", "are URL-encoded"
CASE, UNICODE = "differ from the file in case", "differ from the file in their Unicode form"


def match_files(names: Sequence[str], folder: str | Path) -> tuple[dict[int, str], dict[str, list[int]]]:
    """Find the files for names that do not exist exactly as written.

    A name never matches a file outside the folder, one of several candidates, or the file of another name.

    Args:
        names: file names of an annotation file.
        folder: of the images.

    Returns:
        New names, relative to the folder with forward slashes, by index in `names`; and the indices by kind of difference.
        Names that exist as written, and names without a file, are in neither.

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
    """Return an absolute path inside the folder relative to it; return other names unchanged."""
    if not name.startswith("/"):
        return name
    for home in (os.path.abspath(folder), os.path.realpath(folder)):  # noqa: PTH100 - Path.resolve follows links
        if name.startswith(home.rstrip("/") + "/"):
            return name[len(home.rstrip("/")) + 1 :]
    return name


def _is_absolute(path: str) -> bool:
    return path.startswith("/") or path[1:3] == ":/"


def _check_distinct(names: Sequence[str], found: Mapping[int, str], folder: str | Path) -> None:
    """Raise DataError if two different names match one file, because one of them belongs to another image."""
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
        """Return the only path that differs in nothing but case or Unicode form; None if there is none."""
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
