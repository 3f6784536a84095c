"""Read Label Studio: tasks with key points in percent of the image, linked to a rectangle by `parentID` or a relation.

https://labelstud.io/guide/export, https://labelstud.io/tags/keypointlabels
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hrpose.annotations.converters.labels import ImageFolder, Instance, LabelledImage, Labels, join
from hrpose.annotations.converters.source import Source, expecting, wrong

_UPLOADED = re.compile(r"^[0-9a-f]{8}-")  # prefix of the names of uploaded files
_POINTS, _BOXES = "keypointlabels", "rectanglelabels"
_FIX = (
    "Draw the points as children of their rectangle, or add a relation between them. Export JSON, because JSON-MIN has no "
    "relations."
)


def is_export(content: Any) -> bool:
    """Check for a list of tasks, exported as JSON or JSON-MIN."""
    rows = content if isinstance(content, list) else []
    return bool(rows) and all(isinstance(row, dict) and (_is_task(row) or "annotation_id" in row) for row in rows)


def read(source: Source) -> Labels:
    """Read the tasks; of several annotations of a task the last one that was not cancelled is used.

    The first invalid value raises DataError, with the id of the task.
    """
    folder = ImageFolder(source.images or source.folder)
    files, notes = source.json_files(is_export)
    images, several, others = [], 0, 0
    for task in (_task(row) for _, content in files for row in content):
        where = f"{source.path}, task {task.get('id')}"
        done = [entry for entry in task["annotations"] if not entry.get("was_cancelled")]
        several += len(done) > 1
        result = done[-1]["result"] if done else []
        others += sum(row.get("type") not in (_POINTS, _BOXES, "relation") for row in result)
        instances = join(_shapes(result, where), where, _FIX)
        images.append(LabelledImage(file=folder.find(_image_name(task, folder, where)), instances=instances))
    notes += [f"{several} tasks have several annotations; the last one is used."] if several else []
    notes += [f"{others} regions are neither key points nor rectangles and are left out."] if others else []
    notes.append("All key points are visible, because the format does not store occlusion.")
    return Labels(folder=folder, images=images, notes=notes)


def _is_task(row: Mapping[str, Any]) -> bool:
    return isinstance(row.get("data"), dict) and isinstance(row.get("annotations"), list)


def _task(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a task; entries of JSON-MIN, which list regions by control, are converted to tasks."""
    if _is_task(row):
        return row
    regions = [region for value in row.values() if isinstance(value, list) for region in value]
    result = [
        {**region, "id": str(region.get("id", place)), "type": kind, "value": region}
        for place, region in enumerate(regions)
        for kind in (_POINTS, _BOXES)
        if isinstance(region, dict) and kind in region
    ]
    return {"id": row.get("id"), "data": row, "annotations": [{"result": result}]}


def _image_name(task: Mapping[str, Any], folder: ImageFolder, where: str) -> str:
    """Return the image name of a task, without the prefix of uploaded files if only this name exists."""
    texts = [value for value in task["data"].values() if isinstance(value, str) and re.search(r"\.\w{3,4}($|\?)", value)]
    if not texts:
        raise wrong(where, "the name of an image in `data`", task["data"])
    name = re.sub(r"^.*\?d=", "", texts[0]).partition("?")[0]
    last = name.replace("\\", "/").rpartition("/")[2]
    short = _UPLOADED.sub("", last)
    return short if last not in folder.by_name and short in folder.by_name else name


def _shapes(result: Sequence[Mapping[str, Any]], where: str) -> Iterator[tuple[str, Instance]]:
    """Yield points and rectangles; a point without a rectangle belongs to the only rectangle of the image."""
    for row in result:
        if row.get("image_rotation") or (row.get("value") or {}).get("rotation"):
            raise wrong(where, "images and rectangles without rotation", row, "Draw upright rectangles on upright images.")
    boxes = {str(row["id"]): row for row in result if row.get("type") == _BOXES}
    points = {str(row["id"]): row for row in result if row.get("type") == _POINTS}
    parents = {key: str(row["parentID"]) for key, row in points.items() if row.get("parentID")}
    ends = [(str(row.get("from_id")), str(row.get("to_id"))) for row in result if row.get("type") == "relation"]
    for one, other in ends:
        for point, box in ((one, other), (other, one)):
            if point in points and box in boxes:
                parents.setdefault(point, box)
    for key, row in boxes.items():
        x, y, width, height = _pixels(row, ("x", "y", "width", "height"), where)
        label = str((row["value"].get(_BOXES) or ["object"])[0])
        yield key, Instance(bbox=(x, y, width, height), category=label)
    for key, row in points.items():
        x, y = _pixels(row, ("x", "y"), where)
        group = parents.get(key, next(iter(boxes)) if len(boxes) == 1 else "")
        yield group, Instance(keypoints={str(row["value"][_POINTS][0]): (x, y, 2)})


def _pixels(row: Mapping[str, Any], keys: Sequence[str], where: str) -> list[float]:
    """Convert percent of the image size to pixels."""
    sizes = {"x": "original_width", "width": "original_width", "y": "original_height", "height": "original_height"}
    with expecting(where, f"{', '.join(keys)} and the size of the image", row):
        return [float(row["value"][key]) / 100 * float(row[sizes[key]]) for key in keys]
