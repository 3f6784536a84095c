"""The best score threshold, and the calibration of keypoint scores."""

import numpy as np
import pytest
from keypoint_oracle import detections_from_coco, random_case, truth_from_coco
from known_errors import AREA, pairs_of_people, predict

from hrpose.metrics.functional import Detections, keypoint_variances, match_detections
from hrpose.metrics.functional.calibration import calibrate_keypoint_scores, optimal_score_threshold
from hrpose.skeletons import COCO


def test_the_threshold_separates_correct_and_wrong_predictions() -> None:
    truth = pairs_of_people(3)
    keypoints = truth.keypoints.copy()
    keypoints[4:] -= 30_000  # the two of the lowest scores
    detections = predict(truth, keypoints)
    best = optimal_score_threshold(match_detections(detections, truth, COCO.sigmas))
    assert best.score == detections.scores[3]
    assert (best.precision, best.recall) == (1.0, pytest.approx(4 / 6))
    assert best.f1 == pytest.approx(2 * 4 / (4 + 6))


@pytest.mark.parametrize("seed", range(5))
def test_no_other_threshold_has_a_higher_f1(seed: int) -> None:
    annotations, results, sigmas = random_case(seed, num_keypoints=4)
    detections, truth = detections_from_coco(results, 4), truth_from_coco(annotations, 4)
    best = optimal_score_threshold(match_detections(detections, truth, sigmas))
    for score in np.unique(detections.scores):
        kept = Detections(*(values[detections.scores >= score] for values in vars(detections).values()))
        matches = match_detections(kept, truth, sigmas)
        counted = ~matches.ignored[0]
        right = ((matches.instances[0] >= 0) & counted).sum(axis=1)
        f1 = (2 * right / max(1, counted.sum(axis=1).max() + (~matches.instance_ignored[0]).sum())).mean()
        assert f1 <= best.f1 + 1e-12


def test_without_correct_predictions_the_threshold_is_infinite() -> None:
    truth = pairs_of_people(1)
    detections = predict(truth, truth.keypoints - 30_000)
    assert optimal_score_threshold(match_detections(detections, truth, COCO.sigmas)).score == np.inf


def test_scores_that_are_the_similarities_are_calibrated() -> None:
    rng = np.random.default_rng(0)
    truth = pairs_of_people(20)
    similarity = rng.uniform(0.2, 1, (40, 17))
    keypoints = truth.keypoints.copy()
    keypoints[..., 0] += np.sqrt(-2 * np.log(similarity) * keypoint_variances(COCO.sigmas) * AREA)
    curve = calibrate_keypoint_scores(predict(truth, keypoints), similarity, truth, COCO.sigmas)
    assert curve.counts.sum() == 40 * 17
    assert curve.error == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(curve.scores[2:], curve.similarities[2:], atol=1e-9)
    assert np.isnan(curve.scores[:2]).all()
    assert curve.edges.tolist() == np.linspace(0, 1, 11).tolist()


def test_error_is_the_mean_distance() -> None:
    truth = pairs_of_people(2)
    curve = calibrate_keypoint_scores(predict(truth, truth.keypoints), np.full((4, 17), 0.75), truth, COCO.sigmas)
    assert curve.error == pytest.approx(0.25)
    with pytest.raises(ValueError, match=r"`keypoint_scores`.*\(4, 17\).*`num_bins`.*\(4, 3\)"):
        calibrate_keypoint_scores(predict(truth, truth.keypoints), np.zeros((4, 3)), truth, COCO.sigmas)


def test_without_pairs_the_calibration_error_is_nan() -> None:
    truth = pairs_of_people(1)
    curve = calibrate_keypoint_scores(predict(truth, truth.keypoints - 30_000), np.ones((2, 17)), truth, COCO.sigmas)
    assert np.isnan(curve.error)
