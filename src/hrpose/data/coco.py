"""COCO keypoint annotations as packed arrays: no Python object per person.

    annotations = read_annotations("annotations/person_keypoints_train2017.json")
    annotations.skeleton()      # from `categories`
    annotations.instances()     # the persons to train on or to crop, filtered and cleaned as in the official HRNet code
    annotations.ground_truth()  # every object, for AP

Whatever is wrong with a file is said in one `DataError`; whatever is left out is counted in a `DataWarning`.
"""

from __future__ import annotations

import ctypes
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrpose.data.coco_keypoints import pack_keypoint_fields, pack_keypoints
from hrpose.data.coco_rows import (
    choose_category,
    list_first,
    read_areas,
    read_boxes,
    read_crowd_index,
    read_images,
    read_rows,
    select_objects,
)
from hrpose.data.detections import read_detections
from hrpose.data.errors import DataError, DataWarning, MissingDataError
from hrpose.geometry import Rules, clip_bbox
from hrpose.skeletons import Skeleton
from hrpose.structures import GroundTruth, InstanceTable, PackedStrings

__all__ = ["CocoAnnotations", "forget_annotations", "read_annotations", "read_detections", "read_skeleton"]

_CacheKey = tuple[str, int, int, str]
_cache: dict[_CacheKey, CocoAnnotations] = {}


