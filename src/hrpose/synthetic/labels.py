"""Label the people of a finished canvas as an annotator would: keypoints with visibility, box and area.

The canvas records which part of which person each pixel shows. A keypoint is visible (2) if the pixels around it show the body
part it is on, occluded (1) if they show something else, and unlabelled (0) outside the image and on the far side of the head.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hrpose.skeletons import COCO
from hrpose.synthetic.canvas import OVERSAMPLING, to_canvas
from hrpose.synthetic.painting import FACE, head_frame
from hrpose.synthetic.people import OWNER_STRIDE, Floats, Part, Person, find_pixels

# Joint -> the limbs that start or end there, and the parts of the trunk that it is on.
_ON_LIMB = {
    "shoulder": (("UPPER_ARM",), (Part.CHEST,)),
    "elbow": (("UPPER_ARM", "FOREARM"), ()),
    "wrist": (("FOREARM", "HAND"), ()),
    "hip": (("THIGH",), (Part.HIPS, Part.SKIRT, Part.CHEST)),
    "knee": (("THIGH", "SHANK"), ()),
    "ankle": (("SHANK", "FOOT"), ()),
}
_FAR_SIDE = {"shoulder": -0.07, "hip": -0.04}  # depth in statures relative to the trunk below which it hides the joint
_MIN_COSINE_VISIBLE, _MIN_COSINE_OCCLUDED = 0.12, -0.1  # of the angle between a feature of the face and the camera
_MIN_AREA, _MIN_VISIBLE_SHARE = (320, 0.15)  # visible pixels, and share of the person, below which no keypoints are labelled


@dataclass(frozen=True, eq=False)
class Label:
    """The label of one person or crowd."""

    keypoints: Floats  # (K, 2) pixels of the image, zeros where unlabelled
    visibility: npt.NDArray[np.uint8]  # (K,) 0 unlabelled, 1 occluded, 2 visible
    bbox: tuple[float, float, float, float]  # xywh, tight around the visible pixels
    area: int  # number of visible pixels
    runs: list[int]  # COCO's uncompressed run-length encoding: numbers of other and visible pixels in turn, column by column
    iscrowd: bool = False  # whether it is a group of people that annotators would not separate


def label_person(owners: npt.NDArray[np.uint16], person: Person, number: int, painted: int) -> Label | None:
    """Return the label of one person, or None if no pixel shows the person.

    Args:
        owners: (2H, 2W) owners of the finished canvas.
        person: the painted person.
        number: of the person on the canvas.
        painted: image pixels that showed the person before others were painted.
    """
    region = label_crowd(owners, number)
    if region is None or region.area < max(_MIN_AREA, _MIN_VISIBLE_SHARE * painted):
        return None if region is None else replace(region, iscrowd=False)
    size = np.array(owners.shape[::-1]) // OVERSAMPLING
    keypoints, visibility = region.keypoints, region.visibility
    for index, name in enumerate(COCO.keypoint_names):
        point, unobstructed = _locate(person, name)
        if unobstructed and ((point >= -0.5) & (point < size - 0.5)).all():
            is_visible = unobstructed == 2 and _shows(owners, point, _allowed(person, name, number), person.stature)
            keypoints[index], visibility[index] = point, 2 if is_visible else 1
    return replace(region, iscrowd=False)


def label_crowd(owners: npt.NDArray[np.uint16], number: int) -> Label | None:
    """Return the label of a crowd, the pixels of one number without keypoints, or None if there are no such pixels."""
    mask = find_pixels(owners, number)
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    if not len(columns):
        return None
    left, top = int(columns[0]), int(rows[0])
    bbox = (float(left), float(top), float(columns[-1] + 1 - left), float(rows[-1] + 1 - top))
    keypoints, visibility = np.zeros((COCO.num_keypoints, 2)), np.zeros(COCO.num_keypoints, np.uint8)
    return Label(keypoints, visibility, bbox, area=int(mask.sum()), runs=_encode_runs(mask), iscrowd=True)


def _encode_runs(mask: npt.NDArray[np.bool_]) -> list[int]:
    pixels = mask.T.ravel()
    changes = np.flatnonzero(np.diff(pixels)) + 1
    runs: list[int] = np.diff([0, *changes.tolist(), len(pixels)]).tolist()
    return [0, *runs] if pixels[0] else runs


def _locate(person: Person, name: str) -> tuple[Floats, int]:
    """Return the position of a keypoint, and its visibility if nothing were in front of the person."""
    if name not in FACE:
        return person.place(name), 2
    shadow, towards = head_frame(person)
    facing = float(FACE[name] @ towards) + (0.38 if name.endswith("ear") else 0.0)
    visibility = int(facing > _MIN_COSINE_VISIBLE) + int(facing > _MIN_COSINE_OCCLUDED)
    return person.place("head") + shadow @ FACE[name], visibility


def _allowed(person: Person, name: str, number: int) -> list[int]:
    """Return the values of `owners` around a visible keypoint."""
    first = number * OWNER_STRIDE
    if name in FACE:
        return [first + Part.HEAD]
    side, joint = name.split("_")
    limbs, trunk = _ON_LIMB[joint]
    parts = [Part[f"{side}_{limb}".upper()] for limb in limbs]
    middle = "chest" if joint == "shoulder" else "pelvis"
    if trunk and person.body.joints[name][2] - person.body.joints[middle][2] > _FAR_SIDE[joint]:
        parts += trunk
    return [first + part for part in parts]


def _shows(owners: npt.NDArray[np.uint16], point: Floats, allowed: list[int], stature: float) -> bool:
    reach = max(1, round(0.008 * stature * OVERSAMPLING))
    x, y = np.round(to_canvas(point)).astype(int)
    patch = owners[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1]
    return bool(np.isin(patch, allowed).mean() >= 0.4)
