"""The checks of labels: what training and AP depend on, whatever the boxes are."""

from __future__ import annotations

import numpy as np

from hrpose.annotations.checks.table import Check, Found, Inspected, Mask

_SHARE_OF_BOX, _WITHOUT_AREAS = 0.53, ("crowdpose", "aic", "jhmdb")  # benchmarks whose files have no areas


def _other_categories(inspected: Inspected) -> Found:
    others = list(inspected.annotations.other_categories.values())
    ids = np.concatenate([*others, inspected.annotations.instance_ids])
    named = ", ".join(f"{len(ids)} of {name!r}" for name, ids in inspected.annotations.other_categories.items())
    return Found(ids, np.arange(len(ids)) < len(ids) - len(inspected.annotations), {"others": named})


def _area_of_the_box(inspected: Inspected) -> Found:
    annotations = inspected.annotations
    share, likely = annotations.area_from_bbox, annotations.benchmark
    taken = "the area of the box" if share == 1 else f"{share:g} of the area of the box"
    has_area, advice = annotations.has_area, ""
    if likely in _WITHOUT_AREAS:
        advice = f": the file looks like that of a benchmark that takes {_SHARE_OF_BOX:g} of the box, protocol={likely}"
        has_area = has_area | (share == _SHARE_OF_BOX)
    return Found(annotations.instance_ids, ~has_area, {"box": taken, "benchmark": advice})


def _num_keypoints_zero(inspected: Inspected) -> Found:
    return Found(inspected.ids, inspected.annotations.num_keypoints[inspected.rows] == 0)


def _num_keypoints_without_labels(inspected: Inspected) -> Found:
    annotations = inspected.annotations
    unlabelled = ~(annotations.visibility > 0).any(axis=1) & ~annotations.iscrowd
    return Found(annotations.instance_ids, unlabelled & (annotations.num_keypoints != 0))


def _num_keypoints_unequal(inspected: Inspected) -> Found:
    stated = inspected.annotations.num_keypoints[inspected.rows]
    return Found(inspected.ids, (stated != 0) & (stated != inspected.labelled.sum(axis=1)))


def _visibility_never_2(inspected: Inspected) -> Found:
    is_two_valued = len(inspected.rows) > 1 and inspected.annotations.visibility.max() == 1
    return Found(inspected.ids, np.full(len(inspected.ids), is_two_valued))


def _keypoints_at_origin(inspected: Inspected) -> Found:
    placeholder = (inspected.points == 0).all(axis=2) | (inspected.points == -1).all(axis=2)
    return Found(inspected.ids, (placeholder & inspected.labelled).any(axis=1))


def keypoints_normalised(inspected: Inspected) -> Found:
    """Find instances whose keypoints are all between 0 and 1."""
    within = ((inspected.points >= 0) & (inspected.points <= 1)).all(axis=(1, 2))  # unlabelled ones are 0
    some: Mask = (inspected.labelled.sum(axis=1) > 1) & inspected.points.any(axis=(1, 2))
    return Found(inspected.ids, some & within & (inspected.image > 4).all(axis=1))


LABEL_CHECKS: tuple[Check[Inspected], ...] = (
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
            "an instance covers{benchmark}."
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
        find=keypoints_normalised,
    ),
)
"""What training and AP depend on; `read_annotations` warns of it."""
