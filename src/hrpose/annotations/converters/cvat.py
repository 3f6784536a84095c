"""Read CVAT XML 1.1 of images or videos: skeletons, and grouped points.

https://docs.cvat.ai/docs/manual/advanced/xml_format/
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element

from hrpose.annotations.converters.labels import Box, ImageFolder, Instance, LabelledImage, Labels, Point, join, unique
from hrpose.annotations.converters.source import Source, expecting, read_xml, wrong
from hrpose.annotations.converters.split import SPLIT_NAMES

_NODE = re.compile(r"<circle[^>]*>")
_EDGE = re.compile(r"<line[^>]*>")


def find_file(source: Source) -> Path | None:
    """Return the first XML file with the root `annotations`; None if there is none."""
    for file in source.files(".xml"):
        with file.open("rb") as stream:
            head = stream.read(2000)
        if b"<annotations" in head and b"<version>" in head:
            return file
    return None


def read(source: Source) -> Labels:
    """Read an XML file of images, or of a video whose frames are the images frame_000000, frame_000001, ...

    The first invalid value raises DataError, with image and label.
    """
    file = find_file(source)
    if file is None:
        raise wrong(source.path, "an XML file of CVAT", "none")
    root = read_xml(file)
    folder = ImageFolder(source.images or source.folder)
    images = [
        LabelledImage(
            file=folder.find(element.get("name", "")),
            instances=_instances(list(element), f"{file}, image {element.get('name')}"),
            split=SPLIT_NAMES.get(element.get("subset", "").lower()),
        )
        for element in root.iter("image")
    ]
    images += [
        LabelledImage(file=folder.find(f"frame_{frame:06d}"), instances=_instances(shapes, f"{file}, frame {frame}"))
        for frame, shapes in sorted(_frames(root, file).items())
    ]
    names, edges = _skeletons(root)
    labels = Labels(folder=folder, images=images, keypoint_names=names, edges=edges)
    unjoined = sum(not instance.keypoints and instance.bbox is not None for instance in labels.instances)
    notes = [f"{unjoined} boxes share no group with keypoints and have no labelled keypoints."] if unjoined else []
    return replace(labels, notes=[*notes, "Points marked as outside are unlabelled, points marked as occluded are occluded."])


def _skeletons(root: Element) -> tuple[dict[str, list[str]], list[tuple[str, str]]]:
    """Return keypoint names and edges of the skeleton labels; their SVG drawing states the edges."""
    names: dict[str, list[str]] = {}
    edges: list[tuple[str, str]] = []
    for label in root.iter("label"):
        name, parent = label.findtext("name") or "", label.findtext("parent")
        if parent and name not in names.setdefault(parent, []):
            names[parent].append(name)
        drawing = label.findtext("svg") or ""
        nodes = {_attribute(node, "data-node-id"): _attribute(node, "data-label-name") for node in _NODE.findall(drawing)}
        ends = [(_attribute(edge, "data-node-from"), _attribute(edge, "data-node-to")) for edge in _EDGE.findall(drawing)]
        edges += [(nodes[one], nodes[two]) for one, two in ends if nodes.get(one) and nodes.get(two)]
    return names, list(dict.fromkeys(edges))


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
            raise wrong(
                where, "one rectangle per instance", f"{len(boxes)} rectangles", "Group each instance with its rectangle in CVAT."
            )
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
    loose = [_shape(shape, where) for shape in others if not _is_outside(shape)]
    return instances + join(loose, where, "Group the shapes of each instance in CVAT.")


def _shape(element: Element, where: str) -> tuple[str, Instance]:
    """Return the group of a point or rectangle outside of skeletons, and its instance."""
    label, group = element.get("label", ""), element.get("group_id", "")
    group = "" if group == "0" else group  # some exports of CVAT write 0 for no group
    if element.tag == "points":
        return group, Instance(keypoints={label: _point(element, where)})
    return group, Instance(bbox=_bbox(element, where), category=label, track_id=_track(element))


def _is_outside(element: Element) -> bool:
    return element.get("outside") == "1"


def _track(element: Element) -> int | None:
    return int(element.get("track", "")) if element.get("track") else None


def _point(point: Element, where: str) -> Point:
    fix = "Points of one shape have no names: draw one shape per keypoint, or a skeleton."
    with expecting(f"{where}, {point.get('label')}", "one point x,y", f"{point.get('points')}", fix):
        x, y = (float(text) for text in point.get("points", "").split(","))
    return x, y, 1 if point.get("occluded") == "1" else 2


def _bbox(box: Element, where: str) -> Box:
    with expecting(where, "a box with xtl, ytl, xbr and ybr", dict(box.attrib)):
        left, top, right, bottom = (float(box.get(key, "")) for key in ("xtl", "ytl", "xbr", "ybr"))
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
