"""Sample people: a random posture of a jointed skeleton in space, clothes, and the projection into the image.

Convention:
    Body frame: (left, up, forward) of the person, lengths in statures, zero at the middle of the hips.
    View frame: x right, y down, z towards the camera. The left hand of a person who faces the camera is on the right of the
    image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from hrpose.synthetic.canvas import OVERSAMPLING, Colour

Floats = npt.NDArray[np.float64]
Range = tuple[float, float]
T = TypeVar("T")

SIDES = (("left", 1.0), ("right", -1.0))
DOWN = np.array([0.0, -1.0, 0.0])

# Tables of postures: name -> probability weight, and ranges of angles in degrees.
# Arms: forward swing, lift to the side, bend of the elbow, inward turn of the upper arm.
ARMS: Mapping[str, tuple[float, tuple[Range, Range, Range, Range]]] = {
    "hanging": (0.34, ((-15, 20), (4, 20), (0, 35), (-10, 40))),
    "swinging": (0.20, ((-45, 50), (3, 18), (10, 100), (0, 30))),
    "on the hip": (0.08, ((-35, -5), (35, 55), (75, 110), (40, 80))),
    "raised": (0.10, ((140, 185), (0, 30), (0, 70), (-40, 40))),
    "sideways": (0.12, ((-10, 20), (60, 110), (0, 80), (-90, 60))),
    "forward": (0.10, ((50, 110), (-10, 30), (0, 90), (-10, 50))),
    "folded": (0.06, ((10, 45), (5, 25), (95, 145), (0, 60))),
}
# Legs: forward swing of the thighs, spread, bend of the knees.
LEGS: Mapping[str, tuple[float, tuple[Range, Range, Range]]] = {
    "standing": (0.34, ((-6, 12), (0, 10), (0, 12))),
    "wide": (0.12, ((-10, 15), (12, 32), (0, 20))),
    "walking": (0.24, ((-28, 35), (-2, 8), (0, 50))),
    "running": (0.08, ((-40, 75), (-2, 8), (15, 115))),
    "sitting": (0.15, ((65, 100), (2, 22), (60, 105))),
    "crouching": (0.07, ((80, 120), (4, 25), (95, 135))),
}
# Trunk: forward bend, sideways lean, turn of the shoulders against the hips.
TRUNKS: Mapping[str, tuple[float, tuple[Range, Range, Range]]] = {
    "upright": (0.70, ((-6, 12), (-6, 6), (-15, 15))),
    "leaning": (0.16, ((-5, 25), (-22, 22), (-35, 35))),
    "bent": (0.09, ((30, 85), (-10, 10), (-20, 20))),
}
OWNER_STRIDE = 32  # owner of a pixel = OWNER_STRIDE * number of the person (from 1) + Part


def find_pixels(owners: npt.NDArray[np.uint16], number: int) -> npt.NDArray[np.bool_]:
    """Return which pixels of the image (H, W) show a person, from the owners (2H, 2W) of the canvas."""
    return np.asarray(owners[::OVERSAMPLING, ::OVERSAMPLING] // OWNER_STRIDE == number)


@dataclass(frozen=True, eq=False)
class Body:
    """A posture in the view frame."""

    joints: dict[str, Floats]  # name -> (3,) position in statures
    head: Floats  # (3, 3), its columns are the left, up and forward axes of the head
    chest: Floats  # (3, 3), its columns are the left, up and forward axes of the chest
    thickness: float  # factor on the radii of trunk and limbs
    head_size: float  # factor on the radii of the head (children have larger heads)


def rotation(axis: int, degrees: float) -> Floats:
    """Return the right-handed rotation about one axis of the (left, up, forward) frame."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(3)
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix[first, first] = matrix[second, second] = cosine
    matrix[first, second], matrix[second, first] = -sine, sine
    return matrix


def sample_body(rng: np.random.Generator) -> Body:
    """Sample proportions, a posture and a heading."""
    child = rng.random() < 0.15
    size = sample_size(rng, arm=(0.92, 1.08), leg=(0.82, 0.96))
    if child:
        size = {**size, "shoulder": 0.9 * size["shoulder"], "leg": 0.88 * size["leg"]}
    bend, lean, turn = _draw_within(rng, _choose(rng, TRUNKS)[1])
    view = rotation(2, rng.normal(0, 4)) @ rotation(0, rng.normal(4, 8)) @ rotation(1, _sample_heading(rng))
    chest = view @ rotation(0, bend) @ rotation(2, lean) @ rotation(1, turn)
    nod = rng.uniform(-15, 25) - 0.5 * max(bend - 20, 0)
    head = chest @ rotation(1, rng.normal(0, 18)) @ rotation(0, nod) @ rotation(2, rng.normal(0, 7))
    joints = place_trunk(view, chest, head, size)
    for side, _ in SIDES:
        angles = _draw_within(rng, _choose(rng, ARMS)[1])
        place_arm(joints, side, chest, size["arm"], (*angles, rng.uniform(-10, 35)))
    _add_legs(joints, rng, view, size)
    thickness, head_size = rng.uniform(1.2, 1.6), rng.uniform(1.4, 1.6) * (1.12 if child else 1.0)
    return face_down(Body(joints, head, chest, float(thickness), float(head_size)))


