"""The quality of scores: the best score threshold, and the calibration of keypoint scores.

Legend of the shapes: N predictions, K keypoints, b bins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hrpose.metrics.functional.matching import Detections, Matches, keypoint_similarity, pair_instances
from hrpose.metrics.functional.oks import Floats, Indices, keypoint_variances
from hrpose.structures import GroundTruth


@dataclass(frozen=True)
class ScoreThreshold:
    """A score threshold: predictions with at least this score are kept."""

    score: float  # the threshold; infinite if no prediction is correct
    f1: float  # harmonic mean of precision and recall, averaged over the OKS thresholds; 0 if no prediction is correct
    precision: float  # share of correct predictions, averaged over the OKS thresholds
    recall: float  # share of instances that are found, averaged over the OKS thresholds


@dataclass(frozen=True, eq=False)
class Calibration:
    """Mean keypoint score and mean keypoint similarity in score bins of equal width from 0 to 1."""

    edges: Floats  # (b + 1,) edges of the bins; scores outside 0 to 1 are in the outer bins
    counts: Indices  # (b,) number of labelled keypoints of paired predictions in each bin
    scores: Floats  # (b,) their mean score; NaN in empty bins
    similarities: Floats  # (b,) their mean similarity exp(-d^2 / (2 var s^2)); NaN in empty bins
    error: float  # mean absolute difference of score and similarity over bins, weighted by counts; NaN without keypoints


def optimal_score_threshold(matches: Matches) -> ScoreThreshold:
    """Find the score threshold of highest F1 over all categories, in the area range "all" of the matches."""
    if "all" not in matches.area_names:
        raise ValueError(f"Expected argument `matches` to have an area range `all`, but got {list(matches.area_names)}.")
    area = matches.area_names.index("all")
    counted = ~matches.ignored[area]
    found = np.cumsum((matches.instances[area] >= 0) & counted, axis=1)
    shown = np.cumsum(counted, axis=1)
    num_instances = int((~matches.instance_ignored[area]).sum())
    f1 = (2 * found / np.maximum(shown + num_instances, 1)).mean(axis=0)
    cuts = np.flatnonzero(np.append(matches.scores[1:] != matches.scores[:-1], True)[: len(matches.scores)])
    if not len(cuts) or f1[cuts].max() == 0:
        return ScoreThreshold(float("inf"), 0.0, 0.0, 0.0)
    cut = cuts[np.argmax(f1[cuts])]
    precision, recall = found[:, cut] / np.maximum(shown[:, cut], 1), found[:, cut] / max(num_instances, 1)
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
    """Compare keypoint scores (N, K) with keypoint similarities, in `num_bins` bins.

    Only labelled keypoints of predictions that are paired with an instance (OKS of at least 0.1) count. For the other arguments
    see `match_detections`.

    Raises:
        ValueError: if the scores are not (N, K), or `num_bins` is not positive.
    """
    given = np.asarray(keypoint_scores, dtype=np.float64)
    if given.shape != detections.keypoints.shape[:2] or num_bins < 1:
        raise ValueError(
            f"Expected argument `keypoint_scores` to be {detections.keypoints.shape[:2]} and `num_bins` positive, "
            f"but got {given.shape} and {num_bins}."
        )
    pairs = pair_instances(detections, truth, sigmas, max_detections=max_detections)
    labelled = truth.visibility[pairs.instances] > 0
    similarity = keypoint_similarity(
        detections.keypoints[pairs.rows],
        truth.keypoints[pairs.instances],
        truth.area[pairs.instances],
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
