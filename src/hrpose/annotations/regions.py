"""The parts of images that show instances without labelled keypoints: a loss on whole images leaves them out.

These are crowds, and instances of no keypoints. Their `segmentation` is a list of polygons or a run-length encoding, compressed
or not, as pycocotools reads them; the pixels of a polygon are those that pycocotools gives it.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_masks

from hrpose.annotations.coco_annotations import CocoAnnotations
from hrpose.annotations.coco_rows import list_first
from hrpose.errors import DataError, DataWarning
from hrpose.structures import InstanceTable, PackedStrings, exact_integer

_FARTHEST = 1e5  # pixels; a polygon takes memory for every pixel of its outline


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images with all their instances.

    Attributes:
        table: the instances with labelled keypoints.
        rows: (M,) the images that are trained on, as rows of the table's images: those that show an instance, labelled or not.
        regions: of each image of the table, as `read_regions` encodes them.
    """

    table: InstanceTable
    rows: NDArray[np.int64]
    regions: PackedStrings

    def __len__(self) -> int:
        return len(self.rows)


def read_regions(annotations: CocoAnnotations) -> PackedStrings:
    """Read the regions without labelled keypoints: for each image one compressed run-length encoding, empty where there are none.

    Raises:
        DataError: if a segmentation is neither polygons nor a run-length encoding of the image's size; with the annotation id.

    Warns:
        DataWarning: with the number of instances that have no segmentation; they are background.
    """
    unlabelled = np.flatnonzero(annotations.iscrowd | (annotations.num_keypoints == 0))
    found = _read_segmentations(annotations.file, annotations.instance_ids[unlabelled])
    encoded: dict[int, list[dict[str, Any]]] = {}
    lacking = []
    for row in unlabelled.tolist():
        instance, image = int(annotations.instance_ids[row]), int(annotations.image_index[row])
        if not found.get(instance):
            lacking.append(instance)
            continue
        width, height = annotations.image_sizes[image].tolist()
        where = f"{annotations.file}: annotation {instance}"
        encoded.setdefault(image, []).extend(_encode(found[instance], width, height, where))
    if lacking:
        warnings.warn(
            f"{annotations.file}: {len(lacking)} of {len(unlabelled)} crowds and instances without keypoints have no "
            f"`segmentation` (annotation ids {list_first(np.array(lacking))}). A network for whole images learns that nobody is "
            "there: export the segmentations, or label the keypoints.",
            DataWarning,
            stacklevel=2,
        )
    unions = {image: coco_masks.merge(parts)["counts"].decode("ascii") for image, parts in encoded.items()}
    return PackedStrings([unions.get(image, "") for image in range(len(annotations.image_ids))])


def counted_pixels(region: str, image_size: Sequence[int]) -> NDArray[np.uint8]:
    """Return where the loss counts, (H, W), 1 outside a region of `read_regions` and 0 inside; sizes are (width, height)."""
    width, height = map(int, image_size)
    if not region:
        return np.ones((height, width), np.uint8)
    inside: NDArray[np.uint8] = coco_masks.decode({"size": [height, width], "counts": region.encode("ascii")})
    return 1 - inside


def _read_segmentations(file: Path, instance_ids: NDArray[np.int64]) -> dict[int, Any]:
    """Parse a COCO file again and keep the segmentations of some annotations, by id."""
    wanted = {*instance_ids.tolist()}
    kept: dict[int, Any] = {}

    def slim(row: dict[str, Any]) -> dict[str, Any] | None:
        if "image_id" not in row:
            return row
        key = exact_integer(row.get("id"))
        if key is not None and key in wanted:
            kept[key] = row.get("segmentation")
        return None

    if wanted:
        json.loads(file.read_bytes(), object_hook=slim)
    return kept


def _encode(segmentation: Any, width: int, height: int, where: str) -> list[dict[str, Any]]:
    """Encode polygons or runs as compressed run-length encodings of the image's size."""
    if isinstance(segmentation, Mapping):
        counts = _check_runs(segmentation, width, height, where)
        return [coco_masks.frPyObjects({"size": [height, width], "counts": counts}, height, width)]
    polygons = segmentation if isinstance(segmentation, list) else [None]
    for polygon in polygons:
        if not (isinstance(polygon, list) and len(polygon) >= 6 and len(polygon) % 2 == 0 and _are_near(polygon)):
            raise DataError(
                f"{where}: expected a `segmentation` of polygons, lists of three points or more [x, y, x, y, x, y, ...] in "
                f"pixels, or a run-length encoding, but got {segmentation!r:.120}. Fix it, or remove it."
            )
    found: list[dict[str, Any]] = coco_masks.frPyObjects(polygons, height, width)
    return found


def _are_near(values: list[Any]) -> bool:
    return all(type(value) in (int, float) and math.isfinite(value) and abs(value) < _FARTHEST for value in values)


def _check_runs(segmentation: Mapping[str, Any], width: int, height: int, where: str) -> list[int]:
    """Return the lengths of the runs, which have to fill the image: pycocotools would write beyond it."""
    given = segmentation.get("counts")
    counts = _uncompressed(given) if isinstance(given, str) else given if isinstance(given, list) else []
    total = sum(counts) if all(type(count) is int and count >= 0 for count in counts) else 0
    if segmentation.get("size") != [height, width] or total != height * width:
        raise DataError(
            f"{where}: expected the run-length encoding of a mask of [{height}, {width}] (height, width), the size of the image, "
            f"whose runs add up to {height * width}, but got the size {segmentation.get('size')} and runs that add up to "
            f"{total}. Export it again."
        )
    return counts


def _uncompressed(text: str) -> list[int]:
    """Decode COCO's compressed runs: five bits per character, least first, later runs as differences; no runs if it is broken."""
    counts: list[int] = []
    value = shift = 0
    for character in text.encode("ascii", "replace"):
        bits = character - 48
        if not 0 <= bits < 64 or shift > 60:
            return []
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (1 << shift) if bits & 16 else 0
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    return [] if shift else counts
