"""OKS against its definition and against the reference, bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keypoint_oracle import detections_from_coco, random_case, truth_from_coco
from pycocotools.cocoeval import COCOeval

from hrpose.metrics.functional import keypoint_variances, oks_between, oks_matrix
from hrpose.metrics.functional.oks import enclosed_areas, may_reach
from hrpose.skeletons import COCO
from hrpose.structures import GroundTruth


def person(keypoints: np.ndarray, visibility: np.ndarray, area: float, bbox: tuple[float, ...] = (0, 0, 0, 0)) -> GroundTruth:
    one = np.ones(1, dtype=np.int64)
    arrays = (keypoints[None].astype(float), visibility[None].astype(np.uint8), np.array([bbox], float), np.array([area]))
    return GroundTruth(one, one, one, one, *arrays, np.zeros(1, dtype=bool))


def test_definition_by_hand() -> None:
    # sigma 0.05, area 400: e = d^2 / (2 * 0.1^2 * 400) = d^2 / 8; distances 2 and 4 count, the third keypoint is unlabelled
    truth = person(np.array([[10, 10], [20, 20], [0, 0]]), np.array([2, 1, 0]), 400.0)
    poses = np.array([[[12, 10], [20, 24], [500, 500]]])
    expected = (np.exp(-0.5) + np.exp(-2.0)) / 2
    assert oks_matrix(poses, truth, [0.05] * 3)[0, 0] == pytest.approx(expected, rel=1e-12)


def test_an_instance_without_keypoints_is_a_region_around_its_box() -> None:
    truth = person(np.zeros((2, 2)), np.zeros(2), 400.0, bbox=(100, 100, 20, 20))  # region 80..140 along both axes
    inside, outside = [[81, 139], [139, 81]], [[78, 100], [100, 100]]
    expected = [1.0, (np.exp(-(2**2) / 8) + 1) / 2]
    assert oks_matrix(np.array([inside, outside]), truth, [0.05] * 2)[:, 0] == pytest.approx(expected, rel=1e-12)


def test_two_predictions_share_the_mean_of_their_areas() -> None:
    poses = np.array([[[0.0, 0.0]], [[3.0, 4.0]]])
    variances = keypoint_variances([0.05])
    rows = np.array([0]), np.array([1])
    similarity = oks_between(poses, np.array([300.0, 500.0]), variances, *rows)
    assert similarity[0] == pytest.approx(np.exp(-25 / 8), rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), num_keypoints=st.integers(1, 133))
def test_matrix_equals_the_reference_to_the_bit(seed: int, num_keypoints: int) -> None:
    annotations, results, sigmas = random_case(seed, num_keypoints=num_keypoints, num_images=1)
    annotations["annotations"] = sorted(annotations["annotations"], key=lambda row: row["id"])
    results = sorted(results, key=lambda row: -row["score"])[:20]
    evaluation = COCOeval(None, None, "keypoints")
    evaluation.params.kpt_oks_sigmas = sigmas
    evaluation._gts = {(3, 1): annotations["annotations"]}
    evaluation._dts = {(3, 1): results}
    wanted = evaluation.computeOks(3, 1)
    got = oks_matrix(detections_from_coco(results, num_keypoints).keypoints, truth_from_coco(annotations, num_keypoints), sigmas)
    assert got.tolist() == (wanted.tolist() if len(wanted) else got.tolist())


def test_sigmas_must_be_positive_and_match_the_keypoints() -> None:
    with pytest.raises(ValueError, match="`sigmas`"):
        keypoint_variances([0.1, 0.0])
    with pytest.raises(ValueError, match=r"`keypoints`.*\(D, 17, 2\).*\(1, 3, 2\)"):
        oks_matrix(np.zeros((1, 3, 2)), person(np.zeros((17, 2)), np.ones(17), 1.0), COCO.sigmas)
    with pytest.raises(ValueError, match=r"`truth`.*17 keypoints.*3"):
        oks_matrix(np.zeros((1, 17, 2)), person(np.zeros((3, 2)), np.ones(3), 1.0), COCO.sigmas)


def test_area_of_the_box_around_a_pose() -> None:
    assert enclosed_areas(np.array([[[1.0, 2.0], [4.0, 8.0], [2.0, 3.0]]])).tolist() == [18.0]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), num_keypoints=st.sampled_from([1, 2, 17]), lowest=st.sampled_from([0.0, 0.01, 0.5, 0.95, 1.0])
)
def test_no_pair_that_reaches_the_threshold_is_left_out(seed: int, num_keypoints: int, lowest: float) -> None:
    annotations, results, sigmas = random_case(seed, num_keypoints=num_keypoints)
    keypoints, truth = (detections_from_coco(results, num_keypoints).keypoints, truth_from_coco(annotations, num_keypoints))
    similarity = oks_matrix(keypoints, truth, sigmas)
    rows, columns = np.indices(similarity.shape).reshape(2, -1)
    may = may_reach(lowest, keypoints, truth, keypoint_variances(sigmas).max(), rows, columns)
    assert may[similarity.ravel() >= lowest].all()