def sample_size(rng: np.random.Generator, *, arm: Range, leg: Range) -> dict[str, float]:
    """Sample half the widths of shoulders and hips and the length of the trunk in statures, and factors on arms and legs."""
    ranges = {"shoulder": (0.095, 0.12), "hip": (0.052, 0.065), "trunk": (0.28, 0.32), "arm": arm, "leg": leg}
    return {name: rng.uniform(low, high) for name, (low, high) in ranges.items()}


def face_down(body: Body) -> Body:
    """Flip the y axis of a body that was built with y up."""
    flip_y = np.array([1.0, -1.0, 1.0])
    joints = {name: point * flip_y for name, point in body.joints.items()}
    return replace(body, joints=joints, head=body.head * flip_y[:, None], chest=body.chest * flip_y[:, None])


def _sample_heading(rng: np.random.Generator) -> float:
    """Sample the heading of a person in degrees: 0 towards the camera, 90 to the right of the image, 180 away."""
    kind = rng.random()
    if kind < 0.67:
        return float(rng.normal(0, 17))
    if kind < 0.96:
        return float(rng.normal(180, 17))
    return float(rng.choice((-65, 65)) + rng.normal(0, 15))


def _choose(rng: np.random.Generator, table: Mapping[str, tuple[float, T]]) -> tuple[str, T]:
    """Sample a row of a table by its weight; return the name and the ranges."""
    weights = np.cumsum([weight for weight, _ in table.values()])
    name = list(table)[int(np.searchsorted(weights, rng.random() * weights[-1]))]
    return name, table[name][1]


def _draw_within(rng: np.random.Generator, ranges: Sequence[Range]) -> list[float]:
    return [float(rng.uniform(low, high)) for low, high in ranges]


def place_trunk(view: Floats, chest: Floats, head: Floats, size: Mapping[str, float]) -> dict[str, Floats]:
    """Place pelvis, waist, chest, neck, head, shoulders and hips, in the view frame with y up."""
    waist = view @ np.array([0, 0.08, 0.0])
    neck = waist + chest @ np.array([0, size["trunk"] - 0.06, 0.0])
    joints = {
        "pelvis": np.zeros(3),
        "waist": waist,
        "chest": waist + chest @ np.array([0, size["trunk"] - 0.15, 0.0]),
        "neck": neck,
        "head": neck + 0.035 * chest[:, 1] + 0.095 * head[:, 1] + 0.012 * head[:, 2],
    }
    for side, sign in SIDES:
        joints[f"{side}_shoulder"] = neck + chest @ np.array([sign * size["shoulder"], -0.025, 0])
        joints[f"{side}_hip"] = view @ np.array([sign * size["hip"], 0, 0])
    return joints


def _add_legs(joints: dict[str, Floats], rng: np.random.Generator, view: Floats, size: Mapping[str, float]) -> None:
    name, (swings, spreads, knees) = _choose(rng, LEGS)
    stride = rng.uniform(0, 1)
    for side, sign in SIDES:
        share = stride if sign > 0 else 1 - stride
        swing = swings[0] + share * (swings[1] - swings[0]) if name in ("walking", "running") else rng.uniform(*swings)
        knee = rng.uniform(*knees) * (1.0 if name != "walking" or share < 0.6 else 0.4)
        place_leg(joints, side, view, size["leg"], (swing, rng.uniform(*spreads), knee, rng.uniform(-5, 25)))


def place_arm(joints: dict[str, Floats], side: str, chest: Floats, length: float, angles: Sequence[float]) -> None:
    """Add elbow, wrist and hand of one side to the joints of the trunk, in place, in the view frame with y up.

    Args:
        joints: name -> (3,) position in statures.
        side: "left" or "right".
        chest: (3, 3) axes of the chest.
        length: factor on the mean length of an arm.
        angles: degrees: forward swing, lift to the side, bend of the elbow, inward turn of the upper arm, bend of the wrist.
    """
    swing, lift, elbow, inward, wrist = angles
    sign = dict(SIDES)[side]
    frame = chest @ rotation(2, sign * lift) @ rotation(0, -swing) @ rotation(1, -sign * inward)
    forearm = frame @ rotation(0, -elbow) @ DOWN
    hand = frame @ rotation(0, -elbow - wrist) @ DOWN
    joints[f"{side}_elbow"] = joints[f"{side}_shoulder"] + 0.165 * length * (frame @ DOWN)
    joints[f"{side}_wrist"] = joints[f"{side}_elbow"] + 0.145 * length * forearm
    joints[f"{side}_hand"] = joints[f"{side}_wrist"] + 0.055 * length * hand


