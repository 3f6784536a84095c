"""The result files, written image by image.

The files have hidden names until they are complete. `resume` continues from those of a killed run; an interrupted run ends its
files after the last complete image.

`poses.json` is a COCO result file for `hrpose evaluate` and pycocotools. `images.json` lists the images, as a COCO annotation
file without annotations. `poses.csv` has one row per instance.
"""

import csv
import io
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from hrpose.errors import ConfigError, DataError
from hrpose.files import dumps, replace_file
from hrpose.skeletons import Skeleton

Row = Mapping[str, Any]
_IMAGES, _POSES, _TABLE = "images.json", "poses.json", "poses.csv"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # first characters of a formula in a spreadsheet


class PredictionFiles:
    """Write the files of one run in a `with` block; they are valid even if the block raises an error.

    Args:
        folder: of the run; it is created. Existing files raise FileExistsError unless a run is resumed.
        skeleton: of the poses.
        category_id: of the instances in `poses.json`.
        table: whether to write `poses.csv`.
        settings: that the poses depend on; `read_earlier` compares them.
        earlier: images of a stopped run with their rows, from `read_earlier`; its files are replaced.
    """

    def __init__(
        self,
        folder: Path,
        skeleton: Skeleton,
        *,
        category_id: int = 1,
        table: bool = False,
        settings: Row | None = None,
        earlier: Sequence[tuple[Row, Sequence[Row]]] | None = None,
    ) -> None:
        names = (_IMAGES, _POSES, *((_TABLE,) if table else ()))
        existing = [name for name in names if earlier is None and (folder / name).exists()]
        if existing:
            raise FileExistsError(
                f"{folder / existing[0]} exists already, from another run. Set another folder, paths.run=..., or add resume=true "
                "to continue that run."
            )
        category = {
            "id": category_id,
            "name": "person",
            "keypoints": list(skeleton.keypoint_names),
            "skeleton": [[start + 1, end + 1] for start, end in skeleton.edges],
        }
        head: dict[str, Any] = {"info": {"description": "hrpose predict", "settings": dict(settings or {})}}
        head |= {"categories": [category], "annotations": []}
        folder.mkdir(parents=True, exist_ok=True)
        self._replaced = _partials(folder) if earlier is not None else []
        token = secrets.token_hex(4)
        # images.json is finished first, so that it never lacks images of poses.json
        self._files = [_File(folder / name, token) for name in names]
        self._files[0].write(dumps(head)[:-1] + ', "images": [')
        self._files[1].write("[")
        if table:
            parts = [f"{name}_{part}" for name in skeleton.keypoint_names for part in ("x", "y", "score")]
            self._files[2].write(_csv_line(["image_id", "file_name", "time", "track_id", "score", *parts]))
        self._endings, self._separators = ("]}\n", "]\n", ""), ["\n", "\n"]
        self._complete = [file.size for file in self._files]
        for image, rows in earlier or ():
            self.add(image, rows)

    def add(self, image: Row, rows: Sequence[Row]) -> None:
        """Write the entry of an image in `images`, and the rows of `Poses.to_coco`, in videos with a `track_id`.

        The entry is written last, to mark the image as complete.
        """
        images, poses, *tables = self._files
        for row in rows:
            poses.write(self._separators[1] + dumps(row))
            self._separators[1] = ",\n"
        for table in tables:
            table.write("".join(_table_line(image, row) for row in rows))
        images.write(self._separators[0] + dumps(image))
        self._separators[0] = ",\n"
        for file in (poses, *tables, images):
            file.flush()
        self._complete = [file.size for file in self._files]

    def __enter__(self) -> "PredictionFiles":
        return self

    def __exit__(self, *error: object) -> None:
        for file, size, ending in zip(self._files, self._complete, self._endings, strict=False):
            file.finish(size, ending)
        for partial in self._replaced:
            partial.unlink(missing_ok=True)


