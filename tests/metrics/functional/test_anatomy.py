"""The anatomy of errors, on predictions with a known mixture of them."""

import numpy as np
import pytest
from known_errors import inject, pairs_of_people, predict

from hrpose.metrics.functional import Detections
from hrpose.metrics.functional.anatomy import error_anatomy
from hrpose.skeletons import COCO


def test_known_mixture_is_found_exactly() -> None:
    rng = np.random.default_rng(0)
    truth = pairs_of_people(40)
    kinds = rng.choice(["good", "jitter", "inversion", "swap", "miss"], (80, 17), p=[0.6, 0.1, 0.1, 0.1, 0.1])
    kinds[:, 0] = np.where(kinds[:, 0] == "inversion", "good", kinds[:, 0])  # the nose has no mirrored keypoint
    found = predict(truth, inject(truth, kinds))
    kept = np.ones(80, dtype=bool)
    kept[[3, 10, 77]] = False  # false negatives
    junk = predict(truth, truth.keypoints - 30_000)
    detections = Detections(
        *(np.concatenate([getattr(found, name)[kept], getattr(junk, name)[:5]]) for name in vars(found))
    )
    anatomy = error_anatomy(detections, truth, COCO.sigmas, COCO.flip_permutation)
    names, counts = np.unique(kinds[kept], return_counts=True)
    assert anatomy.keypoints == dict(zip(names.tolist(), counts.tolist(), strict=True))
    assert (anatomy.false_positives, anatomy.false_negatives) == (5, 3)
    assert all(cured["AP"] > anatomy.numbers["AP"] for cured in anatomy.cured.values())


@pytest.mark.parametrize("kind", ["jitter", "inversion", "swap", "miss"])
def test_curing_the_only_kind_of_error_gives_one(kind: str) -> None:
    truth = pairs_of_people(6)
    kinds = np.full((12, 17), "good", dtype=object)
    kinds[:, [5, 8, 13]] = kind
    anatomy = error_anatomy(predict(truth, inject(truth, kinds)), truth, COCO.sigmas, COCO.flip_permutation)
    assert anatomy.cured[kind]["AP"] == 1.0
    assert anatomy.numbers["AP"] < 1
    assert all(anatomy.cured[other]["AP"] == anatomy.numbers["AP"] for other in anatomy.cured if other != kind)


def test_unlabelled_keypoints_are_no_errors() -> None:
    truth = pairs_of_people(2)
    truth.visibility[:, 4] = 0
    kinds = np.full((4, 17), "good", dtype=object)
    kinds[:, 4] = "miss"
    anatomy = error_anatomy(predict(truth, inject(truth, kinds)), truth, COCO.sigmas, COCO.flip_permutation)
    assert anatomy.keypoints == {"good": 64, "jitter": 0, "inversion": 0, "swap": 0, "miss": 0}


def test_nothing_predicted() -> None:
    truth = pairs_of_people(2)
    nothing = Detections(*(values[:0] for values in vars(predict(truth, truth.keypoints)).values()))
    anatomy = error_anatomy(nothing, truth, COCO.sigmas, COCO.flip_permutation)
    assert (anatomy.false_positives, anatomy.false_negatives, anatomy.numbers["AP"]) == (0, 4, 0.0)
