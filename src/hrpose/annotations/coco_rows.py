"""Read the rows of COCO files into arrays, one column at a time. The first invalid value raises one DataError."""

from __future__ import annotations

import array
import itertools
import json
import math
import sys
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrpose.annotations.converters.formats import advise_conversion, conversion_of
from hrpose.errors import DataError, DataWarning, MissingDataError
from hrpose.structures import PackedStrings, exact_integer

Row = dict[str, Any]

LARGEST = 1e9
"""Largest coordinate in pixels that is accepted; squares of larger values lose precision or overflow."""
_SMALLEST_AREA = 0.01  # share of the box; a smaller area is a placeholder (the smallest of 7,100 real ones is 0.157)
_SECTIONS = ("images", "annotations", "categories")


def read_json(file: Path, fields: Collection[str] = ("keypoints",)) -> Any:
    """Parse a JSON file, pack the numbers of `fields` into arrays, and drop segmentations, which take most of the memory.

    Raises:
        MissingDataError: if there is no such file.
        DataError: if it is not JSON.
    """
    try:
        content = file.read_bytes()
    except (FileNotFoundError, IsADirectoryError) as error:
        raise MissingDataError(f"Expected a JSON file at {file}, but there is no such file.") from error
    try:
        return json.loads(content, object_hook=partial(_slim, fields=fields))
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{file}: expected JSON, but its {len(content)} bytes cannot be parsed: {error}. "
            f"{conversion_of(file) or 'The file may be truncated or in another format: export or download it again.'}"
        ) from error


def _slim(row: Row, fields: Collection[str]) -> Row:
    """Drop segmentations and pack lists of numbers as soon as an object is parsed."""
    row.pop("segmentation", None)
    for field in fields:
        numbers = row.get(field)
        if isinstance(numbers, list):
            try:
                row[field] = array.array("d", numbers)
            except (TypeError, OverflowError):
                if "image_id" in row:  # otherwise these are the keypoint names of a category
                    row[field] = _flatten(numbers)
    return row


def _flatten(values: list[Any]) -> Any:
    """Flatten nested lists, replace null by NaN and parse numeric strings; return any other list unchanged."""
    if all(value is None or isinstance(value, list) for value in values) and any(values):
        values = [number for value in values for number in (value or [None] * 3)]
    numbers = [math.nan if value is None else _number_of(value) for value in values]
    return array.array("d", numbers) if all(is_finite(value) or value != value for value in numbers) else values


def _number_of(value: Any) -> Any:
    """Parse a numeric string, as an integer if it is whole; return other values unchanged."""
    if type(value) is not str:
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    return int(number) if number.is_integer() else number


def read_rows(file: Path, fields: Collection[str] = ("keypoints",)) -> dict[str, list[Row]]:
    """Read the three sections of a COCO annotation file, with keypoints in the keys `fields`.

    Raises:
        MissingDataError: if there is no such file.
        DataError: if the file is not JSON or not a COCO annotation file.
    """
    content = read_json(file, fields)
    if not isinstance(content, dict):
        is_list = isinstance(content, list)
        hint = " Result files and MPII annotations (protocol=mpii) are lists." if is_list else ""
        raise DataError(
            f"{file}: expected a COCO annotation file, a JSON object with {', '.join(_SECTIONS)}, but got a JSON "
            f"{type(content).__name__}.{hint} {advise_conversion(file)}"
        )
    missing = [name for name in _SECTIONS if name not in content]
    if missing:
        raise DataError(
            f"{file}: expected a COCO annotation file with {', '.join(_SECTIONS)}, but {', '.join(missing)} is missing; "
            f"its keys are {', '.join(map(str, content)) or 'none'}. {advise_conversion(file)}"
        )
    for name in _SECTIONS:
        check_rows(content[name], name, file)
    return content


def check_rows(rows: Any, what: str, file: Path) -> None:
    """Raise DataError unless `rows` is a list of JSON objects."""
    if not isinstance(rows, list):
        raise DataError(f"{file}: expected {what} to be a list, but got {type(rows).__name__}.")
    for place, row in enumerate(rows):
        if not isinstance(row, dict):
            raise DataError(f"{file}: expected entry {place} of {what} to be a JSON object, but got {row!r}.")


