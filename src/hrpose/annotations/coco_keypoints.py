"""Read the keypoints of a COCO file into arrays, and compute boxes around them for annotations without box."""

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
    """Read the keypoints of N rows of a category from `keypoints`, or so many first ones from each of several `fields`.

    COCO-WholeBody has further fields such as `foot_kpts`, each with a flag such as `foot_valid`; keypoints are unlabelled where
    it is false. With several fields, fractional visibilities are rounded up, as in the evaluation code of these data sets.
    `visibility_map` has the new value of each visibility that is replaced.

    Returns:
        Keypoints (N, K, 2) in the smallest type that holds them exactly, 0 where unlabelled; visibility (N, K); and whether any
        of the 3K numbers of a row differs from 0 (N,), which the official code takes as having keypoints.

    Raises:
        DataError: if no row has a field, a row has a wrong number of values, a visibility is not 0, 1 or 2, or a labelled
            keypoint is not finite.

    Warns:
        DataWarning: with the number of rows, apart from crowds, that lack a field.
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
                f"{file}: expected annotations with {width // 3} keypoints in `{field}`, but none has this field. Use another "
                "file of the data set, or other keypoint fields."
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
            f"{file}: {len(without)} of {len(rows)} annotations lack `{'` or `'.join(widths)}` (ids {list_first(without)}); "
            "these keypoints are unlabelled. Instances without labelled keypoints are not trained on.",
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


def read_num_keypoints(rows: Sequence[Row], visibility: NDArray[np.uint8], file: Path, *, follow: bool) -> NDArray[np.int64]:
    """Return `num_keypoints` (M,); the number of labelled keypoints where it is missing, or everywhere without `follow`.

    Raises:
        DataError: if a number is not an integer.
    """
    numbers: NDArray[np.int64] = (visibility > 0).sum(axis=1)
    stated = [place for place, row in enumerate(rows) if row.get("num_keypoints") is not None] if follow else []
    numbers[stated] = integers([rows[place] for place in stated], "num_keypoints", "annotation", file)
    return numbers


def _width(rows: Sequence[Row], category: Row, file: Path) -> int:
    """Return the number of values in `keypoints`, from the names of the category or the longest row."""
    names = category.get("keypoints")
    if names is not None and not isinstance(names, list | array.array):
        raise DataError(
            f"{file}: expected `keypoints` of category {category.get('name')!r} to be a list of names, but got {names!r:.80}."
        )
    lengths = [len(row["keypoints"]) for row in rows if isinstance(row.get("keypoints"), (list, array.array))]
    if not lengths and not names:
        raise DataError(
            f"{file}: expected `keypoints` of category {category.get('name')!r}, but neither `categories` nor any annotation has "
            "them. Use a keypoint file, such as person_keypoints_train2017.json."
        )
    return 3 * len(names) if names else max(lengths)


def _is_empty(values: Any) -> bool:
    return values is None or (isinstance(values, (list, array.array)) and not len(values))


def _warn_of_hidden(ids: Sequence[Any], file: Path) -> None:
    """Warn of labelled keypoints in fields whose flag is false; they are 0 in the published files."""
    if ids:
        warnings.warn(
            f"{file}: {len(ids)} parts have labelled keypoints, although a flag such as `foot_valid` is false (annotations "
            f"{list_first(ids)}). They are read as unlabelled; the evaluation code of COCO-WholeBody ignores the flags.",
            DataWarning,
            stacklevel=5,
        )


def _is_valid(row: Row, field: str, file: Path) -> bool:
    """Return the flag of a field of COCO-WholeBody, `foot_valid` for `foot_kpts`; True if it is missing."""
    flag = f"{field.removesuffix('_kpts')}_valid"
    value = row.get(flag, True) if field.endswith("_kpts") else True
    if value not in (True, False):
        raise wrong_value(file, f"annotation {row['id']}", flag, "true or false", row)
    return bool(value)


def _numbers(row: Row, field: str, width: int, file: Path, *, exact: bool) -> Any:
    """Return the first `width` numbers of a field; with `exact` it must have no more."""
    values = row[field]
    is_packed = isinstance(values, array.array)
    if is_packed and not width % 3 and not len(values) % 3 and (len(values) == width if exact else len(values) >= width):
        return values[:width]
    found = str(len(values)) if is_packed else f"{values!r:.80}"
    if is_packed and exact and 3 * len(values) == 2 * width:
        found += " (visibilities seem to be missing)"
    other = "the names in `categories`" if exact else "use other keypoint fields"
    raise DataError(
        f"{file}: expected `{field}` of annotation {row['id']} to be {'' if exact else 'at least '}{width} numbers, x, y and "
        f"visibility of {width // 3} keypoints, but got {found}. Fix the annotation, or {other}."
    )


def _split_keypoints(triplets: NDArray[np.float64], rows: Sequence[Row], file: Path) -> Packed:
    labels = triplets[..., 2]
    if not (np.abs(triplets) <= LARGEST).all():
        nowhere = ~(np.abs(triplets[..., :2]) <= LARGEST).all(axis=2)
        triplets[nowhere & ((labels == 0) | np.isnan(triplets).all(axis=2))] = 0  # unlabelled
        for place, k in np.argwhere(~(np.abs(triplets) <= LARGEST).all(axis=2))[:1]:
            raise DataError(
                f"{file}: expected labelled keypoints to be finite and at most {LARGEST:g}, but got x, y, visibility = "
                f"{triplets[place, k].tolist()} for keypoint {k} (counted from 0) of annotation {rows[place]['id']}. Fix the "
                "annotation, or set the visibility of the keypoint to 0."
            )
    outside = ~np.isin(labels, (0, 1, 2))
    if outside.any():
        raise _wrong_visibility(labels, outside, rows, file)
    if not labels.any() and triplets.any():
        raise DataError(
            f"{file}: expected labelled keypoints, but all {labels.size} have the visibility 0 (unlabelled), although "
            f"{int(triplets.any(axis=2).sum())} of them have coordinates. If they are labelled, set `visibility_map` "
            "('data.visibility_map={0: 2}' in fit and test)."
        )
    has_keypoints = triplets.max(axis=(1, 2), initial=-np.inf) != 0
    points = np.where(labels[..., None] > 0, triplets[..., :2], 0.0)
    return _smallest(points), labels.astype(np.uint8), has_keypoints


def _wrong_visibility(labels: NDArray[np.float64], outside: NDArray[np.bool_], rows: Sequence[Row], file: Path) -> DataError:
    """Return the error for visibilities other than 0, 1 and 2, with their counts and the key that replaces them."""
    place, k = np.argwhere(outside)[0]
    values, counts = np.unique(labels[outside], return_counts=True)
    most = np.argsort(-counts, kind="stable")[:_MOST_LISTED]
    found = ", ".join(f"{values[i]:g} ({counts[i]} times)" for i in most) + (", ..." if len(values) > len(most) else "")
    fix = "Fix the annotations"
    if len(values) <= _MOST_LISTED and all(value.is_integer() for value in values.tolist()):
        pairs = ", ".join(f"{value:g}: {0 if value < 0 else 2}" for value in values)
        fix += f", or set `visibility_map` ('data.visibility_map={{{pairs}}}' in fit and test)"
    return DataError(
        f"{file}: expected a visibility of 0 (unlabelled), 1 (occluded) or 2 (visible), but {outside.sum()} of {labels.size} "
        f"keypoints have others: {found}; the first is keypoint {k} (counted from 0) of annotation {rows[place]['id']}. {fix}."
    )


def _smallest(values: NDArray[np.float64]) -> NDArray[np.generic]:
    """Return the numbers in the smallest type that holds them exactly; COCO's are integers of 16 bits."""
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
    """Read the boxes of N rows; boxes around the labelled keypoints replace missing ones and those without area.

    The margin on each side is a share of the longer side of the box around the keypoints; for a single keypoint, of the longer
    side of the image. None requires all boxes. Keypoints (N, K, 2) and image sizes (N, 2), 0 if unknown, are in pixels.

    Returns:
        Boxes x, y, width, height (N, 4), 0 without labelled keypoint, and whether each was read from the file (N,).

    Raises:
        DataError: as `read_boxes`, or if a single keypoint needs a box in an image of unknown size.
    """
    if margin is None:
        return read_boxes(rows, "annotation", file), np.ones(len(rows), bool)
    placed = [row if row.get("bbox") else {**row, "bbox": [0, 0, 0, 0]} for row in rows]
    boxes, own = read_boxes(placed, "annotation", file), np.ones(len(rows), bool)
    labelled = visibility > 0
    taken = np.flatnonzero((boxes[:, 2:] == 0).any(axis=1) & labelled.any(axis=1))
    if len(taken):
        ids = [rows[place]["id"] for place in taken.tolist()]
        boxes[taken] = _around(keypoints[taken], labelled[taken], image_sizes[taken], margin, ids, file)
        own[taken] = False
        logger.info(
            "%s: %d of %d annotations get a box around their keypoints, with a margin of %g", file, len(taken), len(rows), margin
        )
    return boxes, own


