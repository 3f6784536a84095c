"""VGG Image Annotator 2: a JSON file with points and rectangles, named by an attribute of each region.

https://www.robots.ox.ac.uk/~vgg/software/via/docs/user_guide.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hrpose.annotations.converters.labels import (
    ImageFolder,
    Instance,
    LabelledImage,
    Labels,
    Options,
    names_by_category,
    unique,
)
from hrpose.annotations.converters.source import Source, read_json_file, wrong

_NAME_KEYS = ("keypoint", "name", "label", "type", "class", "part")  # attributes that usually hold the name of a point
_GROUP_KEYS = ("id", "instance", "object", "group", "animal", "person", "instance_id", "track_id")


def recognise(source: Source) -> bool:
    """Check for a project or an export of VIA: entries with `filename` and `regions`."""
    return _entries(source.first_json) is not None


def read(source: Source, options: Options) -> Labels:
    """Read a project, or an export of annotations as JSON.

    Raises:
        DataError: for the first fault, with the image.
    """
    folder = ImageFolder(options.images or source.folder)
    images, key = [], ""
    for file in source.files(".json"):
        for entry in _entries(read_json_file(file)) or []:
            where = f"{file}, image {entry['filename']}"
            regions = list(_regions(entry, where))
            points = [region for region in regions if region["shape_attributes"].get("name") == "point"]
            key = key or _name_key(points)
            if points and not key:
                expected = f"one attribute with the name of each point, such as {', '.join(_NAME_KEYS[:3])}"
                raise wrong(where, expected, points[0]["region_attributes"], "Rename the attribute in VIA.")
            images.append(LabelledImage(file=folder.find(entry["filename"]), instances=_instances(regions, key, where)))
    names = names_by_category([one for image in images for one in image.instances], options.keypoint_names)
    notes = [f"Names of keypoints are those of the attribute {key!r}. All points count as visible."]
    return Labels(folder=folder.folder, images=images, keypoint_names=names, notes=[*notes, *folder.notes])


def _entries(content: Any) -> list[dict[str, Any]] | None:
    """Return the entries of the images; None if the content is of another format."""
    if not isinstance(content, dict):
        return None
    entries = list(content.get("_via_img_metadata", content).values()) if content else []
    is_via = entries and all(isinstance(entry, dict) and {"filename", "regions"} <= set(entry) for entry in entries)
    return entries if is_via else None


def _regions(entry: Mapping[str, Any], where: str) -> Iterator[Mapping[str, Any]]:
    """Yield the regions, a list in version 2 and an object in version 1."""
    regions = entry["regions"]
    for region in regions.values() if isinstance(regions, dict) else regions:
        shapes = region.get("shape_attributes") if isinstance(region, dict) else None
        if not isinstance(shapes, dict) or not isinstance(region.get("region_attributes"), dict):
            raise wrong(where, "regions with `shape_attributes` and `region_attributes`", region)
        yield region


def _name_key(points: Sequence[Mapping[str, Any]]) -> str:
    """Find the attribute that names the points: the only one, or one with a usual name."""
    keys = Counter(key for point in points for key, value in point["region_attributes"].items() if value)
    named = [key for key in _NAME_KEYS if key in keys] or [key for key in keys if key not in _GROUP_KEYS]
    return named[0] if len(named) == 1 else ""


def _instances(regions: Sequence[Mapping[str, Any]], key: str, where: str) -> list[Instance]:
    """Join points and rectangles with the same group; without groups they are one instance."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for region in regions:
        attributes = region["region_attributes"]
        group = next((str(attributes[name]) for name in _GROUP_KEYS if attributes.get(name) not in (None, "")), "")
        if region["shape_attributes"].get("name") in ("point", "rect"):
            groups.setdefault(group, []).append(region)
    return [_instance(members, key, f"{where}, group {group}" if group else where) for group, members in groups.items()]


def _instance(members: Sequence[Mapping[str, Any]], key: str, where: str) -> Instance:
    points = [region for region in members if region["shape_attributes"]["name"] == "point"]
    boxes = [region["shape_attributes"] for region in members if region["shape_attributes"]["name"] == "rect"]
    if len(boxes) > 1:
        fix = f"Give the regions of each instance one value of an attribute `{_GROUP_KEYS[0]}`."
        raise wrong(where, "one rectangle per instance", f"{len(boxes)} rectangles", fix)
    try:
        named = [(str(region["region_attributes"][key]), region["shape_attributes"]) for region in points]
        unique((name for name, _ in named), where)
        keypoints = {name: (float(shape["cx"]), float(shape["cy"]), 2) for name, shape in named}
        sides = [float(boxes[0][side]) for side in ("x", "y", "width", "height")] if boxes else []
    except KeyError as error:
        raise wrong(where, "points with cx, cy and a name, and rectangles with x, y, width and height", error) from None
    return Instance(keypoints=keypoints, bbox=(sides[0], sides[1], sides[2], sides[3]) if sides else None, where=where)
