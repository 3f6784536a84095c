"""Compose one photo: scenery, people in order of depth, what stands before them, and the labels of what can be seen."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hrpose.synthetic.body import Floats, sample_body
from hrpose.synthetic.canvas import OVERSAMPLING, Canvas
from hrpose.synthetic.labels import Label, label_crowd, label_person
from hrpose.synthetic.painting import paint_person
from hrpose.synthetic.people import OWNER_STRIDE, Person, sample_outfit
from hrpose.synthetic.scenery import develop, make_background, paint_clutter, paint_occluder

_NUM_PEOPLE = np.array([0.04, 0.18, 0.26, 0.30, 0.22])  # probability of 0, 1, 2, ... people of full size
_PROB_OCCLUDER, _PROB_CROWD, _PROB_DISTANT = 0.2, 0.04, 0.07
_PLACE_TRIES, _MAX_OVERLAP = 10, 0.15
_PROB_WHOLE = 0.92  # of being placed entirely inside the photo, where the size allows it


@dataclass(frozen=True, eq=False)
class Scene:
    """A photo and what is known about it.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        owners: (2H, 2W) uint16, which part of whom a canvas pixel shows (see `people.OWNER_STRIDE`).
        people: Number -> person, for everyone who is not in a crowd.
        labels: Number -> label, for everyone of whom a pixel can be seen; crowds are one label each.
    """

    image: npt.NDArray[np.uint8]
    owners: npt.NDArray[np.uint16]
    people: dict[int, Person]
    labels: dict[int, Label]


def draw_scene(rng: np.random.Generator, size: tuple[int, int]) -> Scene:
    """Draw a photo of `size` (width, height) pixels and label it."""
    angle = rng.uniform(-2.6, -0.5)
    canvas = Canvas(make_background(rng, size), np.array([np.cos(angle), np.sin(angle)]))
    paint_clutter(canvas, rng, size)
    canvas.blur(rng.uniform(0.5, 2.5))
    crowd = 1 if rng.random() < _PROB_CROWD else 0
    if crowd:
        for person in _distant_people(rng, size, int(rng.integers(7, 13))):
            paint_person(canvas, person, crowd, rng)
    cast = _distant_people(rng, size, int(rng.integers(1, 4))) if rng.random() < _PROB_DISTANT else []
    people = dict(enumerate([*cast, *_near_people(rng, size)], start=crowd + 1))
    painted = _paint_people(canvas, people, rng, size)
    labels = {n: label_person(canvas.owners, person, n, painted[n]) for n, person in people.items()}
    if crowd:
        labels[crowd] = label_crowd(canvas.owners, crowd)
    image = develop(canvas.finish(), rng)
    return Scene(image, canvas.owners, people, {n: label for n, label in labels.items() if label is not None})


def _paint_people(
    canvas: Canvas, people: dict[int, Person], rng: np.random.Generator, size: tuple[int, int]
) -> dict[int, int]:
    """Paint people from back to front and, now and then, a thing before one of them; return the photo pixels each one got."""
    before = int(rng.choice(list(people))) if people and rng.random() < _PROB_OCCLUDER else None
    painted = {}
    for number, person in people.items():
        paint_person(canvas, person, number, rng)
        painted[number] = int((canvas.owners[::OVERSAMPLING, ::OVERSAMPLING] // OWNER_STRIDE == number).sum())
        if number == before:
            paint_occluder(canvas, rng, size)
    return painted


def _near_people(rng: np.random.Generator, size: tuple[int, int]) -> list[Person]:
    """Cast the people of full size, the farthest first; nobody covers more than a part of anybody else."""
    people: list[Person] = []
    for _ in range(rng.choice(len(_NUM_PEOPLE), p=_NUM_PEOPLE)):
        stature = min(size) * (rng.uniform(1.0, 1.5) if rng.random() < 0.04 else rng.uniform(0.46, 0.86))
        person = Person(sample_body(rng), sample_outfit(rng), np.zeros(2), stature)
        low, high = _extent(person)
        for _ in range(_PLACE_TRIES):
            middle = rng.uniform(0, 1, 2) * size
            if rng.random() < _PROB_WHOLE:
                middle = np.clip(middle, (high - low) / 2, np.maximum(size - (high - low) / 2, np.array(size) / 2))
            placed = replace(person, origin=middle - (low + high) / 2)
            if all(_overlap(placed, other) < _MAX_OVERLAP for other in people):
                people.append(placed)
                break
    return sorted(people, key=lambda person: person.origin[1] + 0.6 * person.stature)


def _distant_people(rng: np.random.Generator, size: tuple[int, int], count: int) -> list[Person]:
    """Cast small people side by side, too small for anyone to place keypoints on them."""
    stature = min(size) * rng.uniform(0.1, 0.14)
    start = rng.uniform(0.1, 0.6, 2) * size
    places = start + stature * np.stack([0.4 * np.arange(count), rng.normal(0, 0.08, count)], axis=1)
    return [Person(sample_body(rng), sample_outfit(rng), place, stature * rng.uniform(0.9, 1.1)) for place in places]


def _extent(person: Person) -> tuple[Floats, Floats]:
    outline, margin = person.outline(), 0.07 * person.stature
    return outline.min(0) - margin, outline.max(0) + margin


def _overlap(person: Person, other: Person) -> float:
    """Return the share of the smaller one's extent that both cover."""
    (low, high), (other_low, other_high) = _extent(person), _extent(other)
    common = np.clip(np.minimum(high, other_high) - np.maximum(low, other_low), 0, None)
    return float(common.prod() / min((high - low).prod(), (other_high - other_low).prod()))