def extent(points: NDArray[Any], labelled: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the low and the high corner, (N, 2) each, of the smallest box around labelled points (N, K, 2)."""
    low = np.where(labelled[..., None], points, np.inf).min(axis=1, initial=np.inf)
    return low, np.where(labelled[..., None], points, -np.inf).max(axis=1, initial=-np.inf)


def _around(
    keypoints: NDArray[np.generic],
    labelled: NDArray[np.bool_],
    image_sizes: NDArray[np.int32],
    margin: float,
    ids: Sequence[Any],
    file: Path,
) -> NDArray[np.float64]:
    """Return the boxes (M, 4) around labelled keypoints, with their margin."""
    low, high = extent(keypoints.astype(np.float64), labelled)
    longer = (high - low).max(axis=1)
    single = longer == 0
    unknown = np.flatnonzero(single & (image_sizes == 0).any(axis=1))
    if len(unknown):
        lacking = list_first([ids[one] for one in unknown.tolist()])
        raise DataError(
            f"{file}: expected `width` and `height` of images in which an instance has a single keypoint and no box, because the "
            f"margin depends on them, but {len(unknown)} have none (annotation ids {lacking}). Add them, or the boxes."
        )
    pad = margin * np.where(single, image_sizes.max(axis=1), longer)[:, None]
    return np.concatenate([low - pad, high - low + 2 * pad], axis=1)