@dataclass(frozen=True, eq=False)
class CocoAnnotations:
    """The objects of one category of a COCO keypoint file, photo by photo and in the order of the file within a photo.

    Attributes:
        file: where they were read.
        category: the entry of `categories`.
        category_ids: of all entries of `categories`.
        image_ids: (I,) int64.
        image_sizes: (I, 2) int32 width and height.
        file_names: I names relative to the photo folder.
        image_index: (M,) int32 row of the photo.
        instance_ids: (M,) int64 annotation ids.
        bbox: (M, 4) float64 x, y, width, height as the file has them.
        area: (M,) float64; a share of the box where the file has none.
        has_area: (M,) bool, False where the file has no `area`.
        iscrowd: (M,) bool.
        keypoints: (M, K, 2) in the smallest type that holds them exactly; 0 where unlabelled.
        visibility: (M, K) uint8.
        has_keypoints: (M,) bool, False where all 3K numbers of the file are 0.
        crowd_index: (I,) float64 as the file states it for its photos, from 0 to 1; None where it does not.
    """

    file: Path
    category: Mapping[str, Any]
    category_ids: tuple[int, ...]
    image_ids: NDArray[np.int64]
    image_sizes: NDArray[np.int32]
    file_names: PackedStrings
    image_index: NDArray[np.int32]
    instance_ids: NDArray[np.int64]
    bbox: NDArray[np.float64]
    area: NDArray[np.float64]
    has_area: NDArray[np.bool_]
    iscrowd: NDArray[np.bool_]
    keypoints: NDArray[np.generic]
    visibility: NDArray[np.uint8]
    has_keypoints: NDArray[np.bool_]
    crowd_index: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.image_index)

    def skeleton(
        self, sigmas: Sequence[float] | None = None, flip_pairs: Sequence[Sequence[int | str]] | None = None
    ) -> Skeleton:
        """Make the skeleton that the category describes: names, edges, mirror pairs, sigmas.

        Args:
            sigmas: K OKS sigmas instead of the category's.
            flip_pairs: mirror pairs instead of the category's, by name or 0-based index.

        Raises:
            DataError: if the category does not name its keypoints, describes them wrongly, or has another number of them.
        """
        try:
            given: dict[str, Any] = {} if sigmas is None else {"sigmas": sigmas}
            given |= {} if flip_pairs is None else {"flip_pairs": flip_pairs, "flip_idx": None}
            skeleton = Skeleton.from_category({**self.category, **given})
        except ValueError as error:
            raise DataError(
                f"{self.file}: no skeleton can be made of category {self.category.get('name')!r}. {error} Fix the category "
                "or the given values, or choose another skeleton: skeleton=coco, mpii, ..."
            ) from error
        if skeleton.num_keypoints != self.visibility.shape[1]:
            raise DataError(
                f"{self.file}: expected category {self.category.get('name')!r} to name the {self.visibility.shape[1]} keypoints "
                f"that are taken of its annotations, but it names {skeleton.num_keypoints}. Give a skeleton: skeleton=wholebody "
                "is that of COCO-WholeBody."
            )
        return skeleton

    @property
    def keypoint_names(self) -> tuple[str, ...]:
        """The keypoints that the category names; it may name none."""
        names = self.category.get("keypoints") or ()
        return tuple(names) if all(isinstance(name, str) for name in names) else ()

    def instances(self, rules: Rules = "official") -> InstanceTable:
        """Select and clean the persons that are trained on, or tested with annotated boxes.

        Crowds and objects without keypoints are left out, and boxes are clipped to the photo (`geometry.clip_bbox`). By the
        official rules so are objects of no area or outside the photo (`COCODataset._load_coco_keypoint_annotation_kernal`),
        and boxes without any width and height after that, of which no crop can be made. By MMPose's the area does not
        matter, but a box needs width and height, and a person at least one labelled keypoint.

        Args:
            rules: whose rules.

        Warns:
            DataWarning: with the number of labelled persons that are left out because of their box or area.
        """
        bbox = clip_bbox(self.bbox, self.image_sizes[self.image_index], rules)
        if rules == "mmpose":
            sound = (bbox[:, 2:] > 0).all(axis=1)
            wanted = ~self.iscrowd & (self.visibility > 0).any(axis=1)
        else:
            sound = (self.area > 0) & (bbox[:, 2:] >= 0).all(axis=1) & (bbox[:, 2:] > 0).any(axis=1)
            wanted = ~self.iscrowd & self.has_keypoints
        lost = np.flatnonzero(wanted & ~sound)
        if len(lost):
            warnings.warn(
                f"{self.file}: {len(lost)} of {np.count_nonzero(wanted)} persons with keypoints are left out, because their "
                f"box or `area` is zero or lies outside the photo (annotation ids {list_first(self.instance_ids[lost])}).",
                DataWarning,
                stacklevel=2,
            )
        kept = np.flatnonzero(wanted & sound)
        return InstanceTable(
            image_ids=self.image_ids,
            image_sizes=self.image_sizes,
            file_names=self.file_names,
            image_index=self.image_index[kept],
            instance_ids=self.instance_ids[kept],
            bbox=bbox[kept],
            bbox_scores=np.ones(len(kept), np.float32),
            area=self.area[kept].astype(np.float32),
            keypoints=self.keypoints[kept].astype(np.float32),
            visibility=self.visibility[kept],
        )

    def ground_truth(self) -> GroundTruth:
        """Give every object, crowds and those without keypoints included: what AP is measured against."""
        return GroundTruth(
            image_ids=self.image_ids,
            object_image_ids=self.image_ids[self.image_index],
            instance_ids=self.instance_ids,
            category_ids=np.full(len(self), int(self.category["id"]), np.int64),
            keypoints=self.keypoints.astype(np.float64),
            visibility=self.visibility,
            bbox=self.bbox,
            area=self.area,
            iscrowd=self.iscrowd,
            crowd_index=self.crowd_index,
        )


