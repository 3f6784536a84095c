"""Read a COCO keypoint result file, of whatever tool, to be evaluated."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from hrpose.metrics.functional.matching import Detections
from hrpose.metrics.functional.oks import Floats, Indices, enclosed_areas
from hrpose.structures import GroundTruth, exact_integer


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector from walking again and again through millions of numbers that are soon gone."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def read_results(file: str | Path, truth: GroundTruth) -> Detections:
    """Read a result file without the scores of its keypoints; see `read_scored_results`."""
    return read_scored_results(file, truth)[0]


@_no_collection()
def read_scored_results(
    file: str | Path, truth: GroundTruth, *, keypoint_fields: Mapping[str, int] | None = None
) -> tuple[Detections, Floats]:
    """Read the rows {image_id, category_id, keypoints [x, y, score] * K, score} of a result file.

    The area of a prediction is that of its `bbox` if the first row has one, else that of its keypoints' extent, as the
    reference implementation takes it; of several keypoint fields that of the first, the body.

    Args:
        file: the JSON file.
        truth: what the predictions are of: its photos and its number of keypoints.
        keypoint_fields: fields whose first keypoints, as many as are named, stand for `keypoints`, if the first row has them
            all: results of COCO-WholeBody come in five fields.

    Returns:
        The N predictions in the order of the file, and (N, K) the third number of each keypoint: its score, if the tool that
        wrote the file gives one.

    Raises:
        ValueError: naming the file and the rows at fault: no such file, not JSON, not a list of such rows, another number of
            keypoints, a number that is missing or not finite, an id that is no integer (whole floats below 2**53 are taken as
            integers), an unknown photo, a row that is there twice.
    """
    file = Path(file)
    rows = _joined(file, _read_rows(file), keypoint_fields or {})
    num_keypoints = truth.keypoints.shape[1]
    for name in ("image_id", "category_id", "keypoints", "score"):
        _refuse(file, [at for at, row in enumerate(rows) if name not in row], f"every row to have `{name}`")
    unlike = [at for at, row in enumerate(rows) if not _has_length(row["keypoints"], 3 * num_keypoints)]
    wanted = (
        f"`keypoints` of {3 * num_keypoints} numbers, x y score for each of the annotations' {num_keypoints} keypoints"
    )
    _refuse(file, unlike, wanted, [_length(rows[at]["keypoints"]) for at in unlike])
    image_ids = _integers(file, rows, "image_id")
    unknown = np.flatnonzero(~np.isin(image_ids, truth.image_ids)).tolist()
    _refuse(file, unknown, "image ids of the annotations", [rows[at]["image_id"] for at in unknown])
    triplets = _keypoints(file, rows, num_keypoints)
    scores = _numbers(file, rows, "score")
    _refuse(
        file, _repeated(image_ids, scores, triplets), "every row once (a distributed sampler pads with repeated ones)"
    )
    keypoints = np.ascontiguousarray(triplets[..., :2])
    detections = Detections(
        image_ids=image_ids,
        category_ids=_integers(file, rows, "category_id"),
        keypoints=keypoints,
        scores=scores,
        areas=_areas(file, rows, keypoints[:, : next(iter((keypoint_fields or {}).values()), None)]),
    )
    return detections, np.ascontiguousarray(triplets[..., 2])


def _read_rows(file: Path) -> list[dict[str, Any]]:
    if not file.is_file():
        raise ValueError(f"Expected a COCO result file at {file}, but there is no such file.")
    try:
        rows = json.loads(file.read_bytes())
    except ValueError as error:
        raise ValueError(f"Expected {file} to be JSON, but it is not: {error}.") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(
            f"Expected {file} to be a COCO result file, a list of rows, but got {type(rows).__name__}"
            f"{' of other things' if isinstance(rows, list) else ''}. Is it the annotation file?"
        )
    return rows


def _joined(file: Path, rows: list[dict[str, Any]], fields: Mapping[str, int]) -> list[dict[str, Any]]:
    """Put the keypoints of several fields under `keypoints`."""
    if not fields or not rows or not all(field in rows[0] for field in fields):
        return rows
    for field, count in fields.items():
        short = [at for at, row in enumerate(rows) if not _reaches(row.get(field), 3 * count)]
        _refuse(file, short, f"`{field}` of {3 * count} numbers", [_length(rows[at].get(field)) for at in short])
    return [
        {**row, "keypoints": [value for field, count in fields.items() for value in row[field][: 3 * count]]}
        for row in rows
    ]


def _reaches(value: Any, length: int) -> bool:
    return isinstance(value, list) and len(value) >= length


def _length(value: Any) -> str:
    return f"{len(value)} numbers" if isinstance(value, list) else repr(value)[:40]


def _has_length(value: Any, length: int) -> bool:
    return isinstance(value, list) and len(value) == length


def _integers(file: Path, rows: list[dict[str, Any]], name: str) -> Indices:
    values = [exact_integer(row[name]) for row in rows]
    wrong = [at for at, value in enumerate(values) if value is None]
    _refuse(file, wrong, f"64-bit integers as `{name}`", [f"{rows[at][name]!r:.80}" for at in wrong])
    return np.array(values, np.int64)


def _numbers(file: Path, rows: list[dict[str, Any]], name: str) -> Floats:
    try:
        numbers = np.array([row[name] for row in rows], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Expected {file} to have numbers as `{name}`, but got something else: {error}.") from error
    _refuse(file, np.flatnonzero(~np.isfinite(numbers)).tolist(), f"finite numbers as `{name}`")
    return numbers


def _keypoints(file: Path, rows: list[dict[str, Any]], num_keypoints: int) -> Floats:
    """The triplets (N, K, 3)."""
    values = chain.from_iterable(row["keypoints"] for row in rows)
    try:
        flat = np.fromiter(values, dtype=np.float64, count=len(rows) * num_keypoints * 3)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Expected {file} to have numbers as `keypoints`, but got something else: {error}.") from error
    triplets = flat.reshape(len(rows), num_keypoints, 3)
    if not np.isfinite(flat.sum()):
        wrong = ~np.isfinite(triplets).all(axis=(1, 2))
        _refuse(file, np.flatnonzero(wrong).tolist(), "finite numbers as `keypoints`")
    return triplets


def _areas(file: Path, rows: list[dict[str, Any]], keypoints: Floats) -> Floats:
    if rows and rows[0].get("bbox"):
        unlike = [at for at, row in enumerate(rows) if not _has_length(row.get("bbox"), 4)]
        _refuse(file, unlike, "a `bbox` of four numbers in every row, because the first row has one")
        boxes = np.array([row["bbox"] for row in rows], dtype=np.float64)
        areas: Floats = boxes[:, 2] * boxes[:, 3]
        return areas
    return enclosed_areas(keypoints)


def _repeated(image_ids: Indices, scores: Floats, triplets: Floats) -> list[int]:
    """Rows that say the same as an earlier row."""
    order = np.lexsort((triplets[:, 0, 0], scores, image_ids))
    one, other = order[:-1], order[1:]
    alike = (image_ids[one] == image_ids[other]) & (scores[one] == scores[other])
    one, other = one[alike], other[alike]
    repeated: list[int] = np.sort(other[(triplets[one] == triplets[other]).all(axis=(1, 2))]).tolist()
    return repeated


def _refuse(file: Path, rows: list[int], wanted: str, came: list[Any] | None = None) -> None:
    """Name the rows at fault and, where given, what the first of them have."""
    if rows:
        more = " ..." if len(rows) > 5 else ""
        shown = ", ".join(map(str, dict.fromkeys(came[:5] if came else [])))
        values = f" They have {shown}{', ...' if more else '.'}" if came else ""
        raise ValueError(
            f"Expected {file} to have {wanted}, but {len(rows)} are otherwise: rows {rows[:5]}{more} counted from 0.{values}"
        )
