"""Who stands for whom."""

import numpy as np
import pytest
from known_errors import AREA, pairs_of_people, predict

from hrpose.metrics.functional import keypoint_variances
from hrpose.metrics.functional.pairs import keypoint_similarity, pair_persons
from hrpose.skeletons import COCO


def test_everyone_is_paired_alone_or_missed() -> None:
    truth = pairs_of_people(3)
    keypoints = truth.keypoints.copy()
    keypoints[2] -= 30_000
    truth.iscrowd[5] = True
    pairs = pair_persons(predict(truth, keypoints), truth, COCO.sigmas)
    assert pairs.rows.tolist() == pairs.persons.tolist() == [0, 1, 3, 4]
    assert (pairs.alone.tolist(), pairs.missed.tolist()) == ([2], [2])


def test_keypoint_similarity_by_hand() -> None:
    got = keypoint_similarity(
        np.array([[[3.0, 4.0]]]), np.zeros((1, 1, 2)), np.array([AREA]), keypoint_variances([0.05])
    )
    assert got[0, 0] == pytest.approx(np.exp(-25 / (2 * 0.01 * AREA)), rel=1e-12)
