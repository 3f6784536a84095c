"""Read the keypoints of the rows of a COCO file into arrays, and boxes around them where rows have none."""

from __future__ import annotations

import array
import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hrpose.annotations.coco_rows import LARGEST, Row, integers, list_first, read_boxes, wrong_value
from hrpose.errors import DataError, DataWarning

logger = logging.getLogger(__name__)

_PLACEHOLDER = [0, 0, 0, 0]
_MOST_LISTED = 4  # values in a message

# keypoints, visibility, whether there is any
Packed: TypeAlias = tuple[NDArray[np.generic], NDArray[np.uint8], NDArray[np.bool_]]


def pack_keypoints(
    rows: Sequence[Row],
    iscrowd: NDArray[np.bool_],
    category: Row,
    fields: Mapping[str, int] | None,
    file: Path,
    visibility_map: Mapping[float, int] | None = None,
) -> Packed:
    """Collect keypoints, all of `keypoints` or the first ones of several fields.

    COCO-WholeBody has `foot_kpts` and the like beside `keypoints`, each with a flag such as `foot_valid`; a part that is not
    valid is unlabelled. In several fields visibilities between 0 and 2 that are not whole count as labelled, as they do in the
    evaluations of these data sets: they are rounded up.

    Args:
        rows: N annotations.
        iscrowd: (N,).
        category: of the rows.
        fields: names of the fields, each with the number of its keypoints that are taken, in their order; None takes `keypoints`.
        file: of the rows.
        visibility_map: visibilities of the file, each with the one that replaces it.

    Returns:
        keypoints (N, K, 2) in the smallest type that holds them exactly, 0 where unlabelled; visibility (N, K); and whether any
        of a row's 3K numbers differs from 0 (N,): the official code's test of a person with keypoints.

    Raises:
        DataError: if no row has a field, or one has another number of values, or a visibility other than 0, 1 and 2, or labelled
            keypoints that are not finite.

    Warns:
        DataWarning: with the number of rows, crowds aside, that lack a field.
    """
    exact = fields is None
    widths = {"keypoints": _width(rows, category, file)} if fields is None else {k: 3 * n for k, n in fields.items()}
    numbers = np.zeros((len(rows), sum(widths.values())), np.float64)
    lacking = np.zeros(len(rows), bool)
    start = 0
    hidden: list[Any] = []
    for field, width in widths.items():
        lacks = np.array([_is_empty(row.get(field)) for row in rows], bool)
        if not exact and len(rows) and lacks.all():
            raise DataError(
                f"{file}: expected annotations with `{field}`, {width // 3} keypoints, but none has that field. Take the file of "
                "the data set that has it, or other keypoint fields."
            )
        for place in np.flatnonzero(~lacks).tolist():
            found = _numbers(rows[place], field, width, file, exact=exact)
            if _is_valid(rows[place], field, file):
                numbers[place, start : start + width] = found
            elif any(found[2::3]):
                hidden.append(rows[place]["id"])
        lacking |= lacks
        start += width
    _warn_of_hidden(hidden, file)
    without = [rows[place]["id"] for place in np.flatnonzero(lacking & ~iscrowd).tolist()]
    if without:
        warnings.warn(
            f"{file}: {len(without)} of {len(rows)} annotations lack `{'` or `'.join(widths)}` (ids {list_first(without)}), "
            "which is taken as unlabelled. Instances without labelled keypoints are not trained on.",
            DataWarning,
            stacklevel=4,
        )
    triplets = numbers.reshape(len(rows), start // 3, 3)
    labels = triplets[..., 2]
    if visibility_map:
        labels[...] = np.select([labels == value for value in visibility_map], list(visibility_map.values()), labels)
    if not exact:
        np.ceil(labels, out=labels, where=(labels > 0) & (labels < 2))
    return _split_keypoints(triplets, rows, file)


def read_num_keypoints(
    rows: Sequence[Row], visibility: NDArray[np.uint8], file: Path, *, follow: bool
) -> NDArray[np.int64]:
    """Collect `num_keypoints` (M,); the number of labelled keypoints where a row has none.

    Args:
        rows: M annotations.
        visibility: (M, K).
        file: of the rows.
        follow: False counts the labelled keypoints of all rows, because `num_keypoints` counts other ones.

    Raises:
        DataError: if a number is not an integer.
    """
    numbers: NDArray[np.int64] = (visibility > 0).sum(axis=1)
    stated = [place for place, row in enumerate(rows) if row.get("num_keypoints") is not None] if follow else []
    numbers[stated] = integers([rows[place] for place in stated], "num_keypoints", "annotation", file)
    return numbers


def _width(rows: Sequence[Row], category: Row, file: Path) -> int:
    """Return the number of values under `keypoints`, from the names of the category or the longest row."""
    names = category.get("keypoints")
    if names is not None and not isinstance(names, list | array.array):
        raise DataError(
            f"{file}: expected `keypoints` of category {category.get('name')!r} to be a list of names, but got {names!r:.80}."
        )
    lengths = [len(row["keypoints"]) for row in rows if isinstance(row.get("keypoints"), (list, array.array))]
    if not lengths and not names:
        raise DataError(
            f"{file}: expected keypoints of category {category.get('name')!r}, but neither its entry in `categories` nor any "
            "annotation has `keypoints`. Use a keypoint file, such as person_keypoints_train2017.json."
        )
    return 3 * len(names) if names else max(lengths)


def _is_empty(values: Any) -> bool:
    return values is None or (isinstance(values, (list, array.array)) and not len(values))


def _warn_of_hidden(ids: Sequence[Any], file: Path) -> None:
    """Warn of annotations with labelled keypoints in a part whose flag is false; the data set itself has zeros there."""
    if ids:
        warnings.warn(
            f"{file}: {len(ids)} parts have labelled keypoints, but a flag such as `foot_valid` that is false (annotations "
            f"{list_first(ids)}). They are taken as unlabelled; the evaluation code of COCO-WholeBody ignores the flags.",
            DataWarning,
            stacklevel=5,
        )


def _is_valid(row: Row, field: str, file: Path) -> bool:
    """Read the flag that COCO-WholeBody has for a part: `foot_valid` for `foot_kpts`; without one the part is valid."""
    flag = f"{field.removesuffix('_kpts')}_valid"
    value = row.get(flag, True) if field.endswith("_kpts") else True
    if value not in (True, False):
        raise wrong_value(file, f"annotation {row['id']}", flag, "true or false", row)
    return bool(value)


def _numbers(row: Row, field: str, width: int, file: Path, *, exact: bool) -> Any:
    """Return the first `width` numbers of a field; `exact` requires that there are no more."""
    values = row[field]
    is_packed = isinstance(values, array.array)
    if (
        is_packed
        and not width % 3
        and not len(values) % 3
        and (len(values) == width if exact else len(values) >= width)
    ):
        return values[:width]
    found = str(len(values)) if is_packed else f"{values!r:.80}"
    if is_packed and exact and 3 * len(values) == 2 * width:
        found += ": the visibilities seem to be missing"
    other = "the names in `categories`" if exact else "take other keypoint fields"
    raise DataError(
        f"{file}: expected `{field}` of annotation {row['id']} to be {'' if exact else 'at least '}{width} numbers, x, y and "
        f"visibility for each of {width // 3} keypoints, but got {found}. Fix the annotation, or {other}."
    )


def _split_keypoints(triplets: NDArray[np.float64], rows: Sequence[Row], file: Path) -> Packed:
    labels = triplets[..., 2]
    if not (np.abs(triplets) <= LARGEST).all():
        _clear_unlabelled(triplets)
        for place, k in np.argwhere(~(np.abs(triplets) <= LARGEST).all(axis=2))[:1]:
            raise DataError(
                f"{file}: expected labelled keypoints to have finite numbers of at most {LARGEST:g}, but got x, y, visibility = "
                f"{triplets[place, k].tolist()} for keypoint {k} (counted from 0) of annotation {rows[place]['id']}. Fix the "
                "annotation, or set the visibility of the keypoint to 0."
            )
    outside = ~np.isin(labels, (0, 1, 2))
    if outside.any():
        raise _wrong_visibility(labels, outside, rows, file)
    if not labels.any() and triplets.any():
        raise DataError(
            f"{file}: expected labelled keypoints, but all {labels.size} keypoints have the visibility 0, which is unlabelled, "
            f"although {int(triplets.any(axis=2).sum())} of them have coordinates. If they are labels, map the value: "
            "`visibility_map` ('data.visibility_map={0: 2}' of fit and test)."
        )
    has_keypoints = triplets.max(axis=(1, 2), initial=-np.inf) != 0
    points = np.where(labels[..., None] > 0, triplets[..., :2], 0.0)
    return _smallest(points), labels.astype(np.uint8), has_keypoints


def _clear_unlabelled(triplets: NDArray[np.float64]) -> None:
    """Set keypoints to 0 that are NaN, null or beyond any image and have the visibility 0 or none at all."""
    nowhere = ~(np.abs(triplets[..., :2]) <= LARGEST).all(axis=2)
    missing = nowhere & ((triplets[..., 2] == 0) | np.isnan(triplets).all(axis=2))
    triplets[missing] = 0


def _wrong_visibility(
    labels: NDArray[np.float64], outside: NDArray[np.bool_], rows: Sequence[Row], file: Path
) -> DataError:
    """Return the error for visibilities other than 0, 1 and 2, with their counts and the key that maps them."""
    place, k = np.argwhere(outside)[0]
    values, counts = np.unique(labels[outside], return_counts=True)
    most = np.argsort(-counts, kind="stable")[:_MOST_LISTED]
    found = ", ".join(f"{values[i]:g} ({counts[i]} times)" for i in most) + (", ..." if len(values) > len(most) else "")
    fix = "Fix the annotations"
    if len(values) <= _MOST_LISTED and all(value.is_integer() for value in values.tolist()):
        pairs = ", ".join(f"{value:g}: {0 if value < 0 else 2}" for value in values)
        fix += f", or map the values: `visibility_map` ('data.visibility_map={{{pairs}}}' of fit and test)"
    return DataError(
        f"{file}: expected a visibility of 0 (unlabelled), 1 (occluded) or 2 (visible), but {outside.sum()} of {labels.size} "
        f"keypoints have others: {found}; the first is keypoint {k} (counted from 0) of annotation {rows[place]['id']}. {fix}."
    )


def _smallest(values: NDArray[np.float64]) -> NDArray[np.generic]:
    """Pack numbers without loss: COCO's are whole, so a quarter of the memory holds them."""
    for kind in (np.int16, np.float32):
        if not values.size or abs(values).max() < 2**15:
            packed = values.astype(kind)
            if np.array_equal(packed, values):
                return packed
    return values


def read_boxes_or_keypoints(
    rows: Sequence[Row],
    keypoints: NDArray[np.generic],
    visibility: NDArray[np.uint8],
    image_sizes: NDArray[np.int32],
    margin: float | None,
    file: Path,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Collect boxes; where there is none, or one without area, take the box around the labelled keypoints.

    Args:
        rows: N annotations.
        keypoints: (N, K, 2) in pixels.
        visibility: (N, K).
        image_sizes: (N, 2) width and height of the image of each row, 0 where they are unknown.
        margin: added on each side, as a share of the longer side of the box around the keypoints; where this box has no size, as
            that of a single keypoint, as a share of the longer side of the image. None requires all boxes.
        file: of the rows.

    Returns:
        Boxes x, y, width, height (N, 4), all 0 where there is no labelled keypoint either, and whether each is the file's (N,).

    Raises:
        DataError: as `read_boxes`, or if a single keypoint needs a box in an image of unknown size.
    """
    if margin is None:
        return read_boxes(rows, "annotation", file), np.ones(len(rows), bool)
    lacking = np.array([not row.get("bbox") for row in rows], bool)
    complete = [{**row, "bbox": _PLACEHOLDER} if lacks else row for row, lacks in zip(rows, lacking, strict=True)]
    boxes = read_boxes(complete, "annotation", file)
    labelled = visibility > 0
    taken = np.flatnonzero((boxes[:, 2:] == 0).any(axis=1) & labelled.any(axis=1))
    if len(taken):
        boxes[taken] = _around(keypoints[taken], labelled[taken], image_sizes[taken], margin, taken, rows, file)
        logger.info(
            "%s: the boxes of %d of %d annotations are those around their keypoints, with a margin of %g",
            file,
            len(taken),
            len(rows),
            margin,
        )
    own = np.ones(len(rows), bool)
    own[taken] = False
    return boxes, own


def _around(
    keypoints: NDArray[np.generic],
    labelled: NDArray[np.bool_],
    image_sizes: NDArray[np.int32],
    margin: float,
    places: NDArray[np.intp],
    rows: Sequence[Row],
    file: Path,
) -> NDArray[np.float64]:
    """Return the boxes (M, 4) around labelled keypoints, with their margin."""
    points = keypoints.astype(np.float64)
    low = np.where(labelled[..., None], points, np.inf).min(axis=1)
    high = np.where(labelled[..., None], points, -np.inf).max(axis=1)
    longer = (high - low).max(axis=1)
    single = longer == 0
    unknown = np.flatnonzero(single & (image_sizes == 0).any(axis=1))
    if len(unknown):
        ids = list_first([rows[place]["id"] for place in places[unknown].tolist()])
        raise DataError(
            f"{file}: expected the `width` and `height` of images with a single keypoint and no box, because the margin is a "
            f"share of them, but {len(unknown)} have none (annotation ids {ids}). Add them, or the boxes."
        )
    pad = margin * np.where(single, image_sizes.max(axis=1), longer)[:, None]
    return np.concatenate([low - pad, high - low + 2 * pad], axis=1)