def integers(rows: Sequence[Row], key: str, what: str, file: Path, default: Any = None) -> NDArray[np.int64]:
    """Return a column of integers (N,); floats are accepted if `structures.exact_integer` accepts them.

    Raises:
        DataError: if a row lacks the key and there is no default, or its value is not an integer of 64 bits.
    """
    values = [exact_integer(row.get(key, default)) for row in rows]
    for place in [place for place, value in enumerate(values) if value is None]:
        row = rows[place]
        values[place] = exact_integer(_number_of(row.get(key)))
        if values[place] is None:
            hint = "Integers have at most 64 bits." if type(row.get(key)) is int else ""
            raise wrong_value(file, name_row(row, place, what), key, "an integer", row, hint)
    return np.array(values, np.int64)


def check_unique(ids: NDArray[np.int64], what: str, file: Path) -> None:
    """Raise DataError if an id occurs twice."""
    values, counts = np.unique(ids, return_counts=True)
    repeated = values[counts > 1]
    if len(repeated):
        raise DataError(
            f"{file}: expected a unique `id` for every {what}, but {len(repeated)} ids occur more than once: "
            f"{list_first(repeated)}. Renumber them, or remove the duplicates."
        )


def read_images(rows: Sequence[Row], file: Path) -> tuple[NDArray[np.int64], NDArray[np.int32], PackedStrings]:
    """Return ids (I,), sizes (I, 2), 0 where missing, and file names of the images, empty where missing.

    Raises:
        DataError: if an id repeats, a size is not positive or a file name is not a string.
    """
    ids = integers(rows, "id", "image", file)
    check_unique(ids, "image", file)
    shapes = [(row.get("width"), row.get("height")) for row in rows]
    lacking = [None in shape or shape == (0, 0) for shape in shapes]
    stated = [place for place, lacks in enumerate(lacking) if not lacks]
    sizes = np.zeros((len(rows), 2), np.int64)
    chosen = [rows[place] for place in stated] if any(lacking) else rows
    sizes[stated] = np.stack([integers(chosen, key, "image", file) for key in ("width", "height")], axis=1)
    bad = np.flatnonzero(((sizes <= 0).any(axis=1) & ~np.array(lacking, bool)) | (sizes >= 2**31).any(axis=1))
    if len(bad):
        raise DataError(
            f"{file}: expected image {ids[bad[0]]} to have a positive `width` and `height`, or neither, but got "
            f"{sizes[bad[0]].tolist()}."
        )
    for row in rows:
        name = row.get("file_name")
        if not isinstance(name, str | None) or not is_text(name or ""):
            raise wrong_value(file, f"image {row['id']}", "file_name", "a path", row)
    return ids, sizes.astype(np.int32), PackedStrings([row.get("file_name") or "" for row in rows])


def collapse_images(rows: list[Row], file: Path) -> list[Row]:
    """Return the last entry of each image id, as pycocotools does, and warn of repeated entries.

    Raises:
        DataError: if entries with the same id have different file names.
    """
    if any(type(row.get("id")) not in (int, float, str) for row in rows):
        return rows
    last = {row["id"]: row for row in rows}
    if len(last) == len(rows):
        return rows
    names: dict[Any, set[str]] = {}
    for row in rows:
        names.setdefault(row["id"], set()).add(str(row.get("file_name")))
    mixed = [key for key, found in names.items() if len(found) > 1]
    if mixed:
        raise DataError(
            f"{file}: expected a unique `id` for every image, but {len(mixed)} ids belong to several files: "
            f"{list_first([f'{key} ({list_first(sorted(names[key]))})' for key in mixed], 2)}. Renumber them."
        )
    warnings.warn(
        f"{file}: {len(rows) - len(last)} of {len(rows)} entries of `images` repeat an `id`; the last entry of each id is used.",
        DataWarning,
        stacklevel=4,
    )
    return list(last.values())


def read_crowds(rows: Sequence[Row], file: Path) -> NDArray[np.bool_]:
    """Return `iscrowd` (N,), False where it is missing; raise DataError for a string that is not a number."""
    values = [_number_of(row.get("iscrowd", 0)) for row in rows]
    for row in itertools.compress(rows, (type(value) is str for value in values)):
        raise wrong_value(file, f"annotation {row['id']}", "iscrowd", "0 or 1", row)
    return np.array([bool(value) for value in values], bool)


