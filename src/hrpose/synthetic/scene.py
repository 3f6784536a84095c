"""Compose one image of background, clutter, people in order of depth, occluders and camera effects; label the people."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from hrpose.synthetic.canvas import Canvas, Colour
from hrpose.synthetic.labels import Label, label_crowd, label_person
from hrpose.synthetic.painting import paint_person
from hrpose.synthetic.people import Floats, Person, sample_body, sample_cloth, sample_outfit, sample_skin

_NUM_PEOPLE = np.array([0.04, 0.18, 0.26, 0.30, 0.22])  # probability of 0, 1, 2, ... people of full size
_PROB_OCCLUDER, _PROB_CROWD, _PROB_DISTANT = 0.2, 0.04, 0.07
_PLACE_TRIES, _MAX_OVERLAP = 10, 0.15
_PROB_WHOLE = 0.92  # probability that a person is placed entirely inside the image, if the size allows it
Image = npt.NDArray[np.uint8]
SCENERY = 0  # the owner of pixels that show no person


@dataclass(frozen=True, eq=False)
class Scene:
    """An image and its labels."""

    image: Image  # (H, W, 3) RGB
    owners: npt.NDArray[np.uint16]  # (2H, 2W) the person and part that a canvas pixel shows, see `people.OWNER_STRIDE`
    people: dict[int, Person]  # by number, all people outside crowds
    labels: dict[int, Label]  # by number, all visible people; a crowd has one label


def draw_scene(rng: np.random.Generator, size: tuple[int, int]) -> Scene:
    """Draw an image of `size` (width, height) pixels and label it."""
    angle = rng.uniform(-2.6, -0.5)
    canvas = Canvas(make_background(rng, size), np.array([np.cos(angle), np.sin(angle)]))
    paint_clutter(canvas, rng, size)
    canvas.blur(rng.uniform(0.5, 2.5))
    crowd = 1 if rng.random() < _PROB_CROWD else 0
    if crowd:
        for person in _distant_people(rng, size, int(rng.integers(7, 13))):
            paint_person(canvas, person, crowd, rng)
    distant = _distant_people(rng, size, int(rng.integers(1, 4))) if rng.random() < _PROB_DISTANT else []
    people = dict(enumerate([*distant, *_near_people(rng, size)], start=crowd + 1))
    painted = _paint_people(canvas, people, rng, size)
    labels = {n: label_person(canvas.owners, person, n, painted[n]) for n, person in people.items()}
    if crowd:
        labels[crowd] = label_crowd(canvas.owners, crowd)
    image = develop(canvas.finish(), rng)
    return Scene(image, canvas.owners, people, {n: label for n, label in labels.items() if label is not None})


def _paint_people(canvas: Canvas, people: dict[int, Person], rng: np.random.Generator, size: tuple[int, int]) -> dict[int, int]:
    """Paint people from back to front, sometimes an occluder in front of one; return the number of image pixels of each."""
    occluded = int(rng.choice(list(people))) if people and rng.random() < _PROB_OCCLUDER else None
    painted = {}
    for number, person in people.items():
        painted[number] = paint_person(canvas, person, number, rng)
        if number == occluded:
            paint_occluder(canvas, rng, size)
    return painted


def _near_people(rng: np.random.Generator, size: tuple[int, int]) -> list[Person]:
    """Place people of full size with little overlap; return them with the farthest first."""
    people: list[Person] = []
    for _ in range(rng.choice(len(_NUM_PEOPLE), p=_NUM_PEOPLE)):
        stature = min(size) * (rng.uniform(1.0, 1.5) if rng.random() < 0.04 else rng.uniform(0.46, 0.86))
        person = Person(sample_body(rng), sample_outfit(rng), np.zeros(2), stature)
        low, high = _extent(person)
        for _ in range(_PLACE_TRIES):
            middle = rng.uniform(0, 1, 2) * size
            if rng.random() < _PROB_WHOLE:
                middle = np.clip(middle, (high - low) / 2, np.maximum(size - (high - low) / 2, np.array(size) / 2))
            placed = replace(person, hips=middle - (low + high) / 2)
            if all(_overlap(placed, other) < _MAX_OVERLAP for other in people):
                people.append(placed)
                break
    return sorted(people, key=lambda person: person.hips[1] + 0.6 * person.stature)


def _distant_people(rng: np.random.Generator, size: tuple[int, int], count: int) -> list[Person]:
    """Place people side by side that are too small for labelled keypoints."""
    stature = min(size) * rng.uniform(0.1, 0.14)
    start = rng.uniform(0.1, 0.6, 2) * size
    places = start + stature * np.stack([0.4 * np.arange(count), rng.normal(0, 0.08, count)], axis=1)
    return [Person(sample_body(rng), sample_outfit(rng), place, stature * rng.uniform(0.9, 1.1)) for place in places]


def _extent(person: Person) -> tuple[Floats, Floats]:
    outline, margin = person.outline(), 0.07 * person.stature
    return outline.min(0) - margin, outline.max(0) + margin


def _overlap(person: Person, other: Person) -> float:
    """Return the area of the intersection of two extents, divided by the smaller area."""
    (low, high), (other_low, other_high) = _extent(person), _extent(other)
    common = np.clip(np.minimum(high, other_high) - np.maximum(low, other_low), 0, None)
    return float(common.prod() / min((high - low).prod(), (other_high - other_low).prod()))


def make_background(rng: np.random.Generator, size: tuple[int, int]) -> Image:
    """Return a cluttered background (H, W, 3) for an image of `size` (width, height)."""
    width, height = size
    upper, lower = sample_cloth(rng), sample_cloth(rng)
    ramp = np.linspace(0, 1, height)[:, None]
    share = np.clip((ramp - rng.uniform(0.3, 0.85)) * rng.choice((6.0, 60.0)) + 0.5, 0, 1)
    column = (upper + share * (lower - upper)) * (1 + rng.uniform(-0.3, 0.3) * (ramp - 0.5))
    cloud = np.zeros((height, width), np.float32)
    for cells in (3, 12, 60):
        grid = rng.uniform(-1, 1, (max(2, cells * height // width), cells)).astype(np.float32)
        cloud += np.float32(rng.uniform(0, 20)) * cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR)
    tint = rng.uniform(0.6, 1.2, 3).astype(np.float32)
    image = column.astype(np.float32)[:, None] + cloud[..., None] * tint
    np.clip(image, 0, 255, out=image)
    return np.asarray(image.astype(np.uint8))


def paint_clutter(canvas: Canvas, rng: np.random.Generator, size: tuple[int, int]) -> None:
    """Paint furniture, foliage, poles and limb-like things behind the people."""
    extent = np.array(size, float)
    for _ in range(rng.integers(4, 16)):
        _paint_thing(canvas, rng, rng.uniform(0, 1, 2) * extent, float(extent.min() * rng.uniform(0.04, 0.22)))
    for _ in range(rng.integers(0, 3)):
        _paint_branch(canvas, rng, rng.uniform(0, 1, 2) * extent, float(extent.min()))


def paint_occluder(canvas: Canvas, rng: np.random.Generator, size: tuple[int, int]) -> None:
    """Paint a pole, a table, a box or a bush in front of the people."""
    width, height = size
    colour, kind = sample_cloth(rng), rng.random()
    x, y = rng.uniform(0, width), rng.uniform(0.35, 0.95) * height
    if kind < 0.3:
        radius = rng.uniform(2, 8)
        canvas.capsule(np.array([x, -20.0]), np.array([x + rng.normal(0, 12), height + 20.0]), (radius, radius), colour, SCENERY)
    elif kind < 0.5:
        half, thick = rng.uniform(0.1, 0.35) * width, rng.uniform(4, 14)
        _paint_box(canvas, np.array([x, y]), np.array([half, thick]), 0.0, colour)
        for end in (-0.85, 0.85):
            _paint_box(canvas, np.array([x + end * half, y + height / 2]), np.array([2.5, height / 2]), 0.0, colour * 0.7)
    elif kind < 0.8:
        _paint_box(canvas, np.array([x, y]), rng.uniform(8, 34, 2), rng.normal(0, 0.15), colour)
    else:
        _paint_bush(canvas, rng, np.array([x, y]), float(rng.uniform(12, 34)))


def develop(image: Image, rng: np.random.Generator) -> Image:
    """Add uneven light, blur and noise to an image."""
    height, width = image.shape[:2]
    if rng.random() < 0.25:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.8)), np.uint8)
    corners = rng.uniform(0.75, 1.15, (2, 2, 1)) * rng.uniform(0.9, 1.1, 3) * rng.uniform(0.8, 1.1)
    light = cv2.resize(corners.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    grain = np.frombuffer(rng.bytes(image.size), np.uint8).reshape(image.shape)
    strength = float(rng.uniform(0.0, 0.06))
    lit = cv2.multiply(image, light, dtype=cv2.CV_32F)
    developed = cv2.addWeighted(lit, 1.0, grain, strength, float(rng.uniform(-8, 18)) - 127.5 * strength, dtype=cv2.CV_8U)
    return np.asarray(developed, np.uint8)


def _paint_thing(canvas: Canvas, rng: np.random.Generator, middle: Floats, radius: float) -> None:
    kind, colour = rng.random(), sample_cloth(rng)
    if kind < 0.45:
        _paint_box(canvas, middle, radius * rng.uniform(0.3, 1.6, 2), rng.normal(0, 0.12), colour)
    elif kind < 0.6:
        _paint_bush(canvas, rng, middle, radius)
    elif kind < 0.75:
        canvas.hull(middle[None], np.array([radius * 0.6]), colour, SCENERY)
    else:
        points = middle + radius * rng.normal(0, 0.8, (int(rng.integers(3, 6)), 2))
        canvas.polygon(np.asarray(cv2.convexHull(points.astype(np.float32))[:, 0], float), colour, SCENERY)


def _paint_branch(canvas: Canvas, rng: np.random.Generator, start: Floats, extent: float) -> None:
    """Paint two or three joined tapered rods in the colours of skin and cloth that resemble an arm or a leg."""
    colour = sample_skin(rng) if rng.random() < 0.5 else sample_cloth(rng)
    angle, radius = rng.uniform(0, 2 * np.pi), extent * rng.uniform(0.012, 0.035)
    for _ in range(rng.integers(2, 4)):
        end = start + extent * rng.uniform(0.08, 0.2) * np.array([np.cos(angle), np.sin(angle)])
        canvas.capsule(start, end, (radius, radius * 0.8), colour, SCENERY)
        start, angle, radius = end, angle + rng.normal(0, 0.8), radius * 0.8


def _paint_box(canvas: Canvas, middle: Floats, half: Floats, angle: float, colour: Colour) -> None:
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    panel = np.maximum(half - 2.5, half * 0.6)
    canvas.polygon(middle + corners * half @ turn, colour, SCENERY)
    canvas.polygon(middle + corners * panel @ turn, np.minimum(colour * 1.15, 255), SCENERY)


def _paint_bush(canvas: Canvas, rng: np.random.Generator, middle: Floats, radius: float) -> None:
    leaf = np.array([rng.uniform(40, 110), rng.uniform(90, 160), rng.uniform(30, 80)])
    for _ in range(8):
        blob = middle + rng.normal(0, 0.45, 2) * radius
        canvas.hull(blob[None], np.array([radius * rng.uniform(0.25, 0.5)]), leaf * rng.uniform(0.7, 1.15), SCENERY)
