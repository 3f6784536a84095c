"""Label Studio JSON: tasks with key points in percent of the image, joined to a rectangle by `parentID` or a relation.

https://labelstud.io/guide/export, https://labelstud.io/tags/keypointlabels
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
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

_UPLOADED = re.compile(r"^[0-9a-f]{8}-")  # what Label Studio puts before the name of an uploaded file
_FIX = "Draw the points inside of their rectangle as its children, or add a relation between them."


def recognise(source: Source) -> bool:
    """Check for a JSON list of tasks with `data` and `annotations`."""
    content = source.first_json
    return isinstance(content, list) and bool(content) and _is_task(content[0])


def read(source: Source, options: Options) -> Labels:
    """Read the tasks; of several annotations of a task the last one that was not cancelled counts.

    Raises:
        DataError: for the first fault, with the id of the task.
    """
    folder = ImageFolder(options.images or source.folder)
    tasks = [task for file in source.files(".json") for task in _tasks(read_json_file(file))]
    images, several = [], 0
    for task in tasks:
        where = f"{source.path}, task {task.get('id')}"
        done = [entry for entry in task["annotations"] if not entry.get("was_cancelled")]
        several += len(done) > 1
        result = done[-1]["result"] if done else []
        images.append(
            LabelledImage(file=folder.find(_image_name(task, folder, where)), instances=_instances(result, where))
        )
    notes = [f"{several} tasks have several annotations, of which the last counts."] if several else []
    notes.append("All key points count as visible: the format does not state occlusion.")
    instances = [instance for image in images for instance in image.instances]
    names = names_by_category(instances, options.keypoint_names)
    return Labels(folder=folder.folder, images=images, keypoint_names=names, notes=[*notes, *folder.notes])


def _is_task(task: Any) -> bool:
    return isinstance(task, dict) and isinstance(task.get("data"), dict) and isinstance(task.get("annotations"), list)


def _tasks(content: Any) -> list[dict[str, Any]]:
    return [task for task in content if _is_task(task)] if isinstance(content, list) else []


def _image_name(task: Mapping[str, Any], folder: ImageFolder, where: str) -> str:
    """Return the name of the image of a task: as it was before the upload if only this file exists."""
    texts = [
        value for value in task["data"].values() if isinstance(value, str) and re.search(r"\.\w{3,4}($|\?)", value)
    ]
    if not texts:
        raise wrong(where, "the name of an image under `data`", task["data"])
    name = re.sub(r"^.*\?d=", "", texts[0]).partition("?")[0]
    last = name.replace("\\", "/").rpartition("/")[2]
    short = _UPLOADED.sub("", last)
    return short if last not in folder.by_name and short in folder.by_name else name


def _instances(result: Sequence[Mapping[str, Any]], where: str) -> list[Instance]:
    """Join the points to their rectangle; points without one are one instance, if they are the only ones."""
    turned = next(
        (row for row in result if row.get("image_rotation") or (row.get("value") or {}).get("rotation")), None
    )
    if turned is not None:
        raise wrong(
            where, "images and rectangles that are not turned", turned, "Draw upright rectangles on upright images."
        )
    boxes = {str(row["id"]): row for row in result if row.get("type") == "rectanglelabels"}
    points = {str(row["id"]): row for row in result if row.get("type") == "keypointlabels"}
    parents = {key: str(row["parentID"]) for key, row in points.items() if row.get("parentID")}
    for row in result:
        if row.get("type") == "relation":
            ends = str(row.get("from_id")), str(row.get("to_id"))
            for point, box in (ends, ends[::-1]):
                if point in points and box in boxes:
                    parents.setdefault(point, box)
    groups: dict[str, list[str]] = {box: [] for box in boxes}
    only = next(iter(boxes)) if len(boxes) == 1 else ""
    for key in points:
        groups.setdefault(parents.get(key, only), []).append(key)
    if "" in groups and boxes:
        raise wrong(where, "a rectangle for each point", f"{len(groups[''])} of {len(points)} points without one", _FIX)
    return [_instance([points[key] for key in keys], boxes.get(box), where) for box, keys in groups.items()]


def _instance(points: Sequence[Mapping[str, Any]], box: Mapping[str, Any] | None, where: str) -> Instance:
    names = [str(point["value"]["keypointlabels"][0]) for point in points]
    unique(names, where)
    keypoints: dict[str, Point] = {}
    for name, row in zip(names, points, strict=True):
        x, y = _pixels(row, ("x", "y"), where)
        keypoints[name] = (x, y, 2)
    if box is None:
        return Instance(keypoints=keypoints, where=where)
    x, y, width, height = _pixels(box, ("x", "y", "width", "height"), where)
    category = str((box["value"].get("rectanglelabels") or ["object"])[0])
    return Instance(keypoints=keypoints, bbox=(x, y, width, height), category=category, where=where)


def _pixels(row: Mapping[str, Any], keys: Sequence[str], where: str) -> list[float]:
    """Turn percent of the image into pixels."""
    sizes = {"x": "original_width", "width": "original_width", "y": "original_height", "height": "original_height"}
    try:
        return [float(row["value"][key]) / 100 * float(row[sizes[key]]) for key in keys]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{where}: expected {', '.join(keys)} and the size of the image, but found {row}.") from error