def read_crowd_index(rows: Sequence[Row], file: Path) -> NDArray[np.float64] | None:
    """Return the `crowdIndex` of the images (I,), a field of CrowdPose; None if the file has none.

    Raises:
        DataError: if only some images have it, or it is not a number from 0 to 1.
    """
    values = [row.get("crowdIndex") for row in rows]
    if all(value is None for value in values):
        return None
    for row, value in zip(rows, values, strict=True):
        if not isinstance(value, (int, float)) or not 0 <= value <= 1:
            fix = "Fix it, or remove it from all images: it is then computed."
            raise wrong_value(file, f"image {row['id']}", "crowdIndex", "a number from 0 to 1", row, fix)
    return np.array(values, np.float64)


def read_boxes(rows: Sequence[Row], what: str, file: Path) -> NDArray[np.float64]:
    """Return boxes x, y, width, height: (N, 4) float64.

    Raises:
        DataError: if a box is missing, is not four finite numbers or has a negative size.
    """
    boxes = np.empty((len(rows), 4), np.float64)
    for place, row in enumerate(rows):
        bbox = row.get("bbox")
        if isinstance(bbox, list) and any(type(v) is str for v in bbox):
            bbox = [_number_of(v) for v in bbox]
        if not isinstance(bbox, list) or len(bbox) != 4 or not all(type(v) in (int, float) for v in bbox):
            fix = "Add the box, or remove the row."
            if what == "annotation":
                lacking = sum(1 for other in rows if not other.get("bbox"))
                fix += (
                    f" `bbox` is missing in {lacking} of {len(rows)} annotations. data.bbox_from_keypoints=0.25 "
                    "(bbox_from_keypoints=0.25 in evaluate and compare) uses the box around the labelled keypoints, with a "
                    "margin of 0.25 of its longer side."
                )
            expected = "four numbers x, y, width, height in pixels"
            raise wrong_value(file, name_row(row, place, what), "bbox", expected, row, fix)
        boxes[place] = bbox if all(map(is_finite, bbox)) else np.nan
    for place in np.flatnonzero(~(np.abs(boxes) <= LARGEST).all(axis=1) | (boxes[:, 2:] < 0).any(axis=1))[:1]:
        expected = f"finite x, y, width, height of at most {LARGEST:g}, width and height not negative"
        where = name_row(rows[place], int(place), what)
        raise wrong_value(file, where, "bbox", expected, rows[place], "Fix or remove the row.")
    return boxes


