"""Rescore instances by their keypoints: a box that holds no confident keypoint is no person."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from hrpose.metrics.functional.oks import Floats


def rescore(bbox_scores: ArrayLike, keypoint_scores: ArrayLike, *, threshold: float = 0.2) -> Floats:
    """Multiply the box scores by the mean of the confident keypoint scores.

    Args:
        bbox_scores: (N,) scores of the boxes, 1 for annotated ones.
        keypoint_scores: (N, K) float32 heights of the heatmaps' peaks. The mean is taken in float32, keypoint by keypoint, as
            the paper's code does.
        threshold: keypoints count whose score is above it; an instance without any gets 0.

    Returns:
        (N,) float64 instance scores.

    Raises:
        ValueError: if the arguments disagree in length.

    Example:
        >>> rescore([0.5], np.array([[0.5, 1.0, 0.1]], dtype=np.float32))
        array([0.375])
    """
    boxes, heights = np.asarray(bbox_scores, dtype=np.float64), np.asarray(keypoint_scores)
    if heights.ndim != 2 or boxes.shape != heights.shape[:1]:
        raise ValueError(
            "Expected arguments `bbox_scores` (N,) and `keypoint_scores` (N, K) to have the same N, "
            f"but got {boxes.shape} and {heights.shape}."
        )
    confident = heights > threshold
    total = np.cumsum(np.where(confident, heights, 0), axis=1, dtype=heights.dtype)[:, -1]
    count = np.maximum(confident.sum(axis=1), 1).astype(heights.dtype)
    scores: Floats = boxes * (total / count)
    return scores
