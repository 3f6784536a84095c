"""Read COCO keypoint annotations into packed arrays.

    annotations = read_annotations("annotations/person_keypoints_train2017.json")
    annotations.skeleton()      # from `categories`
    annotations.instances()     # the instances to train on or to crop, filtered as in the official HRNet code
    annotations.ground_truth()  # all annotations, for AP

The first invalid value of a file raises `DataError`; instances that are left out are counted in a `DataWarning`.
"""

from __future__ import annotations

import ctypes
import math
import re
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from hrpose.annotations import coco_keypoints, coco_rows
from hrpose.annotations.checks import LABEL_CHECKS, check_annotations, warn_of
from hrpose.annotations.coco_annotations import CocoAnnotations, choose_categories, find_other_categories, select_objects
from hrpose.annotations.detections import read_detections
from hrpose.errors import DataWarning, MissingDataError
from hrpose.skeletons import Skeleton, known_skeleton

__all__ = ["CocoAnnotations", "forget_annotations", "read_annotations", "read_detections", "read_skeleton"]

_OTHER_FIELD = re.compile(r"\w+_kpts|keypoints_\d+")
_cache: dict[tuple[str, int, int, str], CocoAnnotations] = {}  # by path, time, size and options


def read_annotations(
    file: str | Path,
    *,
    category: str | Sequence[str] | None = None,
    keypoint_fields: Mapping[str, int] | None = None,
    area_from_bbox: float = 1.0,
    visibility_map: Mapping[int, int] | None = None,
    bbox_from_keypoints: float | None = None,
) -> CocoAnnotations:
    """Read a COCO keypoint annotation file into packed arrays.

    Files are cached until `forget_annotations`, so an unchanged file is read once.

    Args:
        file: JSON with `images`, `annotations` and `categories`.
        category: name of the category; several names, or "all", read categories with the same keypoints as one; the default is
            the one with keypoints.
        keypoint_fields: number of keypoints to read from each field of an annotation; the default reads all of `keypoints`.
            COCO-WholeBody has five fields.
        area_from_bbox: where `area` is missing or below 1 % of the box, this share of the area of the box replaces it.
        visibility_map: new value, 0, 1 or 2, of visibilities that are replaced, such as {-1: 0}.
        bbox_from_keypoints: where a box is missing or has no area, the box around the labelled keypoints replaces it, with this
            share of its longer side as margin; the default requires boxes.

    Raises:
        MissingDataError: if there is no such file.
        DataError: if the file is not JSON, not a COCO file, or has an invalid value.
        ValueError: if a number of keypoints or the share of the box is not positive.

    Warns:
        DataWarning: with the number of annotations without `keypoints`, and for each finding of `LABEL_CHECKS`, once per process.
    """
    path = Path(file)
    if not path.is_file():
        raise MissingDataError(f"Expected a COCO annotation file at {path}, but there is no such file.")
    if area_from_bbox is True or not area_from_bbox > 0 or any(count < 1 for count in (keypoint_fields or {}).values()):
        raise ValueError(
            f"Expected a positive `area_from_bbox` and positive numbers in `keypoint_fields`, but got {area_from_bbox} and "
            f"{keypoint_fields}."
        )
    if not set((visibility_map or {}).values()) <= {0, 1, 2}:
        raise ValueError(f"Expected `visibility_map` to map to 0, 1 or 2, but got {dict(visibility_map or {})}.")
    if bbox_from_keypoints is not None and (bbox_from_keypoints is True or not 0 <= bbox_from_keypoints < math.inf):
        raise ValueError(f"Expected `bbox_from_keypoints` to be a margin of at least 0, but got {bbox_from_keypoints}.")
    names = category if category is None or isinstance(category, str) else tuple(category)
    labels = {float(old): int(new) for old, new in (visibility_map or {}).items()}
    options = names, dict(keypoint_fields or {}) or None, area_from_bbox, labels, bbox_from_keypoints
    stat = path.stat()
    key = str(path.resolve()), stat.st_mtime_ns, stat.st_size, repr(options)
    if key not in _cache:
        _cache[key] = _read(path, *options)
        warn_of(check_annotations(_cache[key], LABEL_CHECKS))
        _trim_heap()
    return _cache[key]


def forget_annotations() -> None:
    """Clear the cache of `read_annotations` and release its memory."""
    _cache.clear()
    _trim_heap()