def read_earlier(folder: Path, settings: Row) -> list[tuple[Row, list[Row]]]:
    """Read the images of a stopped run and their rows from its folder; raise ConfigError if it had other settings."""
    tokens = {file.suffixes[-2].removeprefix(".") for file in _partials(folder)}
    names = folder / _IMAGES, folder / _POSES
    pairs = [names, *([_partial(name, token) for name in names] for token in sorted(tokens))]
    pairs = [(images, poses) for images, poses in pairs if images.is_file() and poses.is_file()]
    if not pairs:
        raise ConfigError(f"resume: expected files of a stopped run in {folder}, found none. Set its folder: paths.run=...")
    found: list[tuple[Row, list[Row]]] = []
    for images, poses in pairs:
        _check_settings(images, settings)
        entries: dict[int, tuple[Row, list[Row]]] = {entry["id"]: (entry, []) for entry in _entries(images)}
        for row in _entries(poses):
            if row["image_id"] in entries:  # otherwise its image is incomplete
                entries[row["image_id"]][1].append(row)
        found = max(found, list(entries.values()), key=len)
    return found


def _check_settings(file: Path, settings: Row) -> None:
    """Raise ConfigError if the first line of an images.json has other settings."""
    with file.open("rb") as stream:
        line = stream.readline().rstrip(b"]}\n")
    try:
        stored = json.loads(line + b"]}")["info"]["settings"]
    except (ValueError, LookupError, TypeError, RecursionError):
        stored = None
    if not isinstance(stored, dict):
        raise DataError(f"{file}: resume=true needs a file of hrpose predict, but its first line has no settings.")
    now = json.loads(dumps(settings))
    changed = [f"{key}={now.get(key)} instead of {stored.get(key)}" for key in now if now.get(key) != stored.get(key)]
    if changed:
        raise ConfigError(
            f"resume: expected the settings of the stopped run in {file.parent}, found {', '.join(changed)}. Set the same, or "
            "start a new run in another folder."
        )


def _entries(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the complete entries of a JSON list with one entry per line."""
    decoder, kind = json.JSONDecoder(), "id" if _IMAGES in file.name else "image_id"
    with file.open("rb") as stream:
        next(stream, None)
        for line in stream:
            try:
                entry, _ = decoder.raw_decode(line.decode())
            except (ValueError, RecursionError):  # the line is incomplete
                return
            if not isinstance(entry, dict) or not isinstance(entry.get(kind), int):
                raise DataError(f"{file}: expected an entry with `{kind}` in each line, but got {line[:80]!r}.")
            yield entry


class _File:
    """A file with a hidden name until it is finished; it then ends after the last complete entry."""

    def __init__(self, target: Path, token: str) -> None:
        self._target, self._partial = target, _partial(target, token)
        self._stream: BinaryIO = self._partial.open("wb")
        self.size = 0

    def write(self, text: str) -> None:
        content = text.encode()
        self._stream.write(content)
        self.size += len(content)

    def flush(self) -> None:
        """Pass the content to the operating system, which keeps it if the process is killed."""
        self._stream.flush()

    def finish(self, size: int, ending: str) -> None:
        self._stream.seek(size)
        self._stream.truncate()
        self._stream.write(ending.encode())
        self._stream.close()
        replace_file(self._partial, self._target)


def _partial(target: Path, token: str) -> Path:
    return target.with_name(f".{target.name}.{token}.part")


def _partials(folder: Path) -> list[Path]:
    return [file for name in (_IMAGES, _POSES, _TABLE) for file in folder.glob(f".{name}.*.part")]


def _table_line(image: Row, row: Row) -> str:
    instance = [image["id"], image["file_name"], image.get("time", ""), row.get("track_id", ""), row["score"]]
    return _csv_line([*instance, *row["keypoints"]])


def _csv_line(cells: Sequence[Any]) -> str:
    """Format a line; an apostrophe is added to text that a spreadsheet would read as a formula."""
    line = io.StringIO()
    safe = [f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell for cell in cells]
    csv.writer(line, lineterminator="\n").writerow(safe)
    return line.getvalue()
