"""The checks of boxes: what the crops depend on."""

from __future__ import annotations

import numpy as np

from hrpose.annotations.checks.labels import keypoints_normalised
from hrpose.annotations.checks.table import Check, Found, Inspected


def _boxes_normalised(inspected: Inspected) -> Found:
    numbers = np.concatenate([inspected.low, inspected.size], axis=1)
    within = (numbers >= 0) & (numbers <= 1)
    return Found(inspected.ids, np.all(within, axis=1) & np.all(inspected.image > 4, axis=1))


def _boxes_of_corners(inspected: Inspected) -> Found:
    limit = 1.02 * inspected.image
    outside = (inspected.low + inspected.size > limit).any(axis=1)
    ordered = ((inspected.size > inspected.low) & (inspected.size <= limit)).all(axis=1)
    return Found(inspected.ids, outside & ordered & (inspected.share_within(inspected.low, inspected.size) > 0.9))


def _boxes_of_centers(inspected: Inspected) -> Found:
    centered = inspected.share_within(inspected.low - inspected.size / 2, inspected.low + inspected.size / 2) > 0.9
    return Found(
        inspected.ids, centered & (inspected.share_within(inspected.low, inspected.low + inspected.size) < 0.5)
    )


def _keypoints_outside_box(inspected: Inspected) -> Found:
    outside = inspected.share_within(inspected.low, inspected.low + inspected.size) < 0.5
    explained = [find(inspected).faulty for find in (_boxes_of_centers, keypoints_normalised, _boxes_normalised)]
    return Found(inspected.ids, outside & ~np.any(explained, axis=0))


def _keypoints_outside_image(inspected: Inspected) -> Found:
    return Found(inspected.ids, inspected.share_within(np.zeros_like(inspected.image), inspected.image) < 0.5)


CROP_CHECKS: tuple[Check[Inspected], ...] = (
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
