"""Read detected boxes in COCO results format, for the images of an annotation file or by image file name."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrpose.annotations.coco_annotations import CocoAnnotations, choose_categories
from hrpose.annotations.coco_rows import (
    Row,
    check_rows,
    check_unique,
    integers,
    is_finite,
    list_first,
    read_boxes,
    read_json,
    wrong_value,
)
from hrpose.errors import DataError, DataWarning
from hrpose.geometry import clip_bbox
from hrpose.structures import InstanceTable, exact_integer

logger = logging.getLogger(__name__)

_PERSON: Row = {"id": 1, "name": "person"}


def read_detections(file: str | Path, annotations: CocoAnnotations, *, min_score: float = 0.0) -> InstanceTable:
    """Read the detections of the categories of an annotation file, in the order of the detection file.

    Boxes are not clipped, as in the official code (`COCODataset._load_coco_person_detection_results`).

    Args:
        file: JSON list of {image_id, category_id, bbox, score}.
        annotations: the images and the categories.
        min_score: detections with a lower score are left out; 0 in the paper.

    Returns:
        The table; `instance_ids` are rows of the file, keypoints are 0 and their visibility is 1.

    Raises:
        MissingDataError: if there is no such file.
        DataError: if the file has an invalid detection, or none of these images and categories.

    Warns:
        DataWarning: with the number of detections left out because their image is unknown or their box has no size.
    """
    path = Path(file)
    rows = _read_rows(path)
    category_ids, image_ids, scores, bbox = _read_columns(rows, "detection", path)
    index_of = {image_id: index for index, image_id in enumerate(annotations.image_ids.tolist())}
    image_index = np.array([index_of.get(image_id, -1) for image_id in image_ids.tolist()], np.int32)

    wanted = np.isin(category_ids, list(annotations.own_category_ids))
    own, found = list_first(annotations.own_category_ids), list_first(np.unique(category_ids))
    _require(wanted.any(), path, f"category {own}", f"categories {found}")
    known = image_index >= 0
    _require(known.any(), path, f"images of {annotations.file}", f"image ids {list_first(np.unique(image_ids))}")
    _warn_dropped(path, wanted & ~known, f"their `image_id` is not in {annotations.file}")
    sized = (bbox[:, 2:] > 0).any(axis=1)
    _warn_dropped(path, wanted & known & ~sized, "their boxes have no size")
    usable = wanted & known & sized
    _require(usable.any(), path, "boxes in known images", "ones that are left out")
    kept = np.flatnonzero(usable & (scores >= min_score))
    _require(len(kept) > 0, path, f"a score of at least {min_score:g}", f"scores up to {scores[usable].max():g}")
    return InstanceTable(
        image_ids=annotations.image_ids,
        image_sizes=annotations.image_sizes,
        file_names=annotations.file_names,
        image_index=image_index[kept],
        instance_ids=kept.astype(np.int64),
        bbox=bbox[kept],
        bbox_scores=scores[kept],
        area=(bbox[kept, 2] * bbox[kept, 3]).astype(np.float32),
        keypoints=np.zeros((len(kept), *annotations.keypoints.shape[1:]), np.float32),
        visibility=np.ones((len(kept), annotations.keypoints.shape[1]), np.uint8),
    )


def _read_rows(file: Path) -> list[Row]:
    rows = read_json(file)
    if isinstance(rows, dict):
        raise DataError(
            f"{file}: expected a list of detections in COCO results format, but got a JSON object with the keys "
            f"{list_first(rows)}."
        )
    check_rows(rows, "the detections", file)
    if not rows:
        raise DataError(f"{file}: expected detections, but the list is empty. Run the detector again, or use annotated boxes.")
    checked: list[Row] = rows
    return checked


def _read_columns(
    rows: list[Row], what: str, file: Path, category_id: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return category ids, image ids, scores, 1 for annotations, and boxes."""
    categories = integers(rows, "category_id", what, file, default=category_id)
    image_ids = integers(rows, "image_id", what, file)
    for place, row in enumerate(rows):
        if what == "detection" and not is_finite(row.get("score")):
            where = f"detection number {place} (counted from 0)"
            raise wrong_value(file, where, "score", "a finite number", row, "Add the confidence of every detection.")
    scores = np.array([row["score"] if what == "detection" else 1 for row in rows], np.float64)
    return categories, image_ids, scores, read_boxes(rows, what, file)


def _require(some: bool | np.bool_, file: Path, expected: str, found: str) -> None:
    if not some:
        raise DataError(f"{file}: expected detections with {expected}, but there are only {found}.")


def _warn_dropped(file: Path, dropped: NDArray[np.bool_], why: str) -> None:
    if dropped.any():
        warnings.warn(
            f"{file}: {np.count_nonzero(dropped)} detections are left out, because {why} "
            f"(rows {list_first(np.flatnonzero(dropped))}).",
            DataWarning,
            stacklevel=3,
        )


