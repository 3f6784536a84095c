"""The checks of a COCO file as it is written, also of one that cannot be read: ids, links between sections, rows that repeat."""

from __future__ import annotations

import array
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hrpose.annotations.checks.table import Check, Found
from hrpose.annotations.coco_rows import Row, read_rows


class RawFile:
    """The three sections of a COCO file, unchecked; ids that are text and numbers are the same if they spell the same.

    Attributes:
        file: where they were read.
        images: entries of `images`.
        annotations: entries of `annotations`.
        categories: entries of `categories`.
    """

    def __init__(self, file: Path, content: Mapping[str, list[Row]]) -> None:
        self.file = file
        self.images, self.annotations, self.categories = (
            content["images"],
            content["annotations"],
            content["categories"],
        )

    @classmethod
    def read(cls, file: Path, keypoint_fields: Iterable[str] | None) -> RawFile:
        """Read a file.

        Raises:
            DataError: if it is not JSON or not COCO.
        """
        return cls(file, read_rows(file, list(keypoint_fields or ["keypoints"])))


def _ids_repeated(section: str) -> Callable[[RawFile], Found]:
    return lambda raw: _repeated(getattr(raw, section), [_plain(row.get("id")) for row in getattr(raw, section)])


def _dangling(key: str, section: str) -> Callable[[RawFile], Found]:
    def find(raw: RawFile) -> Found:
        known = {_plain(row.get("id")) for row in getattr(raw, section)}
        return _found(raw.annotations, [_plain(row.get(key)) not in known for row in raw.annotations])

    return find


def _images_without_annotations(raw: RawFile) -> Found:
    used = {_plain(row.get("image_id")) for row in raw.annotations}
    return _found(raw.images, [_plain(row.get("id")) not in used for row in raw.images])


def _file_names_repeated(raw: RawFile) -> Found:
    return _repeated(raw.images, [_plain(row.get("file_name")) for row in raw.images])


def _annotations_repeated(raw: RawFile) -> Found:
    keys = []
    for place, row in enumerate(raw.annotations):
        numbers = row.get("keypoints")
        is_labelled = isinstance(numbers, array.array) and any(numbers)
        content = numbers.tobytes() if isinstance(numbers, array.array) and is_labelled else place
        keys.append((_plain(row.get("image_id")), _plain(row.get("category_id")), str(row.get("bbox")), content))
    return _repeated(raw.annotations, keys)


def _places_without_label(raw: RawFile) -> Found:
    faulty = []
    for row in raw.annotations:
        numbers = row.get("keypoints")
        if isinstance(numbers, array.array) and len(numbers) % 3 == 0 and 0 in numbers[2::3]:
            triplets = np.frombuffer(numbers).reshape(-1, 3)
            faulty.append(bool(((triplets[:, 2] == 0) & (triplets[:, :2] > 0).any(axis=1)).any()))
        else:
            faulty.append(False)
    return _found(raw.annotations, faulty)


def _repeated(rows: list[Row], keys: Sequence[Hashable]) -> Found:
    """Find the rows whose key an earlier row has; a row without a key, None, is not compared."""
    counts: Counter[Hashable] = Counter()
    faulty = []
    for key in keys:
        counts[key] += 1
        faulty.append(key is not None and counts[key] > 1)
    return _found(rows, faulty)


def _found(rows: list[Row], faulty: list[bool]) -> Found:
    ids = np.empty(len(rows), object)
    ids[:] = [_plain(row.get("id", f"entry {place}")) for place, row in enumerate(rows)]
    return Found(ids, np.array(faulty, bool))


def _plain(value: Any) -> Any:
    """Return an id or name that can be compared: 7, 7.0 and "7" are the same."""
    if type(value) is int:  # nearly all
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if (
        isinstance(value, str)
        and value.isascii()
        and value.isdecimal()
        and len(value) < 19
        and str(int(value)) == value
    ):
        return int(value)
    return value if value is None or isinstance(value, str | int) else repr(value)


ROW_CHECKS: tuple[Check[RawFile], ...] = (
    Check(
        name="annotation-ids-repeated",
        what="annotations have the `id` of an earlier one",
        consequence="The file is refused: predictions could not be matched to them.",
        fix="Number the annotations anew, or remove the copies.",
        find=_ids_repeated("annotations"),
        severity="error",
    ),
    Check(
        name="image-ids-repeated",
        what="images have the `id` of an earlier one",
        consequence="The file is refused: their annotations could belong to either image.",
        fix="Number the images anew, together with `image_id` of their annotations.",
        find=_ids_repeated("images"),
        severity="error",
    ),
    Check(
        name="category-ids-repeated",
        what="categories have the `id` of an earlier one",
        consequence="Their annotations could belong to either category.",
        fix="Number the categories anew, together with `category_id` of their annotations.",
        find=_ids_repeated("categories"),
        severity="error",
    ),
    Check(
        name="annotations-without-image",
        what="annotations have an `image_id` that no entry of `images` has",
        consequence="The file is refused: these labels belong to no image.",
        fix="Add the images, or remove the annotations.",
        find=_dangling("image_id", "images"),
        severity="error",
    ),
    Check(
        name="annotations-without-category",
        what="annotations have a `category_id` that no entry of `categories` has",
        consequence="The file is refused.",
        fix="Add the category, or remove the annotations.",
        find=_dangling("category_id", "categories"),
        severity="error",
    ),
    Check(
        name="file-names-repeated",
        what="images have the `file_name` of an earlier one",
        consequence="One image stands under several ids, so each knows only a part of its instances: the others count as missed.",
        fix="Merge the entries, and give their annotations the same `image_id`.",
        find=_file_names_repeated,
    ),
    Check(
        name="annotations-repeated",
        what="annotations repeat an earlier one: the same image, box and keypoints",
        consequence="They are trained on twice, and one of each pair counts as missed in AP.",
        fix="Remove the copies.",
        find=_annotations_repeated,
    ),
    Check(
        name="places-without-label",
        what="annotations have keypoints with a place but the visibility 0",
        consequence="A keypoint of visibility 0 counts as unlabelled: nothing is learnt of these places.",
        fix="If 0 means occluded here, set `visibility_map` (`data.visibility_map={0: 1, 1: 2}` of fit and test).",
        find=_places_without_label,
        min_share=0.05,
    ),
    Check(
        name="images-without-annotations",
        what="images have no annotations",
        consequence="They are not trained on; in validation, predictions on them count as wrong.",
        fix="Nothing, if nobody is in them.",
        find=_images_without_annotations,
        severity="note",
    ),
)
"""The checks of the rows of a file."""
