"""The anatomy of errors, on predictions with a known mixture of them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keypoint_oracle import detections_from_coco, random_case, truth_from_coco
from known_errors import inject, pairs_of_people, predict

from hrpose.metrics.functional import Detections
from hrpose.metrics.functional.anatomy import error_anatomy
from hrpose.metrics.functional.matching import pair_instances
from hrpose.skeletons import COCO


def test_a_known_mixture_of_errors_is_found_exactly() -> None:
    rng = np.random.default_rng(0)
    truth = pairs_of_people(40)
    kinds = rng.choice(["good", "jitter", "inversion", "swap", "miss"], (80, 17), p=[0.6, 0.1, 0.1, 0.1, 0.1])
    kinds[:, 0] = np.where(kinds[:, 0] == "inversion", "good", kinds[:, 0])  # the nose has no mirrored keypoint
    found = predict(truth, inject(truth, kinds))
    kept = np.ones(80, dtype=bool)
    kept[[3, 10, 77]] = False  # false negatives
    junk = predict(truth, truth.keypoints - 30_000)
    detections = Detections(*(np.concatenate([getattr(found, name)[kept], getattr(junk, name)[:5]]) for name in vars(found)))
    anatomy = error_anatomy(detections, truth, COCO.sigmas, COCO.flip_permutation)
    names, counts = np.unique(kinds[kept], return_counts=True)
    assert anatomy.keypoints == dict(zip(names.tolist(), counts.tolist(), strict=True))
    assert (anatomy.false_positives, anatomy.false_negatives) == (5, 3)
    assert all(fixed["AP"] > anatomy.numbers["AP"] for fixed in anatomy.fixed.values())


@pytest.mark.parametrize("kind", ["jitter", "inversion", "swap", "miss"])
def test_fixing_the_only_kind_of_error_gives_an_ap_of_one(kind: str) -> None:
    truth = pairs_of_people(6)
    kinds = np.full((12, 17), "good", dtype=object)
    kinds[:, [5, 8, 13]] = kind
    anatomy = error_anatomy(predict(truth, inject(truth, kinds)), truth, COCO.sigmas, COCO.flip_permutation)
    assert anatomy.fixed[kind]["AP"] == 1.0
    assert anatomy.numbers["AP"] < 1
    assert all(anatomy.fixed[other]["AP"] == anatomy.numbers["AP"] for other in anatomy.fixed if other != kind)


def test_unlabelled_keypoints_are_not_errors() -> None:
    truth = pairs_of_people(2)
    truth.visibility[:, 4] = 0
    kinds = np.full((4, 17), "good", dtype=object)
    kinds[:, 4] = "miss"
    anatomy = error_anatomy(predict(truth, inject(truth, kinds)), truth, COCO.sigmas, COCO.flip_permutation)
    assert anatomy.keypoints == {"good": 64, "jitter": 0, "inversion": 0, "swap": 0, "miss": 0}


def test_no_predictions_give_only_false_negatives() -> None:
    truth = pairs_of_people(2)
    nothing = Detections(*(values[:0] for values in vars(predict(truth, truth.keypoints)).values()))
    anatomy = error_anatomy(nothing, truth, COCO.sigmas, COCO.flip_permutation)
    assert (anatomy.false_positives, anatomy.false_negatives, anatomy.numbers["AP"]) == (0, 4, 0.0)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_images=st.integers(1, 4),
    num_categories=st.integers(1, 2),
    distinct=st.booleans(),
    max_detections=st.sampled_from([2, 20]),
)
def test_no_fix_lowers_a_number(seed: int, num_images: int, num_categories: int, distinct: bool, max_detections: int) -> None:
    annotations, results, sigmas = random_case(seed, num_images=num_images, num_categories=num_categories, distinct=distinct)
    anatomy = error_anatomy(
        detections_from_coco(results), truth_from_coco(annotations), sigmas, COCO.flip_permutation,
        max_detections=max_detections,
    )  # fmt: skip
    for kind, fixed in anatomy.fixed.items():
        for name, before in anatomy.numbers.items():
            nobody_left = kind == "false negatives" and fixed[name] == -1
            assert fixed[name] >= before or nobody_left, (kind, name)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_fixing_everything_gives_an_ap_of_one(seed: int) -> None:
    annotations, results, sigmas = random_case(seed, distinct=True)
    detections, truth = detections_from_coco(results), truth_from_coco(annotations)
    pairs = pair_instances(detections, truth, sigmas)
    fixed = Detections(**{name: values[pairs.rows] for name, values in vars(detections).items()})
    fixed = replace(fixed, keypoints=truth.keypoints[pairs.instances])
    left = truth.select(np.setdiff1d(np.arange(len(truth)), pairs.missed))
    anatomy = error_anatomy(fixed, left, sigmas, COCO.flip_permutation)
    assert anatomy.numbers["AP"] == (pytest.approx(1.0, abs=1e-12) if len(pairs.rows) else -1)
    assert sum(anatomy.keypoints.values()) == anatomy.keypoints["good"]
    assert (anatomy.false_positives, anatomy.false_negatives) == (0, 0)


def test_a_prediction_that_matches_at_a_higher_threshold_is_not_removed() -> None:
    """At OKS 0.1 the poor prediction of higher score takes the person; from 0.5 on the exact one is the match."""
    truth = pairs_of_people(1).select([0])
    poor, exact = truth.keypoints.copy(), truth.keypoints
    poor[:, 3:] += 50_000  # 3 of 17 keypoints are right: OKS 0.18
    detections = Detections(
        np.zeros(2, np.int64), np.ones(2, np.int64), np.concatenate([poor, exact]), np.array([0.9, 0.8]), np.ones(2)
    )
    anatomy = error_anatomy(detections, truth, COCO.sigmas, COCO.flip_permutation)
    assert (anatomy.false_positives, anatomy.numbers["AP"]) == (1, 0.5)
    assert anatomy.fixed["false positives"]["AP"] == 0.5