def read_annotations(
    file: str | Path,
    *,
    category: str | None = None,
    keypoint_fields: Mapping[str, int] | None = None,
    area_from_bbox: float = 1.0,
) -> CocoAnnotations:
    """Read a COCO keypoint annotation file into packed arrays.

    The last files read are kept, so a second reading of an unchanged file costs nothing, until `forget_annotations`.

    Args:
        file: JSON with `images`, `annotations` and `categories`.
        category: name of the category to take; the default is the one that has keypoints.
        keypoint_fields: fields of an annotation, each with the number of keypoints that are taken of it, the first ones; the
            default takes all of `keypoints`. COCO-WholeBody has five fields.
        area_from_bbox: share of its box that an object without `area` is taken to cover.

    Raises:
        MissingDataError: if there is no such file.
        DataError: if the file is not JSON, not COCO, or anything in it cannot be used.
        ValueError: if a number of keypoints or the share of the box is not positive.

    Warns:
        DataWarning: with the number of objects without `keypoints` or without `area`.
    """
    path = Path(file)
    if not path.is_file():
        raise MissingDataError(f"Expected a COCO annotation file at {path}, but there is no such file.")
    if not area_from_bbox > 0 or any(count < 1 for count in (keypoint_fields or {}).values()):
        raise ValueError(
            f"Expected a positive `area_from_bbox` and positive numbers of `keypoint_fields`, but got {area_from_bbox} and "
            f"{keypoint_fields}."
        )
    fields = dict(keypoint_fields) if keypoint_fields else None
    stat = path.stat()
    key = (str(path.resolve()), stat.st_mtime_ns, stat.st_size, repr((category, fields, area_from_bbox)))
    if key not in _cache:
        _cache[key] = _read(path, category, fields, area_from_bbox)
        _trim_heap()
    return _cache[key]


def forget_annotations() -> None:
    """Drop the annotation files that `read_annotations` keeps, and give their memory back to the system."""
    _cache.clear()
    _trim_heap()


def read_skeleton(
    file: str | Path,
    *,
    category: str | None = None,
    keypoint_fields: Mapping[str, int] | None = None,
    sigmas: Sequence[float] | None = None,
    flip_pairs: Sequence[Sequence[int | str]] | None = None,
) -> Skeleton:
    """Make the skeleton that the `categories` of a COCO keypoint file describe.

    Args:
        file: JSON with `images`, `annotations` and `categories`.
        category: as for `read_annotations`.
        keypoint_fields: as for `read_annotations`.
        sigmas: K OKS sigmas instead of those of the category, or of the published ones by name.
        flip_pairs: pairs of keypoints that trade places in the mirror, by name or 0-based index, instead of the `flip_pairs` or
            `flip_idx` of the category, or of those found in the names; empty means that there are none.

    Raises:
        DataError: if the file cannot be used, the category does not name the keypoints that are taken, their number is not
            that of the sigmas, or a mirror pair does not fit them.
    """
    return read_annotations(file, category=category, keypoint_fields=keypoint_fields).skeleton(sigmas, flip_pairs)


def _trim_heap() -> None:
    """Return what parsing has freed to the system: glibc would keep twice the size of the arrays."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _read(file: Path, category: str | None, fields: Mapping[str, int] | None, box_share: float) -> CocoAnnotations:
    content = read_rows(file, list(fields) if fields else ["keypoints"])
    chosen = choose_category(content["categories"], category, file)
    image_ids, image_sizes, file_names = read_images(content["images"], file)
    rows, image_index = select_objects(content["annotations"], chosen, content["categories"], image_ids, file)
    instance_ids = np.array([row["id"] for row in rows], np.int64)
    bbox = read_boxes(rows, "annotation", file)
    iscrowd = np.array([bool(row.get("iscrowd", 0)) for row in rows], bool)
    if fields is None:
        keypoints, visibility, has_keypoints = pack_keypoints(rows, iscrowd, chosen, file)
    else:
        keypoints, visibility, has_keypoints = pack_keypoint_fields(rows, iscrowd, fields, file)
    return CocoAnnotations(
        file=file,
        category=chosen,
        category_ids=tuple(entry["id"] for entry in content["categories"]),
        image_ids=image_ids,
        image_sizes=image_sizes,
        file_names=file_names,
        image_index=image_index,
        instance_ids=instance_ids,
        bbox=bbox,
        area=read_areas(rows, bbox, box_share, file),
        has_area=np.array([row.get("area") is not None for row in rows], bool),
        iscrowd=iscrowd,
        keypoints=keypoints,
        visibility=visibility,
        has_keypoints=has_keypoints,
        crowd_index=read_crowd_index(content["images"], file),
    )
