"""Checks of keypoints and their labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hrpose.annotations.checks.table import Check, Faulty, Floats, Found, Inspected, Mask, error, note
from hrpose.skeletons import Skeleton, keypoint_key

_SHARE_OF_BOX, _WITHOUT_AREAS = 0.53, ("crowdpose", "aic", "jhmdb")  # benchmarks whose files have no areas
_ENOUGH = 20  # smallest number of labels for a reliable statistic
_NUM_SAMPLED = 256  # instances in which pairs of keypoints are compared
_MAX_DETECTIONS = 20  # poses per image that COCO's evaluation counts


def _without_keypoints(data: Inspected) -> Found:
    annotations = data.annotations
    return Found(annotations.instance_ids, ~(annotations.visibility > 0).any(axis=1) & ~annotations.iscrowd)


def _crowded_images(data: Inspected) -> Found:
    annotations = data.annotations
    counts = np.bincount(annotations.image_index[data.rows], minlength=len(annotations.image_ids))
    return Found(annotations.image_ids, counts > _MAX_DETECTIONS, {"most": str(counts.max(initial=0))})


def _rarely_labelled(data: Inspected) -> Found:
    counts = data.labelled.sum(axis=0)
    least = "none" if not len(counts) else f"{data.names[counts.argmin()]} in {counts.min()}"
    return Found(data.names, (counts < _ENOUGH) & (len(data.rows) >= _ENOUGH) & (counts > 0), {"least": least})


def _always_occluded(data: Inspected) -> Found:
    visible = (data.annotations.visibility[data.rows] == 2).sum(axis=0)
    return Found(data.names, (visible == 0) & (data.labelled.sum(axis=0) >= _ENOUGH) & bool(visible.any()))


def _coincide(data: Inspected) -> Found:
    """Find keypoints that equal an earlier keypoint wherever both are labelled, in a sample of instances."""
    places = np.unique(np.linspace(0, len(data.rows) - 1, min(_NUM_SAMPLED, len(data.rows))).astype(int))
    points, labelled = data.points[places], data.labelled[places]
    faulty = np.zeros(points.shape[1], bool)
    for k in range(1, points.shape[1]):
        both = labelled[:, :k] & labelled[:, k, None]
        same = both & (points[:, :k] == points[:, k, None]).all(axis=2)
        counts = both.sum(axis=0)
        faulty[k] = bool(((counts >= _ENOUGH) & (same.sum(axis=0) >= 0.95 * counts)).any())
    return Found(data.names, faulty)


def _copied(data: Inspected) -> Faulty:
    """Find instances whose labelled keypoints, at least three, equal those of an earlier instance."""
    several = np.flatnonzero(data.num_labelled >= 3)
    content = np.where(data.labelled[several, :, None], data.points[several], -1)
    known: set[bytes] = set()
    faulty = np.zeros(len(data.ids), bool)
    for place, row in zip(several.tolist(), content, strict=True):
        key = row.tobytes()
        faulty[place] = key in known
        known.add(key)
    return faulty


def _image_swapped(data: Inspected) -> Faulty:
    low = np.zeros_like(data.image)
    outside = data.known & (data.share_within(low, data.image) < 0.95)
    return outside & (data.share_within(low, data.image[:, ::-1]) > 0.99)


def _pairs_against_others(data: Inspected) -> Found:
    """Find mirror pairs whose left and right contradict those of the other pairs in most instances.

    Viewed from behind, all pairs of a person are reversed, so the pairs of an instance agree. In 6,244 persons of COCO and
    3,000 of Leeds Sports Pose each pair agrees with most of the others in 86 % (ankles) to 100 % of the clear cases.
    """
    names, order = _order_of_pairs(data)
    others = order.sum(axis=1, keepdims=True) - order
    clear = (order != 0) & (np.abs(others) >= 2)
    counts = clear.sum(axis=0)
    agree = ((order == np.sign(others)) & clear).sum(axis=0) / np.maximum(counts, 1)
    return Found(names, (counts >= _ENOUGH) & (agree < 0.35) & (agree + 1.25 / np.sqrt(np.maximum(counts, 1)) < 0.5))


def _eyes_swapped(data: Inspected) -> Found:
    """Find persons whose left eye is on the side of the right eye in a frontal face (0.2 % of 2,559 persons of COCO)."""
    names, order = _order_of_pairs(data)
    eyes = [place for place, name in enumerate(names) if "eye" in name.lower()]
    keys = set() if data.skeleton is None else set(map(keypoint_key, data.skeleton.keypoint_names))
    is_person = {"nose", "leftshoulder", "leftwrist", "lefthip"} <= keys
    if len(eyes) != 1 or not is_person:
        return Found(data.ids, False)
    clear = order[:, eyes[0]] != 0
    return Found(data.ids[clear], order[clear, eyes[0]] < 0)


def _unlike_most(data: Inspected) -> Found:
    """Find instances in which a mirror pair is reversed compared with at least 90 % of the others.

    Left and right are relative to the direction from the pair to the other keypoints, so instances may be rotated.
    """
    faulty = np.zeros(len(data.ids), bool)
    compared = faulty.copy()
    points, labelled = data.points, data.labelled
    total = np.where(labelled[..., None], points, 0).sum(axis=1)
    size = np.sqrt(data.size.prod(axis=1))
    for left, right in [] if data.skeleton is None else _ordered_pairs(data.skeleton):
        both = labelled[:, left] & labelled[:, right]
        number = data.num_labelled - 2
        rest = (total - points[:, left] - points[:, right]) / np.maximum(number, 1)[:, None]
        step = points[:, left] - points[:, right]
        away = rest - (points[:, left] + points[:, right]) / 2
        turn = step[:, 0] * away[:, 1] - step[:, 1] * away[:, 0]
        distance = np.linalg.norm(away, axis=1)
        clear = both & (number > 0) & (np.abs(turn) > 0.04 * size * distance) & (distance > 0.1 * size)
        share = float((turn[clear] > 0).mean()) if clear.sum() >= _ENOUGH else 0.5
        if max(share, 1 - share) >= 0.9:
            compared |= clear
            faulty |= clear & ((turn > 0) != (share > 0.5))
    return Found(data.ids[compared], faulty[compared])


def _order_of_pairs(data: Inspected) -> tuple[NDArray[np.str_], NDArray[np.int8]]:
    """Find the side of the body axis on which the left keypoint of each mirror pair lies.

    The axis of an instance is the direction along which its keypoints follow the heights of the mean pose.

    Returns:
        Names of the P pairs, and (N, P): 1 if left is on the right of an upright body, -1 if it is on the left, 0 if unclear.
    """
    skeleton, labelled = data.skeleton, data.labelled
    pairs = [] if skeleton is None else _ordered_pairs(skeleton)
    order = np.zeros((len(labelled), len(pairs)), np.int8)
    if not pairs or not len(labelled):
        return np.array(["" for _ in pairs], str), order
    height = np.maximum(data.size[:, 1], 1e-6)
    relative = np.where(labelled, (data.points[..., 1] - data.low[:, 1, None]) / height[:, None], 0)
    mean_height = relative.sum(axis=0) / np.maximum(labelled.sum(axis=0), 1)
    weights = _centered(np.broadcast_to(mean_height, labelled.shape), labelled, data.num_labelled)
    points = [_centered(data.points[..., k], labelled, data.num_labelled) for k in (0, 1)]
    axis = np.stack([(weights * values).sum(axis=1) for values in points], axis=1)
    axis /= np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), 1e-9)
    is_spread = (weights**2).sum(axis=1) > 0.05
    smallest = 0.04 * np.sqrt(data.size.prod(axis=1))
    for place, (left, right) in enumerate(pairs):
        step = data.points[:, left] - data.points[:, right]
        offset = step[:, 0] * axis[:, 1] - step[:, 1] * axis[:, 0]
        clear = labelled[:, left] & labelled[:, right] & is_spread & (np.abs(offset) > smallest)
        order[:, place] = np.where(clear, np.sign(offset), 0)
    assert skeleton is not None
    names = [f"{skeleton.keypoint_names[left]} - {skeleton.keypoint_names[right]}" for left, right in pairs]
    return np.array(names, str), order


def _ordered_pairs(skeleton: Skeleton) -> list[tuple[int, int]]:
    """Return the mirror pairs, left first, of keypoints whose names state a side."""
    return [
        (one, two) if skeleton.sides[one] == "left" else (two, one)
        for one, two in skeleton.flip_pairs
        if {skeleton.sides[one], skeleton.sides[two]} == {"left", "right"}
    ]


def _centered(values: Floats, labelled: Mask, number: NDArray[np.int64]) -> Floats:
    """Subtract the mean of the labelled values of each row; 0 where unlabelled."""
    known = np.where(labelled, values, 0)
    centered: Floats = np.where(labelled, known - (known.sum(axis=1) / number)[:, None], 0)
    return centered


KEYPOINT_CHECKS: tuple[Check[Inspected], ...] = (
    error(
        name="keypoints-axes-swapped",
        what="annotations have keypoints outside the box that are inside if x and y are swapped",
        consequence="Crops do not show the keypoints, so the network learns nothing.",
        fix="Write x before y.",
        find=lambda data: (data.share_in_box < 0.5) & (data.share_within(data.low[:, ::-1], data.high[:, ::-1]) > 0.9),
        min_share=0.05,
    ),
    error(
        name="image-axes-swapped",
        what="annotations have keypoints outside the image that are inside if its width and height are swapped",
        consequence="Keypoints and crops are wrong, or the image is rejected.",
        fix="Write x before y in `keypoints` and `bbox`. If they are in this order, swap `width` and `height` of the images.",
        find=_image_swapped,
        min_share=0.05,
    ),
    Check(
        name="sides-swapped-in-a-pair",
        what="mirror pairs have left and right reversed compared with the other pairs in most instances",
        consequence="The network learns left as right for them.",
        fix="Swap the two names in `keypoints` of the category, or their labels.",
        find=_pairs_against_others,
    ),
    Check(
        name="sides-swapped-in-a-face",
        what="faces with both eyes labelled have left and right eye swapped",
        consequence="Left and right of these persons are swapped, and the network learns both.",
        fix="Left is the person's own left. Swap left and right in these annotations, or in all names.",
        find=_eyes_swapped,
        min_share=0.05,
    ),
    note(
        name="sides-unlike-most",
        what="instances have a mirror pair that is reversed compared with 90 % of the others",
        consequence="They are viewed from the other side, or left and right are swapped.",
        fix="Check these annotations.",
        find=_unlike_most,
    ),
    Check(
        name="keypoints-never-labelled",
        what="keypoints are labelled in no instance",
        consequence="The network predicts them without having learnt them.",
        fix="Remove them from the category, or from `keypoint_fields`.",
        find=lambda data: Found(data.names, ~data.labelled.any(axis=0) & (len(data.rows) >= _ENOUGH)),
    ),
    note(
        name="keypoints-rarely-labelled",
        what="keypoints are labelled in fewer than 20 instances, the rarest {least}",
        consequence="The network learns little about them, and their AP is unreliable.",
        fix="Label more of them.",
        find=_rarely_labelled,
    ),
    note(
        name="keypoints-always-occluded",
        what="keypoints are always marked occluded (1) and never visible (2), unlike the others",
        consequence="Training does not change; reports by visibility do.",
        fix="Check whether the labelling tool wrote 1 for all of them.",
        find=_always_occluded,
    ),
    Check(
        name="keypoints-coincide",
        what="keypoints are always at the position of another keypoint",
        consequence="One of the two was probably never labelled.",
        fix="Remove one of the two, or label it.",
        find=_coincide,
    ),
    Check(
        name="keypoints-copied",
        what="instances have the same keypoints as an earlier instance",
        consequence="At least one of them was copied and not labelled.",
        fix="Check these annotations, and label or remove the copies.",
        find=_copied,
    ),
    Check(
        name="keypoints-in-one-place",
        what="instances have all their keypoints, three or more, at one position",
        consequence="At most one of these keypoints can be correct.",
        fix="Check these annotations.",
        find=lambda data: (data.num_labelled >= 3) & (data.extent[0] == data.extent[1]).all(axis=1),
    ),
    note(
        name="annotations-without-keypoints",
        what="annotations have no labelled keypoints",
        consequence="They are not trained on, and AP ignores poses there.",
        fix="Nothing, if they are unlabelled on purpose.",
        find=_without_keypoints,
    ),
    note(
        name="crowds",
        what="annotations are marked `iscrowd`",
        consequence="They are not trained on; AP ignores poses inside them.",
        fix="Nothing, if they are groups.",
        find=lambda data: Found(data.annotations.instance_ids, data.annotations.iscrowd),
    ),
    note(
        name="images-with-many-instances",
        what="images have more than 20 instances, up to {most}",
        consequence="AP counts the 20 best poses of an image, so the other instances are always missed.",
        fix="Set `max_detections` (`metric.max_detections`), and report it with the AP.",
        find=_crowded_images,
    ),
    note(
        name="few-instances",
        what="instances have keypoints, fewer than 50 in all",
        consequence="They are few to train on, and their AP varies by several points with the choice of images.",
        fix="Label more, or start from trained weights: weights=...",
        find=lambda data: len(data.ids) < 50,
    ),
)
"""Checks of keypoints that only `hrpose doctor` runs."""


def _other_categories(data: Inspected) -> Found:
    others = list(data.annotations.other_categories.values())
    ids = np.concatenate([*others, data.annotations.instance_ids])
    named = ", ".join(f"{len(ids)} of {name!r}" for name, ids in data.annotations.other_categories.items())
    return Found(ids, np.arange(len(ids)) < len(ids) - len(data.annotations), {"others": named})


def _area_of_the_box(data: Inspected) -> Found:
    annotations = data.annotations
    share, likely = annotations.area_from_bbox, annotations.benchmark
    taken = "the area of the box" if share == 1 else f"{share:g} of the area of the box"
    has_area, advice = annotations.has_area, ""
    if likely in _WITHOUT_AREAS:
        advice = f": the file seems to belong to protocol={likely}, which uses {_SHARE_OF_BOX:g} of the box"
        has_area = has_area | (share == _SHARE_OF_BOX)
    return Found(annotations.instance_ids, ~has_area, {"box": taken, "benchmark": advice})


def _num_keypoints_without_labels(data: Inspected) -> Found:
    annotations = data.annotations
    unlabelled = ~(annotations.visibility > 0).any(axis=1) & ~annotations.iscrowd
    return Found(annotations.instance_ids, unlabelled & (annotations.num_keypoints != 0))


def _num_keypoints_unequal(data: Inspected) -> Faulty:
    stated = data.annotations.num_keypoints[data.rows]
    return (stated != 0) & (stated != data.num_labelled)


def _keypoints_at_origin(data: Inspected) -> Faulty:
    placeholder = (data.points == 0).all(axis=2) | (data.points == -1).all(axis=2)
    return (placeholder & data.labelled).any(axis=1)


def keypoints_normalised(data: Inspected) -> Faulty:
    """Find instances whose keypoints are all between 0 and 1."""
    within = ((data.points >= 0) & (data.points <= 1)).all(axis=(1, 2))  # unlabelled ones are 0
    some = (data.num_labelled > 1) & data.points.any(axis=(1, 2))
    return some & within & (data.image > 4).all(axis=1)


LABEL_CHECKS: tuple[Check[Inspected], ...] = (
    Check(
        name="other-categories",
        what="annotations belong to other categories that have keypoints: {others}",
        consequence="They are left out.",
        fix="Name the category to use: `category` (`data.category` in fit and test).",
        find=_other_categories,
    ),
    Check(
        name="area",
        what="annotations have no `area`, or one below 1 % of their box",
        consequence="OKS and AP are relative to the area: {box} is used.",
        fix=(
            "Correct the areas, or set `area_from_bbox` (`data.area_from_bbox` in fit and test) to the share of its box that "
            "an instance covers{benchmark}."
        ),
        find=_area_of_the_box,
    ),
    Check(
        name="num-keypoints-zero",
        what="annotations with labelled keypoints state `num_keypoints` 0",
        consequence=(
            "AP ignores them, as in pycocotools, unless the protocol counts labels. Training uses them with the official rules, "
            "but not with rules=mmpose."
        ),
        fix="Correct `num_keypoints`, or remove it from the file: the labelled keypoints are then counted.",
        find=lambda data: data.annotations.num_keypoints[data.rows] == 0,
    ),
    Check(
        name="num-keypoints-without-labels",
        what="annotations state a `num_keypoints` above 0, but have no labelled keypoints",
        consequence="AP counts them as instances to be found, as in pycocotools.",
        fix="Correct `num_keypoints`, or remove it from the file: the labelled keypoints are then counted.",
        find=_num_keypoints_without_labels,
    ),
    Check(
        name="num-keypoints-unequal",
        what="annotations have another number of labelled keypoints than `num_keypoints` states",
        consequence="AP does not depend on the number unless it is 0, but labels may be missing.",
        fix="Check these annotations, and correct `num_keypoints`.",
        find=_num_keypoints_unequal,
    ),
    Check(
        name="visibility-never-2",
        what="annotations with labelled keypoints have the visibility 1 (occluded) and never 2 (visible)",
        consequence="Training and AP do not change; reports and pictures show all of them as occluded.",
        fix="If 1 means visible here, set `visibility_map` (`data.visibility_map={1: 2}` in fit and test).",
        find=lambda data: len(data.rows) > 1 and data.annotations.visibility.max() == 1,
    ),
    Check(
        name="keypoints-at-origin",
        what="annotations have keypoints that are labelled at (0, 0) or (-1, -1)",
        consequence="The network learns the corner of the image, and AP counts it as missed.",
        fix="Set the visibility of unlabelled keypoints to 0.",
        find=_keypoints_at_origin,
    ),
    error(
        name="keypoints-normalised",
        what="annotations have all their keypoints between 0 and 1",
        consequence="Keypoints are read in pixels, so all of them are in the corner of the image.",
        fix="Multiply the keypoints by the width and the height of the image.",
        find=keypoints_normalised,
    ),
)
"""Checks of what training and AP depend on; `read_annotations` warns of their findings."""
