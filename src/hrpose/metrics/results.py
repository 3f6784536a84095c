"""Read COCO keypoint result files."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hrpose.metrics.functional.matching import Detections
from hrpose.metrics.functional.oks import Floats, Indices, enclosed_areas
from hrpose.structures import GroundTruth, exact_integer

_LARGEST = 1e9  # largest coordinate in pixels that is accepted
_PART_SCORES = ("foot_score", "face_score", "lefthand_score", "righthand_score", "wholebody_score")


@contextmanager
def _no_collection() -> Iterator[None]:
    """Disable the garbage collector, which would repeatedly visit millions of short-lived numbers."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class ScoredResults(NamedTuple):
    """The rows of a result file."""

    detections: Detections  # N predictions in the order of the file
    keypoint_scores: Floats  # (N, K) the third number of each keypoint, usually its score
    # (N,) scores that rank parts in COCO-WholeBody, such as `foot_score`; `score` in rows without it. Scores that no row has
    # are missing
    part_scores: dict[str, Floats]

    def select(self, rows: NDArray[np.generic]) -> ScoredResults:
        """Return some rows, by a mask or indices."""
        scores = {name: values[rows] for name, values in self.part_scores.items()}
        return ScoredResults(self.detections[rows], self.keypoint_scores[rows], scores)


def read_results(file: str | Path, truth: GroundTruth) -> Detections:
    """Read a result file without the scores of its keypoints; see `read_scored_results`."""
    return read_scored_results(file, truth).detections


@_no_collection()
def read_scored_results(
    file: str | Path, truth: GroundTruth, *, keypoint_fields: Mapping[str, int] | None = None
) -> ScoredResults:
    """Read the rows {image_id, category_id, keypoints [x, y, score] * K, score} of a result file.

    The area of a prediction is the area of its `bbox` if the first row has one, otherwise of the box around its keypoints, as in
    the reference implementation; with several keypoint fields around those of the first field, the body.

    Args:
        file: the JSON file.
        truth: the annotations, for image ids and the number of keypoints.
        keypoint_fields: number of keypoints to read from each field, if the first row has all of them; results of
            COCO-WholeBody have five fields.

    Raises:
        ValueError: with file and rows, if there is no such file, it is not a JSON list of such rows, the number of keypoints is
            wrong, a number is missing, not finite or too large, an id is not an integer (whole floats below 2**53 are
            accepted), an image is unknown, or a row occurs twice.
    """
    file = Path(file)
    rows = _joined(file, read_result_rows(file), keypoint_fields or {})
    num_keypoints = truth.keypoints.shape[1]
    for name in ("image_id", "category_id", "keypoints", "score"):
        _refuse(file, [at for at, row in enumerate(rows) if name not in row], f"`{name}` in every row")
    triplets = _keypoints(file, rows, num_keypoints)
    image_ids = _integers(file, rows, "image_id")
    unknown = np.flatnonzero(~np.isin(image_ids, truth.image_ids)).tolist()
    _refuse(file, unknown, "image ids of the annotations", [rows[at]["image_id"] for at in unknown])
    scores = _numbers(file, rows, "score")
    _refuse(file, _repeated(image_ids, scores, triplets), "every row once (distributed samplers may repeat some)")
    keypoints = np.ascontiguousarray(triplets[..., :2])
    detections = Detections(
        image_ids=image_ids,
        category_ids=_integers(file, rows, "category_id"),
        keypoints=keypoints,
        scores=scores,
        areas=_areas(file, rows, keypoints[:, : next(iter((keypoint_fields or {}).values()), None)]),
    )
    parts = {name for name in _PART_SCORES if keypoint_fields and any(name in row for row in rows)}
    part_scores = {name: _numbers(file, [{name: row.get(name, row["score"])} for row in rows], name) for name in sorted(parts)}
    return ScoredResults(detections, np.ascontiguousarray(triplets[..., 2]), part_scores)


def read_result_rows(file: Path) -> list[dict[str, Any]]:
    """Read the rows of a result file; raise ValueError if it is not a JSON list of objects."""
    if not file.is_file():
        raise ValueError(f"Expected a COCO result file at {file}, but there is no such file.")
    try:
        rows = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Expected {file} to be JSON, but it is not: {error}.") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(
            f"Expected {file} to be a COCO result file, a JSON list of objects, but got a JSON {type(rows).__name__}"
            f"{' of other values' if isinstance(rows, list) else ''}."
        )
    return rows


def read_entries(file: Path, num_instances: int, num_keypoints: int) -> Floats:
    """Read the rows {entry, keypoints [x, y, score] * K} of a result file for PCKh; `entry` is an index from 0 to N - 1.

    Return keypoints (N, K, 2) in image pixels counted from 0, NaN for instances without row.
    """
    rows = read_result_rows(file)
    for name in ("entry", "keypoints"):
        wanted = f"`{name}` in every row (`entry` is the index of the person in the annotations, from 0)"
        _refuse(file, [at for at, row in enumerate(rows) if name not in row], wanted)
    triplets, entries = _keypoints(file, rows, num_keypoints), _integers(file, rows, "entry")
    outside = np.flatnonzero((entries < 0) | (entries >= num_instances)).tolist()
    _refuse(file, outside, f"entries from 0 to {num_instances - 1}", [rows[at]["entry"] for at in outside])
    first = np.zeros(len(entries), bool)
    first[np.unique(entries, return_index=True)[1]] = True
    _refuse(file, np.flatnonzero(~first).tolist(), "every entry once")
    keypoints = np.full((num_instances, num_keypoints, 2), np.nan)
    keypoints[entries] = triplets[..., :2]
    return keypoints


