"""The checks of annotation files: one table, each entry a kind of fault that real files have.

A new check is a function that finds rows, and an entry of `CHECKS`. Checks never change rows. `fit`, `test` and `evaluate` warn
of every finding once, with its count.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrpose.annotations.coco_annotations import CocoAnnotations
from hrpose.errors import DataWarning

Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]
Floats = NDArray[np.floating[Any]]

_NUM_IDS = 3  # shown of the rows that a check found
_warned: dict[Finding, None] = {}  # in the order of the warnings


class Inspected:
    """The instances of an annotation file that most checks look at: those with labelled keypoints, crowds aside.

    Attributes:
        annotations: all of the file.
        rows: (N,) their indices in `annotations`.
        ids: (N,) int64 annotation ids.
        points: (N, K, 2) float32 in image pixels.
        labelled: (N, K) bool.
        low: (N, 2) first two numbers of `bbox`, the top left corner.
        size: (N, 2) last two numbers of `bbox`, width and height.
        image: (N, 2) width and height of the image.
    """

    def __init__(self, annotations: CocoAnnotations) -> None:
        self.annotations = annotations
        self.rows = np.flatnonzero((annotations.visibility > 0).any(axis=1) & ~annotations.iscrowd)
        self.ids = annotations.instance_ids[self.rows]
        self.points = annotations.keypoints[self.rows].astype(np.float32)
        self.labelled = annotations.visibility[self.rows] > 0
        self.low, self.size = np.split(annotations.bbox[self.rows].astype(np.float32), 2, axis=1)
        self.image = annotations.image_sizes[annotations.image_index[self.rows]].astype(np.float32)

    def share_within(self, low: Floats, high: Floats) -> Floats:
        """Compute which share of the labelled keypoints lies between two corners, with a margin of 5 % of their distance.

        Args:
            low: (N, 2).
            high: (N, 2).

        Returns:
            (N,) from 0 to 1.
        """
        margin = 0.05 * (high - low)
        inside = self.labelled.copy()
        for axis in (0, 1):
            places = self.points[..., axis]
            inside &= places >= (low - margin)[:, axis, None]
            inside &= places <= (high + margin)[:, axis, None]
        shares: Floats = inside.sum(axis=1) / self.labelled.sum(axis=1)
        return shares


@dataclass(frozen=True, kw_only=True)
class Check:
    """One kind of fault of an annotation file.

    Attributes:
        name: of the check.
        what: as of `Finding`; `{others}` stands for the categories that are left out and their numbers of annotations.
        consequence: as of `Finding`; `{box}` stands for the part of a box that is taken as the area.
        fix: as of `Finding`.
        find: gives the ids of all rows that it looks at, and which of them have the fault.
        min_share: of the rows with the fault from which on they are reported.
    """

    name: str
    what: str
    consequence: str
    fix: str
    find: Callable[[Inspected], tuple[Ids, Mask]]
    min_share: float = 0.0


def check_annotations(annotations: CocoAnnotations, checks: Sequence[Check] | None = None) -> list[Finding]:
    """Run checks of annotation files.

    Args:
        annotations: of one file.
        checks: to run; None runs all.

    Returns:
        What the checks found, in their order.
    """
    inspected = Inspected(annotations)
    share = annotations.area_from_bbox
    details = {
        "others": ", ".join(f"{len(ids)} of {name!r}" for name, ids in annotations.other_categories.items()),
        "box": "the area of the box" if share == 1 else f"{share:g} of the area of the box",
    }
    findings = []
    for check in CHECKS if checks is None else checks:
        ids, faulty = check.find(inspected)
        count = int(np.count_nonzero(faulty))
        if count and count >= check.min_share * len(ids):
            findings.append(
                Finding(
                    check=check.name,
                    file=str(annotations.file),
                    count=count,
                    total=len(ids),
                    ids=tuple(ids[faulty][:_NUM_IDS].tolist()),
                    what=check.what.format_map(details),
                    consequence=check.consequence.format_map(details),
                    fix=check.fix,
                )
            )
    return findings


def _other_categories(inspected: Inspected) -> tuple[Ids, Mask]:
    others = list(inspected.annotations.other_categories.values())
    ids = np.concatenate([*others, inspected.annotations.instance_ids])
    return ids, np.arange(len(ids)) < len(ids) - len(inspected.annotations)


def _area_of_the_box(inspected: Inspected) -> tuple[Ids, Mask]:
    return inspected.annotations.instance_ids, ~inspected.annotations.has_area


def _num_keypoints_zero(inspected: Inspected) -> tuple[Ids, Mask]:
    return inspected.ids, inspected.annotations.num_keypoints[inspected.rows] == 0


def _num_keypoints_without_labels(inspected: Inspected) -> tuple[Ids, Mask]:
    annotations = inspected.annotations
    unlabelled = ~(annotations.visibility > 0).any(axis=1) & ~annotations.iscrowd
    return annotations.instance_ids, unlabelled & (annotations.num_keypoints != 0)


def _num_keypoints_unequal(inspected: Inspected) -> tuple[Ids, Mask]:
    stated = inspected.annotations.num_keypoints[inspected.rows]
    return inspected.ids, (stated != 0) & (stated != inspected.labelled.sum(axis=1))


def _visibility_never_2(inspected: Inspected) -> tuple[Ids, Mask]:
    is_two_valued = len(inspected.rows) > 1 and inspected.annotations.visibility.max() == 1
    return inspected.ids, np.full(len(inspected.ids), is_two_valued)


def _keypoints_at_origin(inspected: Inspected) -> tuple[Ids, Mask]:
    placeholder = (inspected.points == 0).all(axis=2) | (inspected.points == -1).all(axis=2)
    return inspected.ids, (placeholder & inspected.labelled).any(axis=1)


def _keypoints_normalised(inspected: Inspected) -> tuple[Ids, Mask]:
    within = ((inspected.points >= 0) & (inspected.points <= 1)).all(axis=(1, 2))  # unlabelled ones are 0
    some: Mask = (inspected.labelled.sum(axis=1) > 1) & inspected.points.any(axis=(1, 2))
    return inspected.ids, some & within & (inspected.image > 4).all(axis=1)


def _boxes_normalised(inspected: Inspected) -> tuple[Ids, Mask]:
    numbers = np.concatenate([inspected.low, inspected.size], axis=1)
    within = (numbers >= 0) & (numbers <= 1)
    return inspected.ids, np.all(within, axis=1) & np.all(inspected.image > 4, axis=1)


def _boxes_of_corners(inspected: Inspected) -> tuple[Ids, Mask]:
    limit = 1.02 * inspected.image
    outside = (inspected.low + inspected.size > limit).any(axis=1)
    ordered = ((inspected.size > inspected.low) & (inspected.size <= limit)).all(axis=1)
    return inspected.ids, outside & ordered & (inspected.share_within(inspected.low, inspected.size) > 0.9)


def _boxes_of_centers(inspected: Inspected) -> tuple[Ids, Mask]:
    centered = inspected.share_within(inspected.low - inspected.size / 2, inspected.low + inspected.size / 2) > 0.9
    return inspected.ids, centered & (inspected.share_within(inspected.low, inspected.low + inspected.size) < 0.5)


def _keypoints_outside_box(inspected: Inspected) -> tuple[Ids, Mask]:
    outside = inspected.share_within(inspected.low, inspected.low + inspected.size) < 0.5
    explained = [find(inspected)[1] for find in (_boxes_of_centers, _keypoints_normalised, _boxes_normalised)]
    return inspected.ids, outside & ~np.any(explained, axis=0)


def _keypoints_outside_image(inspected: Inspected) -> tuple[Ids, Mask]:
    return inspected.ids, inspected.share_within(np.zeros_like(inspected.image), inspected.image) < 0.5


LABEL_CHECKS: tuple[Check, ...] = (
    Check(
        name="other-categories",
        what="annotations belong to other categories that have keypoints: {others}",
        consequence="They are left out.",
        fix="Name the category that you want: `category` (`data.category` of fit and test).",
        find=_other_categories,
    ),
    Check(
        name="area",
        what="annotations have no `area`, or one below 1 % of their box",
        consequence="OKS and AP are relative to the area: {box} is taken.",
        fix=(
            "Correct the areas, or set `area_from_bbox` (`data.area_from_bbox` of fit and test) to the share of its box that "
            "an instance covers."
        ),
        find=_area_of_the_box,
    ),
    Check(
        name="num-keypoints-zero",
        what="annotations with labelled keypoints state `num_keypoints` 0",
        consequence="AP ignores them, as pycocotools does; training by the official rules uses them, by MMPose's it does not.",
        fix="Count `num_keypoints` again, or remove it from the file: the labelled keypoints are counted then.",
        find=_num_keypoints_zero,
    ),
    Check(
        name="num-keypoints-without-labels",
        what="annotations state a `num_keypoints` above 0, but have no labelled keypoints",
        consequence="AP counts them as instances to be found, as pycocotools does.",
        fix="Count `num_keypoints` again, or remove it from the file: the labelled keypoints are counted then.",
        find=_num_keypoints_without_labels,
    ),
    Check(
        name="num-keypoints-unequal",
        what="annotations have another number of labelled keypoints than `num_keypoints` states",
        consequence="AP does not depend on the number, unless it is 0; labels may be lost.",
        fix="Look at these annotations, and count `num_keypoints` again.",
        find=_num_keypoints_unequal,
    ),
    Check(
        name="visibility-never-2",
        what="annotations with labelled keypoints have the visibility 1 (occluded) and never 2 (visible)",
        consequence="Training and AP only ask whether a keypoint is labelled; reports and pictures call all of them occluded.",
        fix="If 1 means visible here, set `visibility_map` (`data.visibility_map={1: 2}` of fit and test).",
        find=_visibility_never_2,
    ),
    Check(
        name="keypoints-at-origin",
        what="annotations have keypoints that are labelled at (0, 0) or (-1, -1)",
        consequence="They train towards the corner of the image and count as missed in AP.",
        fix="Set the visibility of keypoints that are not labelled to 0.",
        find=_keypoints_at_origin,
    ),
    Check(
        name="keypoints-normalised",
        what="annotations have all their keypoints between 0 and 1",
        consequence="Keypoints are read in pixels, so all of them lie in the corner of the image.",
        fix="Multiply the keypoints by the width and the height of the image.",
        find=_keypoints_normalised,
    ),
)
"""What training and AP depend on; `read_annotations` warns of it."""

CROP_CHECKS: tuple[Check, ...] = (
    Check(
        name="boxes-normalised",
        what="annotations have a box between 0 and 1",
        consequence="Boxes are read in pixels, so the crop shows a corner of the image.",
        fix="Multiply the boxes by the width and the height of the image.",
        find=_boxes_normalised,
        min_share=0.05,
    ),
    Check(
        name="boxes-of-corners",
        what="annotations have a box that ends outside the image, but encloses the keypoints if read as two corners",
        consequence="Boxes are read as x, y, width, height, so the crops are too large.",
        fix="Subtract x and y from the last two numbers of `bbox`.",
        find=_boxes_of_corners,
        min_share=0.2,
    ),
    Check(
        name="boxes-of-centers",
        what="annotations have a box that encloses the keypoints only if read as its center and size",
        consequence="Boxes are read as x, y, width, height from the top left corner, so the crops miss most of the instance.",
        fix="Subtract half of the width and height from the first two numbers of `bbox`.",
        find=_boxes_of_centers,
        min_share=0.2,
    ),
    Check(
        name="keypoints-outside-box",
        what="annotations have most of their labelled keypoints outside their box",
        consequence="The crops do not show these keypoints, so nothing is learnt of them.",
        fix="Keypoints and boxes are pixels of the whole image, x before y: look at these annotations.",
        find=_keypoints_outside_box,
        min_share=0.05,
    ),
    Check(
        name="keypoints-outside-image",
        what="annotations have most of their labelled keypoints outside the image",
        consequence="No crop shows these keypoints, so nothing is learnt of them.",
        fix="Keypoints are pixels of the image as `width` and `height` state it: look at these annotations.",
        find=_keypoints_outside_image,
        min_share=0.05,
    ),
)
"""What the crops of annotated boxes depend on; `PersonFiles.annotated` warns of it."""

CHECKS = LABEL_CHECKS + CROP_CHECKS
"""All checks of annotation files."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found in one file.

    Attributes:
        check: the name of the check, such as "keypoints-at-origin".
        file: the annotation file or image folder.
        count: rows that the check found.
        total: rows that it looked at.
        ids: the first few of their ids or file names.
        what: what is wrong with them, as the rest of a sentence that begins with "<count> of <total>".
        consequence: what training or measuring would do with them.
        fix: the key to set, or what to change in the file.
    """

    check: str
    file: str
    count: int
    total: int
    ids: tuple[int | str, ...]
    what: str
    consequence: str
    fix: str

    def __str__(self) -> str:
        """Return the finding as one line."""
        shown = ", ".join(map(str, self.ids)) + (", ..." if self.count > len(self.ids) else "")
        return (
            f"{self.file}: {self.count} of {self.total} {self.what} ({shown}). {self.consequence} {self.fix} "
            f"[{self.check}]"
        )


def check_split(
    train: CocoAnnotations, val: CocoAnnotations, train_images: str | Path, val_images: str | Path
) -> list[Finding]:
    """Check whether annotated images of the validation set are also trained on: the same file in the same folder.

    Args:
        train: the training annotations.
        val: the validation annotations.
        train_images: image folder of the training set.
        val_images: image folder of the validation set.
    """
    home, other = os.path.realpath(train_images), os.path.realpath(val_images)
    known = {f"{home}/{name}" for name in _annotated_files(train)}
    files = _annotated_files(val)
    shared = [name for name in files if f"{other}/{name}" in known]
    if not shared:
        return []
    return [
        Finding(
            check="train-images-in-validation",
            file=str(val.file),
            count=len(shared),
            total=len(files),
            ids=tuple(shared[:_NUM_IDS]),
            what=f"images with annotations are also training images, in {train.file}",
            consequence="AP is measured on images that the network has seen, so it says too much.",
            fix="Split the data by image, or by video or animal where images are alike.",
        )
    ]


def _annotated_files(annotations: CocoAnnotations) -> list[str]:
    names = annotations.file_names.tolist()
    return [names[index] for index in np.unique(annotations.image_index).tolist()]


def warn_of(findings: Iterable[Finding]) -> None:
    """Warn of each finding that this process has not warned of before.

    Warns:
        DataWarning: one per finding.
    """
    for finding in findings:
        if finding not in _warned:
            _warned[finding] = None
            warnings.warn(str(finding), DataWarning, stacklevel=2)


def warned_findings(files: Iterable[str | Path]) -> list[Finding]:
    """Return the findings about these annotation files and image folders that this process has warned of."""
    names = {str(file) for file in files}
    return [finding for finding in _warned if finding.file in names]
