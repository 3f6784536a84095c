"""Checks of the raw rows of a COCO file, also of one that the reader rejects: ids, references, repeated rows."""

from __future__ import annotations

import array
import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hrpose.annotations.checks.table import Check, Found, error, note
from hrpose.annotations.coco_rows import Row, read_rows


@dataclass(frozen=True)
class RawFile:
    """The three sections of a COCO file, unchecked. The ids 7, 7.0 and "7" are equal."""

    images: list[Row]
    annotations: list[Row]
    categories: list[Row]

    @classmethod
    def read(cls, file: Path, keypoint_fields: Iterable[str] | None) -> RawFile:
        """Read a file; raise DataError if it is not JSON or not COCO."""
        content = read_rows(file, list(keypoint_fields or ["keypoints"]))
        return cls(content["images"], content["annotations"], content["categories"])

    @cached_property
    def ids(self) -> list[Hashable]:
        """Return the ids of the annotations."""
        return _ids(self.annotations)


def _dangling(raw: RawFile, key: str, rows: list[Row]) -> list[bool]:
    known = set(_column(rows, "id"))
    return [value not in known for value in _column(raw.annotations, key)]


def _images_without_annotations(raw: RawFile) -> Found:
    used = set(_column(raw.annotations, "image_id"))
    return Found(_ids(raw.images), [own not in used for own in _column(raw.images, "id")])


def _file_names_repeated(raw: RawFile) -> Found:
    owners: dict[Hashable, Hashable] = {}
    pairs = zip(_column(raw.images, "file_name"), _column(raw.images, "id"), strict=True)
    # an entry that occurs twice is read once
    return Found(_ids(raw.images), [name is not None and owners.setdefault(name, own) != own for name, own in pairs])


def _annotations_repeated(raw: RawFile) -> list[bool]:
    owners = zip(_column(raw.annotations, "image_id"), _column(raw.annotations, "category_id"), strict=True)
    keys = []
    for place, (row, owner) in enumerate(zip(raw.annotations, owners, strict=True)):
        numbers = row.get("keypoints")
        content = numbers.tobytes() if isinstance(numbers, array.array) and any(numbers) else place
        keys.append((*owner, str(row.get("bbox")), content))
    return _repeated(keys)


def _triplets(row: Row) -> array.array[float]:
    """Return the numbers in `keypoints`; none if they are no triplets."""
    numbers = row.get("keypoints")
    return numbers if isinstance(numbers, array.array) and len(numbers) % 3 == 0 else array.array("d")


def _has_unlabelled_position(numbers: array.array[float]) -> bool:
    if 0 not in numbers[2::3]:
        return False
    triplets = np.frombuffer(numbers).reshape(-1, 3)
    return bool(((triplets[:, 2] == 0) & (triplets[:, :2] > 0).any(axis=1)).any())


def _visibility_values(raw: RawFile) -> Found:
    labels = (_triplets(row)[2::3] for row in raw.annotations)
    others = [[value for value in own if value not in (0, 1, 2) and value == value] for own in labels]
    common = [f"{value:g}" for value, _ in Counter(value for values in others for value in values).most_common(4)]
    pairs = ", ".join(f"{value}: {0 if float(value) < 0 else 2}" for value in common)
    return Found(raw.ids, list(map(bool, others)), {"values": ", ".join(common), "pairs": pairs})


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
        own: 3 * len(row["keypoints"])
        for own, row in zip(_column(raw.categories, "id"), raw.categories, strict=True)
        if isinstance(row.get("keypoints"), list | array.array)
    }
    counts = Counter(filter(None, lengths))
    usual = max(counts, key=counts.__getitem__, default=0)
    expected = [named.get(own) or usual for own in _column(raw.annotations, "category_id")]
    faulty = [bool(length) and length != right for length, right in zip(lengths, expected, strict=True)]
    found = sorted({length for length, wrong in zip(lengths, faulty, strict=True) if wrong})
    return Found(raw.ids, faulty, {"found": ", ".join(map(str, found[:3]))})


def _repeated(keys: Sequence[Hashable]) -> list[bool]:
    """Find keys that equal an earlier one; None is not compared."""
    counts: Counter[Hashable] = Counter()
    faulty = []
    for key in keys:
        counts[key] += 1
        faulty.append(key is not None and counts[key] > 1)
    return faulty


def _ids(rows: list[Row]) -> list[Hashable]:
    """Return the ids of rows for a message, `entry <place>` for a row without id."""
    return [_plain(row.get("id", f"entry {place}")) for place, row in enumerate(rows)]


def _column(rows: list[Row], key: str) -> list[Any]:
    return [_plain(row.get(key)) for row in rows]


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
    error(
        name="category-ids-repeated",
        what="categories have the `id` of an earlier one",
        consequence="Their annotations could belong to either category.",
        fix="Renumber the categories, together with `category_id` of their annotations.",
        find=lambda raw: Found(_ids(raw.categories), _repeated(_column(raw.categories, "id"))),
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
        find=lambda raw: [_has_unlabelled_position(_triplets(row)) for row in raw.annotations],
        min_share=0.05,
    ),
    note(
        name="images-without-annotations",
        what="images have no annotations",
        consequence="They are not trained on; in validation, predictions on them count as wrong.",
        fix="Nothing, if they show no instances.",
        find=_images_without_annotations,
    ),
)
"""Checks of any file."""

REFUSED_ROW_CHECKS: tuple[Check[RawFile], ...] = (
    error(
        name="annotation-ids-repeated",
        what="annotations have the `id` of an earlier one",
        consequence="The file is rejected: predictions could not be matched to them.",
        fix="Renumber the annotations, or remove the copies.",
        find=lambda raw: _repeated(_column(raw.annotations, "id")),
    ),
    error(
        name="image-ids-repeated",
        what="images have the `id` of an earlier one",
        consequence="The file is rejected: their annotations could belong to either image.",
        fix="Renumber the images, together with `image_id` of their annotations.",
        find=lambda raw: Found(_ids(raw.images), _repeated(_column(raw.images, "id"))),
    ),
    error(
        name="annotations-without-image",
        what="annotations have an `image_id` that no entry of `images` has",
        consequence="The file is rejected: these labels belong to no image.",
        fix="Add the images, or remove the annotations.",
        find=lambda raw: _dangling(raw, "image_id", raw.images),
    ),
    error(
        name="annotations-without-category",
        what="annotations have a `category_id` that no entry of `categories` has",
        consequence="The file is rejected.",
        fix="Add the category, or remove the annotations.",
        find=lambda raw: _dangling(raw, "category_id", raw.categories),
    ),
    error(
        name="visibility-values",
        what="annotations have a visibility other than 0 (unlabelled), 1 (occluded) and 2 (visible): {values}",
        consequence="The file is rejected.",
        fix="Fix the annotations, or map the values: 'data.visibility_map={{pairs}}'.",
        find=_visibility_values,
    ),
    error(
        name="boxes-missing",
        what="annotations have no `bbox` of four finite numbers, or one of a negative size",
        consequence="The file is rejected: a crop needs a box.",
        fix="Add the boxes, or use boxes around the keypoints: data.bbox_from_keypoints=0.25.",
        find=lambda raw: [not _is_box(row.get("bbox")) for row in raw.annotations],
    ),
    error(
        name="keypoints-of-another-length",
        what="annotations do not have three values in `keypoints` per keypoint of the category, but {found} values",
        consequence="The file is rejected.",
        fix="Write x, y and visibility for each keypoint of the category.",
        find=_other_lengths,
    ),
)
"""Checks of a file that the reader rejects; it may accept the rows with other arguments."""