def _joined(file: Path, rows: list[dict[str, Any]], fields: Mapping[str, int]) -> list[dict[str, Any]]:
    """Join the keypoints of several fields to `keypoints`."""
    if not fields or not rows or not all(field in rows[0] for field in fields):
        return rows
    for field, count in fields.items():
        lengths = (len(row[field]) if isinstance(row.get(field), list) else -1 for row in rows)
        short = [at for at, length in enumerate(lengths) if length < 3 * count]
        _refuse(file, short, f"`{field}` of {3 * count} numbers", [_length(rows[at].get(field)) for at in short])
    return [{**row, "keypoints": [value for field, count in fields.items() for value in row[field][: 3 * count]]} for row in rows]


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
    wrong = [at for at, row in enumerate(rows) if not _is_number(row[name])]
    _refuse(file, wrong, f"a finite number as `{name}`", [f"{rows[at][name]!r:.80}" for at in wrong])
    return np.array([row[name] for row in rows], dtype=np.float64)


def _keypoints(file: Path, rows: list[dict[str, Any]], num_keypoints: int) -> Floats:
    """Return keypoints x, y, score: (N, K, 3)."""
    unlike = [at for at, row in enumerate(rows) if not _has_length(row["keypoints"], 3 * num_keypoints)]
    wanted = f"`keypoints` of {3 * num_keypoints} numbers, x y score for each of the {num_keypoints} annotated keypoints"
    _refuse(file, unlike, wanted, [_length(rows[at]["keypoints"]) for at in unlike])
    values = chain.from_iterable(row["keypoints"] for row in rows)
    try:
        flat = np.fromiter(values, dtype=np.float64, count=len(rows) * num_keypoints * 3)
        is_sound = bool((np.abs(flat) <= _LARGEST).all())
    except (TypeError, ValueError, OverflowError):
        is_sound = False
    if not is_sound:
        wrong = [at for at, row in enumerate(rows) if not all(map(_is_number, row["keypoints"]))]
        first = [next(value for value in rows[at]["keypoints"] if not _is_number(value)) for at in wrong]
        wanted = f"finite numbers of at most {_LARGEST:g} as `keypoints`"
        _refuse(file, wrong, wanted, [f"{value!r:.80}" for value in first])
        flat = np.array([float(value) for row in rows for value in row["keypoints"]])
    return flat.reshape(len(rows), num_keypoints, 3)


def _is_number(value: Any) -> bool:
    """Check for a finite number of plausible size; JSON has integers of any size."""
    return isinstance(value, int | float) and abs(value) <= _LARGEST


def _areas(file: Path, rows: list[dict[str, Any]], keypoints: Floats) -> Floats:
    if rows and rows[0].get("bbox"):
        unlike = [at for at, row in enumerate(rows) if not _has_length(row.get("bbox"), 4)]
        _refuse(file, unlike, "`bbox` of four numbers in every row, because the first row has one")
        wrong = [at for at, row in enumerate(rows) if not all(map(_is_number, row["bbox"]))]
        _refuse(file, wrong, "finite numbers as `bbox`", [f"{rows[at]['bbox']!r:.80}" for at in wrong])
        boxes = np.array([row["bbox"] for row in rows], dtype=np.float64)
        areas: Floats = boxes[:, 2] * boxes[:, 3]
        return areas
    return enclosed_areas(keypoints)


def _repeated(image_ids: Indices, scores: Floats, triplets: Floats) -> list[int]:
    """Return the rows that equal an earlier row."""
    order = np.lexsort((triplets[:, 0, 0], scores, image_ids))
    one, other = order[:-1], order[1:]
    alike = (image_ids[one] == image_ids[other]) & (scores[one] == scores[other])
    one, other = one[alike], other[alike]
    repeated: list[int] = np.sort(other[(triplets[one] == triplets[other]).all(axis=(1, 2))]).tolist()
    return repeated


def _refuse(file: Path, rows: list[int], wanted: str, values: list[Any] | None = None) -> None:
    """Raise ValueError if rows are invalid, with their numbers and the values of the first ones."""
    if rows:
        more = " ..." if len(rows) > 5 else ""
        listing = ", ".join(map(str, dict.fromkeys(values[:5] if values else [])))
        found = f" with {listing}{', ...' if more else ''}" if values else ""
        raise ValueError(
            f"Expected {file} to have {wanted}, but {len(rows)} rows do not: {rows[:5]}{more} (counted from 0){found}."
        )
