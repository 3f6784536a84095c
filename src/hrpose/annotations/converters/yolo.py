"""Read YOLO-pose: data.yaml, and a text file of normalised boxes and keypoints per image.

https://docs.ultralytics.com/datasets/pose/
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from hrpose.annotations.converters.labels import ImageFolder, Instance, LabelledImage, Labels
from hrpose.annotations.converters.source import Source, expecting, read_yaml, wrong
from hrpose.errors import DataError, MissingDataError
from hrpose.media.images import read_size
from hrpose.media.source import is_image

_MAX_NORMALISED = 1.5  # larger coordinates are in pixels


def find_file(source: Source) -> Path | None:
    """Return the YAML file with `kpt_shape`, or the first one of a folder; None if there is none."""
    candidates = [source.path] if source.path.is_file() else sorted(source.path.glob("*.y*ml"))
    for file in candidates:
        if file.suffix in (".yaml", ".yml") and b"kpt_shape" in file.read_bytes() and "kpt_shape" in read_yaml(file):
            return file
    return None


def read(source: Source) -> Labels:
    """Read a data set from its YAML file; the first invalid value raises DataError, with file and line."""
    file = find_file(source)
    if file is None:
        raise wrong(source.path, "a YAML file of YOLO-pose, with `kpt_shape`", "none")
    content = read_yaml(file)
    shape = content["kpt_shape"]
    if not isinstance(shape, list) or len(shape) != 2 or shape[1] not in (2, 3) or not isinstance(shape[0], int):
        raise wrong(file, "`kpt_shape` to be [number of keypoints, 2 or 3]", shape)
    classes = _by_index(content.get("names", {}))
    names = _keypoint_names(content, shape[0], source, file)
    home = _home(content, file, source)
    without_test = [entry for entry in _entries(content.get("test")) if _find(str(entry), home) is None]
    if without_test:  # exports often name a test set that they do not contain
        content = {**content, "test": None}
    images = [
        LabelledImage(file=image, instances=_instances(image, classes, names, shape[1], file), split=split)
        for split in ("train", "val", "test")
        for image in _images(content.get(split), home, file)
    ]
    if not images:
        raise MissingDataError(f"{file}: expected images of `train`, `val` and `test` in {home}, but found none.")
    return Labels(
        folder=ImageFolder(home),
        images=images,
        keypoint_names=dict.fromkeys(classes.values(), names),
        flip_pairs=_flip_pairs(content.get("flip_idx"), names, file),
        notes=[*(f"There is no test set at {entry}." for entry in without_test), *_notes(images)],
    )


def _notes(images: Sequence[LabelledImage]) -> list[str]:
    """Count images without labels, labels without images, repeated lines and images of two splits."""
    files = [_label_file(image.file) for image in images]
    folders = {file.parent for file in files}
    orphans = sorted({file for folder in folders for file in folder.glob("*.txt")} - set(files))
    lines = [_lines(file) for file in set(files) if file.is_file()]
    counts = {
        "images have no label file and count as images without instances": sum(not file.is_file() for file in files),
        f"label files have no image and are left out, such as {next(iter(orphans), '')}": len(orphans),
        "lines repeat another one of their file and are left out": sum(len(all_) - len(set(all_)) for all_ in lines),
        "images are in two of train, val and test": len(files) - len(set(files)),
    }
    return [f"{count} {what}." for what, count in counts.items() if count]


def _lines(labels: Path) -> list[str]:
    return [line for text in labels.read_text(encoding="utf-8-sig").splitlines() if (line := text.strip())]


def _by_index(names: Any) -> dict[int, str]:
    pairs = names.items() if isinstance(names, dict) else enumerate(names)
    return {int(index): str(name) for index, name in pairs}


def _keypoint_names(content: dict[str, Any], count: int, source: Source, file: Path) -> Sequence[str]:
    """Return the given names, or those of `kpt_names`, which has one list per class."""
    stated = content.get("kpt_names")
    if isinstance(stated, dict):
        lists = {tuple(map(str, value)) for value in stated.values()}
        if len(lists) > 1:
            raise wrong(file, "the same `kpt_names` for all classes", stated, "Set names=[...].")
        stated = lists.pop() if lists else None
    names = source.names or stated
    if names is None:
        raise DataError(
            f"{file}: expected the names of {count} keypoints, but there is no `kpt_names`. Set them in the order of the labels, "
            f"names=[nose,left_eye,...]. Mirror pairs are found from left and right in the names."
        )
    if len(names) != count:
        raise wrong(file, f"{count} keypoint names, as many as `kpt_shape` states", f"{len(names)}: {list(names)}")
    return [str(name) for name in names]


def _flip_pairs(order: Any, names: Sequence[str], file: Path) -> list[tuple[str, str]] | None:
    if order is None:
        return None
    is_list = isinstance(order, list) and len(order) == len(names)
    if not is_list or not all(isinstance(k, int) and 0 <= k < len(names) and order[k] == place for place, k in enumerate(order)):
        raise wrong(file, f"`flip_idx` to be the mirrored index of each of {len(names)} keypoints", order, "Correct it.")
    return [(names[index], names[other]) for index, other in enumerate(order) if index < other]


def _home(content: dict[str, Any], file: Path, source: Source) -> Path:
    """Return the folder of the data set: `path` if it is inside the folder of the YAML file, otherwise this folder."""
    if source.images is not None:
        return source.images.resolve()
    here = file.parent.resolve()
    stated = (here / str(content.get("path") or ".")).resolve()
    if stated.is_relative_to(here):
        return stated if stated.is_dir() else here
    if any(_find(str(entry), here) for key in ("train", "val") for entry in _entries(content.get(key))):
        return here
    raise DataError(
        f"{file}: expected `path` inside the folder of the file, but got {content['path']!r}. Set the folder of the data set: "
        f"images={stated if stated.is_dir() else '<folder>'}."
    )


def _entries(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _find(entry: str, home: Path) -> Path | None:
    """Find a path of the YAML file in the data set, with as few of its first folders removed as possible.

    Paths of Roboflow exports begin with `../`; absolute paths come from another machine.
    """
    parts = [part for part in entry.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    places = [home.joinpath(*parts[start:]).resolve() for start in range(max(1, len(parts) - 1))]
    return next((place for place in places if place.exists() and place.is_relative_to(home)), None)


def _images(value: Any, home: Path, file: Path) -> list[Path]:
    """List the images of a split: of folders, or of text files with one path per line."""
    found: list[Path] = []
    for entry in map(str, _entries(value)):
        place = _find(entry, home)
        if place is None:
            raise MissingDataError(
                f"{file}: expected images at {entry}, but {home} has no such path. Correct it, or set the folder of the data "
                "set: images=<folder>."
            )
        if place.is_file():
            lines = [line.strip() for line in place.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
            found += [_find(line, home) or home / PurePosixPath(line.replace("\\", "/")).name for line in lines]
        else:
            found += sorted(path for path in place.rglob("*") if is_image(path))
    return list(dict.fromkeys(found))


def _label_file(image: Path) -> Path:
    """Return the label file of an image: the last folder `images` of its path is replaced by `labels`."""
    parts = list(image.parts)
    places = [index for index, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    return Path(*parts).with_suffix(".txt")


def _instances(image: Path, classes: dict[int, str], names: Sequence[str], dims: int, file: Path) -> list[Instance]:
    labels = _label_file(image)
    if not labels.is_file() or not image.is_file():
        return []
    width, height = read_size(image, upright=True)
    instances = []
    for number, line in enumerate(dict.fromkeys(_lines(labels)), 1):
        where = f"{labels}, instance {number}"
        with expecting(where, "numbers separated by spaces", line):
            values = [float(text) for text in line.split()]
        if len(values) != 5 + dims * len(names):
            expected = f"{5 + dims * len(names)} numbers: class, box and {len(names)} keypoints of {dims} numbers"
            raise wrong(where, expected, f"{len(values)} numbers", f"Compare with `kpt_shape` of {file}.")
        if values[0] not in classes:
            raise wrong(where, f"a class among {list(classes)}", values[0], f"Compare with `names` of {file}.")
        instances.append(_instance(values, classes[int(values[0])], names, (width, height), where))
    return instances


def _instance(values: list[float], category: str, names: Sequence[str], size: tuple[int, int], where: str) -> Instance:
    """Read a line; a keypoint of two numbers is unlabelled at (0, 0)."""
    (width, height), dims = size, (len(values) - 5) // len(names)
    x, y, w, h = values[1:5]
    keypoints = {}
    for k, name in enumerate(names):
        point = values[5 + k * dims : 5 + (k + 1) * dims]
        visibility = point[2] if dims == 3 else 2 * (point[0] != 0 or point[1] != 0)
        if visibility not in (0, 1, 2):
            fix = "Predictions with scores are not labels."
            raise wrong(f"{where}, keypoint {name}", "the visibility 0, 1 or 2", visibility, fix)
        if visibility:
            keypoints[name] = (point[0] * width, point[1] * height, int(visibility))
    large = [value for value in (x, y, w, h) if not 0 <= value <= _MAX_NORMALISED]
    normalised = [value for px, py, _ in keypoints.values() for value in (px / width, py / height)]
    large += [value for value in normalised if not abs(value) <= _MAX_NORMALISED]
    if large or not all(map(math.isfinite, values)):
        raise wrong(where, "normalised coordinates, from 0 to 1", large[:1] or values)
    box = ((x - w / 2) * width, (y - h / 2) * height, w * width, h * height)
    return Instance(keypoints=keypoints, bbox=box, category=category, where=where)
