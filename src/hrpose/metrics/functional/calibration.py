"""Whether scores mean what they say: the best score to cut at, and keypoint scores against keypoint similarity.

Legend of the shapes: N predictions, M annotated persons, K keypoints, D kept predictions, T OKS thresholds, b bins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hrpose.metrics.functional.matching import Detections, Matches, keypoint_similarity, pair_persons
from hrpose.metrics.functional.oks import Floats, Indices, keypoint_variances
from hrpose.structures import GroundTruth


@dataclass(frozen=True)
class ScoreThreshold:
    """Where to cut: predictions of at least this score stay.

    Attributes:
        score: the threshold; infinite if nothing is better than everything.
        f1: harmonic mean of precision and recall, averaged over the OKS thresholds; 0 if nothing is right.
        precision: share of the predictions that are right, averaged the same way.
        recall: share of the persons that are found, averaged the same way.
    """

    score: float
    f1: float
    precision: float
    recall: float


@dataclass(frozen=True, eq=False)
class Calibration:
    """Keypoint scores against how close the keypoints are, in bins of equal width from 0 to 1.

    Attributes:
        edges: (b + 1,) scores between the bins; scores beyond 0 and 1 go to the outer bins.
        counts: (b,) labelled keypoints of paired predictions in each bin.
        scores: (b,) their mean score; NaN in empty bins.
        similarities: (b,) their mean similarity exp(-d^2 / (2 var s^2)); NaN in empty bins.
        error: mean distance between score and similarity of a bin, weighted by counts; NaN without any keypoint.
    """

    edges: Floats
    counts: Indices
    scores: Floats
    similarities: Floats
    error: float


def optimal_score_threshold(matches: Matches) -> ScoreThreshold:
    """Find the score that divides predictions best into those to keep and those to drop: of the highest F1.

    Args:
        matches: from `match_detections`, with an area range "all".

    Returns:
        The threshold and how good it is; all categories together.

    Raises:
        ValueError: if there is no area range "all".
    """
    if "all" not in matches.area_names:
        raise ValueError(
            f"Expected argument `matches` to have an area range `all`, but got {list(matches.area_names)}."
        )
    area = matches.area_names.index("all")
    counted = ~matches.ignored[area]
    found = np.cumsum((matches.persons[area] >= 0) & counted, axis=1)
    shown = np.cumsum(counted, axis=1)
    num_persons = int((~matches.person_ignored[area]).sum())
    f1 = (2 * found / np.maximum(shown + num_persons, 1)).mean(axis=0)
    cuts = np.flatnonzero(np.append(matches.scores[1:] != matches.scores[:-1], True)[: len(matches.scores)])
    if not len(cuts) or f1[cuts].max() == 0:
        return ScoreThreshold(float("inf"), 0.0, 0.0, 0.0)
    cut = cuts[np.argmax(f1[cuts])]
    precision, recall = found[:, cut] / np.maximum(shown[:, cut], 1), found[:, cut] / max(num_persons, 1)
    return ScoreThreshold(float(matches.scores[cut]), float(f1[cut]), float(precision.mean()), float(recall.mean()))


def calibrate_keypoint_scores(
    detections: Detections,
    keypoint_scores: ArrayLike,
    truth: GroundTruth,
    sigmas: ArrayLike,
    *,
    num_bins: int = 10,
    max_detections: int = 20,
) -> Calibration:
    """Compare the scores of keypoints with how close they are to where they belong.

    Args:
        detections: N predictions.
        keypoint_scores: (N, K) scores of their keypoints.
        truth: M annotated persons, and all photos.
        sigmas: (K,) per-keypoint constants of the skeleton.
        num_bins: b.
        max_detections: how many predictions of a photo and category count, the best first.

    Returns:
        The curve, over labelled keypoints of predictions that are paired with a person (OKS of at least 0.1).

    Raises:
        ValueError: if the scores are not (N, K), or there is no bin.
    """
    given = np.asarray(keypoint_scores, dtype=np.float64)
    if given.shape != detections.keypoints.shape[:2] or num_bins < 1:
        raise ValueError(
            f"Expected argument `keypoint_scores` to be {detections.keypoints.shape[:2]} and `num_bins` positive, "
            f"but got {given.shape} and {num_bins}."
        )
    pairs = pair_persons(detections, truth, sigmas, max_detections=max_detections)
    labelled = truth.visibility[pairs.persons] > 0
    similarity = keypoint_similarity(
        detections.keypoints[pairs.rows],
        truth.keypoints[pairs.persons],
        truth.area[pairs.persons],
        keypoint_variances(sigmas),
    )[labelled]
    scores = given[pairs.rows][labelled]
    bins = np.clip((scores * num_bins).astype(np.int64), 0, num_bins - 1)
    counts = np.bincount(bins, minlength=num_bins)
    filled = np.where(counts > 0, counts, np.nan)
    mean_scores = np.bincount(bins, weights=scores, minlength=num_bins) / filled
    means = np.bincount(bins, weights=similarity, minlength=num_bins) / filled
    error = float(np.nansum(counts * np.abs(mean_scores - means)) / counts.sum()) if counts.sum() else float("nan")
    return Calibration(np.linspace(0, 1, num_bins + 1), counts, mean_scores, means, error)
