"""A standing person who faces the camera, to show the positions of the keypoints of any known skeleton.

    picture, places = draw_specimen((420, 640))
    keypoints = specimen_keypoints(places, COCO)

Convention:
    View frame of `body`: x right, y down, z towards the camera, in statures; the left of the person is on the right of the image.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from hrpose.skeletons import KNOWN_SKELETONS, Skeleton
from hrpose.synthetic.canvas import Canvas
from hrpose.synthetic.painting import FACE, head_frame, paint_person
from hrpose.synthetic.people import OWNER_STRIDE, SIDES, Body, Floats, Outfit, Part, Person

PERSONS = {name: skeleton for name, skeleton in KNOWN_SKELETONS.items() if name not in ("ap10k", "animalpose")}

View = Literal["whole", "face", "left hand", "right hand"]

_BACKGROUND = (232, 228, 220)
_LIGHT = np.array([-0.55, -0.83])
# Joints in statures: in the middle and on the left side; the right ones are their mirror image.
_MIDDLE = {
    "pelvis": (0.0, 0.0, 0.0),
    "waist": (0.0, -0.08, 0.0),
    "chest": (0.0, -0.235, 0.0),
    "neck": (0.0, -0.325, 0.0),
    "head": (0.0, -0.462, 0.012),
}
_LEFT = {
    "shoulder": (0.118, -0.3, 0.0),
    "elbow": (0.205, -0.168, 0.0),
    "wrist": (0.285, -0.045, 0.01),
    "hand": (0.298, -0.026, 0.01),
    "hip": (0.06, 0.0, 0.0),
    "knee": (0.078, 0.225, 0.01),
    "ankle": (0.09, 0.435, 0.0),
    "toe": (0.14, 0.496, 0.07),
    "heel": (0.082, 0.466, -0.02),
}
_HAND_LENGTH = 0.112  # statures from the wrist to the tip of the middle finger
# Along the hand from the wrist, and across it towards the thumb, in hand lengths.
_HAND: Mapping[str, tuple[tuple[float, float], ...]] = {
    "thumb": ((0.17, 0.2), (0.31, 0.35), (0.43, 0.46), (0.54, 0.55)),
    "forefinger": ((0.5, 0.2), (0.69, 0.245), (0.81, 0.275), (0.92, 0.3)),
    "middle_finger": ((0.52, 0.06), (0.73, 0.08), (0.87, 0.092), (1.0, 0.1)),
    "ring_finger": ((0.5, -0.08), (0.69, -0.1), (0.82, -0.112), (0.94, -0.12)),
    "pinky_finger": ((0.45, -0.21), (0.59, -0.265), (0.69, -0.3), (0.79, -0.33)),
}
_HAND_ROOT = (0.06, 0.0)
_STATURES: Mapping[View, float] = {"whole": 0.86, "face": 4.8, "left hand": 7.4, "right hand": 7.4}  # in picture heights


def draw_specimen(size: tuple[int, int], *, part: View = "whole") -> tuple[npt.NDArray[np.uint8], dict[str, Floats]]:
    """Draw the person, or a part enlarged.

    Args:
        size: (width, height) of the picture in pixels.
        part: the shown part of the person.

    Returns:
        image: (H, W, 3) uint8 RGB.
        places: name of a keypoint -> (2,) pixels; all names of all known skeletons, also outside of the picture.
    """
    person = Person(_body(), _outfit(), np.zeros(2), size[1] * _STATURES[part])
    corners = np.stack([point for name, point in _locate(person).items() if _is_part(name, part)])
    person = replace(person, hips=(np.array(size) - 1 - corners.min(0) - corners.max(0)) / 2)
    canvas = Canvas(np.full((size[1], size[0], 3), _BACKGROUND, np.uint8), _LIGHT)
    paint_person(canvas, person, 1, np.random.default_rng(0))
    places = _locate(person)
    if part == "face":
        _paint_mouth(canvas, person, places)
    for side, _ in SIDES:
        _paint_hand(canvas, person, places, side)
    return canvas.finish(), places


def specimen_keypoints(places: Mapping[str, Floats], skeleton: Skeleton) -> Floats:
    """Return the positions of the keypoints of a skeleton.

    "head" is the top of the head, as in Halpe; in JHMDB it is the middle of the face.

    Args:
        places: from `draw_specimen`.
        skeleton: a known skeleton, or one with the same names.

    Returns:
        (K, 2) in pixels.

    Raises:
        ValueError: if the specimen lacks a keypoint name.
    """
    renamed = {"head": "face_middle"} if skeleton.name == "jhmdb" else {}
    unknown = [name for name in skeleton.keypoint_names if name not in places]
    if unknown:
        raise ValueError(
            f"Expected keypoint names of the specimen in skeleton '{skeleton.name}', but got {', '.join(unknown)}. "
            f"It has {', '.join(sorted(places))}."
        )
    return np.stack([places[renamed.get(name, name)] for name in skeleton.keypoint_names])


def _body() -> Body:
    left = {f"left_{name}": np.array(point) for name, point in _LEFT.items()}
    right = {f"right_{name}": np.array(point) * (-1, 1, 1) for name, point in _LEFT.items()}
    upright = np.diag([1.0, -1.0, 1.0])  # columns: left, up, forward; y is down
    joints = {**{name: np.array(point) for name, point in _MIDDLE.items()}, **left, **right}
    return Body(joints=joints, head=upright, chest=upright, thickness=1.15, head_size=1.4)


def _outfit() -> Outfit:
    skin, hair, shirt, trousers, shoes = (
        np.array(colour, float) for colour in ((222, 190, 166), (74, 62, 54), (166, 172, 180), (112, 120, 132), (86, 84, 84))
    )
    return Outfit(
        skin=skin, hair=hair, shirt=shirt, sleeve=shirt, trousers=trousers, shoes=shoes, second=shirt,
        sleeves=0.6, legs=2.0, skirt=0.0, pattern="plain", long_hair=False, bald=False, hat=False,
    )  # fmt: skip


def _locate(person: Person) -> dict[str, Floats]:
    """Compute the position of every keypoint (2,) in pixels."""
    places = {name: person.project(point) for name, point in person.body.joints.items() if name not in ("head", "chest")}
    shadow, _ = head_frame(person)
    middle = person.place("head")
    on_head = {**FACE, **_face(), "head_top": np.array([0.0, 0.97, 0.0])}
    places |= {name: middle + shadow @ point for name, point in on_head.items()}
    places |= {
        "head": places["head_top"],
        "top_head": places["head_top"],
        "face_middle": middle,
        "thorax": places["neck"] + person.stature * np.array([0, 0.02]),
        "upper_neck": places["neck"] + person.stature * np.array([0, -0.045]),
        "hip": places["pelvis"],
        "belly": places["waist"] + person.stature * np.array([0, 0.025]),
    }
    for side, sign in SIDES:
        toe, heel = places[f"{side}_toe"], places[f"{side}_heel"]
        across = person.stature * np.array([sign, 0.0])
        places[f"{side}_big_toe"] = toe - 0.006 * across + person.stature * np.array([0, 0.012])
        places[f"{side}_small_toe"] = toe + 0.013 * across - person.stature * np.array([0, 0.011])
        places[f"{side}_toe"] = places[f"{side}_big_toe"]
        places[f"{side}_heel"] = heel - 0.012 * across
        places |= _hand(places[f"{side}_wrist"], places[f"{side}_hand"], side, person.stature)
        places[f"{side}_finger"] = places[f"{side}_middle_finger4"]
    return places


def _is_part(name: str, part: View) -> bool:
    """Check whether a keypoint defines the extent of the shown part."""
    if part == "face":
        return name in ("chin", "head_top")
    return part == "whole" or name in _hand_names(part.removesuffix(" hand"))


def _hand_names(side: str) -> set[str]:
    return {f"{side}_hand_root", *(f"{side}_{finger}{k}" for finger in _HAND for k in range(1, 5))}


def _hand(wrist: Floats, palm: Floats, side: str, stature: float) -> dict[str, Floats]:
    """Compute the 21 points of a hand with the palm towards the camera."""
    along = (palm - wrist) / np.linalg.norm(palm - wrist)
    across = np.array([along[1], -along[0]]) if side == "left" else np.array([-along[1], along[0]])
    length = stature * _HAND_LENGTH
    points = {f"{side}_{finger}{k + 1}": place for finger, chain in _HAND.items() for k, place in enumerate(chain)}
    points[f"{side}_hand_root"] = _HAND_ROOT
    return {name: wrist + length * (x * along + y * across) for name, (x, y) in points.items()}


def _paint_hand(canvas: Canvas, person: Person, places: Mapping[str, Floats], side: str) -> None:
    """Paint palm and fingers over the hand of the simple drawing."""
    unit = person.stature * _HAND_LENGTH
    owner, skin = OWNER_STRIDE + Part[f"{side}_hand".upper()], person.outfit.skin
    bases = [places[f"{side}_{finger}1"] for finger in _HAND]
    palm = np.stack([places[f"{side}_hand_root"], places[f"{side}_wrist"], *bases])
    canvas.hull(palm, unit * np.array([0.13, 0.15, 0.1, 0.08, 0.08, 0.08, 0.08]), skin, owner)
    for finger in _HAND:
        chain = [places[f"{side}_{finger}{k}"] for k in range(1, 5)]
        width = unit * (0.085 if finger == "thumb" else 0.062 if finger == "pinky_finger" else 0.072)
        for k, (start, end) in enumerate(itertools.pairwise(chain)):
            canvas.capsule(start, end, (width * (1 - 0.1 * k), width * (0.9 - 0.1 * k)), skin * 1.02, owner)


def _paint_mouth(canvas: Canvas, person: Person, places: Mapping[str, Floats]) -> None:
    """Open the mouth of the simple drawing, so that the inner points of the lips are separate."""
    owner, red = OWNER_STRIDE + Part.HEAD, person.outfit.skin * np.array([0.78, 0.5, 0.5])
    lips = (("{}mouth_corner", "{}upper_lip_1", "{}upper_lip_2", "upper_lip"), ("{}lower_lip_1", "{}lower_lip_2", "lower_lip"))
    inner = ("{}inner_mouth_corner", "{}inner_upper_lip", "inner_upper_lip"), ("{}inner_lower_lip", "inner_lower_lip")
    for (upper, lower), colour in ((lips, red), (inner, red * 0.4)):
        ring = [places[name.format("right_")] for name in upper]
        ring += [places[name.format("left_")] for name in upper[-2::-1]]
        ring += [places[name.format("left_")] for name in lower]
        ring += [places[name.format("right_")] for name in lower[-2::-1]]
        canvas.polygon(np.stack(ring), colour, owner)


def _face() -> dict[str, Floats]:
    """Compute the 68 points of a face on the unit sphere of the head: (left, up, forward)."""
    turns = np.radians(90 * np.arange(8) / 8)
    flat = {f"jaw_{k + 1}": (0.93 * np.cos(turn), 0.06 - np.sin(turn)) for k, turn in enumerate(turns)}
    flat |= {f"brow_{k + 1}": (0.62 - 0.115 * k, (0.27, 0.335, 0.36, 0.355, 0.325)[k]) for k in range(5)}
    flat |= {"nostril_1": (0.14, -0.25), "nostril_2": (0.07, -0.275), "mouth_corner": (0.31, -0.51)}
    lids = ((0.55, 0.14), (0.44, 0.21), (0.3, 0.21), (0.19, 0.14), (0.3, 0.075), (0.44, 0.075))
    flat |= {f"eyelid_{k + 1}": place for k, place in enumerate(lids)}
    flat |= {"upper_lip_1": (0.19, -0.425), "upper_lip_2": (0.085, -0.385), "inner_mouth_corner": (0.235, -0.515)}
    flat |= {"lower_lip_1": (0.19, -0.63), "lower_lip_2": (0.085, -0.69)}
    flat |= {"inner_upper_lip": (0.1, -0.465), "inner_lower_lip": (0.1, -0.58)}
    places = {f"{side}_{name}": (sign * x, y) for name, (x, y) in flat.items() for side, sign in SIDES}
    middle = {"chin": -0.94, "nose_base": -0.285, "upper_lip": -0.4, "lower_lip": -0.7}
    middle |= {"inner_upper_lip": -0.46, "inner_lower_lip": -0.59}
    middle |= {f"nose_bridge_{k + 1}": (0.17, 0.06, -0.05, -0.16)[k] for k in range(4)}
    places |= {name: (0.0, y) for name, y in middle.items()}
    return {name: np.array([x, y, np.sqrt(max(1 - x * x - y * y, 0))]) for name, (x, y) in places.items()}
