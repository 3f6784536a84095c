"""The colours of the drawings: sides of the body, scores, ink and paper. Told apart by colour-blind readers too."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrpose.skeletons import Skeleton

Colour = tuple[float, float, float]

INK: Colour = (22, 24, 29)
PAPER: Colour = (250, 248, 243)
SIDE_COLOURS: dict[str, Colour] = {"left": (72, 160, 234), "right": (246, 146, 62), "middle": (134, 205, 152)}
_PEOPLE: tuple[Colour, ...] = (  # dark enough for light letters; neighbours differ
    *((176, 58, 46), (31, 97, 141), (25, 111, 61), (125, 60, 152), (156, 100, 12)),
    *((17, 122, 101), (148, 49, 98), (71, 84, 103), (110, 71, 40), (58, 63, 158)),
)
_SCORES = (0.0, 0.5, 1.0)
_SCORE_COLOURS = ((70, 22, 92), (222, 88, 122), (255, 247, 224))  # plum, rose, cream: darker is less sure


def keypoint_colours(skeleton: Skeleton) -> list[Colour]:
    """Give each keypoint the colour of its side."""
    return [SIDE_COLOURS[side] for side in skeleton.sides]


def limb_colours(skeleton: Skeleton) -> list[Colour]:
    """Give each edge the colour of its side: one that joins a side to the middle belongs to the side."""
    pairs = [{skeleton.sides[start], skeleton.sides[end]} - {"middle"} for start, end in skeleton.edges]
    return [SIDE_COLOURS[pair.pop() if len(pair) == 1 else "middle"] for pair in pairs]


def person_colours(numbers: NDArray[np.integer[Any]]) -> list[Colour]:
    """Give people (N,) colours by their numbers: the same person has the same one in every frame of a video."""
    return [_PEOPLE[(int(number) - 1) % len(_PEOPLE)] for number in numbers]


def score_colours(scores: NDArray[Any]) -> NDArray[np.float64]:
    """Give each score (...) a colour (..., 3), from plum for 0 to cream for 1; scores beyond are clipped."""
    channels = [np.interp(scores, _SCORES, channel) for channel in zip(*_SCORE_COLOURS, strict=True)]
    return np.stack(channels, axis=-1)
