"""The boxes around poses: areas, and the bound that spares the exact OKS."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from keypoint_oracle import detections_from_coco, random_case, truth_from_coco

from hrpose.metrics.functional import keypoint_variances, oks_matrix
from hrpose.metrics.functional.extent import enclosed_areas, may_reach


def test_area_of_the_box_around_a_pose() -> None:
    assert enclosed_areas(np.array([[[1.0, 2.0], [4.0, 8.0], [2.0, 3.0]]])).tolist() == [18.0]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_keypoints=st.sampled_from([1, 2, 17]),
    lowest=st.sampled_from([0.0, 0.01, 0.5, 0.95, 1.0]),
)
def test_no_pair_that_reaches_the_threshold_is_spared(seed: int, num_keypoints: int, lowest: float) -> None:
    annotations, results, sigmas = random_case(seed, num_keypoints=num_keypoints)
    keypoints, truth = (
        detections_from_coco(results, num_keypoints).keypoints,
        truth_from_coco(annotations, num_keypoints),
    )
    similarity = oks_matrix(keypoints, truth, sigmas)
    rows, columns = np.indices(similarity.shape).reshape(2, -1)
    may = may_reach(lowest, keypoints, truth, keypoint_variances(sigmas).max(), rows, columns)
    assert may[similarity.ravel() >= lowest].all()
