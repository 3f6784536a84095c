"""CVAT XML 1.1, for images or for video: skeletons, and points that a group joins.

https://docs.cvat.ai/docs/manual/advanced/xml_format/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias
from xml.etree.ElementTree import Element

from hrpose.annotations.converters.labels import (
    ImageFolder,
    Instance,
    LabelledImage,
    Labels,
    Options,
    Pair,
    Point,
    names_by_category,
    unique,
)
from hrpose.annotations.converters.source import Source, read_xml, wrong

_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_NODE = re.compile(r"<circle[^>]*>")
_EDGE = re.compile(r"<line[^>]*>")
_Box: TypeAlias = tuple[float, float, float, float]


def recognise(source: Source) -> bool:
    """Check for an XML file whose root is `annotations`, or a folder with one called annotations.xml."""
    return _file(source) is not None


def read(source: Source, options: Options) -> Labels:
    """Read an XML file of images or of a video, whose frames are the images frame_000000 and so on.

    Raises:
        DataError: for the first fault, with image and label.
    """
    file = _file(source)
    if file is None:
        raise wrong(str(source.path), "an XML file of CVAT", "none")
    root = read_xml(file)
    folder = ImageFolder(options.images or source.folder)
    images = [
        LabelledImage(
            file=folder.find(element.get("name", "")),
            instances=list(_instances(list(element), f"{file}, image {element.get('name')}")),
            split=_SPLITS.get(element.get("subset", "").lower()),
        )
        for element in root.iter("image")
    ]
    if root.find("track") is not None:
        images += _video(root, folder, file)
    names, edges = _skeletons(root)
    instances = [instance for image in images for instance in image.instances]
    free = [instance for instance in instances if instance.category not in names]
    unjoined = sum(1 for _ in root.iter("box")) - sum(instance.bbox is not None for instance in instances)
    notes = [f"{unjoined} boxes share no group with keypoints and are left out."] if unjoined > 0 else []
    notes.append("Points marked as outside count as not labelled, those marked as occluded as occluded.")
    return Labels(
        folder=folder.folder,
        images=images,
        keypoint_names={**names_by_category(free, options.keypoint_names), **names},
        edges=edges,
        notes=[*notes, *folder.notes],
    )


def _file(source: Source) -> Path | None:
    for file in source.files(".xml"):
        head = _head(file)
        if b"<annotations" in head and b"<version>" in head:
            return file
    return None


def _head(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(2000)


def _skeletons(root: Element) -> tuple[dict[str, list[str]], list[Pair]]:
    """Return keypoint names and edges of the skeleton labels; the drawing numbers their nodes."""
    names: dict[str, dict[str, None]] = {}
    edges: list[Pair] = []
    for label in root.iter("label"):
        parent = label.findtext("parent")
        if parent:
            names.setdefault(parent, {})[label.findtext("name") or ""] = None
        drawing = label.findtext("svg") or ""
        nodes = {
            _attribute(node, "data-node-id"): _attribute(node, "data-label-name") for node in _NODE.findall(drawing)
        }
        ends = [
            (_attribute(edge, "data-node-from"), _attribute(edge, "data-node-to")) for edge in _EDGE.findall(drawing)
        ]
        edges += [(nodes[one], nodes[two]) for one, two in ends if nodes.get(one) and nodes.get(two)]
    return {parent: list(of_parent) for parent, of_parent in names.items()}, list(dict.fromkeys(edges))


def _attribute(tag: str, name: str) -> str:
    found = re.search(rf'{name}="([^"]*)"', tag)
    return found[1] if found else ""


def _instances(shapes: Sequence[Element], where: str, track: int | None = None) -> Iterator[Instance]:
    """Yield skeletons, and for each group its points and rectangle; ungrouped points are one instance."""
    groups: dict[str, list[Element]] = {}
    for shape in shapes:
        group = shape.get("group_id") or ""
        if shape.tag == "skeleton":
            named = [point for point in shape if point.tag == "points"]
            boxes = [box for box in shapes if box.tag == "box" and group and box.get("group_id") == group]
            yield _instance(named, boxes, shape.get("label", ""), where, track)
        elif shape.tag in ("points", "box"):
            groups.setdefault(group, []).append(shape)
    for members in groups.values():
        points = [shape for shape in members if shape.tag == "points"]
        boxes = [shape for shape in members if shape.tag == "box"]
        if points:
            yield _instance(points, boxes, boxes[0].get("label", "") if boxes else "object", where, track)


def _instance(
    points: Sequence[Element], boxes: Sequence[Element], category: str, where: str, track: int | None
) -> Instance:
    if len(boxes) > 1:
        raise wrong(
            where,
            "one rectangle per instance",
            len(boxes),
            "Group each instance with its rectangle in CVAT.",
        )
    unique((point.get("label", "") for point in points), where)
    keypoints = {point.get("label", ""): _point(point, where) for point in points if point.get("outside") != "1"}
    bbox = _bbox(boxes[0], where) if boxes else None
    return Instance(keypoints=keypoints, bbox=bbox, category=category, track_id=track, where=where)


def _point(point: Element, where: str) -> Point:
    try:
        x, y = (float(text) for text in point.get("points", "").split(","))
    except ValueError:
        fix = "Several points of one shape have no names: draw one shape per keypoint, or a skeleton."
        raise wrong(f"{where}, {point.get('label')}", "one point x,y", point.get("points"), fix) from None
    return x, y, 1 if point.get("occluded") == "1" else 2


def _bbox(box: Element, where: str) -> _Box:
    try:
        left, top, right, bottom = (float(box.get(key, "")) for key in ("xtl", "ytl", "xbr", "ybr"))
    except ValueError:
        raise wrong(where, "a box with xtl, ytl, xbr and ybr", dict(box.attrib)) from None
    return left, top, right - left, bottom - top


def _video(root: Element, folder: ImageFolder, file: Path) -> list[LabelledImage]:
    """Collect the shapes of all tracks by their frame."""
    frames: dict[int, list[Instance]] = {}
    for number, track in enumerate(root.iter("track"), 1):
        if track.find("points") is not None:
            raise wrong(
                f"{file}, track {track.get('id')}", "tracks of skeletons", "points", "Draw skeletons, or export images."
            )
        for shape in track.findall("skeleton"):
            if shape.get("outside") == "1":
                continue
            if not shape.get("frame", "").isdigit():
                raise wrong(f"{file}, track {track.get('id')}", "the number of a frame", shape.get("frame"))
            shape.set("label", track.get("label", ""))
            frame = int(shape.get("frame", ""))
            frames.setdefault(frame, []).extend(_instances([shape], f"{file}, frame {frame}", number))
    names = {frame: _frame_name(folder, frame) for frame in frames}
    return [LabelledImage(file=folder.find(names[frame]), instances=frames[frame]) for frame in sorted(frames)]


def _frame_name(folder: ImageFolder, frame: int) -> str:
    """Return the name of the image that CVAT exports for a frame."""
    found: Mapping[str, object] = folder.by_name
    names = [f"frame_{frame:06d}.{suffix}" for suffix in ("PNG", "png", "jpg", "jpeg")]
    return next((name for name in names if name in found), names[1])
