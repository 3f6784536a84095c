"""A source to recognise and read: a file or a folder, whose content is parsed once and never executed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import yaml  # type: ignore[import-untyped]

from hrpose.errors import DataError, MissingDataError

_MOST_YAML = 10_000_000  # bytes
MADE_BY = "hrpose convert"  # begins the description of the files that are written
_WRITTEN = f'{{"info": {{"description": "{MADE_BY} '.encode()
_SKIPPED = {".hydra", ".git", "runs"}


@dataclass(frozen=True)
class Source:
    """A file or a folder of labels.

    Attributes:
        path: of it.

    Raises:
        MissingDataError: if there is none.
    """

    path: Path

    def __post_init__(self) -> None:
        if not self.path.exists():
            raise MissingDataError(f"Expected a file or folder to convert at {self.path}, but there is none.")

    @property
    def folder(self) -> Path:
        """The folder itself, or that of the file."""
        return self.path if self.path.is_dir() else self.path.parent

    def files(self, suffix: str) -> list[Path]:
        """Return the files with a suffix: this file, or all below this folder that no conversion has written."""
        if self.path.is_file():
            return [self.path] if self.path.suffix.lower() == suffix else []
        return [
            file
            for file in sorted(self.path.rglob(f"*{suffix}"))
            if file.is_file() and not _SKIPPED & set(file.relative_to(self.path).parts) and not _is_written(file)
        ]

    @cached_property
    def first_json(self) -> Any:
        """The content of this JSON file, or of the first one below the folder; None if there is none."""
        files = self.files(".json")
        return read_json_file(files[0]) if files else None

    @cached_property
    def first_line(self) -> str:
        """The first line of a text file; empty for a folder."""
        if self.path.is_dir():
            return ""
        with self.path.open("rb") as stream:
            return stream.readline(10_000).decode("utf-8-sig", "replace").strip()


def _is_written(file: Path) -> bool:
    """Check whether an earlier conversion has written a file."""
    if file.suffix != ".json":
        return False
    with file.open("rb") as stream:
        return stream.read(len(_WRITTEN)) == _WRITTEN


def read_json_file(file: Path) -> Any:
    """Parse a JSON file.

    Raises:
        DataError: if it is not JSON.
    """
    try:
        return json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: expected JSON, but it cannot be read as such: {error}. Export it again.") from error


def read_yaml(file: Path) -> dict[str, Any]:
    """Parse a YAML file of plain values.

    Raises:
        DataError: if it is not YAML, or no mapping.
    """
    text = _text(file)
    try:
        content = yaml.safe_load(text) if len(text) < _MOST_YAML else None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise DataError(f"{file}: expected YAML, but it cannot be read as such: {error}. Correct the file.") from error
    if not isinstance(content, dict):
        raise DataError(f"{file}: expected a YAML mapping of keys and values, but found {type(content).__name__}.")
    return content


def read_xml(file: Path) -> ElementTree.Element:
    """Parse an XML file without document type and entities, which can expand to any size or name other files.

    Raises:
        DataError: if it has a document type, or is not XML.
    """
    text = _text(file)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DataError(
            f"{file}: expected XML without a document type and entities, but found one. Export the labels again."
        )
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, RecursionError) as error:
        raise DataError(f"{file}: expected XML, but it cannot be read as such: {error}. Export it again.") from error


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file}: expected text in UTF-8, but it cannot be read as such: {error}. Save it as UTF-8."
        ) from error


def wrong(where: str, expected: str, found: object, fix: str = "") -> DataError:
    """Return the error for a value that has another form than its format defines."""
    return DataError(f"{where}: expected {expected}, but found {str(found)[:200]!r}.{f' {fix}' if fix else ''}")
