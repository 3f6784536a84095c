"""Read CVAT XML 1.1 of images or videos: skeletons, and grouped points.

https://docs.cvat.ai/docs/manual/advanced/xml_format/
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

from hrpose.annotations.converters.labels import (
    Box,
    ImageFolder,
    Instance,
    LabelledImage,
    Labels,
    Options,
    Pair,
    Point,
    Shape,
    collect,
    join,
    unique,
)
from hrpose.annotations.converters.source import Source, read_xml, wrong
from hrpose.annotations.converters.split import SPLIT_NAMES

_NODE = re.compile(r"<circle[^>]*>")
_EDGE = re.compile(r"<line[^>]*>")


def recognise(source: Source) -> bool:
    """Check for an XML file with the root `annotations`, or a folder with one."""
    return _file(source) is not None


def read(source: Source, options: Options) -> Labels:
    """Read an XML file of images, or of a video whose frames are the images frame_000000, frame_000001, ...

    Raises:
        DataError: for the first invalid value, with image and label.
    """
    file = _file(source)
    if file is None:
        raise wrong(str(source.path), "an XML file of CVAT", "none")
    root = read_xml(file)
    folder = ImageFolder(options.images or source.folder)
    images = [
        LabelledImage(
            file=folder.find(element.get("name", "")),
            instances=_instances(list(element), f"{file}, image {element.get('name')}"),
            split=SPLIT_NAMES.get(element.get("subset", "").lower()),
        )
        for element in root.iter("image")
    ]
    for frame, shapes in sorted(_frames(root, file).items()):
        instances = _instances(shapes, f"{file}, frame {frame}")
        images.append(LabelledImage(file=folder.find(f"frame_{frame:06d}"), instances=instances))
    names, edges = _skeletons(root)
    rows = [instance for image in images for instance in image.instances]
    unjoined = sum(not instance.keypoints and instance.bbox is not None for instance in rows)
    notes = [f"{unjoined} boxes share no group with keypoints and have no labelled keypoints."] if unjoined else []
    notes.append("Points marked as outside are unlabelled, points marked as occluded are occluded.")
    return collect(images, folder, options, notes, names=names, edges=edges)


def _file(source: Source) -> Path | None:
    for file in source.files(".xml"):
        with file.open("rb") as stream:
            head = stream.read(2000)
        if b"<annotations" in head and b"<version>" in head:
            return file
    return None


def _skeletons(root: Element) -> tuple[dict[str, list[str]], list[Pair]]:
    """Return keypoint names and edges of the skeleton labels; their SVG drawing states the edges."""
    names: dict[str, dict[str, None]] = {}
    edges: list[Pair] = []
    for label in root.iter("label"):
        parent = label.findtext("parent")
        if parent:
            names.setdefault(parent, {})[label.findtext("name") or ""] = None
        drawing = label.findtext("svg") or ""
        nodes = {_attribute(node, "data-node-id"): _attribute(node, "data-label-name") for node in _NODE.findall(drawing)}
        ends = [(_attribute(edge, "data-node-from"), _attribute(edge, "data-node-to")) for edge in _EDGE.findall(drawing)]
        edges += [(nodes[one], nodes[two]) for one, two in ends if nodes.get(one) and nodes.get(two)]
    return {parent: list(of_parent) for parent, of_parent in names.items()}, list(dict.fromkeys(edges))


def _attribute(tag: str, name: str) -> str:
    found = re.search(rf'{name}="([^"]*)"', tag)
    return found[1] if found else ""


def _instances(shapes: Sequence[Element], where: str) -> list[Instance]:
    """Return the skeletons, each with the rectangle of its group, and the instances of other grouped points and rectangles."""
    skeletons = [shape for shape in shapes if shape.tag == "skeleton"]
    groups = {shape.get("group_id") for shape in skeletons} - {None, "", "0"}
    instances = []
    for shape in skeletons:
        group = shape.get("group_id")
        boxes = [box for box in shapes if box.tag == "box" and group in groups and box.get("group_id") == group]
        if len(boxes) > 1:
            fix = "Group each instance with its rectangle in CVAT."
            raise wrong(where, "one rectangle per instance", f"{len(boxes)} rectangles", fix)
        points = [point for point in shape if point.tag == "points"]
        unique((point.get("label", "") for point in points), where)
        instances.append(
            Instance(
                keypoints={point.get("label", ""): _point(point, where) for point in points if not _is_outside(point)},
                bbox=_bbox(boxes[0], where) if boxes else None,
                category=shape.get("label", ""),
                track_id=_track(shape),
                where=where,
            )
        )
    others = [shape for shape in shapes if shape.tag in ("points", "box") and shape.get("group_id") not in groups]
    return instances + join(
        (_shape(shape, where) for shape in others if not _is_outside(shape)), where, "Group the shapes of each instance in CVAT."
    )


def _shape(element: Element, where: str) -> Shape:
    """Return a point or rectangle outside of skeletons. Some exports of CVAT write group 0 for no group."""
    group = element.get("group_id", "")
    return Shape(
        label=element.get("label", ""),
        group="" if group == "0" else group,
        point=_point(element, where) if element.tag == "points" else None,
        bbox=_bbox(element, where) if element.tag == "box" else None,
        track_id=_track(element) if element.tag == "box" else None,
    )


def _is_outside(element: Element) -> bool:
    return element.get("outside") == "1"


def _track(element: Element) -> int | None:
    return int(element.get("track", "")) if element.get("track") else None


def _point(point: Element, where: str) -> Point:
    try:
        x, y = (float(text) for text in point.get("points", "").split(","))
    except ValueError:
        fix = "Points of one shape have no names: draw one shape per keypoint, or a skeleton."
        raise wrong(f"{where}, {point.get('label')}", "one point x,y", point.get("points"), fix) from None
    return x, y, 1 if point.get("occluded") == "1" else 2


def _bbox(box: Element, where: str) -> Box:
    try:
        left, top, right, bottom = (float(box.get(key, "")) for key in ("xtl", "ytl", "xbr", "ybr"))
    except ValueError:
        raise wrong(where, "a box with xtl, ytl, xbr and ybr", dict(box.attrib)) from None
    return left, top, right - left, bottom - top


def _frames(root: Element, file: Path) -> dict[int, list[Element]]:
    """Return the shapes of all tracks by frame, each with the label, group and number of its track."""
    frames: dict[int, list[Element]] = {}
    for number, track in enumerate(root.iter("track"), 1):
        for shape in track:
            if shape.tag not in ("skeleton", "points", "box") or _is_outside(shape):
                continue
            if not shape.get("frame", "").isdigit():
                raise wrong(f"{file}, track {track.get('id')}", "the number of a frame", shape.get("frame"))
            shape.attrib.update({"label": track.get("label", ""), "group_id": track.get("group_id", ""), "track": f"{number}"})
            frames.setdefault(int(shape.get("frame", "")), []).append(shape)
    return frames
