"""Paint a dressed person: solids from the farthest to the nearest, a shaded ellipsoid as the head, patterns on the clothes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from hrpose.synthetic.canvas import Canvas, Colour, to_canvas, to_image
from hrpose.synthetic.people import OWNER_STRIDE, SIDES, Floats, Outfit, Part, Person, find_pixels

HEAD_RADII = np.array([0.047, 0.068, 0.056])  # statures: to the side, up, forward
# Points on the head, in its (left, up, forward) axes scaled to a unit sphere.
FACE: dict[str, Floats] = {
    "nose": np.array([0.0, -0.12, 0.99]),
    "left_eye": np.array([0.37, 0.14, 0.92]),
    "right_eye": np.array([-0.37, 0.14, 0.92]),
    "left_ear": np.array([0.99, 0.02, -0.08]),
    "right_ear": np.array([-0.99, 0.02, -0.08]),
}
_HAIRLINE = np.array([0.0, 0.72, -0.69])
_CLOTH_PARTS = np.array([Part.CHEST, Part.SKIRT, Part.LEFT_UPPER_ARM, Part.RIGHT_UPPER_ARM])

# joints, radii there in statures, clothes, and number of segments between the trunk and the limb
_LIMBS: dict[str, tuple[tuple[str, str], tuple[float, float], str, int]] = {
    "upper_arm": (("shoulder", "elbow"), (0.034, 0.026), "sleeves", 0),
    "forearm": (("elbow", "wrist"), (0.026, 0.018), "sleeves", 1),
    "hand": (("wrist", "hand"), (0.018, 0.021), "none", 2),
    "thigh": (("hip", "knee"), (0.056, 0.037), "legs", 0),
    "shank": (("knee", "ankle"), (0.039, 0.023), "legs", 1),
    "foot": (("heel", "toe"), (0.025, 0.019), "shoes", 2),
}

Layer = tuple[float, Callable[[], None]]


def paint_person(canvas: Canvas, person: Person, number: int, rng: np.random.Generator) -> int:
    """Paint a person, farthest part first, mark its pixels with `number` (from 1), and return their number in the image."""
    first = number * OWNER_STRIDE
    layers = [*_trunk(canvas, person, first), *_head(canvas, person, first)]
    layers += [_limb(canvas, person, first, side, limb) for side, _ in SIDES for limb in _LIMBS]
    for _, paint in sorted(layers, key=lambda layer: layer[0]):
        paint()
    hidden = person.outfit.pattern == "print" and person.body.chest[2, 2] < 0  # a print is on the chest, not on the back
    if person.outfit.pattern != "plain" and not hidden:
        _print_cloth(canvas, person, first, rng)
    return int(find_pixels(canvas.owners, number).sum())


def head_frame(person: Person) -> tuple[Floats, Floats]:
    """Return the projection of the head, an ellipsoid.

    Returns:
        shadow: (2, 3), maps a point of the unit sphere in head axes to pixels relative to the centre of the head.
        towards: (3,) point of the unit sphere in head axes that faces the camera.
    """
    radii = HEAD_RADII * person.body.head_size * person.stature
    shadow = person.body.head[:2] * radii
    towards = _cross(shadow[0], shadow[1])
    towards = towards / np.linalg.norm(towards)
    return shadow, np.asarray(towards * np.sign((person.body.head[2] * radii) @ towards))


def _trunk(canvas: Canvas, person: Person, first: int) -> list[Layer]:
    unit, wear, joints = person.stature * person.body.thickness, person.outfit, person.body.joints

    def hull(names: str, radii: tuple[float, ...], colour: Colour, part: Part) -> Callable[[], None]:
        centres = np.stack([person.place(name) for name in names.split()])
        return lambda: canvas.hull(centres, unit * np.array(radii), colour, first + part)

    neck, head, radii = person.place("neck"), person.place("head"), (0.027 * unit, 0.026 * unit)
    shoulders = ("left_shoulder right_shoulder chest waist neck", (0.034, 0.034, 0.062, 0.056, 0.026))
    layers: list[Layer] = [
        (joints["chest"][2], hull(*shoulders, wear.shirt, Part.CHEST)),
        (joints["pelvis"][2] - 0.01, hull("left_hip right_hip waist", (0.052, 0.052, 0.052), wear.trousers, Part.HIPS)),
        (
            (joints["neck"][2] + joints["head"][2]) / 2,
            lambda: canvas.capsule(neck, head, radii, wear.skin * 0.9, first + Part.NECK),
        ),
    ]
    return [*layers, _skirt(canvas, person, first)] if wear.skirt else layers


def _skirt(canvas: Canvas, person: Person, first: int) -> Layer:
    joints, length = person.body.joints, person.outfit.skirt
    circles: list[tuple[Floats, float]] = []
    for side, _ in SIDES:
        hip, knee, ankle = (joints[f"{side}_{name}"] for name in ("hip", "knee", "ankle"))
        if length > 1:
            circles += [(hip, 0.054), (knee, 0.054), (knee + (length - 1) * (ankle - knee), 0.05)]
        else:
            circles += [(hip, 0.054), (hip + length * (knee - hip), 0.05)]
    depth = max(joints["left_knee"][2], joints["right_knee"][2], joints["pelvis"][2]) + 0.02
    centres = np.stack([person.project(point) for point, _ in circles])
    radii = person.stature * person.body.thickness * np.array([radius for _, radius in circles])
    return depth, lambda: canvas.hull(centres, radii, person.outfit.trousers, first + Part.SKIRT)


def _limb(canvas: Canvas, person: Person, first: int, side: str, limb: str) -> Layer:
    """Return the layer of a limb: skin, with cloth over a first part of it."""
    names, radii, clothes, position = _LIMBS[limb]
    start, end = (person.body.joints[f"{side}_{name}"] for name in names)
    unit = person.stature * person.body.thickness
    depth = float(start[2] + end[2]) / 2
    light = np.clip(1 + depth, 0.75, 1.15)  # nearer limbs are brighter
    skin, cloth, covered = _colours(person.outfit, clothes, position)
    skin, cloth, owner = skin * light, cloth * light, first + Part[f"{side}_{limb}".upper()]

    def paint() -> None:
        if covered < 1:
            canvas.capsule(person.project(start), person.project(end), (radii[0] * unit, radii[1] * unit), skin, owner)
        if covered > 0:
            share = min(covered, 1.0)
            cuff = (radii[0] + share * (radii[1] - radii[0])) * 1.1
            stop = person.project(start + share * (end - start))
            canvas.capsule(person.project(start), stop, (radii[0] * 1.08 * unit, cuff * unit), cloth, owner)

    return depth, paint


def _colours(wear: Outfit, clothes: str, position: int) -> tuple[Colour, Colour, float]:
    """Return the colours of skin and cloth of a limb, and the share of its length with cloth; shoes are painted like skin."""
    if clothes == "sleeves":
        return wear.skin, wear.sleeve, wear.sleeves - position
    if clothes == "legs":
        return wear.skin, wear.trousers, wear.legs - position
    bare = wear.shoes if clothes == "shoes" else wear.skin * 1.03
    return bare, bare, 0.0


def _head(canvas: Canvas, person: Person, first: int) -> list[Layer]:
    depth, wear = person.body.joints["head"][2], person.outfit
    layers: list[Layer] = [(depth + 0.03, lambda: _paint_head(canvas, person, first + Part.HEAD))]
    if wear.long_hair and not wear.bald:
        backwards = -person.body.head[:, 2]
        crown = person.body.joints["head"] + 0.02 * backwards
        ends = crown + 0.035 * backwards - 0.15 * person.body.head[:, 1]
        radius = 0.052 * person.body.head_size * person.stature
        # behind head and chest if the person faces the camera, in front of both from behind
        chest = person.body.joints["chest"][2]
        level = max(depth + 0.05, chest + 0.05) if backwards[2] > 0 else min(depth, chest - 0.05)
        start, stop, colour = person.project(crown), person.project(ends), wear.hair * 0.9
        layers.append((level, lambda: canvas.capsule(start, stop, (radius, radius * 0.9), colour, first + Part.HAIR)))
    return layers


def _paint_head(canvas: Canvas, person: Person, owner: int) -> None:
    middle, wear = person.place("head"), person.outfit
    shadow, towards = head_frame(person)
    radius = float(np.abs(shadow).sum(1).max())
    rows, columns = canvas.region(middle[None], radius)
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    offset = to_image(np.array([columns.start, rows.start], float)) - middle
    _paint_ears(canvas, person, owner)
    x = offset[0] + np.arange(columns.stop - columns.start) / 2
    y = offset[1] + np.arange(rows.stop - rows.start) / 2
    inverse = np.linalg.pinv(shadow)
    sphere = inverse[:, 0] * x[:, None] + (inverse[:, 1] * y[:, None])[:, None]
    height = 1 - (sphere**2).sum(-1)
    inside = height > 0
    sphere = sphere[inside] + np.sqrt(height[inside])[:, None] * towards
    scalp = sphere @ _HAIRLINE > (2.0 if wear.bald else 0.12)
    colour = np.where(scalp[:, None], wear.hair, wear.skin)
    if wear.hat:
        colour = np.where((sphere @ np.array([0.0, 0.95, 0.3]) > 0.45)[:, None], wear.second, colour)
    lit = inverse @ canvas.light
    facing = sphere @ towards
    shade = 0.66 + 0.36 * facing + 0.16 * (sphere @ (lit / np.linalg.norm(lit)))
    canvas.pixels[rows, columns][inside] = np.clip(colour * shade[:, None], 0, 255).astype(np.uint8)
    canvas.owners[rows, columns][inside] = owner
    _paint_face(canvas, person, owner, shadow, towards)


def _paint_ears(canvas: Canvas, person: Person, owner: int) -> None:
    shadow, towards = head_frame(person)
    for name in ("left_ear", "right_ear"):
        if FACE[name] @ towards > -0.3:
            unit = 0.016 * person.stature * person.body.head_size
            up = person.body.head[:2, 1] * unit
            side = person.body.head[:2, 2] * 0.5 * unit + person.body.head[:2, 0] * 0.5 * unit
            canvas.ellipse(person.place("head") + shadow @ FACE[name], np.stack([up, side]), person.outfit.skin * 0.86, owner)


def _paint_face(canvas: Canvas, person: Person, owner: int, shadow: Floats, towards: Floats) -> None:
    middle, skin = person.place("head"), person.outfit.skin

    def spot(point: tuple[float, float, float], size: tuple[float, float], colour: Colour) -> None:
        direction = np.array(point) / np.linalg.norm(point)
        facing = float(direction @ towards)
        if facing > 0.12:
            side = _cross(np.array([0.0, 1.0, 0.0]), direction)
            up = _cross(direction, side)
            axes = np.stack([shadow @ side * size[0], shadow @ up * size[1]])
            canvas.ellipse(middle + shadow @ direction, axes, colour, owner)

    for sign in (1, -1):
        eye = FACE["left_eye"] * np.array([sign, 1, 1])
        spot((eye[0], eye[1], eye[2]), (0.19, 0.11), np.array([244.0, 244, 240]))
        spot((eye[0], eye[1], eye[2]), (0.10, 0.11), np.array([34.0, 26, 24]))
        spot((eye[0], eye[1] + 0.2, eye[2]), (0.22, 0.045), person.outfit.hair * 0.7)
    spot((0, -0.14, 0.99), (0.10, 0.15), skin * 0.80)
    spot((0.02, -0.10, 0.99), (0.06, 0.10), skin * 1.06)
    spot((0, -0.50, 0.86), (0.24, 0.055), skin * np.array([0.78, 0.45, 0.45]))


def _print_cloth(canvas: Canvas, person: Person, first: int, rng: np.random.Generator) -> None:
    """Paint the pattern of the outfit over the shirt (and the skirt), along the axes of the chest."""
    rows, columns = canvas.region(person.outline(), 0.05 * person.stature)
    part = canvas.owners[rows, columns].astype(np.int32) - first
    cloth = np.isin(part, _CLOTH_PARTS)
    if person.outfit.sleeves < 1 or person.outfit.sleeve is not person.outfit.shirt:
        cloth &= (part == Part.CHEST) | (part == Part.SKIRT)
    y, x = np.nonzero(cloth)
    if not len(x):
        return
    offsets = np.stack([x + columns.start, y + rows.start], 1) - to_canvas(person.place("chest"))
    axes = person.body.chest[:2, :2].T
    left, up = offsets @ axes[0], offsets @ axes[1]
    period = person.stature * rng.uniform(0.05, 0.12)
    marked = _PATTERNS[person.outfit.pattern](left / period, up / period)
    region = canvas.pixels[rows, columns]
    x, y = x[marked], y[marked]
    brightness = region[y, x].max(axis=1, keepdims=True) / max(float(person.outfit.shirt.max()), 1.0)
    region[y, x] = np.clip(person.outfit.second * brightness, 0, 255).astype(np.uint8)


_PATTERNS: dict[str, Callable[[Floats, Floats], npt.NDArray[np.bool_]]] = {  # of positions in periods
    "stripes": lambda left, up: left % 1 < 0.45,
    "hoops": lambda left, up: up % 1 < 0.5,
    "checks": lambda left, up: (left % 1 < 0.5) ^ (up % 1 < 0.5),
    "dots": lambda left, up: (left % 1 - 0.5) ** 2 + (up % 1 - 0.5) ** 2 < 0.09,
    "print": lambda left, up: left**2 + (up * 1.2) ** 2 < 0.6,
}


def _cross(a: Floats, b: Floats) -> Floats:
    """Return the cross product of two vectors (3,), ten times as fast as `numpy.cross`."""
    return np.array([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])
