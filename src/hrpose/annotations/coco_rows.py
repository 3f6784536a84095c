"""Read COCO files into arrays, column by column, with one clear error for the first fault."""

import array
import json
import math
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrpose.annotations.converters.formats import advise_conversion, conversion_of
from hrpose.errors import DataError, MissingDataError
from hrpose.media.images import check_file_name
from hrpose.structures import PackedStrings, exact_integer

Row = dict[str, Any]

_SMALLEST_AREA = 0.01  # of the box: below it an area is a placeholder; the smallest of 7,100 real ones is 0.157
_SECTIONS = ("images", "annotations", "categories")


def read_json(file: Path, fields: Collection[str] = ("keypoints",)) -> Any:
    """Parse a JSON file without holding its segmentations: they are most of a COCO file and not needed.

    Args:
        file: to read.
        fields: keys of objects under which lists of numbers are packed into arrays.

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
            f"{file}: expected JSON, but {len(content)} bytes cannot be read as such: {error}. "
            f"{conversion_of(file) or 'The file may be cut short, or be of another format: export or download it again.'}"
        ) from error


def _slim(row: Row, fields: Collection[str]) -> Row:
    """Drop polygons and pack lists of numbers as soon as an object is parsed."""
    row.pop("segmentation", None)
    for field in fields:
        numbers = row.get(field)
        if isinstance(numbers, list):
            try:
                row[field] = array.array("d", numbers)
            except (TypeError, OverflowError):
                if "image_id" in row:  # else the names in a category
                    row[field] = _flatten(numbers)
    return row


def _flatten(values: list[Any]) -> Any:
    """Pack numbers of another form: nested lists become flat, null NaN, and text the number that it spells.

    A list of anything else is returned as it is; its error names the annotation.
    """
    if all(value is None or isinstance(value, list) for value in values) and any(values):
        values = [number for value in values for number in (value or [None] * 3)]
    numbers = [math.nan if value is None else _number_of(value) for value in values]
    return array.array("d", numbers) if all(is_finite(value) or value != value for value in numbers) else values


def _number_of(value: Any) -> Any:
    """Return the number that a text spells, as an integer if it is whole; other values as they are."""
    if type(value) is not str:
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    return int(number) if number.is_integer() else number


def read_rows(file: Path, fields: Collection[str] = ("keypoints",)) -> dict[str, list[Row]]:
    """Read the three sections of a COCO annotation file.

    Args:
        file: to read.
        fields: of annotations that hold keypoints.

    Raises:
        DataError: if the file is not JSON, or has another structure.
    """
    content = read_json(file, fields)
    if not isinstance(content, dict):
        hint = " A list is what detection and result files hold." if isinstance(content, list) else ""
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
    """Raise DataError unless the rows are a list of JSON objects."""
    if not isinstance(rows, list):
        raise DataError(f"{file}: expected {what} to be a list, but got {type(rows).__name__}.")
    for place, row in enumerate(rows):
        if not isinstance(row, dict):
            raise DataError(f"{file}: expected entry {place} of {what} to be a JSON object, but got {row!r}.")


def integers(rows: Sequence[Row], key: str, what: str, file: Path, default: Any = None) -> NDArray[np.int64]:
    """Collect a column of integers, exactly; `structures.exact_integer` states which numbers are integers.

    `default` is taken where a row lacks the key; None requires the key.

    Raises:
        DataError: if an entry lacks the key or holds something else.
    """
    column = np.zeros(len(rows), np.int64)
    for place, row in enumerate(rows):
        value = exact_integer(row.get(key, default))
        if value is None:
            value = exact_integer(_number_of(row.get(key)))
        if value is None:
            hint = "It may have at most 64 bits." if type(row.get(key)) is int else ""
            raise wrong_value(file, name_row(row, place, what), key, "an integer", row, hint)
        column[place] = value
    return column


def check_unique(ids: NDArray[np.int64], what: str, file: Path) -> None:
    """Raise DataError if an id occurs twice."""
    values, counts = np.unique(ids, return_counts=True)
    repeated = values[counts > 1]
    if len(repeated):
        raise DataError(
            f"{file}: expected every {what} to have an `id` of its own, but {len(repeated)} ids stand more than once: "
            f"{list_first(repeated)}. Number them anew, or remove the copies."
        )


def read_images(rows: Sequence[Row], file: Path) -> tuple[NDArray[np.int64], NDArray[np.int32], PackedStrings]:
    """Collect ids (I,), sizes (I, 2), 0 where they are not stated, and file names of the images.

    Raises:
        DataError: if an id repeats, a size is not positive or a file name leads out of any folder.
    """
    ids = integers(rows, "id", "image", file)
    check_unique(ids, "image", file)
    lacking = [row.get("width") in (None, 0) and row.get("height") in (None, 0) for row in rows]
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
        if not isinstance(name, str):
            raise wrong_value(file, f"image {row['id']}", "file_name", "a path", row)
        if (
            ".." in name or "\0" in name or not name
        ):  # the rest is checked with the folder: `image_files.complete_images`
            check_file_name(name.replace("\\", "/"), f"image {row['id']} of {file}")
    return ids, sizes.astype(np.int32), PackedStrings([row["file_name"] for row in rows])


def read_crowds(rows: Sequence[Row], file: Path) -> NDArray[np.bool_]:
    """Collect `iscrowd` (N,), False where it is missing.

    Raises:
        DataError: if it is text that spells no number.
    """
    values = [_number_of(row.get("iscrowd", 0)) for row in rows]
    for row, value in zip(rows, values, strict=True):
        if type(value) is str:
            raise wrong_value(file, f"annotation {row['id']}", "iscrowd", "0 or 1", row)
    return np.array([bool(value) for value in values], bool)


def read_crowd_index(rows: Sequence[Row], file: Path) -> NDArray[np.float64] | None:
    """Collect how crowded the images are (I,), as CrowdPose states it; None where the file does not.

    Raises:
        DataError: if only some images have it, or it is not a number from 0 to 1.
    """
    values = [row.get("crowdIndex") for row in rows]
    if all(value is None for value in values):
        return None
    for row, value in zip(rows, values, strict=True):
        if not isinstance(value, (int, float)) or not 0 <= value <= 1:
            fix = "Fix it, or remove it from all images to have it computed."
            raise wrong_value(file, f"image {row['id']}", "crowdIndex", "a number from 0 to 1", row, fix)
    return np.array(values, np.float64)


def read_boxes(rows: Sequence[Row], what: str, file: Path) -> NDArray[np.float64]:
    """Collect boxes x, y, width, height: (N, 4) float64.

    Raises:
        DataError: if a row has no box, or not four finite numbers, or a negative size.
    """
    boxes = np.empty((len(rows), 4), np.float64)
    for place, row in enumerate(rows):
        bbox = row.get("bbox")
        if isinstance(bbox, list) and any(type(v) is str for v in bbox):
            bbox = [_number_of(v) for v in bbox]
        if not isinstance(bbox, list) or len(bbox) != 4 or not all(type(v) in (int, float) for v in bbox):
            fix = "Without a box there is no crop: add it, or remove the row."
            if what == "annotation":
                lacking = sum(1 for other in rows if not other.get("bbox"))
                fix += (
                    f" `bbox` is missing in {lacking} of {len(rows)} annotations. To take the box around the labelled keypoints, "
                    "with a margin of 0.25 of its longer side, add data.bbox_from_keypoints=0.25 (bbox_from_keypoints=0.25 in "
                    "evaluate and compare)."
                )
            expected = "four numbers x, y, width, height in pixels"
            raise wrong_value(file, name_row(row, place, what), "bbox", expected, row, fix)
        boxes[place] = bbox
    for place in np.flatnonzero(~np.isfinite(boxes).all(axis=1) | (boxes[:, 2:] < 0).any(axis=1))[:1]:
        expected = "finite x, y, width, height with sizes that are not negative"
        where = name_row(rows[place], int(place), what)
        raise wrong_value(file, where, "bbox", expected, rows[place], "Fix or remove the row.")
    return boxes


def read_areas(
    rows: list[Row], bbox: NDArray[np.float64], box_share: float, file: Path
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Collect the areas in square pixels.

    Args:
        rows: M annotations.
        bbox: (M, 4) their boxes.
        box_share: share of its box that is taken where an area is missing or below 1 % of the box.
        file: of the rows.

    Returns:
        The areas (M,), and whether each is the file's (M,).

    Raises:
        DataError: if an area is no number, or infinite.
    """
    stated = np.full(len(rows), np.nan)
    for place, row in enumerate(rows):
        area = _number_of(row.get("area"))
        if area is None:
            continue
        if not is_finite(area) and not (isinstance(area, float) and math.isnan(area)):  # NaN is a placeholder
            raise wrong_value(file, f"annotation {row['id']}", "area", "a finite number", row)
        stated[place] = area
    box = bbox[:, 2] * bbox[:, 3]
    is_stated = stated >= _SMALLEST_AREA * box
    return np.where(is_stated, stated, box * box_share), is_stated


def is_finite(value: Any) -> bool:
    """Check whether a value is a number that float64 holds; JSON has integers of any size."""
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max


def wrong_value(file: Path, where: str, key: str, expected: str, row: Mapping[str, Any], fix: str = "") -> DataError:
    """Return the error for a value of a row that is missing or not what was expected."""
    value = row.get(key)
    size = f"a list of {len(value)}: " if isinstance(value, list) and len(value) > 4 else ""
    found = f"got {size}{value!r:.120}" if key in row else "there is none"
    return DataError(f"{file}: expected `{key}` of {where} to be {expected}, but {found}. {fix}".rstrip())


def name_row(row: Mapping[str, Any], place: int, what: str) -> str:
    """Name a row by its id, or by its index where it has none."""
    return f"{what} {row['id']}" if "id" in row else f"{what} number {place} (counted from 0)"


def list_first(ids: Iterable[Any], count: int = 3) -> str:
    """List the first few of many ids."""
    items = list(ids)
    return ", ".join(str(item) for item in items[:count]) + (", ..." if len(items) > count else "")
