"""Read V7 Darwin JSON 2.0: a file per image, with skeletons of named nodes.

https://docs.v7labs.com/reference/darwin-json
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hrpose.annotations.converters.labels import ImageFolder, Instance, LabelledImage, Labels, unique
from hrpose.annotations.converters.source import Source, expecting, wrong


def is_darwin(content: Any) -> bool:
    """Check for `item` and `annotations`."""
    rows = content.get("annotations") if isinstance(content, dict) and isinstance(content.get("item"), dict) else None
    return isinstance(rows, list) and all(isinstance(row, dict) for row in rows)


def read(source: Source) -> Labels:
    """Read the JSON files of a folder; the first invalid value raises DataError, with file and annotation."""
    folder = ImageFolder(source.images or source.folder)
    files, notes = source.json_files(is_darwin)
    images, others = [], 0
    for file, content in files:
        item = content["item"]
        name = f"{str(item.get('path', '/')).strip('/')}/{item.get('name')}".strip("/")
        rows = [row for row in content["annotations"] if "skeleton" in row]
        others += len(content["annotations"]) - len(rows)
        if any("frames" in row for row in content["annotations"]):
            raise wrong(file, "labels of an image", "frames of a video", "Export the frames as images.")
        instances = [_instance(row, f"{file}, annotation {row.get('id')}") for row in rows]
        images.append(LabelledImage(file=folder.find(name, file.parent), instances=instances))
    notes += [f"{others} annotations that are not skeletons are left out."] if others else []
    return Labels(folder=folder, images=images, notes=notes)


def _instance(row: Mapping[str, Any], where: str) -> Instance:
    with expecting(where, "nodes with name, x and y, and a box with x, y, w and h", row):
        nodes = row["skeleton"]["nodes"]
        keypoints = {str(node["name"]): (float(node["x"]), float(node["y"]), 1 if node.get("occluded") else 2) for node in nodes}
        box = row.get("bounding_box")
        bbox = None if box is None else (float(box["x"]), float(box["y"]), float(box["w"]), float(box["h"]))
    unique((str(node["name"]) for node in nodes), where)
    return Instance(keypoints=keypoints, bbox=bbox, category=str(row.get("name", "object")), where=where)
