"""Draw a video of people who walk in both directions and cross, with their ids in every frame.

Thighs and arms swing in opposite directions as the sine of one phase, and a knee bends while its thigh swings forward. The phase
is computed from the distance walked, so that feet hardly slide.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hrpose.skeletons import COCO
from hrpose.synthetic.canvas import Canvas
from hrpose.synthetic.labels import Label, label_person
from hrpose.synthetic.painting import paint_person
from hrpose.synthetic.people import (
    SIDES,
    Body,
    Floats,
    Outfit,
    Person,
    face_down,
    place_arm,
    place_leg,
    place_trunk,
    rotation,
    sample_outfit,
    sample_size,
)
from hrpose.synthetic.scene import develop, make_background, paint_clutter

_STRIDE = 0.82  # statures walked in one period of the gait
_SPEED = (0.65, 0.95)  # statures in a second
_STATURE = (0.5, 0.72)  # of the farthest and the nearest person, relative to the height of the frame
_GROUND = (0.8, 0.95)  # y of the feet of the farthest and the nearest person, relative to the height of the frame
_LEG = 0.48  # statures from the hips to the ground


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a video and its N visible people.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        time: seconds since the first frame.
        person_ids: (N,) int64, from 1, the farthest person first; the same person has the same number in every frame.
        keypoints: (N, K, 2) pixels of the frame, zeros where unlabelled.
        visibility: (N, K) uint8: 0 unlabelled, 1 occluded, 2 visible.
        bbox: (N, 4) xywh, tight around the visible part of the person.
    """

    image: npt.NDArray[np.uint8]
    time: float
    person_ids: npt.NDArray[np.int64]
    keypoints: npt.NDArray[np.float64]
    visibility: npt.NDArray[np.uint8]
    bbox: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Walker:
    """A person who walks along a line; lengths in statures and angles in degrees if not stated."""

    outfit: Outfit
    size: dict[str, float]
    thickness: float
    head_size: float
    heading: float  # 90 to the right of the frame, -90 to the left
    stature: float  # pixels
    start: Floats  # (2,) position of the hips at the start, in pixels
    speed: float  # statures in a second, to the right
    phase: float  # of the gait at the start, in radians


def draw_walk(
    *,
    num_frames: int = 75,
    num_people: int = 2,
    image_size: tuple[int, int] = (320, 240),
    frame_rate: float = 25.0,
    seed: int = 0,
) -> Iterator[Frame]:
    """Draw people who walk through the image in both directions, frame by frame.

    Half of them start at the left, half at the right, each at a different distance, so that the nearer one hides the farther one
    where they cross. With the defaults they meet in the middle after about 1.5 seconds.

    Args:
        num_frames: number of frames.
        num_people: number of people.
        image_size: (width, height) in pixels.
        frame_rate: frames per second.
        seed: seed of the people, their speeds and positions.

    Yields:
        The frames. The same arguments give the same pixels.

    Raises:
        ValueError: if a number is out of range.
    """
    if num_frames < 1 or not 1 <= num_people <= 99 or frame_rate <= 0 or min(image_size) < 64:
        raise ValueError(
            "Expected at least one frame, 1 to 99 people, a positive frame rate and frames of 64 pixels or more, but got "
            f"num_frames={num_frames}, num_people={num_people}, frame_rate={frame_rate}, image_size={tuple(image_size)}."
        )
    rng = np.random.default_rng(seed)
    walkers = [_sample_walker(rng, image_size, number, num_people) for number in range(num_people)]
    background = make_background(rng, image_size)
    scenery = Canvas(background, np.array([-0.4, -0.9]))
    paint_clutter(scenery, rng, image_size)
    scenery.blur(1.5)
    for number in range(num_frames):
        canvas = Canvas(background, scenery.light)
        canvas.pixels = scenery.pixels.copy()
        yield _draw_frame(canvas, walkers, number / frame_rate, seed)


def _draw_frame(canvas: Canvas, walkers: list[_Walker], time: float, seed: int) -> Frame:
    """Paint all people, the farthest first, and label the visible ones."""
    people = {number: _pose(walker, time) for number, walker in enumerate(walkers, start=1)}
    painted = {}
    for number, person in people.items():  # with the same print in every frame
        painted[number] = paint_person(canvas, person, number, np.random.default_rng((seed, number)))
    found = {number: label_person(canvas.owners, person, number, painted[number]) for number, person in people.items()}
    labels: dict[int, Label] = {number: label for number, label in found.items() if label is not None}
    return Frame(
        image=develop(canvas.finish(), np.random.default_rng(seed)),  # the same light in every frame
        time=time,
        person_ids=np.array(list(labels), np.int64),
        keypoints=np.array([label.keypoints for label in labels.values()], np.float64).reshape(-1, COCO.num_keypoints, 2),
        visibility=np.array([label.visibility for label in labels.values()], np.uint8).reshape(-1, COCO.num_keypoints),
        bbox=np.array([label.bbox for label in labels.values()], np.float64).reshape(-1, 4),
    )


def _sample_walker(rng: np.random.Generator, image_size: tuple[int, int], number: int, total: int) -> _Walker:
    """Draw a random person; even numbers start at the left, one behind the other, odd numbers at the right."""
    width, height = image_size
    nearness = (number + 0.5) / total
    stature = height * float(np.interp(nearness, (0, 1), _STATURE)) * rng.uniform(0.95, 1.05)
    ground = height * float(np.interp(nearness, (0, 1), _GROUND))
    to_right = 1.0 if number % 2 == 0 else -1.0
    start = 0.06 * width - (number // 2) * 0.35 * stature
    size = sample_size(rng, arm=(0.95, 1.05), leg=(0.85, 0.96))
    return _Walker(
        outfit=sample_outfit(rng),
        size=size,
        thickness=float(rng.uniform(1.2, 1.5)),
        head_size=float(rng.uniform(1.4, 1.6)),
        heading=to_right * float(rng.uniform(55, 80)),
        stature=stature,
        start=np.array([start if to_right > 0 else width - 1 - start, ground - _LEG * stature]),
        speed=to_right * float(rng.uniform(*_SPEED)),
        phase=float(rng.uniform(0, 2 * np.pi)),
    )


def _pose(walker: _Walker, time: float) -> Person:
    """Return the person at a time in seconds."""
    distance = walker.speed * time
    phase = walker.phase + 2 * np.pi * abs(distance) / _STRIDE
    hips = walker.start + walker.stature * np.array([distance, 0.012 * np.cos(2 * phase)])
    return Person(_body(walker, phase), walker.outfit, hips, walker.stature)


def _body(walker: _Walker, phase: float) -> Body:
    """Return a walking body: shoulders turn against the hips, arm and leg of a side swing in opposite directions."""
    view = rotation(0, 5) @ rotation(1, walker.heading)
    chest = view @ rotation(0, 4) @ rotation(1, 7 * np.sin(phase))
    head = view @ rotation(0, 4)
    joints = place_trunk(view, chest, head, walker.size)
    for side, sign in SIDES:
        swing, forward = sign * np.sin(phase), sign * np.cos(phase)
        arm = (-26 * swing, 7, 22 - 14 * swing, 8, 12)
        leg = (4 + 25 * swing, 2, 6 + 52 * max(forward, 0.0) ** 1.5, 6)
        place_arm(joints, side, chest, walker.size["arm"], arm)
        place_leg(joints, side, view, walker.size["leg"], leg)
    return face_down(Body(joints, head, chest, walker.thickness, walker.head_size))
