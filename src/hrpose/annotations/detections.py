"""Boxes of a person detector, in the form of COCO results, as packed arrays."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hrpose.annotations.coco_annotations import CocoAnnotations
from hrpose.annotations.coco_rows import Row, check_rows, integers, list_first, read_boxes, read_json
from hrpose.errors import DataError, DataWarning
from hrpose.structures import InstanceTable


def read_detections(file: str | Path, annotations: CocoAnnotations, *, min_score: float = 0.0) -> InstanceTable:
    """Read the detections of a category, in the order of the file.

    As in the official code (`COCODataset._load_coco_person_detection_results`) the boxes are used as they are, unclipped,
    and a detection is dropped if its score is below `min_score`. Nothing is known of the keypoints: they are 0 and their
    visibility 1.

    Args:
        file: JSON list of {image_id, category_id, bbox, score}.
        annotations: the photos and the category.
        min_score: the lowest score to keep; 0 in the paper.

    Returns:
        The table; `instance_ids` are rows of the file.

    Raises:
        MissingDataError: if there is no such file.
        DataError: if the file holds no detections of these photos and this category, or a broken one.

    Warns:
        DataWarning: with the number of detections dropped because their photo is unknown or their box has no size.
    """
    path = Path(file)
    rows = _read_rows(path)
    category_ids = integers(rows, "category_id", "detection", path)
    image_ids = integers(rows, "image_id", "detection", path)
    scores = _scores(rows, path)
    bbox = read_boxes(rows, "detection", path)
    index_of = {image_id: index for index, image_id in enumerate(annotations.image_ids.tolist())}
    image_index = np.array([index_of.get(image_id, -1) for image_id in image_ids.tolist()], np.int32)

    wanted = category_ids == annotations.category["id"]
    _require(
        wanted.any(),
        path,
        f"category {annotations.category['id']}",
        f"categories {list_first(np.unique(category_ids))}",
    )
    known = image_index >= 0
    _require(known.any(), path, f"photos of {annotations.file}", f"image ids {list_first(np.unique(image_ids))}")
    _warn_dropped(path, wanted & ~known, f"their `image_id` is not in {annotations.file}")
    sized = (bbox[:, 2:] > 0).any(axis=1)
    _warn_dropped(path, wanted & known & ~sized, "their boxes have no size")
    usable = wanted & known & sized
    _require(usable.any(), path, "boxes in known photos", "ones that are left out")
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
            f"{file}: expected a list of detections, but got a JSON object with the keys {list_first(rows)}. "
            "An annotation file is no detection file: give a file in the form of COCO results."
        )
    check_rows(rows, "the detections", file)
    if not rows:
        raise DataError(
            f"{file}: expected detections, but the list is empty. Run the detector again, or use annotated boxes."
        )
    checked: list[Row] = rows
    return checked


def _scores(rows: list[Row], file: Path) -> NDArray[np.float64]:
    for place, row in enumerate(rows):
        score = row.get("score")
        if not (isinstance(score, (int, float)) and np.isfinite(score)):
            came = f"got {score!r}" if "score" in row else "there is none"
            raise DataError(
                f"{file}: expected `score` of detection number {place} (counted from 0) to be a finite number, but {came}. "
                "Every detection needs its confidence."
            )
    return np.array([row["score"] for row in rows], np.float64)


def _require(some: bool | np.bool_, file: Path, wish: str, came: str) -> None:
    if not some:
        raise DataError(f"{file}: expected detections with {wish}, but there are only {came}.")


def _warn_dropped(file: Path, dropped: NDArray[np.bool_], why: str) -> None:
    if dropped.any():
        warnings.warn(
            f"{file}: {np.count_nonzero(dropped)} detections are left out, because {why} "
            f"(rows {list_first(np.flatnonzero(dropped))}).",
            DataWarning,
            stacklevel=3,
        )
