"""Checks of boxes, areas and the shape of crops."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hrpose.annotations.checks.keypoints import keypoints_normalised
from hrpose.annotations.checks.table import Check, Faulty, Found, Inspected, error, note

_TINY = 16  # pixels of the longer side


def _boxes_normalised(data: Inspected) -> Faulty:
    numbers = np.concatenate([data.low, data.size], axis=1)
    within = ((numbers >= 0) & (numbers <= 1)).all(axis=1)
    return within & (data.image > 4).all(axis=1)


def _boxes_of_corners(data: Inspected) -> Faulty:
    limit = 1.02 * data.image
    ordered = ((data.size > data.low) & (data.size <= limit)).all(axis=1)
    return (data.high > limit).any(axis=1) & ordered & (data.share_within(data.low, data.size) > 0.9)


def _boxes_of_centers(data: Inspected) -> Faulty:
    half = data.size / 2
    return (data.share_within(data.low - half, data.low + half) > 0.9) & (data.share_in_box < 0.5)


def _keypoints_outside_box(data: Inspected) -> Faulty:
    explained = _boxes_of_centers(data) | keypoints_normalised(data) | _boxes_normalised(data)
    return (data.share_in_box < 0.5) & ~explained


def _beyond_image(data: Inspected) -> Faulty:
    margin = 0.1 * data.size
    return data.known & ((data.low < -margin) | (data.high > data.image + margin)).any(axis=1)


def _whole_image(data: Inspected) -> Faulty:
    """Find boxes of the whole image with keypoints that span less than half of it."""
    low, high = data.extent
    whole = (data.size >= 0.98 * data.image).all(axis=1) & data.known
    return whole & ((high - low).prod(axis=1) < 0.5 * data.image.prod(axis=1))


def _loose(data: Inspected) -> Faulty:
    low, high = data.extent
    return ((high - low).max(axis=1) < 0.2 * data.size.max(axis=1)) & (data.num_labelled >= 3)


def _tight(data: Inspected) -> Faulty:
    """Find boxes that end at the outermost keypoints."""
    low, high = data.extent
    margin = np.maximum(0.01 * data.size, 1)
    equal = (np.abs(low - data.low) <= margin) & (np.abs(high - data.low - data.size) <= margin)
    return equal.all(axis=1) & (data.num_labelled >= 2)


def _shared(data: Inspected) -> Faulty:
    """Find boxes that equal the box of an earlier instance in the same image."""
    rows = np.column_stack([data.annotations.image_index[data.rows], data.low, data.size])
    faulty = np.ones(len(rows), bool)
    faulty[np.unique(rows, axis=0, return_index=True)[1]] = False
    return faulty


def _areas_constant(data: Inspected) -> Faulty:
    boxes = data.size.prod(axis=1)
    return len(boxes) >= 10 and data.has_area.all() and np.ptp(data.area) == 0 and np.ptp(boxes) > 0.1 * boxes.max()


def _areas_are_boxes(data: Inspected) -> Faulty:
    equal = np.abs(data.area - data.size.prod(axis=1)) <= 0.005 * data.area
    return data.has_area & equal & (len(data.area) >= 10)


CROP_CHECKS: tuple[Check[Inspected], ...] = (
    error(
        name="boxes-normalised",
        what="annotations have a box between 0 and 1",
        consequence="Boxes are read in pixels, so the crop shows a corner of the image.",
        fix="Multiply the boxes by the width and the height of the image.",
        find=_boxes_normalised,
        min_share=0.05,
    ),
    error(
        name="boxes-of-corners",
        what="annotations have a box that extends outside the image, but encloses the keypoints if read as two corners",
        consequence="Boxes are read as x, y, width, height, so the crops are too large.",
        fix="Subtract x and y from the last two numbers of `bbox`.",
        find=_boxes_of_corners,
        min_share=0.2,
    ),
    error(
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
        consequence="The crops do not show these keypoints, so the network does not learn them.",
        fix="Check these annotations: keypoints and boxes are in pixels of the whole image, x before y.",
        find=_keypoints_outside_box,
        min_share=0.05,
    ),
    error(
        name="keypoints-outside-image",
        what="annotations have most of their labelled keypoints outside the image",
        consequence="No crop shows these keypoints, so the network does not learn them.",
        fix="Check these annotations: keypoints are in pixels of an image of size `width` x `height`.",
        find=lambda data: data.share_within(np.zeros_like(data.image), data.image) < 0.5,
        min_share=0.05,
    ),
)
"""Checks of what crops depend on; `InstanceFiles.annotated` warns of their findings."""

BOX_CHECKS: tuple[Check[Inspected], ...] = (
    Check(
        name="boxes-without-size",
        what="annotations with keypoints have a box without width or height",
        consequence="Most of them are left out, because a crop needs a box.",
        fix="Add the boxes, or use boxes around the keypoints: `data.bbox_from_keypoints=0.25`.",
        find=lambda data: (data.size == 0).any(axis=1),
    ),
    error(
        name="boxes-outside-image",
        what="annotations have a box outside the image",
        consequence="The crops are black.",
        fix="Check these annotations: boxes are x, y, width, height in pixels of an image of size `width` x `height`.",
        find=lambda data: data.known & ((data.low >= data.image) | (data.high <= 0)).any(axis=1),
    ),
    note(
        name="boxes-beyond-image",
        what="annotations have a box that extends outside the image by more than 10 % of its size",
        consequence="It is clipped to the image.",
        fix="Nothing, if instances extend beyond the image.",
        find=_beyond_image,
        min_share=0.05,
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
    note(
        name="boxes-tight",
        what="annotations have a box that ends at their outermost keypoints",
        consequence="The only margin around the keypoints is `data.bbox_padding`, 12.5 % on each side.",
        fix="Make the boxes larger, or set data.bbox_padding=1.5.",
        find=_tight,
        min_share=0.5,
    ),
    note(
        name="boxes-tiny",
        what="annotations have a box smaller than 16 pixels",
        consequence="Their crops are strongly enlarged and show little detail.",
        fix="Nothing, if the network must find them; otherwise remove them from the file.",
        find=lambda data: (data.size.max(axis=1) < _TINY) & (data.size > 0).all(axis=1),
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
        find=lambda data: data.area > 1.05 * np.maximum(data.size.prod(axis=1), 1),
        min_share=0.05,
    ),
    note(
        name="areas-of-boxes",
        what="annotations have the area of their box as `area`",
        consequence="COCO uses the area of the segmentation, about half of the box, so this AP is higher than with COCO's areas.",
        fix="Compare APs only if both use the same areas.",
        find=_areas_are_boxes,
        min_share=0.9,
    ),
)
"""Checks of boxes and areas that only `hrpose doctor` runs."""


@dataclass(frozen=True, eq=False)
class Shapes:
    """Boxes, the width and height of their crops, and those of each option of the group `size`."""

    inspected: Inspected
    input_size: tuple[int, int]
    sizes: Mapping[str, tuple[int, int]]

    @property
    def ids(self) -> NDArray[np.int64]:
        """Return the (N,) annotation ids."""
        return self.inspected.ids


def _wasted(shapes: Shapes) -> Found:
    """Find boxes that fill less than half of the crop, if another input size is filled at least 1.4 times as much."""
    sides = shapes.inspected.size[(shapes.inspected.size > 0).all(axis=1)]
    ratios = sides[:, 0] / sides[:, 1]
    now, pixels = _fill(shapes.input_size, ratios), math.prod(shapes.input_size)

    def rank(option: str) -> tuple[float, int, str]:
        size = shapes.sizes[option]
        return -round(_fill(size, ratios), 2), abs(math.prod(size) - pixels), option

    option = min(shapes.sizes, key=rank, default="")
    best = round(_fill(shapes.sizes[option], ratios), 2) if shapes.sizes else 0.0
    ratio = float(np.median(ratios)) if len(ratios) else 1.0
    height = (pixels / ratio) ** 0.5
    own = max(32 * round(height * ratio / 32), 32), max(32 * round(height / 32), 32)
    details = {
        "own": f"codec.input_size=[{own[0]},{own[1]}] codec.heatmap_size=[{own[0] // 4},{own[1] // 4}]",
        "own_best": f"{100 * _fill(own, ratios):.0f} %",
        "now": f"{100 * now:.0f} %",
        "size": f"{shapes.input_size[0]}x{shapes.input_size[1]}",
        "best": f"{100 * best:.0f} %",
        "option": option,
    }
    return Found(shapes.ids, now < 0.5 and best >= 1.4 * now, details)


def _fill(size: tuple[int, int], ratios: NDArray[np.float32]) -> float:
    """Return the mean share of a crop that boxes of these aspect ratios fill, before padding."""
    relative = ratios * size[1] / size[0]
    return float(np.minimum(relative, 1 / relative).mean()) if len(ratios) else 1.0


SHAPE_CHECKS: tuple[Check[Shapes], ...] = (
    note(
        name="crops-wasted",
        what="instances have boxes that fill {now} of crops of {size} (width x height) on average",
        consequence="Much of the input shows background, and instances are small in it.",
        fix="Boxes fill {best} of size={option}, and {own_best} of {own}.",
        find=_wasted,
    ),
)
"""Checks of the shape of crops."""
