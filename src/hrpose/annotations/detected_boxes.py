"""The image ids and boxes that COCO files give to photos, looked up by the names of the photos."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrpose.annotations.coco_rows import (
    Row,
    check_rows,
    check_unique,
    choose_category,
    integers,
    list_first,
    read_boxes,
    read_json,
)
from hrpose.errors import DataError
from hrpose.geometry import clip_bbox

logger = logging.getLogger(__name__)

_PERSON: Row = {"id": 1, "name": "person"}


@dataclass(frozen=True, eq=False)
class PhotoBoxes:
    """What files say of photos.

    Attributes:
        image_ids: by file name.
        category_id: of the people.
        boxes: by image id: (N, 4) x, y, width, height in pixels and (N,) scores; None where no boxes are given.
    """

    image_ids: Mapping[str, int]
    category_id: int
    boxes: Mapping[int, tuple[NDArray[np.float64], NDArray[np.float64]]] | None

    def boxes_of(self, image_id: int) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Give the boxes of a photo, none if it has none; None where no boxes are given at all."""
        if self.boxes is None:
            return None
        return self.boxes.get(image_id, (np.zeros((0, 4)), np.zeros(0)))


def read_photo_boxes(
    annotations: str | Path | None, boxes: str | Path | None, *, min_score: float = 0.0
) -> PhotoBoxes | None:
    """Read what is known of photos.

    Args:
        annotations: a COCO file whose `images` give ids to file names; its annotations are not looked at. None takes `boxes`.
        boxes: detections in the form of COCO results, a list of {image_id, category_id, bbox, score}, which need the names of
            `annotations`; or a COCO annotation file, whose boxes are taken with the score 1, crowds left out, and clipped by
            the official rules where `images` says how large a photo is, as `hrpose test` takes them.
        min_score: detections that score below it are left out.

    Returns:
        None if no file is given.

    Raises:
        DataError: if a file cannot be used, or the detections come without names.
    """
    if annotations is None and boxes is None:
        return None
    images = None if annotations is None else _read_object(Path(annotations))
    found = None if boxes is None else read_json(Path(boxes))
    if images is None and not isinstance(found, dict):
        raise DataError(
            f"{boxes}: these detections name photos by their `image_id`; which file that is, a COCO file tells. Give it: "
            "annotations=<file with images>."
        )
    named, file = (images, Path(str(annotations))) if images is not None else (found, Path(str(boxes)))
    assert isinstance(named, dict)
    image_ids = _read_image_ids(named, file)
    categories = named.get("categories") or [_PERSON]
    check_rows(categories, "categories", file)
    category = choose_category(categories, None, file)
    if found is None or boxes is None:
        return PhotoBoxes(image_ids, int(category["id"]), None)
    grouped = _read_boxes(found, Path(boxes), category, set(image_ids.values()), min_score)
    return PhotoBoxes(image_ids, int(category["id"]), grouped)


def _read_object(file: Path) -> Row:
    content = read_json(file)
    if not isinstance(content, dict):
        raise DataError(f"{file}: expected a COCO file with `images`, but got a JSON {type(content).__name__}.")
    return content


def _read_image_ids(content: Row, file: Path) -> dict[str, int]:
    rows = content.get("images")
    check_rows(rows, "images", file)
    assert rows is not None
    ids = integers(rows, "id", "image", file)
    check_unique(ids, "image", file)
    names = [row.get("file_name") for row in rows]
    for image_id, name in zip(ids.tolist(), names, strict=True):
        if not isinstance(name, str) or not name:
            raise DataError(f"{file}: expected `file_name` of image {image_id} to be a path, but got {name!r}.")
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataError(
            f"{file}: expected every image to have a `file_name` of its own, but these repeat: {list_first(repeated)}."
        )
    return dict(zip(map(str, names), ids.tolist(), strict=True))


def _read_boxes(
    content: Any, file: Path, category: Row, known: set[int], min_score: float
) -> dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Group the boxes of one category by photo, in the order of the file."""
    detected = not isinstance(content, dict)
    rows = content if detected else content.get("annotations")
    check_rows(rows, "the detections" if detected else "annotations", file)
    what = "detection" if detected else "annotation"
    image_ids = integers(rows, "image_id", what, file)
    categories = integers(rows, "category_id", what, file, default=category["id"])
    scores = np.array([_score(row, place, file) if detected else 1.0 for place, row in enumerate(rows)])
    boxes = read_boxes(rows, what, file)
    if not detected:
        boxes = _clip(boxes, image_ids, content.get("images"))
    wanted = categories == category["id"]
    dropped = {
        f"are of other categories than {category.get('name')!r}": ~wanted,
        "are of photos that no `images` entry names": wanted & ~np.isin(image_ids, list(known)),
        "have no size": wanted & (boxes[:, 2:] <= 0).any(axis=1),
    }
    for why, rows_at_fault in dropped.items():
        if rows_at_fault.any():
            logger.warning("%s: %d of %d boxes %s and are left out.", file, rows_at_fault.sum(), len(rows), why)
    crowd = np.array([bool(row.get("iscrowd", 0)) for row in rows], bool)
    kept = ~np.any(list(dropped.values()), axis=0) & ~crowd & (scores >= min_score)
    groups: dict[int, list[int]] = {}
    for row in np.flatnonzero(kept).tolist():
        groups.setdefault(int(image_ids[row]), []).append(row)
    return {image_id: (boxes[group], scores[group]) for image_id, group in groups.items()}


def _clip(boxes: NDArray[np.float64], image_ids: NDArray[np.int64], images: Any) -> NDArray[np.float64]:
    """Clip annotated boxes to photos of known size; those of which nothing is left stay, to be told of with their photo."""
    measured = [row for row in images or () if isinstance(row.get("width"), int) and isinstance(row.get("height"), int)]
    sizes = {row.get("id"): (row["width"], row["height"]) for row in measured}
    clipped = boxes.copy()
    for row, image_id in enumerate(image_ids.tolist()):
        if image_id in sizes:
            clipped[row] = clip_bbox(boxes[row], sizes[image_id])
    return np.where((clipped[:, 2:] > 0).all(axis=1, keepdims=True), clipped, boxes)


def _score(row: Row, place: int, file: Path) -> float:
    score = row.get("score")
    if not isinstance(score, int | float) or not np.isfinite(score):
        raise DataError(
            f"{file}: expected `score` of detection number {place} (counted from 0) to be a finite number, but got {score!r}."
        )
    return float(score)
