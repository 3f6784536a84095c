"""Read the annotation files of a data module, COCO's or MPII's, with the same options for training, validation and AP."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hrpose.annotations.checks import CROP_CHECKS, check_annotations, check_split, warn_of
from hrpose.annotations.coco import read_annotations
from hrpose.annotations.coco_annotations import CocoAnnotations
from hrpose.annotations.detections import read_detections
from hrpose.annotations.images import complete_images
from hrpose.annotations.mpii import MpiiAnnotations, read_mpii
from hrpose.annotations.regions import LabelledImages, read_regions
from hrpose.errors import DataError
from hrpose.geometry import Rules
from hrpose.skeletons import match_names
from hrpose.structures import GroundTruth, InstanceTable, MpiiTruth


@dataclass(frozen=True, kw_only=True)
class InstanceFiles:
    """Read instances from annotation files; a JSON list is read as a file of MPII.

    Attributes:
        category, keypoint_fields, area_from_bbox, visibility_map, bbox_from_keypoints: see `read_annotations`.
        bbox_rules: "official" or "mmpose": how annotated boxes are clipped and which of them are used.
        min_bbox_score: lowest score of detections.
        upright: whether the EXIF orientation of the images is applied.
    """

    category: str | tuple[str, ...] | None = None
    keypoint_fields: dict[str, int] | None = None
    area_from_bbox: float = 1.0
    bbox_rules: Rules = "official"
    min_bbox_score: float = 0.0
    visibility_map: dict[int, int] | None = None
    bbox_from_keypoints: float | None = None
    upright: bool = False

    def coco(self, file: Path) -> CocoAnnotations:
        """Read a COCO annotation file."""
        return read_annotations(
            file,
            category=self.category,
            keypoint_fields=self.keypoint_fields,
            area_from_bbox=self.area_from_bbox,
            visibility_map=self.visibility_map,
            bbox_from_keypoints=self.bbox_from_keypoints,
        )

    def annotated(self, file: Path, images: Path, purpose: str) -> InstanceTable:
        """Return the annotated instances of a file; of a file of MPII all of them; `purpose` is for the message.

        Raises:
            DataError: if the file cannot be used, or has no usable instances.

        Warns:
            DataWarning: for each finding of `CROP_CHECKS`, once per process, and as `complete_images`.
        """
        annotations = self.read(file)
        if isinstance(annotations, MpiiAnnotations):
            table = annotations.instances()
        else:
            annotations = complete_images(annotations, images, upright=self.upright)
            table = annotations.instances(self.bbox_rules)
            warn_of(check_annotations(annotations, CROP_CHECKS))
        if not len(table):
            found = self.describe_empty(annotations)
            raise DataError(f"{file}: expected instances to {purpose} on, but found {found}")
        return table

    def whole_images(self, file: Path, images: Path, purpose: str) -> LabelledImages:
        """Select the images of a COCO file, with their labelled instances and the unlabelled regions; see `annotated`.

        Raises:
            DataError: if the file cannot be used, or shows no labelled instance.

        Warns:
            DataWarning: as `complete_images` and `read_regions`.
        """
        annotations = complete_images(self.coco(file), images, upright=self.upright)
        table = annotations.labelled()
        if not len(table):
            raise DataError(f"{file}: expected instances to {purpose} on, but found {self.describe_empty(annotations)}")
        return LabelledImages(table, np.unique(annotations.image_index).astype(np.int64), read_regions(annotations))

    def describe_empty(self, annotations: CocoAnnotations | MpiiAnnotations) -> str:
        """Describe a file without usable instances, for a message."""
        found = f"{len(annotations)} annotations"
        if isinstance(annotations, CocoAnnotations) and len(annotations):
            found += f", none of them usable: {annotations.describe_left_out(self.bbox_rules)}"
        return f"{found}. Check the file and data.category."

    def detected(self, detections: Path, file: Path, images: Path) -> InstanceTable:
        """Read the detections in the images of an annotation file, which are in the folder `images`.

        Raises:
            DataError: if a file cannot be used, or the annotations are MPII's.
        """
        annotations = self.read(file)
        if isinstance(annotations, MpiiAnnotations):
            raise DataError("Expected `val_boxes` to be [gt] for MPII, because its images have no ids that detections could use.")
        annotations = complete_images(annotations, images, upright=self.upright)
        return read_detections(detections, annotations, min_score=self.min_bbox_score)

    def ground_truth(self, file: Path) -> GroundTruth:
        """Read all annotations, for AP; raise DataError for MPII's, which lack the areas that AP needs."""
        if is_mpii(file):
            raise DataError(
                f"{file}: expected COCO annotations for AP, but got MPII's, which have no areas. Measure PCKh: metric=pckh."
            )
        return self.coco(file).ground_truth()

    def mpii_truth(self, file: Path, ground_truth: Path | None) -> MpiiTruth:
        """Read keypoints and head boxes, for PCKh.

        Raises:
            DataError: if `ground_truth` is None, the annotations are not MPII's, or the two files do not match.
        """
        annotations = self.read(file)
        if ground_truth is None or not isinstance(annotations, MpiiAnnotations):
            raise DataError(
                f"Expected MPII annotations and their `val_ground_truth` with head boxes for PCKh, but got {file} and "
                f"{ground_truth}. Set data.val_ground_truth=<gt_valid.mat>, or measure AP: metric=oks."
            )
        return annotations.truth(ground_truth)

    def check_alike(self, one: Path, other: Path) -> None:
        """Raise DataError unless two files have the same keypoints in the same order."""
        if is_mpii(one) or is_mpii(other):
            return
        first, second = self.coco(one), self.coco(other)
        counts = first.visibility.shape[1], second.visibility.shape[1]
        if counts[0] != counts[1]:
            raise DataError(
                f"Expected {one} and {other} to have the same keypoints, but the first has {counts[0]} per instance and the "
                f"second {counts[1]}. Export both from the same labels, or choose the fields in `data.keypoint_fields`."
            )
        names, others = first.keypoint_names, second.keypoint_names
        moved = [(index, place) for index, place in match_names(names, others).items() if index != place]
        if moved:
            index, place = moved[0]
            raise DataError(
                f"Expected {one} and {other} to have their keypoints in the same order, but {names[index]!r} is keypoint {index} "
                f"(counted from 0) of the first and {place} of the second. Reorder names and keypoints of one of them."
            )

    def check_apart(self, train: Path, train_images: Path, val: Path, val_images: Path) -> None:
        """Warn once if two annotation files share annotated images, and how many; the same file given twice is not checked."""
        if is_mpii(train) or is_mpii(val) or train.resolve() == val.resolve():
            return
        warn_of(check_split(self.coco(train), self.coco(val), train_images, val_images))

    def read(self, file: Path) -> CocoAnnotations | MpiiAnnotations:
        """Read an annotation file of COCO or MPII, or raise DataError."""
        if not is_mpii(file):
            return self.coco(file)
        if self.category is not None:
            raise DataError(
                f"{file}: expected COCO annotations with the category {self.category!r}, but got MPII's, which have none."
            )
        return read_mpii(file)


def is_mpii(file: str | Path) -> bool:
    """Check whether a JSON file is a list, as those of MPII are; False if there is no such file."""
    path = Path(file)
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(64).lstrip().startswith(b"[")