@dataclass(frozen=True, eq=False)
class ImageBoxes:
    """Image ids and boxes by image file name.

    Attributes:
        image_ids: by file name.
        category_id: of the boxes.
        boxes: by image id: (N, 4) x, y, width, height in pixels and (N,) scores; None if no boxes are given.
    """

    image_ids: Mapping[str, int]
    category_id: int
    boxes: Mapping[int, tuple[NDArray[np.float64], NDArray[np.float64]]] | None

    def boxes_of(self, image_id: int) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Return boxes (N, 4) and scores (N,) of an image; None if no boxes are given."""
        if self.boxes is None:
            return None
        return self.boxes.get(image_id, (np.zeros((0, 4)), np.zeros(0)))


def read_image_boxes(annotations: str | Path | None, boxes: str | Path | None, *, min_score: float = 0.0) -> ImageBoxes | None:
    """Read image ids, and optionally boxes, by image file name.

    Args:
        annotations: a COCO file whose `images` map file names to ids; its annotations are ignored. None uses `boxes`.
        boxes: detections in COCO results format, a list of {image_id, category_id, bbox, score}, together with `annotations`; or
            a COCO annotation file. Annotated boxes have the score 1, are clipped to images of known size, and crowds are left
            out, as in `hrpose test`.
        min_score: detections with a lower score are left out.

    Returns:
        None if no file is given.

    Raises:
        DataError: if a file cannot be used, all of its boxes are left out, or the file names of detections are unknown.
    """
    if annotations is None and boxes is None:
        return None
    images = None if annotations is None else read_json(Path(annotations))
    if images is not None and not isinstance(images, dict):
        raise DataError(f"{annotations}: expected a COCO file with `images`, but got a JSON {type(images).__name__}.")
    found = None if boxes is None else read_json(Path(boxes))
    if images is None and not isinstance(found, dict):
        raise DataError(
            f"{boxes}: expected a COCO file that maps the `image_id` of detections to file names. Set "
            "annotations=<file with images>."
        )
    named: Any
    named, file = (found, Path(str(boxes))) if images is None else (images, Path(str(annotations)))
    image_ids = _read_image_ids(named, file)
    categories = named.get("categories") or [_PERSON]
    check_rows(categories, "categories", file)
    (category,) = choose_categories(categories, None, None, file)
    if found is None or boxes is None:
        return ImageBoxes(image_ids, int(category["id"]), None)
    grouped = _read_boxes(found, Path(boxes), category, set(image_ids.values()), min_score)
    return ImageBoxes(image_ids, int(category["id"]), grouped)


def _read_image_ids(content: Row, file: Path) -> dict[str, int]:
    rows = content.get("images")
    check_rows(rows, "images", file)
    assert rows is not None
    ids = integers(rows, "id", "image", file)
    check_unique(ids, "image", file)
    names = [row.get("file_name") for row in rows]
    for row, name in zip(rows, names, strict=True):
        if not isinstance(name, str) or not name:
            raise wrong_value(file, f"image {row['id']}", "file_name", "a path", row)
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataError(f"{file}: expected a unique `file_name` for every image, but these repeat: {list_first(repeated)}.")
    return dict(zip(map(str, names), ids.tolist(), strict=True))


def _read_boxes(
    content: Any, file: Path, category: Row, known: set[int], min_score: float
) -> dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Group the boxes of one category by image, in the order of the file."""
    detected = not isinstance(content, dict)
    rows = content if detected else content.get("annotations")
    check_rows(rows, "the detections" if detected else "annotations", file)
    what = "detection" if detected else "annotation"
    categories, image_ids, scores, boxes = _read_columns(rows, what, file, category["id"])
    if not detected:
        images = content.get("images") or []
        check_rows(images, "images", file)
        boxes = _clip(boxes, image_ids, images)
    wanted = categories == category["id"]
    dropped = {
        f"are of other categories than {category.get('name')!r} (id {category['id']})": ~wanted,
        "are of images that are not in `images`": wanted & ~np.isin(image_ids, list(known)),
        "have no size": wanted & (boxes[:, 2:] <= 0).any(axis=1),
    }
    for why, rows_at_fault in dropped.items():
        if rows_at_fault.any():
            logger.warning("%s: %d of %d boxes %s and are left out.", file, rows_at_fault.sum(), len(rows), why)
    crowd = np.array([bool(row.get("iscrowd", 0)) for row in rows], bool)
    dropped |= {"are of crowds": crowd, f"score below {min_score:g}": scores < min_score}
    kept = ~np.any(list(dropped.values()), axis=0)
    if len(rows) and not kept.any():
        reasons = "; ".join(f"{at_fault.sum()} {why}" for why, at_fault in dropped.items() if at_fault.any())
        raise DataError(
            f"{file}: expected boxes of {category.get('name')!r} in {len(known)} known images, but all {len(rows)} are left "
            f"out: {reasons}. The file has category ids {list_first(np.unique(categories))} and image ids "
            f"{list_first(np.unique(image_ids))}."
        )
    groups: dict[int, list[int]] = {}
    for row in np.flatnonzero(kept).tolist():
        groups.setdefault(int(image_ids[row]), []).append(row)
    return {image_id: (boxes[group], scores[group]) for image_id, group in groups.items()}


def _clip(boxes: NDArray[np.float64], image_ids: NDArray[np.int64], images: Sequence[Row]) -> NDArray[np.float64]:
    """Clip boxes to images of known size; boxes outside the image are returned unchanged."""
    size_of = {
        exact_integer(row.get("id")): [exact_integer(row.get(side)) or 0 for side in ("width", "height")] for row in images
    }
    sizes = np.array([size_of.get(image_id, (0, 0)) for image_id in image_ids.tolist()], np.float64).reshape(-1, 2)
    clipped = clip_bbox(boxes, sizes)
    return np.where((clipped[:, 2:] > 0).all(axis=1, keepdims=True), clipped, boxes)
