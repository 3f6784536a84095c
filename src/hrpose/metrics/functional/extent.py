"""The boxes around poses: what they enclose, and how far apart two poses are at least.

Legend of the shapes: D N predictions, M annotated persons, P pairs, K keypoints.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hrpose.metrics.functional.oks import Floats, Indices
from hrpose.structures import GroundTruth


def enclosed_areas(keypoints: Floats) -> Floats:
    """Give the area of the box around each pose, which stands for the person's where no better one is known.

    Args:
        keypoints: (N, K, 2) in image pixels.

    Returns:
        (N,) areas in square pixels.
    """
    columns = _columns(keypoints)
    width, height = columns.max(axis=0) - columns.min(axis=0)
    areas: Floats = width * height
    return areas


def may_reach(
    lowest: float, keypoints: Floats, truth: GroundTruth, variance: float, predictions: Indices, persons: Indices
) -> NDArray[np.bool_]:
    """Tell which pairs may have an OKS of `lowest`, from the boxes around their keypoints alone.

    If the boxes are a gap apart, every keypoint is at least that far off, so OKS <= exp(-gap^2 / (2 variance area)).

    Args:
        lowest: the OKS in question.
        keypoints: (D, K, 2) predictions in image pixels.
        truth: M annotated persons.
        variance: the largest of the keypoints' OKS variances.
        predictions: (P,) the prediction of each pair.
        persons: (P,) the annotated person of each pair.

    Returns:
        (P,) False where the pair certainly has a lower OKS.
    """
    if lowest <= 0:
        return np.ones(len(predictions), dtype=bool)
    columns = _columns(keypoints)
    low, high = columns.min(axis=0), columns.max(axis=0)
    labelled = (truth.visibility > 0)[..., None]
    person_low = _columns(np.where(labelled, truth.keypoints, np.inf)).min(axis=0)
    person_high = _columns(np.where(labelled, truth.keypoints, -np.inf)).max(axis=0)
    blank = ~labelled.any(axis=(1, 2))
    person_low[:, blank] = (truth.bbox[blank, :2] - truth.bbox[blank, 2:]).T
    person_high[:, blank] = (truth.bbox[blank, :2] + truth.bbox[blank, 2:] * 2).T
    gap = np.full(len(predictions), -np.inf)
    for axis in (0, 1):
        np.maximum(gap, person_low[axis].take(persons) - high[axis].take(predictions), out=gap)
        np.maximum(gap, low[axis].take(predictions) - person_high[axis].take(persons), out=gap)
    reach = np.sqrt(-2 * np.log(min(lowest, 1)) * variance * (truth.area + 1e-9)) * (1 + 1e-6) + 1e-6
    reached: NDArray[np.bool_] = gap <= reach.take(persons)
    return reached


def _columns(keypoints: Floats) -> Floats:
    """Lay keypoints (N, K, 2) out as (K, 2, N), where a minimum over K runs along memory."""
    number, num_keypoints, _ = keypoints.shape
    return np.ascontiguousarray(keypoints.reshape(number, 2 * num_keypoints).T).reshape(num_keypoints, 2, number)
