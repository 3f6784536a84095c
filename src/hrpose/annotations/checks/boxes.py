"""Checks of boxes, areas and the shape of crops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hrpose.annotations.checks.keypoints import keypoints_normalised
from hrpose.annotations.checks.table import Check, Found, Inspected

_TINY = 16  # pixels of the longer side


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
    return Found(inspected.ids, centered & (inspected.share_within(inspected.low, inspected.low + inspected.size) < 0.5))


def _keypoints_outside_box(inspected: Inspected) -> Found:
    outside = inspected.share_within(inspected.low, inspected.low + inspected.size) < 0.5
    explained = [find(inspected).faulty for find in (_boxes_of_centers, keypoints_normalised, _boxes_normalised)]
    return Found(inspected.ids, outside & ~np.any(explained, axis=0))


def _keypoints_outside_image(inspected: Inspected) -> Found:
    return Found(inspected.ids, inspected.share_within(np.zeros_like(inspected.image), inspected.image) < 0.5)


def _without_size(inspected: Inspected) -> Found:
    return Found(inspected.ids, (inspected.size == 0).any(axis=1))


def _tiny(inspected: Inspected) -> Found:
    return Found(inspected.ids, (inspected.size.max(axis=1) < _TINY) & (inspected.size > 0).all(axis=1))


def _outside_image(inspected: Inspected) -> Found:
    known = inspected.image.min(axis=1) > 0
    outside = (inspected.low >= inspected.image).any(axis=1) | (inspected.low + inspected.size <= 0).any(axis=1)
    return Found(inspected.ids, known & outside)


def _beyond_image(inspected: Inspected) -> Found:
    margin = 0.1 * inspected.size
    beyond = (inspected.low < -margin) | (inspected.low + inspected.size > inspected.image + margin)
    known = inspected.image.min(axis=1) > 0
    return Found(inspected.ids, known & beyond.any(axis=1))


def _whole_image(inspected: Inspected) -> Found:
    """Find boxes of the whole image with keypoints that span less than half of it."""
    low, high = inspected.extent
    whole = (inspected.size >= 0.98 * inspected.image).all(axis=1) & (inspected.image.min(axis=1) > 0)
    return Found(inspected.ids, whole & ((high - low).prod(axis=1) < 0.5 * inspected.image.prod(axis=1)))


def _loose(inspected: Inspected) -> Found:
    low, high = inspected.extent
    small = (high - low).max(axis=1) < 0.2 * inspected.size.max(axis=1)
    return Found(inspected.ids, small & (inspected.labelled.sum(axis=1) >= 3))


def _tight(inspected: Inspected) -> Found:
    """Find boxes that end at the outermost keypoints."""
    low, high = inspected.extent
    margin = np.maximum(0.01 * inspected.size, 1)
    equal = (np.abs(low - inspected.low) <= margin) & (np.abs(high - inspected.low - inspected.size) <= margin)
    return Found(inspected.ids, equal.all(axis=1) & (inspected.labelled.sum(axis=1) >= 2))


def _shared(inspected: Inspected) -> Found:
    """Find boxes that equal the box of an earlier instance in the same image."""
    images = inspected.annotations.image_index[inspected.rows]
    rows = np.column_stack([images, inspected.low, inspected.size])
    _, first = np.unique(rows, axis=0, return_index=True)
    faulty = np.ones(len(rows), bool)
    faulty[first] = False
    return Found(inspected.ids, faulty)


def _areas_constant(inspected: Inspected) -> Found:
    areas = inspected.annotations.area[inspected.rows]
    boxes = inspected.size.prod(axis=1)
    own = inspected.annotations.has_area[inspected.rows]
    constant = len(areas) >= 10 and own.all() and np.ptp(areas) == 0 and np.ptp(boxes) > 0.1 * boxes.max()
    return Found(inspected.ids, np.full(len(areas), constant))


def _areas_above_box(inspected: Inspected) -> Found:
    areas = inspected.annotations.area[inspected.rows]
    return Found(inspected.ids, areas > 1.05 * np.maximum(inspected.size.prod(axis=1), 1))


def _areas_are_boxes(inspected: Inspected) -> Found:
    areas, own = inspected.annotations.area[inspected.rows], inspected.annotations.has_area[inspected.rows]
    return Found(inspected.ids, own & (np.abs(areas - inspected.size.prod(axis=1)) <= 0.005 * areas) & (len(areas) >= 10))


CROP_CHECKS: tuple[Check[Inspected], ...] = (
    Check(
        name="boxes-normalised",
        what="annotations have a box between 0 and 1",
        consequence="Boxes are read in pixels, so the crop shows a corner of the image.",
        fix="Multiply the boxes by the width and the height of the image.",
        find=_boxes_normalised,
        min_share=0.05,
        severity="error",
    ),
    Check(
        name="boxes-of-corners",
        what="annotations have a box that extends outside the image, but encloses the keypoints if read as two corners",
        consequence="Boxes are read as x, y, width, height, so the crops are too large.",
        fix="Subtract x and y from the last two numbers of `bbox`.",
        find=_boxes_of_corners,
        min_share=0.2,
        severity="error",
    ),
    Check(
        name="boxes-of-centers",
        what="annotations have a box that encloses the keypoints only if read as its center and size",
        consequence="Boxes are read as x, y, width, height from the top left corner, so the crops miss most of the instance.",
        fix="Subtract half of the width and height from the first two numbers of `bbox`.",
        find=_boxes_of_centers,
        min_share=0.2,
        severity="error",
    ),
    Check(
        name="keypoints-outside-box",
        what="annotations have most of their labelled keypoints outside their box",
        consequence="The crops do not show these keypoints, so the network does not learn them.",
        fix="Check these annotations: keypoints and boxes are in pixels of the whole image, x before y.",
        find=_keypoints_outside_box,
        min_share=0.05,
    ),
    Check(
        name="keypoints-outside-image",
        what="annotations have most of their labelled keypoints outside the image",
        consequence="No crop shows these keypoints, so the network does not learn them.",
        fix="Check these annotations: keypoints are in pixels of an image of size `width` x `height`.",
        find=_keypoints_outside_image,
        min_share=0.05,
        severity="error",
    ),
)
"""Checks of what crops depend on; `InstanceFiles.annotated` warns of their findings."""

BOX_CHECKS: tuple[Check[Inspected], ...] = (
    Check(
        name="boxes-without-size",
        what="annotations with keypoints have a box without width or height",
        consequence="Most of them are left out, because a crop needs a box.",
        fix="Add the boxes, or use boxes around the keypoints: `data.bbox_from_keypoints=0.25`.",
        find=_without_size,
    ),
    Check(
        name="boxes-outside-image",
        what="annotations have a box outside the image",
        consequence="The crops are black.",
        fix="Check these annotations: boxes are x, y, width, height in pixels of an image of size `width` x `height`.",
        find=_outside_image,
        severity="error",
    ),
    Check(
        name="boxes-beyond-image",
        what="annotations have a box that extends outside the image by more than 10 % of its size",
        consequence="It is clipped to the image.",
        fix="Nothing, if instances extend beyond the image.",
        find=_beyond_image,
        min_share=0.05,
        severity="note",
    ),
    Check(
        name="boxes-of-the-whole-image",
        what="annotations have the whole image as their box, with keypoints that span less than half of it",
        consequence="Instances are small in their crops, so keypoints are less accurate; instances of one image share a crop.",
        fix="Write the box of each instance, or remove the boxes and set `data.bbox_from_keypoints=0.25`.",
        find=_whole_image,
        min_share=0.3,
    ),
    Check(
        name="boxes-loose",
        what="annotations have keypoints that span less than a fifth of the longer side of their box",
        consequence="Keypoints are only a few heatmap pixels apart.",
        fix="Use boxes around the keypoints: remove `bbox` from the file and set `data.bbox_from_keypoints=0.25`.",
        find=_loose,
        min_share=0.5,
    ),
    Check(
        name="boxes-tight",
        what="annotations have a box that ends at their outermost keypoints",
        consequence="The only margin around the keypoints is `data.bbox_padding`, 12.5 % on each side.",
        fix="Make the boxes larger, or set data.bbox_padding=1.5.",
        find=_tight,
        min_share=0.5,
        severity="note",
    ),
    Check(
        name="boxes-tiny",
        what="annotations have a box smaller than 16 pixels",
        consequence="Their crops are strongly enlarged and show little detail.",
        fix="Nothing, if the network must find them; otherwise remove them from the file.",
        find=_tiny,
        severity="note",
    ),
    Check(
        name="boxes-shared",
        what="annotations have the box of an earlier one in the same image",
        consequence="One crop has two different targets, which the network cannot distinguish.",
        fix="Write the box of each instance.",
        find=_shared,
        min_share=0.02,
    ),
    Check(
        name="areas-constant",
        what="annotations have the same `area`, although their boxes differ",
        consequence="OKS and AP are relative to the area: too strict for large instances, too lenient for small ones.",
        fix="Remove `area` from the file, or write the area of each instance in square pixels.",
        find=_areas_constant,
    ),
    Check(
        name="areas-above-box",
        what="annotations have an `area` that is larger than their box",
        consequence="OKS and AP are relative to the area: they are too lenient.",
        fix="Write the area of the instance in square pixels of the image.",
        find=_areas_above_box,
        min_share=0.05,
    ),
    Check(
        name="areas-of-boxes",
        what="annotations have the area of their box as `area`",
        consequence="COCO uses the area of the segmentation, about half of the box, so this AP is higher than with COCO's areas.",
        fix="Compare APs only if both use the same areas.",
        find=_areas_are_boxes,
        min_share=0.9,
        severity="note",
    ),
)
"""Checks of boxes and areas that only `hrpose doctor` runs."""


@dataclass(frozen=True, eq=False)
class Shapes:
    """Boxes and possible sizes of their crops.

    Attributes:
        inspected: the instances.
        input_size: width and height of the crops.
        sizes: width and height of the crops for each option of the group `size`.
    """

    inspected: Inspected
    input_size: tuple[int, int]
    sizes: Mapping[str, tuple[int, int]]

    def own_size(self) -> tuple[int, int]:
        """Return the size with the median aspect ratio of the boxes, multiples of 32 with about as many pixels as now."""
        boxes = self.inspected.size[(self.inspected.size > 0).all(axis=1)]
        ratio = float(np.median(boxes[:, 0] / boxes[:, 1])) if len(boxes) else 1.0
        height = (self.input_size[0] * self.input_size[1] / ratio) ** 0.5
        return max(32 * round(height * ratio / 32), 32), max(32 * round(height / 32), 32)

    def fill(self, size: tuple[int, int]) -> float:
        """Return the mean share of a crop of this size that boxes fill, before padding."""
        boxes = self.inspected.size[(self.inspected.size > 0).all(axis=1)]
        ratios = boxes[:, 0] / boxes[:, 1] * size[1] / size[0]
        return float(np.minimum(ratios, 1 / ratios).mean()) if len(boxes) else 1.0


def _wasted(shapes: Shapes) -> Found:
    """Find boxes that fill less than half of the crop, if another input size is filled at least 1.4 times as much."""
    now = shapes.fill(shapes.input_size)
    pixels = shapes.input_size[0] * shapes.input_size[1]
    ranked = sorted((-round(shapes.fill(size), 2), abs(size[0] * size[1] - pixels), name) for name, size in shapes.sizes.items())
    best = -ranked[0][0] if ranked else 0.0
    own = shapes.own_size()
    details = {
        "own": f"codec.input_size=[{own[0]},{own[1]}] codec.heatmap_size=[{own[0] // 4},{own[1] // 4}]",
        "own_best": f"{100 * shapes.fill(own):.0f} %",
        "now": f"{100 * now:.0f} %",
        "size": f"{shapes.input_size[0]}x{shapes.input_size[1]}",
        "best": f"{100 * best:.0f} %",
        "option": ranked[0][2] if ranked else "",
    }
    ids = shapes.inspected.ids
    return Found(ids, np.full(len(ids), now < 0.5 and best >= 1.4 * now), details)


SHAPE_CHECKS: tuple[Check[Shapes], ...] = (
    Check(
        name="crops-wasted",
        what="instances have boxes that fill {now} of crops of {size} (width x height) on average",
        consequence="Much of the input shows background, and instances are small in it.",
        fix="Boxes fill {best} of size={option}, and {own_best} of {own}.",
        find=_wasted,
        severity="note",
    ),
)
"""Checks of the shape of crops."""
