"""Read labelme and X-AnyLabeling: a JSON file per image, with points and rectangles grouped by a number.

https://github.com/wkentaro/labelme, https://github.com/CVHub520/X-AnyLabeling
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hrpose.annotations.converters.labels import Box, ImageFolder, Instance, LabelledImage, Labels, join
from hrpose.annotations.converters.source import Source, expecting, write_embedded, wrong
from hrpose.errors import DataError


def is_labelme(content: Any) -> bool:
    """Check for `shapes` and `imagePath`."""
    return isinstance(content, dict) and isinstance(content.get("shapes"), list) and "imagePath" in content


def read(source: Source) -> Labels:
    """Read the JSON files of a folder; embedded images are written to it if the image file is missing.

    The first invalid value raises DataError, with file and shape.
    """
    folder = ImageFolder(source.images or source.folder)
    files, notes = source.json_files(is_labelme)
    images, written = [], 0
    for file, content in files:
        image = folder.find(str(content["imagePath"]), file.parent)
        if not image.is_file() and content.get("imageData"):
            image, written = _write_image(content["imageData"], folder.path, file), written + 1
        images.append(LabelledImage(file=image, instances=join(_shapes(content["shapes"], file), str(file))))
    notes += [f"{written} embedded images were written to the folder of their labels."] if written else []
    labels = Labels(folder=folder, images=images, notes=notes)
    is_stated = any(visibility == 1 for instance in labels.instances for *_, visibility in instance.keypoints.values())
    notes.append(f"{'Points marked as difficult are occluded, all others' if is_stated else 'All points'} are visible.")
    return labels


def _write_image(text: str, folder: Path, file: Path) -> Path:
    """Write an embedded image to the folder of its labels, or to the image folder if this is not a parent of it."""
    with expecting(f"{file}, imageData", "an image in base64"):
        content = base64.b64decode(text, validate=True)
    home = file.resolve().parent
    return write_embedded(content, (home if home.is_relative_to(folder) else folder) / file.stem)


def _shapes(shapes: list[Any], file: Path) -> Iterator[tuple[str, Instance]]:
    """Yield points and rectangles; X-AnyLabeling marks occluded points as difficult."""
    for place, shape in enumerate(shapes):
        where = f"{file}, shape {place}"
        if not isinstance(shape, dict) or not isinstance(shape.get("points"), list):
            raise wrong(where, "an object with `points`", shape)
        label, group = str(shape.get("label")), "" if shape.get("group_id") is None else str(shape["group_id"])
        if shape.get("shape_type") == "point":
            ((x, y),) = _numbers(shape, where, 1)
            yield group, Instance(keypoints={label: (x, y, 1 if shape.get("difficult") else 2)})
        elif shape.get("shape_type") == "rectangle":
            yield group, Instance(bbox=_box(shape, where), category=label)


def _box(shape: Mapping[str, Any], where: str) -> Box:
    """Return x, y, width and height; labelme stores two corners, X-AnyLabeling four."""
    xs, ys = zip(*_numbers(shape, where, len(shape["points"])), strict=True)
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def _numbers(shape: Mapping[str, Any], where: str, count: int) -> list[tuple[float, float]]:
    try:
        points = [(float(x), float(y)) for x, y in shape["points"]]
    except (TypeError, ValueError):
        points = []
    if not points or len(points) != count:
        raise DataError(f"{where}: expected {count} points [x, y] of {shape.get('label')!r}, but found {shape['points']!r}.")
    return points
