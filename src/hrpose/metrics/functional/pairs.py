"""Which person each prediction stands for, and how close each of its keypoints is: the ground of every finer analysis.

Legend of the shapes: N predictions, M annotated persons, P pairs, K keypoints.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hrpose.metrics.functional.matching import Detections, match_detections
from hrpose.metrics.functional.oks import Floats, Indices
from hrpose.structures import GroundTruth

_TINY = np.spacing(1)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Predictions and the persons they stand for.

    Attributes:
        rows: (P,) the prediction of each pair, the best score first.
        persons: (P,) its person.
        alone: rows of the predictions that stand for nobody; those on crowds and on persons without keypoints are in neither.
        missed: rows of the persons that no prediction stands for.
    """

    rows: Indices
    persons: Indices
    alone: Indices
    missed: Indices


def pair_persons(
    detections: Detections, truth: GroundTruth, sigmas: ArrayLike, *, lowest: float = 0.1, max_detections: int = 20
) -> Pairs:
    """Pair predictions with persons as COCO matches them, at one low OKS and without regard to size.

    Args:
        detections: N predictions.
        truth: M annotated persons, and all photos.
        sigmas: (K,) per-keypoint constants of the skeleton.
        lowest: OKS from which on a prediction and a person are a pair.
        max_detections: how many predictions of a photo and category count, the best first.

    Returns:
        The pairs, and who is left.
    """
    matches = match_detections(
        detections,
        truth,
        sigmas,
        oks_thresholds=(lowest,),
        area_ranges={"all": (0.0, float("inf"))},
        max_detections=max_detections,
    )
    taken, ignored = matches.persons[0, 0], matches.ignored[0, 0]
    paired = (taken >= 0) & ~ignored
    persons = taken[paired].astype(np.int64)
    missed = ~matches.person_ignored[0]
    missed[persons] = False
    return Pairs(matches.rows[paired], persons, matches.rows[(taken < 0) & ~ignored], np.flatnonzero(missed))


def keypoint_similarity(points: Floats, places: Floats, areas: Floats, variances: Floats) -> Floats:
    """Give exp(-d^2 / (2 var s^2)) of single keypoints: what OKS is the mean of.

    Args:
        points: (P, K, 2) in image pixels.
        places: (P, K, 2) where they belong.
        areas: (P,) of the persons in square pixels.
        variances: (K,) from `keypoint_variances`.

    Returns:
        (P, K) from 0 to 1.
    """
    squares = np.square(points - places).sum(axis=2)
    similarity: Floats = np.exp(-squares / variances / (areas[:, None] + _TINY) / 2)
    return similarity
