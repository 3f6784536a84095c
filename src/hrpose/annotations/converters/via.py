"""Read VGG Image Annotator 1 to 3: a JSON file with points and rectangles, named by an attribute of each region.

https://www.robots.ox.ac.uk/~vgg/software/via/docs/user_guide.html,
https://gitlab.com/vgg/via/-/blob/master/via-3.x.y/CodeDoc.md for version 3
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hrpose.annotations.converters.labels import ImageFolder, Instance, LabelledImage, Labels, join
from hrpose.annotations.converters.source import Source, expecting, wrong

_NAME_KEYS = ("keypoint", "name", "label", "type", "class", "part")  # attributes that usually hold the name of a point
_GROUP_KEYS = ("id", "instance", "object", "group", "animal", "person", "instance_id", "track_id")
_FIX = f"Set an attribute `{_GROUP_KEYS[0]}` to the same value in all regions of an instance."
_SHAPES_3 = {1: ("point", ("cx", "cy")), 2: ("rect", ("x", "y", "width", "height"))}  # by shape number of version 3
_IMAGE_3 = 2  # type of a file of version 3 that is an image


def is_via(content: Any) -> bool:
    """Check for projects or exports of VIA: entries with `filename` and `regions`, or a project of version 3."""
    return _entries(content) is not None


def read(source: Source) -> Labels:
    """Read a project, or an export of annotations as JSON; the first invalid value raises DataError, with the image."""
    folder = ImageFolder(source.images or source.folder)
    files, notes = source.json_files(is_via)
    images, key = [], ""
    for entry, where in ((entry, str(file)) for file, content in files for entry in _entries(content) or []):
        where = f"{where}, image {entry['filename']}"
        regions = list(_regions(entry, where))
        points = [region for region in regions if region["shape_attributes"].get("name") == "point"]
        key = key or _name_key(points)
        if points and not key:
            expected = f"one attribute with the name of each point, such as {', '.join(_NAME_KEYS[:3])}"
            raise wrong(where, expected, points[0]["region_attributes"], "Rename the attribute in VIA.")
        instances = join(_shapes(regions, key, where), where, _FIX)
        images.append(LabelledImage(file=folder.find(entry["filename"]), instances=instances))
    notes.append(f"Keypoint names are read from the attribute {key!r}. All points are visible.")
    return Labels(folder=folder, images=images, notes=notes)


def _entries(content: Any) -> list[dict[str, Any]] | None:
    """Return the image entries in the format of version 2; None if the content has another format."""
    if not isinstance(content, dict) or not content:
        return None
    if isinstance(content.get("project"), dict) and {"metadata", "file", "view", "attribute"} <= set(content):
        return list(_entries_3(content))
    entries = list(content.get("_via_img_metadata", content).values())
    is_valid = entries and all(isinstance(entry, dict) and {"filename", "regions"} <= set(entry) for entry in entries)
    return entries if is_valid else None


def _entries_3(content: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the image entries of a project of version 3, whose attributes with options store the number of the option."""
    attributes = content["attribute"]
    for view, shown in content["view"].items():
        files = [content["file"][str(number)] for number in shown["fid_list"]]
        if len(files) != 1 or files[0]["type"] != _IMAGE_3:
            raise wrong(f"view {view}", "one image", files, "Videos and several images of a view cannot be converted.")
        regions = []
        for region in content["metadata"].values():
            if str(region["vid"]) == view and region["xy"] and region["xy"][0] in _SHAPES_3:
                name, sides = _SHAPES_3[region["xy"][0]]
                values = {
                    attributes[key]["aname"]: (attributes[key].get("options") or {}).get(value, value)
                    for key, value in region["av"].items()
                }
                shape = {"name": name, **dict(zip(sides, region["xy"][1:], strict=True))}
                regions.append({"shape_attributes": shape, "region_attributes": values})
        yield {"filename": files[0]["fname"], "regions": regions}


def _regions(entry: Mapping[str, Any], where: str) -> Iterator[Mapping[str, Any]]:
    """Yield the regions, which are a list in version 2 and an object in version 1."""
    regions = entry["regions"]
    for region in regions.values() if isinstance(regions, dict) else regions:
        shapes = region.get("shape_attributes") if isinstance(region, dict) else None
        if not isinstance(shapes, dict) or not isinstance(region.get("region_attributes"), dict):
            raise wrong(where, "regions with `shape_attributes` and `region_attributes`", region)
        yield region


def _name_key(points: Sequence[Mapping[str, Any]]) -> str:
    """Return the attribute that names the points: one of `_NAME_KEYS`, or the only one; "" if ambiguous."""
    keys = Counter(key for point in points for key, value in point["region_attributes"].items() if value)
    named = [key for key in _NAME_KEYS if key in keys] or [key for key in keys if key not in _GROUP_KEYS]
    return named[0] if len(named) == 1 else ""


def _shapes(regions: Sequence[Mapping[str, Any]], key: str, where: str) -> Iterator[tuple[str, Instance]]:
    """Yield points and rectangles; their group is the first of `_GROUP_KEYS` with a value."""
    for region in regions:
        attributes, shape = region["region_attributes"], region["shape_attributes"]
        group = next((str(attributes[name]) for name in _GROUP_KEYS if attributes.get(name) not in (None, "")), "")
        with expecting(where, "points with cx, cy and a name, and rectangles with x, y, width and height"):
            if shape.get("name") == "point":
                yield group, Instance(keypoints={str(attributes[key]): (float(shape["cx"]), float(shape["cy"]), 2)})
            elif shape.get("name") == "rect":
                x, y, width, height = (float(shape[side]) for side in ("x", "y", "width", "height"))
                yield group, Instance(bbox=(x, y, width, height))
