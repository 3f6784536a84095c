"""Read DeepLabCut and Lightning Pose: CSV files with one column per coordinate, for one or several animals.

https://deeplabcut.github.io/DeepLabCut/docs/standardDeepLabCut_UserGuide.html,
https://lightning-pose.readthedocs.io/en/latest/source/user_guide_advanced/directory_structure.html
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hrpose.annotations.converters.labels import ImageFolder, Instance, LabelledImage, Labels, Pair, Point
from hrpose.annotations.converters.source import Source, expecting, read_yaml, wrong
from hrpose.errors import DataError

_HEADERS = ("scorer", "individuals", "bodyparts", "coords")
_CATEGORY = "animal"
_NAME = "CollectedData"  # prefix of label files


@dataclass(frozen=True)
class _Table:
    """A CSV file: individual, keypoint and coordinate of each column, and the cells of each image."""

    file: Path
    columns: Sequence[tuple[str, str, str]]
    rows: Mapping[str, Sequence[str]]


def find_files(source: Source) -> list[Path]:
    """Return the CSV files that begin with `scorer`, or the HDF5 files of DeepLabCut."""
    return _files(source) or _tables_of_pandas(source)


def read(source: Source) -> Labels:
    """Read a CSV file, or a project with its config.yaml; the first invalid value raises DataError, with file and row."""
    files = _files(source)
    if not files:
        raise wrong(
            source.path,
            "the CSV files that DeepLabCut writes beside its HDF5 files",
            ", ".join(file.name for file in _tables_of_pandas(source)),
            'Write them in Python: pandas.read_hdf("CollectedData_me.h5").to_csv("CollectedData_me.csv").',
        )
    tables = [_read_table(file) for file in files]
    folder = ImageFolder(source.images or _project(source, tables))
    individuals = list(dict.fromkeys(animal for table in tables for animal, _, _ in table.columns))
    images: dict[Path, LabelledImage] = {}
    names: dict[str, dict[str, None]] = {}
    for table in tables:
        for name, values in table.rows.items():
            where = f"{table.file}, row of {name}"
            file = folder.find(name)
            if file in images:
                raise DataError(f"{where}: expected each image once, but it is labelled twice. Convert one of the files.")
            images[file] = LabelledImage(file=file, instances=_instances(table, values, individuals, where))
        for animal, keypoint, _ in table.columns:
            names.setdefault(_category(animal), {})[keypoint] = None
    return Labels(
        folder=folder,
        images=list(images.values()),
        keypoint_names={name: list(keypoints) for name, keypoints in names.items()},
        edges=_edges(source),
        notes=["Labelled keypoints are visible, because the format does not store occlusion."],
    )


def _files(source: Source) -> list[Path]:
    """Return the label files; in a project those in labeled-data, without predictions such as machinelabels."""
    found = [file for file in source.files(".csv") if _is_labels(file)]
    found = [file for file in found if "labeled-data" in file.relative_to(source.folder).parts] or found
    return [file for file in found if file.name.startswith(_NAME)] or found


def _tables_of_pandas(source: Source) -> list[Path]:
    return [file for file in source.files(".h5") if file.name.startswith(_NAME)]


def _is_labels(file: Path) -> bool:
    with file.open("rb") as stream:
        head = [stream.readline(100_000).decode("utf-8-sig", "replace") for _ in _HEADERS]
    return head[0].startswith("scorer,") and any(line.startswith("coords,") for line in head)


def _read_table(file: Path) -> _Table:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        lines = [line for line in csv.reader(stream) if any(line)]
    heads = {line[0]: line for line in lines[:4] if line[0] in _HEADERS}
    missing = {"bodyparts", "coords"} - set(heads)
    if missing:
        raise wrong(file, "rows that begin with bodyparts and coords", list(heads))
    first = next((place for place, text in enumerate(heads["coords"]) if text == "x"), 1)
    if not set(heads["coords"][first:]) <= {"x", "y"}:
        raise wrong(file, "columns x and y", heads["coords"][-1], "Files with likelihood columns are predictions, not labels.")
    animals = heads.get("individuals", [""] * len(heads["coords"]))
    columns = list(zip(animals[first:], heads["bodyparts"][first:], heads["coords"][first:], strict=True))
    rows: dict[str, Sequence[str]] = {}
    for line in lines[len(heads) :]:
        name = "/".join(text.strip("/\\") for text in line[:first] if text).replace("\\", "/")
        if len(line) != first + len(columns) or name in rows:
            found = "the image twice" if name in rows else f"{len(line)} cells"
            raise wrong(f"{file}, row of {name}", f"{first + len(columns)} cells, and each image once", found)
        rows[name] = line[first:]
    return _Table(file, columns, rows)


def _instances(table: _Table, values: Sequence[str], individuals: Sequence[str], where: str) -> list[Instance]:
    """Return an instance for each individual of a row with a labelled keypoint."""
    numbers: dict[str, dict[str, dict[str, float]]] = {}
    for (animal, keypoint, axis), text in zip(table.columns, values, strict=True):
        with expecting(f"{where}, {keypoint} {axis}", "a number or an empty cell", text):
            number = float(text or "nan")
        if not math.isnan(number):
            numbers.setdefault(animal, {}).setdefault(keypoint, {})[axis] = number
    instances = []
    for animal, of_animal in numbers.items():
        halves = [keypoint for keypoint, axes in of_animal.items() if len(axes) < 2]
        if halves:
            raise wrong(f"{where}, {halves[0]}", "x and y", list(of_animal[halves[0]]))
        points: dict[str, Point] = {keypoint: (axes["x"], axes["y"], 2) for keypoint, axes in of_animal.items()}
        track = individuals.index(animal) + 1 if animal not in ("", "single") else None
        instances.append(Instance(keypoints=points, category=_category(animal), track_id=track, where=where))
    return instances


def _category(animal: str) -> str:
    """Return the category of an individual; `single` has the keypoints that belong to no animal."""
    return animal if animal == "single" else _CATEGORY


def _edges(source: Source) -> list[Pair]:
    """Return the edges in config.yaml of the project; none without this file."""
    for folder in (source.folder, *source.folder.resolve().parents[:2]):
        file = folder / "config.yaml"
        if file.is_file() and b"bodyparts" in file.read_bytes():
            edges = read_yaml(file).get("skeleton")
            return [(str(edge[0]), str(edge[1])) for edge in edges if len(edge) == 2] if isinstance(edges, list) else []
    return []


def _project(source: Source, tables: Sequence[_Table]) -> Path:
    """Return the folder that image paths are relative to: the source folder or one of its two parents."""
    first = next((name for table in tables for name in table.rows), None)
    folders = (source.folder.resolve(), *source.folder.resolve().parents[:2])
    return next((folder for folder in folders if first is not None and (folder / first).is_file()), source.folder)
