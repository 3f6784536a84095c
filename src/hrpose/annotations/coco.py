"""COCO keypoint annotations as packed arrays: no Python object per instance.

    annotations = read_annotations("annotations/person_keypoints_train2017.json")
    annotations.skeleton()      # from `categories`
    annotations.instances()     # the instances to train on or to crop, filtered and cleaned as in the official HRNet code
    annotations.ground_truth()  # every object, for AP

The first fault of a file is one `DataError`; what is left out is counted in a `DataWarning`.
"""

from __future__ import annotations

import ctypes
import math
import re
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from hrpose.annotations.checks import LABEL_CHECKS, check_annotations, warn_of
from hrpose.annotations.coco_annotations import (
    CocoAnnotations,
    choose_categories,
    find_other_categories,
    select_objects,
)
from hrpose.annotations.coco_keypoints import pack_keypoints, read_boxes_or_keypoints, read_num_keypoints
from hrpose.annotations.coco_rows import (
    collapse_images,
    integers,
    read_areas,
    read_crowd_index,
    read_crowds,
    read_images,
    read_rows,
    unify_ids,
)
from hrpose.annotations.detections import read_detections
from hrpose.errors import DataWarning, MissingDataError
from hrpose.skeletons import Skeleton, known_skeleton

__all__ = ["CocoAnnotations", "forget_annotations", "read_annotations", "read_detections", "read_skeleton"]

_OTHER_FIELD = re.compile(r"\w+_kpts|keypoints_\d+")
_CacheKey = tuple[str, int, int, str]
_cache: dict[_CacheKey, CocoAnnotations] = {}


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

    The last files read are kept, so a second reading of an unchanged file costs nothing, until `forget_annotations`.

    Args:
        file: JSON with `images`, `annotations` and `categories`.
        category: name of the category to take; several names, or "all", take categories with the same keypoints as one; the
            default is the one that has keypoints.
        keypoint_fields: fields of an annotation, each with the number of its first keypoints that are taken; the default takes
            all of `keypoints`. COCO-WholeBody has five fields.
        area_from_bbox: share of its box that an object without `area`, or with one below 1 % of the box, is taken to cover.
        visibility_map: visibilities of the file, each with the 0, 1 or 2 that replaces it, such as {-1: 0}.
        bbox_from_keypoints: margin of the box around the labelled keypoints, as a share of its longer side, that is taken
            where an object has no box, or one without area; the default requires boxes.

    Raises:
        MissingDataError: if there is no such file.
        DataError: if the file is not JSON, not COCO, or anything in it cannot be used.
        ValueError: if a number of keypoints or the share of the box is not positive.

    Warns:
        DataWarning: with the number of objects without `keypoints`, and of each finding of `LABEL_CHECKS`, once in a process.
    """
    path = Path(file)
    if not path.is_file():
        raise MissingDataError(f"Expected a COCO annotation file at {path}, but there is no such file.")
    if area_from_bbox is True or not area_from_bbox > 0 or any(count < 1 for count in (keypoint_fields or {}).values()):
        raise ValueError(
            f"Expected a positive `area_from_bbox` and positive numbers of `keypoint_fields`, but got {area_from_bbox} and "
            f"{keypoint_fields}."
        )
    if not set((visibility_map or {}).values()) <= {0, 1, 2}:
        raise ValueError(f"Expected `visibility_map` to map to 0, 1 or 2, but got {dict(visibility_map or {})}.")
    if bbox_from_keypoints is not None and (bbox_from_keypoints is True or not 0 <= bbox_from_keypoints < math.inf):
        raise ValueError(f"Expected `bbox_from_keypoints` to be a margin from 0 on, but got {bbox_from_keypoints}.")
    names = category if category is None or isinstance(category, str) else tuple(category)
    fields = dict(keypoint_fields) if keypoint_fields else None
    labels = {float(old): int(new) for old, new in (visibility_map or {}).items()}
    stat = path.stat()
    key = (
        str(path.resolve()),
        stat.st_mtime_ns,
        stat.st_size,
        repr((names, fields, area_from_bbox, labels, bbox_from_keypoints)),
    )
    if key not in _cache:
        _cache[key] = _read(path, names, fields, area_from_bbox, labels, bbox_from_keypoints)
        warn_of(check_annotations(_cache[key], LABEL_CHECKS))
        _trim_heap()
    return _cache[key]


def forget_annotations() -> None:
    """Drop the annotation files that `read_annotations` keeps, and release their memory."""
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
    """Build the skeleton that the `categories` of a COCO keypoint file describe.

    Args:
        file: JSON with `images`, `annotations` and `categories`.
        category: as for `read_annotations`.
        keypoint_fields: as for `read_annotations`.
        visibility_map: as for `read_annotations`.
        bbox_from_keypoints: as for `read_annotations`.
        names: of the K keypoints, instead of those of the category or where it has none.
        sigmas: K OKS sigmas, or the name of the known skeleton that has them, instead of those of the category, or of the
            published ones by name.
        flip_pairs: pairs of keypoints that are exchanged in the mirror, by name or 0-based index, instead of the `flip_pairs` or
            `flip_idx` of the category, or of those found in the names; empty means that there are none.

    Raises:
        DataError: if the file cannot be used, neither `names` nor the category name the keypoints that are taken, their number
            is not that of the sigmas, or a mirror pair does not fit them.
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
    """Return what parsing has freed to the system: glibc would keep twice the size of the arrays."""
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
    sections = read_rows(file, list(fields) if fields else ["keypoints"])
    content, notes = unify_ids({**sections, "images": collapse_images(sections["images"], file)}, file)
    if notes:
        warnings.warn(f"{file}: {'; '.join(notes)}.", DataWarning, stacklevel=3)
    chosen = choose_categories(content["categories"], category, content["annotations"], file)
    own_ids = tuple(entry["id"] for entry in chosen)
    image_ids, image_sizes, file_names = read_images(content["images"], file)
    rows, image_index = select_objects(content["annotations"], chosen, content["categories"], image_ids, file)
    iscrowd = read_crowds(rows, file)
    keypoints, visibility, has_keypoints = pack_keypoints(rows, iscrowd, chosen[0], fields, file, labels)
    bbox, has_bbox = read_boxes_or_keypoints(rows, keypoints, visibility, image_sizes[image_index], margin, file)
    area, has_area = read_areas(rows, bbox, box_share, file)
    return CocoAnnotations(
        file=file,
        category={**chosen[0], "name": ", ".join(str(entry.get("name")) for entry in chosen)}
        if chosen[1:]
        else chosen[0],
        own_category_ids=tuple(integers(chosen, "id", "category", file).tolist()),
        category_ids=tuple(integers(content["categories"], "id", "category", file).tolist()),
        image_ids=image_ids,
        image_sizes=image_sizes,
        file_names=file_names,
        image_index=image_index,
        instance_ids=integers(rows, "id", "annotation", file),
        bbox=bbox,
        has_bbox=has_bbox,
        area=area,
        has_area=has_area,
        area_from_bbox=box_share,
        iscrowd=iscrowd,
        keypoints=keypoints,
        visibility=visibility,
        has_keypoints=has_keypoints,
        num_keypoints=read_num_keypoints(rows, visibility, file, follow=fields is None),
        other_categories=find_other_categories(content, own_ids) if category is None else {},
        crowd_index=read_crowd_index(content["images"], file),
        other_fields=tuple(
            sorted({key for row in rows[:100] for key in row if _OTHER_FIELD.fullmatch(key)} - {*(fields or {})})
        ),
    )
