"""The objects of one category of a COCO keypoint file, as packed arrays: no Python object per instance."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrpose.data.coco_rows import list_first
from hrpose.data.errors import DataError, DataWarning
from hrpose.geometry import Rules, clip_bbox
from hrpose.skeletons import Skeleton, keypoint_key
from hrpose.structures import GroundTruth, InstanceTable, PackedStrings


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

    def skeleton(self, sigmas: Sequence[float] | None = None) -> Skeleton:
        """Make the skeleton that the category describes: names, edges, mirror pairs, sigmas.

        Args:
            sigmas: K OKS sigmas instead of the category's.

        Raises:
            DataError: if the category does not name its keypoints, describes them wrongly, or has another number of them.
        """
        try:
            given = {} if sigmas is None else {"sigmas": sigmas}
            skeleton = Skeleton.from_category({**self.category, **given})
        except ValueError as error:
            raise DataError(
                f"{self.file}: no skeleton can be made of category {self.category.get('name')!r}. {error} Mend the category, or "
                "choose another skeleton: skeleton=coco, mpii, ..."
            ) from error
        if skeleton.num_keypoints != self.visibility.shape[1]:
            raise DataError(
                f"{self.file}: expected category {self.category.get('name')!r} to name the {self.visibility.shape[1]} keypoints "
                f"that are taken of its annotations, but it names {skeleton.num_keypoints}. Give a skeleton: skeleton=wholebody "
                "is that of COCO-WholeBody."
            )
        return skeleton

    def named_places(self) -> dict[str, int]:
        """Give the place of each keypoint that the category names, spelt as `skeletons.keypoint_key` does; it may name none."""
        names = self.category.get("keypoints") or ()
        return {keypoint_key(name): place for place, name in enumerate(names) if isinstance(name, str)}

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
