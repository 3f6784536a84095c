"""Dress a posture and place it in a photo."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import cv2
import numpy as np

from hrpose.synthetic.body import Body, Floats
from hrpose.synthetic.canvas import Colour

OWNER_STRIDE = 32  # owner = OWNER_STRIDE x number of the person (from 1) + Part


class Part(IntEnum):
    """The painted parts of a person."""

    HEAD = 0
    HAIR = 1
    NECK = 2
    CHEST = 3
    HIPS = 4
    SKIRT = 5
    LEFT_UPPER_ARM = 6
    LEFT_FOREARM = 7
    LEFT_HAND = 8
    RIGHT_UPPER_ARM = 9
    RIGHT_FOREARM = 10
    RIGHT_HAND = 11
    LEFT_THIGH = 12
    LEFT_SHANK = 13
    LEFT_FOOT = 14
    RIGHT_THIGH = 15
    RIGHT_SHANK = 16
    RIGHT_FOOT = 17


SKINS = np.array(
    [(246, 214, 190), (232, 190, 160), (212, 162, 124), (176, 122, 84), (128, 84, 56), (88, 58, 42)], float
)
HAIRS = np.array(
    [(28, 22, 20), (62, 42, 30), (112, 74, 42), (176, 132, 76), (218, 186, 128), (150, 62, 32), (150, 148, 146)], float
)


@dataclass(frozen=True, eq=False)
class Outfit:
    """Colours and cuts.

    `sleeves` and `legs` (of the trousers) count covered segments: 0 none, 1 down to elbow or knee, 2 down to wrist or
    ankle. `skirt` counts the same way, 0 is no skirt. `second` is the colour of a pattern and of a hat.
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
    """A dressed body at its place in the photo: `origin` (2,) is the middle of the hips in pixels, `stature` in pixels."""

    body: Body
    outfit: Outfit
    origin: Floats
    stature: float

    def place(self, joint: str) -> Floats:
        """Return a joint (2,) in pixels of the photo."""
        return self.project(self.body.joints[joint])

    def project(self, point: Floats) -> Floats:
        """Map view coordinates (3,) to pixels (2,) by a camera six statures away."""
        return np.asarray(self.origin + self.stature * point[:2] * (6.0 / (6.0 - point[2])))

    def outline(self) -> Floats:
        """Return all joints (J, 2) in pixels."""
        return np.stack([self.project(point) for point in self.body.joints.values()])


def sample_outfit(rng: np.random.Generator) -> Outfit:
    """Draw skin, hair and clothes."""
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
    """Draw a skin tone."""
    return _between(rng, SKINS)


def sample_cloth(rng: np.random.Generator) -> Colour:
    """Draw a colour for clothes, furniture and walls."""
    hue, saturation, value = rng.uniform(0, 180), 255 * rng.beta(1.4, 1.6), rng.uniform(45, 245)
    pixel = np.array([[[hue, saturation, value]]]).astype(np.uint8)
    return np.asarray(cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0], float)


def _between(rng: np.random.Generator, table: Colour) -> Colour:
    position = rng.uniform(0, len(table) - 1)
    low = int(position)
    return np.asarray(table[low] + (position - low) * (table[min(low + 1, len(table) - 1)] - table[low]))