def read_areas(
    rows: list[Row], bbox: NDArray[np.float64], box_share: float, file: Path
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return areas (M,) in square pixels, and whether each was read from the file (M,).

    Where an area is missing or below 1 % of the box, the share `box_share` of the area of the box (M, 4) replaces it.

    Raises:
        DataError: if an area is not a number, or infinite.
    """
    stated = np.full(len(rows), np.nan)
    for place, row in enumerate(rows):
        area = _number_of(row.get("area"))
        if area is None or area != area:  # NaN is a placeholder
            continue
        if not is_finite(area) or abs(area) > LARGEST**2:
            raise wrong_value(file, f"annotation {row['id']}", "area", f"a finite number of at most {LARGEST**2:g}", row)
        stated[place] = area
    box = bbox[:, 2] * bbox[:, 3]
    is_stated = stated >= _SMALLEST_AREA * box
    return np.where(is_stated, stated, box * box_share), is_stated


def is_text(value: str) -> bool:
    """Check whether a string can be encoded as UTF-8; JSON allows unpaired surrogates, which file names cannot hold."""
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def is_finite(value: Any) -> bool:
    """Check whether a value is a number within the range of float64; JSON has integers of any size."""
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max


def wrong_value(file: Path, where: str, key: str, expected: str, row: Mapping[str, Any], fix: str = "") -> DataError:
    """Return the error for a value of a row that is missing or invalid."""
    value = row.get(key)
    size = f"a list of {len(value)}: " if isinstance(value, list) and len(value) > 4 else ""
    found = f"got {size}{value!r:.120}" if key in row else "it is missing"
    return DataError(f"{file}: expected `{key}` of {where} to be {expected}, but {found}. {fix}".rstrip())


def name_row(row: Mapping[str, Any], place: int, what: str) -> str:
    """Name a row by its id, or by its index if it has none."""
    return f"{what} {row['id']}" if "id" in row else f"{what} number {place} (counted from 0)"


def list_first(ids: Iterable[Any], count: int = 3) -> str:
    """Join the first `count` ids by commas, with an ellipsis if there are more."""
    items = list(ids)
    return ", ".join(str(item) for item in items[:count]) + (", ..." if len(items) > count else "")


def unify_ids(content: Mapping[str, list[Row]], file: Path) -> tuple[dict[str, list[Row]], list[str]]:
    """Return the sections of a COCO file with integer ids, and one phrase per assumption, for a warning.

    Strings of digits become integers. If a string of a section is not a number, the whole section is numbered in the order of
    the file. Annotations without `id` are numbered.

    Raises:
        DataError: if a section has the same id both as a number and as a string.
    """
    notes: list[str] = []
    images, categories, rows = content["images"], content["categories"], content["annotations"]
    images, rows = _unify_links(images, rows, "images", "image_id", file, notes)
    categories, rows = _unify_links(categories, rows, "categories", "category_id", file, notes)
    rows = _unify_own(rows, file, notes)
    return {**content, "images": images, "categories": categories, "annotations": rows}, notes


def _unify_links(
    entries: list[Row], rows: list[Row], section: str, key: str, file: Path, notes: list[str]
) -> tuple[list[Row], list[Row]]:
    """Replace string ids in a section and in the annotations that refer to it."""
    if not any(type(row.get("id")) is str for row in entries) and not any(type(row.get(key)) is str for row in rows):
        return entries, rows
    ids = [row.get("id") for row in entries]
    new_ids = _new_ids(ids, section, file, notes)
    links = {old: new_ids.get(old, old) for old in ids if type(old) in (int, str)}
    links |= {str(old): new for old, new in links.items() if type(old) is int}  # 1 and "1" are the same image
    return _replace(entries, "id", new_ids), _replace(rows, key, links)


def _replace(rows: list[Row], key: str, new: Mapping[Any, Any]) -> list[Row]:
    return [{**row, key: new[row[key]]} if type(row.get(key)) in (int, str) and row[key] in new else row for row in rows]


def _unify_own(rows: list[Row], file: Path, notes: list[str]) -> list[Row]:
    """Number annotations that have no id, and replace string ids."""
    ids = [row.get("id") for row in rows]
    if any(type(value) is str for value in ids):
        rows = _replace(rows, "id", _new_ids(ids, "annotations", file, notes))
        ids = [row.get("id") for row in rows]
    if None not in ids:
        return rows
    start = 1 + max((value for value in ids if isinstance(value, int)), default=0)
    notes.append(f"{ids.count(None)} of {len(rows)} annotations have no `id` and are numbered from {start}")
    numbers = itertools.count(start)
    return [{**row, "id": next(numbers)} if row.get("id") is None else row for row in rows]


def _new_ids(ids: Sequence[Any], section: str, file: Path, notes: list[str]) -> dict[Any, int]:
    """Return new integers for string ids: the numbers they hold, or 1, 2, ... for all ids if one of them is not a number."""
    texts = [value for value in ids if type(value) is str]
    spelled = {text: int(text) for text in texts if text.isascii() and text.isdecimal() and str(int(text[:20])) == text}
    if len(spelled) == len(set(texts)):
        numbers = set(spelled.values())
        both = [value for value in ids if type(value) is int and value in numbers]
        if both:
            raise DataError(
                f"{file}: expected every `id` of `{section}` to differ, but {list_first(both)} occur both as a number and as a "
                "string. Renumber the entries."
            )
        return spelled
    distinct = dict.fromkeys(value for value in ids if type(value) in (int, str))
    examples = list_first([repr(text) for text in texts if text not in spelled], 2)
    notes.append(f"the ids of {len(distinct)} {section} are strings ({examples}) and are replaced by numbers from 1")
    return {value: number for number, value in enumerate(distinct, 1)}