def read_skeleton(
    file: str | Path,
    *,
    category: str | Sequence[str] | None = None,
    keypoint_fields: Mapping[str, int] | None = None,
    visibility_map: Mapping[int, int] | None = None,
    bbox_from_keypoints: float | None = None,
    names: Sequence[str] | None = None,
    sigmas: str | Sequence[float] | None = None,
    flip_pairs: Sequence[Sequence[int | str]] | None = None,
) -> Skeleton:
    """Build the skeleton of a COCO keypoint file from its `categories`.

    Args:
        file: JSON with `images`, `annotations` and `categories`.
        category: see `read_annotations`.
        keypoint_fields: see `read_annotations`.
        visibility_map: see `read_annotations`.
        bbox_from_keypoints: see `read_annotations`.
        names: K keypoint names; the default is those of the category.
        sigmas: K OKS sigmas, or the name of a known skeleton; the default is those of the category, or the published ones of the
            keypoint names.
        flip_pairs: mirror pairs by name or 0-based index, empty for none; the default is `flip_pairs` or `flip_idx` of the
            category, or the pairs found in the names.

    Raises:
        DataError: if the file cannot be used, keypoints have no names, the number of sigmas is not K, or a mirror pair is
            invalid.
    """
    annotations = read_annotations(
        file,
        category=category,
        keypoint_fields=keypoint_fields,
        visibility_map=visibility_map,
        bbox_from_keypoints=bbox_from_keypoints,
    )
    given = known_skeleton(sigmas).sigmas if isinstance(sigmas, str) else sigmas
    return annotations.skeleton(given, flip_pairs, names=names)


def _trim_heap() -> None:
    """Return freed memory to the operating system; glibc would keep twice the size of the arrays."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _read(
    file: Path,
    category: str | tuple[str, ...] | None,
    fields: Mapping[str, int] | None,
    box_share: float,
    labels: Mapping[float, int],
    margin: float | None,
) -> CocoAnnotations:
    sections = coco_rows.read_rows(file, list(fields) if fields else ["keypoints"])
    content, notes = coco_rows.unify_ids({**sections, "images": coco_rows.collapse_images(sections["images"], file)}, file)
    if notes:
        warnings.warn(f"{file}: {'; '.join(notes)}.", DataWarning, stacklevel=3)
    chosen = choose_categories(content["categories"], category, content["annotations"], file)
    own_ids = tuple(entry["id"] for entry in chosen)
    image_ids, image_sizes, file_names = coco_rows.read_images(content["images"], file)
    rows, image_index = select_objects(content["annotations"], chosen, content["categories"], image_ids, file)
    iscrowd = coco_rows.read_crowds(rows, file)
    keypoints, visibility, has_keypoints = coco_keypoints.pack_keypoints(rows, iscrowd, chosen[0], fields, file, labels)
    bbox, has_bbox = coco_keypoints.read_boxes_or_keypoints(rows, keypoints, visibility, image_sizes[image_index], margin, file)
    area, has_area = coco_rows.read_areas(rows, bbox, box_share, file)
    return CocoAnnotations(
        file=file,
        category={**chosen[0], "name": ", ".join(str(entry.get("name")) for entry in chosen)} if chosen[1:] else chosen[0],
        own_category_ids=tuple(coco_rows.integers(chosen, "id", "category", file).tolist()),
        category_ids=tuple(coco_rows.integers(content["categories"], "id", "category", file).tolist()),
        image_ids=image_ids,
        image_sizes=image_sizes,
        file_names=file_names,
        image_index=image_index,
        instance_ids=coco_rows.integers(rows, "id", "annotation", file),
        bbox=bbox,
        has_bbox=has_bbox,
        area=area,
        has_area=has_area,
        area_from_bbox=box_share,
        iscrowd=iscrowd,
        keypoints=keypoints,
        visibility=visibility,
        has_keypoints=has_keypoints,
        num_keypoints=coco_keypoints.read_num_keypoints(rows, visibility, file, follow=fields is None),
        other_categories=find_other_categories(content, own_ids) if category is None else {},
        crowd_index=coco_rows.read_crowd_index(content["images"], file),
        other_fields=tuple(sorted({key for row in rows[:100] for key in row if _OTHER_FIELD.fullmatch(key)} - {*(fields or {})})),
    )