def place_leg(joints: dict[str, Floats], side: str, view: Floats, length: float, angles: Sequence[float]) -> None:
    """Add knee, ankle, toe and heel of one side like `place_arm`.

    The degrees are: forward swing of the thigh, spread, bend of the knee, outward turn of the foot.
    """
    swing, spread, knee, outward = angles
    sign = dict(SIDES)[side]
    frame = view @ rotation(2, sign * spread) @ rotation(0, -swing) @ rotation(1, sign * outward)
    shank = frame @ rotation(0, knee)
    joints[f"{side}_knee"] = joints[f"{side}_hip"] + 0.245 * length * (frame @ DOWN)
    joints[f"{side}_ankle"] = joints[f"{side}_knee"] + 0.235 * length * (shank @ DOWN)
    joints[f"{side}_toe"] = joints[f"{side}_ankle"] + shank @ np.array([0, -0.035, 0.10])
    joints[f"{side}_heel"] = joints[f"{side}_ankle"] + shank @ np.array([0, -0.03, -0.022])


Part = IntEnum(
    "Part",
    "HEAD HAIR NECK CHEST HIPS SKIRT "
    "LEFT_UPPER_ARM LEFT_FOREARM LEFT_HAND RIGHT_UPPER_ARM RIGHT_FOREARM RIGHT_HAND "
    "LEFT_THIGH LEFT_SHANK LEFT_FOOT RIGHT_THIGH RIGHT_SHANK RIGHT_FOOT",
    start=0,
)
"""The painted parts of a person."""

SKINS = np.array([(246, 214, 190), (232, 190, 160), (212, 162, 124), (176, 122, 84), (128, 84, 56), (88, 58, 42)], float)
HAIRS = np.array(
    [(28, 22, 20), (62, 42, 30), (112, 74, 42), (176, 132, 76), (218, 186, 128), (150, 62, 32), (150, 148, 146)], float
)


@dataclass(frozen=True, eq=False)
class Outfit:
    """Colours and lengths of the clothes.

    `sleeves`, `legs` (of the trousers) and `skirt` count covered segments: 0 none, 1 down to elbow or knee, 2 down to wrist or
    ankle. `second` is the colour of a pattern and of a hat.
    """

    skin: Colour
    hair: Colour
    shirt: Colour
    sleeve: Colour
    trousers: Colour
    shoes: Colour
    second: Colour
    sleeves: float
    legs: float
    skirt: float
    pattern: str
    long_hair: bool
    bald: bool
    hat: bool


@dataclass(frozen=True, eq=False)
class Person:
    """A dressed body in the image."""

    body: Body
    outfit: Outfit
    hips: Floats  # (2,) middle of the hips in pixels
    stature: float  # pixels

    def place(self, joint: str) -> Floats:
        """Return the position (2,) of a joint in pixels of the image."""
        return self.project(self.body.joints[joint])

    def project(self, point: Floats) -> Floats:
        """Project view coordinates (3,) to pixels (2,) with a camera six statures away."""
        return np.asarray(self.hips + self.stature * point[:2] * (6.0 / (6.0 - point[2])))

    def outline(self) -> Floats:
        """Return the positions of all joints (J, 2) in pixels."""
        return np.stack([self.project(point) for point in self.body.joints.values()])


def sample_outfit(rng: np.random.Generator) -> Outfit:
    """Sample skin, hair and clothes."""
    skirt = float(rng.uniform(0.55, 1.15)) if rng.random() < 0.2 else 0.0
    shirt = sample_cloth(rng)
    return Outfit(
        skin=sample_skin(rng),
        hair=_between(rng, HAIRS) * rng.uniform(0.85, 1.1),
        shirt=shirt,
        sleeve=sample_cloth(rng) if rng.random() < 0.4 else shirt,
        trousers=sample_cloth(rng),
        shoes=sample_cloth(rng) * 0.8,
        second=sample_cloth(rng),
        sleeves=float(rng.choice((0.0, 0.55, 0.7, 2.0, 2.0))),
        legs=float(rng.choice((0.0, 0.5))) if skirt else float(rng.choice((0.6, 0.9, 2.0, 2.0, 2.0, 1.6))),
        skirt=skirt,
        pattern=str(rng.choice(("plain", "plain", "plain", "plain", "stripes", "hoops", "checks", "dots", "print"))),
        long_hair=bool(rng.random() < 0.25),
        bald=bool(rng.random() < 0.05),
        hat=bool(rng.random() < 0.15),
    )


def sample_skin(rng: np.random.Generator) -> Colour:
    """Sample a skin tone."""
    return _between(rng, SKINS)


def sample_cloth(rng: np.random.Generator) -> Colour:
    """Sample a colour for clothes, furniture and walls."""
    hue, saturation, value = rng.uniform(0, 180), 255 * rng.beta(1.4, 1.6), rng.uniform(45, 245)
    pixel = np.array([[[hue, saturation, value]]]).astype(np.uint8)
    return np.asarray(cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0], float)


def _between(rng: np.random.Generator, table: Colour) -> Colour:
    position = rng.uniform(0, len(table) - 1)
    low = int(position)
    return np.asarray(table[low] + (position - low) * (table[min(low + 1, len(table) - 1)] - table[low]))
