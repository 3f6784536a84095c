"""labelme and X-AnyLabeling: a JSON file per image, with points and rectangles that a group number joins.

https://github.com/wkentaro/labelme, https://github.com/CVHub520/X-AnyLabeling
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hrpose.annotations.converters.labels import (
    ImageFolder,
    Instance,
    LabelledImage,
    Labels,
    Options,
    Point,
    names_by_category,
    unique,
)
from hrpose.annotations.converters.source import Source, read_json_file, wrong
from hrpose.errors import DataError


def recognise(source: Source) -> bool:
    """Check for a JSON file with `shapes` and `imagePath`, or a folder whose first JSON file is one."""
    content = source.first_json
    return isinstance(content, dict) and {"shapes", "imagePath"} <= set(content)


def read(source: Source, options: Options) -> Labels:
    """Read the JSON files of a folder.

    Raises:
        DataError: for the first fault, with file and shape.
    """
    folder = ImageFolder(options.images or source.folder)
    images, others = [], 0
    for file in source.files(".json"):
        content = read_json_file(file)
        if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
            others += 1
            continue
        image = folder.find(str(content.get("imagePath")), file.parent)
        images.append(LabelledImage(file=image, instances=_instances(content["shapes"], file)))
    notes = [f"{others} JSON files are not of this format and are left out."] if others else []
    occluded = any(point[2] == 1 for image in images for one in image.instances for point in one.keypoints.values())
    notes.append(
        "Points marked as difficult count as occluded, all others as visible."
        if occluded
        else "All points count as visible."
    )
    instances = [instance for image in images for instance in image.instances]
    names = names_by_category(instances, options.keypoint_names)
    return Labels(folder=folder.folder, images=images, keypoint_names=names, notes=[*notes, *folder.notes])


def _instances(shapes: Sequence[Any], file: Path) -> list[Instance]:
    """Join points and rectangles of the same group; without groups, all of an image with one rectangle at most."""
    groups: dict[Any, list[Mapping[str, Any]]] = {}
    for place, shape in enumerate(shapes):
        if not isinstance(shape, dict) or not isinstance(shape.get("points"), list):
            raise wrong(f"{file}, shape {place}", "an object with `points`", shape)
        if shape.get("shape_type") in ("point", "rectangle"):
            groups.setdefault(shape.get("group_id"), []).append(shape)
    if None in groups and len(groups) > 1 and any(shape["shape_type"] == "point" for shape in groups[None]):
        raise wrong(
            str(file), "a group number for all points or for none", "both", "Group the points of each instance."
        )
    return [instance for group, members in groups.items() for instance in _group(members, group, file)]


def _group(members: Sequence[Mapping[str, Any]], group: Any, file: Path) -> list[Instance]:
    """Make an instance of a group; rectangles without points are instances without labelled keypoints."""
    where = str(file) if group is None else f"{file}, group {group}"
    points = [shape for shape in members if shape["shape_type"] == "point"]
    boxes = [shape for shape in members if shape["shape_type"] == "rectangle"]
    if points and len(boxes) > 1:
        fix = "Give the points of each instance and its rectangle a group number in your tool."
        raise wrong(where, "one rectangle for its points", f"{len(boxes)} rectangles", fix)
    unique((str(shape["label"]) for shape in points), where)
    keypoints = {str(shape["label"]): _point(shape, where) for shape in points}
    if not points:
        return [Instance(keypoints={}, bbox=_box(box, where), category=str(box["label"]), where=where) for box in boxes]
    bbox, category = (_box(boxes[0], where), str(boxes[0]["label"])) if boxes else (None, "object")
    return [Instance(keypoints=keypoints, bbox=bbox, category=category, where=where)]


def _point(shape: Mapping[str, Any], where: str) -> Point:
    ((x, y),) = _numbers(shape, where, 1)
    return x, y, 1 if shape.get("difficult") else 2


def _box(shape: Mapping[str, Any], where: str) -> tuple[float, float, float, float]:
    """Return x, y, width and height: labelme has two corners, X-AnyLabeling four."""
    corners = _numbers(shape, where, len(shape["points"]))
    low = [min(axis) for axis in zip(*corners, strict=True)]
    high = [max(axis) for axis in zip(*corners, strict=True)]
    return low[0], low[1], high[0] - low[0], high[1] - low[1]


def _numbers(shape: Mapping[str, Any], where: str, count: int) -> list[tuple[float, float]]:
    try:
        points = [(float(x), float(y)) for x, y in shape["points"]]
    except (TypeError, ValueError):
        points = []
    if not points or len(points) != count:
        raise DataError(
            f"{where}: expected {count} points [x, y] of {shape.get('label')!r}, but found {shape['points']!r}."
        )
    return points
