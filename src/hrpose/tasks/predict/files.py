"""The result files: rows go to disk as they come, so that neither a million photos nor an interrupted run is a problem.

The files have hidden names until they are complete; a killed run leaves none that ends in the middle of a row.

`poses.json` is a COCO result file: `hrpose evaluate` and pycocotools read it. `images.json` says which picture an `image_id` is,
in the form of a COCO annotation file without annotations. `poses.csv` has a row for each person.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from hrpose.files import dumps, write_atomically
from hrpose.skeletons import Skeleton

Row = Mapping[str, Any]


class PredictionFiles:
    """Write the files of one run, inside a `with` block; they are whole even if the block is left by an error.

    Args:
        folder: of the run; it is made.
        skeleton: of the poses.
        category_id: of the people in `poses.json`.
        table: whether to write `poses.csv`.

    Raises:
        FileExistsError: if one of the files is there already.
    """

    def __init__(self, folder: Path, skeleton: Skeleton, *, category_id: int = 1, table: bool = False) -> None:
        names = ("images.json", "poses.json", *(("poses.csv",) if table else ()))
        there = [name for name in names if (folder / name).exists()]
        if there:
            raise FileExistsError(
                f"{folder / there[0]} is there already, from another run. Give another folder: paths.run=..."
            )
        category = {
            "id": category_id,
            "name": "person",
            "keypoints": list(skeleton.keypoint_names),
            "skeleton": [[start + 1, end + 1] for start, end in skeleton.edges],
        }
        ending = f'], "annotations": [], "categories": [{dumps(category)}]}}\n'
        self._partials = ExitStack()
        images, poses, *tables = (self._partials.enter_context(write_atomically(folder / name)) for name in names)
        self._images = _ListFile(images, '{"images": [', ending)
        self._poses = _ListFile(poses, "[", "]\n")
        self._table = _TableFile(tables[0], skeleton) if table else None

    def add(self, image: Row, rows: Sequence[Row]) -> None:
        """Note a picture and its people.

        Args:
            image: its entry of `images`: id, file_name, and what else is known of it.
            rows: as `Poses.to_coco` gives them; a `track_id` is who it is.
        """
        self._images.add(image)
        for row in rows:
            self._poses.add(row)
        if self._table is not None:
            self._table.add(image, rows)

    def __enter__(self) -> PredictionFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in (self._images, self._poses, self._table):
            if file is not None:
                file.close()
        self._partials.close()


class _ListFile:
    """A JSON list that grows; one entry a line."""

    def __init__(self, file: Path, beginning: str, ending: str) -> None:
        self._stream = _create(file)
        self._stream.write(beginning)
        self._ending, self._separator = ending, "\n"

    def add(self, entry: Row) -> None:
        self._stream.write(self._separator + dumps(entry))
        self._separator = ",\n"

    def close(self) -> None:
        self._stream.write(self._ending)
        self._stream.close()


class _TableFile:
    """A table of people, for spreadsheets."""

    def __init__(self, file: Path, skeleton: Skeleton) -> None:
        self._stream = _create(file)
        self._writer = csv.writer(self._stream, lineterminator="\n")
        names = [f"{name}_{part}" for name in skeleton.keypoint_names for part in ("x", "y", "score")]
        self._writer.writerow(["image_id", "file_name", "time", "track_id", "score", *names])

    def add(self, image: Row, rows: Sequence[Row]) -> None:
        for row in rows:
            who = [image["id"], image["file_name"], image.get("time", ""), row.get("track_id", ""), row["score"]]
            self._writer.writerow([*who, *row["keypoints"]])

    def close(self) -> None:
        self._stream.close()


def _create(file: Path) -> TextIO:
    return file.open("w", encoding="utf-8", newline="")
