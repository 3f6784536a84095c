"""Checks of the raw rows of a COCO file, also of one that the reader rejects: ids, references, repeated rows."""

from __future__ import annotations

import array
import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hrpose.annotations.checks.table import Check, Found
from hrpose.annotations.coco_rows import Row, read_rows


class RawFile:
    """The three sections of a COCO file, unchecked. The ids 7, 7.0 and "7" are equal.

    Attributes:
        file: where they were read.
        images: entries of `images`.
        annotations: entries of `annotations`.
        categories: entries of `categories`.
    """

    def __init__(self, file: Path, content: Mapping[str, list[Row]]) -> None:
        self.file = file
        self.images, self.annotations, self.categories = (content["images"], content["annotations"], content["categories"])

    @classmethod
    def read(cls, file: Path, keypoint_fields: Iterable[str] | None) -> RawFile:
        """Read a file.

        Raises:
            DataError: if it is not JSON or not COCO.
        """
        return cls(file, read_rows(file, list(keypoint_fields or ["keypoints"])))


def _ids_repeated(raw: RawFile, *, section: str) -> Found:
    return _repeated(getattr(raw, section), [_plain(row.get("id")) for row in getattr(raw, section)])


def _dangling(raw: RawFile, *, key: str, section: str) -> Found:
    known = {_plain(row.get("id")) for row in getattr(raw, section)}
    return _found(raw.annotations, [_plain(row.get(key)) not in known for row in raw.annotations])


def _images_without_annotations(raw: RawFile) -> Found:
    used = {_plain(row.get("image_id")) for row in raw.annotations}
    return _found(raw.images, [_plain(row.get("id")) not in used for row in raw.images])


def _file_names_repeated(raw: RawFile) -> Found:
    owners: dict[Hashable, Hashable] = {}
    names = [_plain(row.get("file_name")) for row in raw.images]
    ids = [_plain(row.get("id")) for row in raw.images]
    faulty = [
        name is not None and owners.setdefault(name, own) != own for name, own in zip(names, ids, strict=True)
    ]  # an entry that occurs twice is read once
    return _found(raw.images, faulty)


def _annotations_repeated(raw: RawFile) -> Found:
    keys = []
    for place, row in enumerate(raw.annotations):
        numbers = row.get("keypoints")
        is_labelled = isinstance(numbers, array.array) and any(numbers)
        content = numbers.tobytes() if isinstance(numbers, array.array) and is_labelled else place
        keys.append((_plain(row.get("image_id")), _plain(row.get("category_id")), str(row.get("bbox")), content))
    return _repeated(raw.annotations, keys)


def _unlabelled_positions(raw: RawFile) -> Found:
    faulty = []
    for row in raw.annotations:
        numbers = row.get("keypoints")
        if isinstance(numbers, array.array) and len(numbers) % 3 == 0 and 0 in numbers[2::3]:
            triplets = np.frombuffer(numbers).reshape(-1, 3)
            faulty.append(bool(((triplets[:, 2] == 0) & (triplets[:, :2] > 0).any(axis=1)).any()))
        else:
            faulty.append(False)
    return _found(raw.annotations, faulty)


def _visibility_values(raw: RawFile) -> Found:
    values: Counter[float] = Counter()
    faulty = []
    for row in raw.annotations:
        numbers = row.get("keypoints")
        labels = numbers[2::3] if isinstance(numbers, array.array) and len(numbers) % 3 == 0 else array.array("d")
        others = [value for value in labels if value not in (0, 1, 2) and value == value]
        values.update(others)
        faulty.append(bool(others))
    common = [f"{value:g}" for value, _ in values.most_common(4)]
    pairs = ", ".join(f"{value}: {0 if float(value) < 0 else 2}" for value in common)
    return _found(raw.annotations, faulty, {"values": ", ".join(common), "pairs": pairs})


def _boxes_missing(raw: RawFile) -> Found:
    return _found(raw.annotations, [not _is_box(row.get("bbox")) for row in raw.annotations])


def _is_box(bbox: Any) -> bool:
    try:
        numbers = [float(value) for value in bbox]
    except (TypeError, ValueError, OverflowError):
        return False
    return len(numbers) == 4 and all(map(math.isfinite, numbers)) and min(numbers[2:]) >= 0


def _other_lengths(raw: RawFile) -> Found:
    """Find `keypoints` with another length than the category's, or than most if the category has no names."""
    lengths = [len(numbers) if isinstance(numbers := row.get("keypoints"), array.array) else 0 for row in raw.annotations]
    named = {
        _plain(row.get("id")): 3 * len(row["keypoints"])
        for row in raw.categories
        if isinstance(row.get("keypoints"), list | array.array)
    }
    most = Counter(length for length in lengths if length).most_common(1)
    usual = most[0][0] if most else 0
    expected = [named.get(_plain(row.get("category_id"))) or usual for row in raw.annotations]
    faulty = [bool(length) and length != right for length, right in zip(lengths, expected, strict=True)]
    found = sorted({length for length, wrong in zip(lengths, faulty, strict=True) if wrong})
    return _found(raw.annotations, faulty, {"found": ", ".join(map(str, found[:3]))})


