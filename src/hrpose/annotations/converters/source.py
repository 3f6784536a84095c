"""Open a file or folder of labels. JSON, YAML and XML are parsed without executing anything."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import yaml  # type: ignore[import-untyped]

from hrpose.errors import DataError, MissingDataError
from hrpose.files import shorten, write_atomically

_MOST_YAML = 10_000_000  # bytes
_MOST_SAMPLES = 10  # files that are read to recognise the format of a folder
MADE_BY = "hrpose convert"  # prefix of the description in written files
_WRITTEN = f'{{"info": {{"description": "{MADE_BY} '.encode()
_PNG = b"\x89PNG"
_SKIPPED = {".hydra", ".git", "runs"}


@dataclass(frozen=True)
class Source:
    """A file or folder of labels, with the folder of its images if it is another one, and the keypoint names or their order.

    Raises:
        MissingDataError: if it does not exist.
    """

    path: Path
    images: Path | None = None
    names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not self.path.exists():
            raise MissingDataError(f"Expected a file or folder to convert at {self.path}, but there is none.")

    @property
    def folder(self) -> Path:
        """Return the folder itself, or the folder of the file."""
        return self.path if self.path.is_dir() else self.path.parent

    def files(self, suffix: str) -> list[Path]:
        """Return the files with a suffix: this file, or all in this folder that were not written by a conversion."""
        if self.path.is_file():
            return [self.path] if self.path.suffix.lower() == suffix else []
        return [
            file
            for file in sorted(self.path.rglob(f"*{suffix}"))
            if file.is_file() and not _SKIPPED & set(file.relative_to(self.path).parts) and not _is_written(file)
        ]

    @cached_property
    def samples(self) -> list[Any]:
        """Return the content of this JSON file, or of the first JSON files in the folder."""
        if self.path.is_file():
            return [read_json_file(file) for file in self.files(".json")]
        contents = []
        for file in self.files(".json")[:_MOST_SAMPLES]:
            with suppress(DataError):
                contents.append(read_json_file(file))
        return contents

    def json_files(self, is_format: Callable[[Any], bool]) -> tuple[list[tuple[Path, Any]], list[str]]:
        """Return the JSON files of a format with their content, and a sentence about the others."""
        contents = [(file, read_json_file(file)) for file in self.files(".json")]
        found = [(file, content) for file, content in contents if is_format(content)]
        others = len(contents) - len(found)
        return found, [f"{others} JSON files are not of this format and are left out."] if others else []


def _is_written(file: Path) -> bool:
    """Check whether an earlier conversion has written a file."""
    if file.suffix != ".json":
        return False
    with file.open("rb") as stream:
        return stream.read(len(_WRITTEN)) == _WRITTEN


def read_json_file(file: Path) -> Any:
    """Parse a JSON file, or raise DataError; NaN and infinity, which pandas writes, are read as null."""
    with _parsing(file, "JSON", "Export it again."):
        return json.loads(file.read_bytes(), parse_constant=lambda _: None)


def read_yaml(file: Path) -> dict[str, Any]:
    """Parse a YAML mapping of plain values, or raise DataError."""
    text = _text(file)
    with _parsing(file, "YAML", "Correct the file."):
        content = yaml.safe_load(text) if len(text) < _MOST_YAML else None
    if not isinstance(content, dict):
        raise DataError(f"{file}: expected a YAML mapping of keys and values, but found {type(content).__name__}.")
    return content


def read_xml(file: Path) -> ElementTree.Element:
    """Parse XML, or raise DataError; refuse a document type and entities, which can expand to any size or read files."""
    text = _text(file)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DataError(f"{file}: expected XML without a document type and entities, but found one. Export the labels again.")
    with _parsing(file, "XML", "Export it again."):
        return ElementTree.fromstring(text)


@contextmanager
def _parsing(file: Path, kind: str, fix: str) -> Iterator[None]:
    try:
        yield
    except (yaml.YAMLError, ElementTree.ParseError, RecursionError, ValueError) as error:
        raise DataError(f"{file}: expected {kind}, but it cannot be parsed: {error}. {fix}") from error


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: expected text in UTF-8, but it cannot be decoded: {error}. Save it as UTF-8.") from error


def write_embedded(content: bytes, stem: Path) -> Path:
    """Write the content of a PNG or JPEG file to a path without suffix; return the path with suffix."""
    target = stem.with_name(f"{stem.name}.{'png' if content.startswith(_PNG) else 'jpg'}")
    with write_atomically(target, durable=False) as partial:
        partial.write_bytes(content)
    return target.resolve()


def wrong(where: object, expected: str, found: object, fix: str = "") -> DataError:
    """Return the error for a value that the format does not allow."""
    return DataError(f"{where}: expected {expected}, but found {str(found)[:200]!r}.{f' {fix}' if fix else ''}")


@contextmanager
def expecting(where: object, expected: str, found: object = None, fix: str = "") -> Iterator[None]:
    """Convert errors of missing keys and values of other types to the error of `wrong`; `found` is by default the error."""
    try:
        yield
    except DataError:
        raise
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise wrong(where, expected, error if found is None else found, fix) from None


@contextmanager
def one_error(source: str | Path) -> Iterator[None]:
    """Convert errors for values that a format does not allow to a DataError that names the source."""
    try:
        yield
    except DataError as error:
        if Path(source).name in str(error):
            raise
        raise type(error)(f"{source}: {error}") from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise DataError(f"{source}: expected shorter file names, but got {shorten(error.filename)}.") from error
        raise
    except (ArithmeticError, AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise DataError(
            f"{source}: expected the structure of its format, but reading failed: {error!r:.300}. Export the labels again, or "
            "write a COCO file from arrays with hrpose.write_coco."
        ) from error