def _repeated(rows: list[Row], keys: Sequence[Hashable]) -> Found:
    """Find rows with the key of an earlier row; rows with the key None are not compared."""
    counts: Counter[Hashable] = Counter()
    faulty = []
    for key in keys:
        counts[key] += 1
        faulty.append(key is not None and counts[key] > 1)
    return _found(rows, faulty)


def _found(rows: list[Row], faulty: list[bool], details: Mapping[str, str] | None = None) -> Found:
    ids = np.empty(len(rows), object)
    ids[:] = [_plain(row.get("id", f"entry {place}")) for place, row in enumerate(rows)]
    return Found(ids, np.array(faulty, bool), details or {})


def _plain(value: Any) -> Any:
    """Normalise an id or name for comparison: 7, 7.0 and "7" are equal."""
    if type(value) is int:  # the common case, without the checks below
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 19 and str(int(value)) == value:
        return int(value)
    return value if value is None or isinstance(value, str | int) else repr(value)


ROW_CHECKS: tuple[Check[RawFile], ...] = (
    Check(
        name="category-ids-repeated",
        what="categories have the `id` of an earlier one",
        consequence="Their annotations could belong to either category.",
        fix="Renumber the categories, together with `category_id` of their annotations.",
        find=partial(_ids_repeated, section="categories"),
        severity="error",
    ),
    Check(
        name="file-names-repeated",
        what="images have the `file_name` of an earlier one",
        consequence="Each entry has only a part of the instances of the image, so predictions of the others count as wrong.",
        fix="Merge the entries, and set the same `image_id` in their annotations.",
        find=_file_names_repeated,
    ),
    Check(
        name="annotations-repeated",
        what="annotations repeat an earlier one: the same image, box and keypoints",
        consequence="They are trained on twice, and AP counts one of each pair as missed.",
        fix="Remove the copies.",
        find=_annotations_repeated,
    ),
    Check(
        name="places-without-label",
        what="annotations have keypoints with coordinates but the visibility 0",
        consequence="A keypoint of visibility 0 is unlabelled, so these coordinates are not used.",
        fix="If 0 means occluded here, set `visibility_map` (`data.visibility_map={0: 1, 1: 2}` in fit and test).",
        find=_unlabelled_positions,
        min_share=0.05,
    ),
    Check(
        name="images-without-annotations",
        what="images have no annotations",
        consequence="They are not trained on; in validation, predictions on them count as wrong.",
        fix="Nothing, if they show no instances.",
        find=_images_without_annotations,
        severity="note",
    ),
)
"""Checks of any file."""

REFUSED_ROW_CHECKS: tuple[Check[RawFile], ...] = (
    Check(
        name="annotation-ids-repeated",
        what="annotations have the `id` of an earlier one",
        consequence="The file is rejected: predictions could not be matched to them.",
        fix="Renumber the annotations, or remove the copies.",
        find=partial(_ids_repeated, section="annotations"),
        severity="error",
    ),
    Check(
        name="image-ids-repeated",
        what="images have the `id` of an earlier one",
        consequence="The file is rejected: their annotations could belong to either image.",
        fix="Renumber the images, together with `image_id` of their annotations.",
        find=partial(_ids_repeated, section="images"),
        severity="error",
    ),
    Check(
        name="annotations-without-image",
        what="annotations have an `image_id` that no entry of `images` has",
        consequence="The file is rejected: these labels belong to no image.",
        fix="Add the images, or remove the annotations.",
        find=partial(_dangling, key="image_id", section="images"),
        severity="error",
    ),
    Check(
        name="annotations-without-category",
        what="annotations have a `category_id` that no entry of `categories` has",
        consequence="The file is rejected.",
        fix="Add the category, or remove the annotations.",
        find=partial(_dangling, key="category_id", section="categories"),
        severity="error",
    ),
    Check(
        name="visibility-values",
        what="annotations have a visibility other than 0 (unlabelled), 1 (occluded) and 2 (visible): {values}",
        consequence="The file is rejected.",
        fix="Fix the annotations, or map the values: 'data.visibility_map={{pairs}}'.",
        find=_visibility_values,
        severity="error",
    ),
    Check(
        name="boxes-missing",
        what="annotations have no `bbox` of four finite numbers, or one of a negative size",
        consequence="The file is rejected: a crop needs a box.",
        fix="Add the boxes, or use boxes around the keypoints: data.bbox_from_keypoints=0.25.",
        find=_boxes_missing,
        severity="error",
    ),
    Check(
        name="keypoints-of-another-length",
        what="annotations do not have three values in `keypoints` per keypoint of the category, but {found} values",
        consequence="The file is rejected.",
        fix="Write x, y and visibility for each keypoint of the category.",
        find=_other_lengths,
        severity="error",
    ),
)
"""Checks of a file that the reader rejects; it may accept the rows with other arguments."""
