"""The rules of COCO's matching one by one."""

from typing import Any

import numpy as np
import pytest
from known_errors import AREA, pairs_of_people, predict

from hrpose.metrics.functional import Detections, keypoint_variances, match_detections
from hrpose.metrics.functional.matching import OKS_THRESHOLDS, keypoint_similarity, pair_instances, position_among_equals
from hrpose.skeletons import COCO
from hrpose.structures import GroundTruth


def people(*x: float, area: float = 2000.0, crowd: tuple[int, ...] = (), blank: tuple[int, ...] = ()) -> GroundTruth:
    """Persons of one keypoint on a line, in one image."""
    number = len(x)
    visibility = np.array([[0 if row in blank else 2] for row in range(number)], dtype=np.uint8)
    places = np.array(x, dtype=float)
    one = np.ones(number, dtype=np.int64)
    return GroundTruth(
        np.ones(1, np.int64), one, np.arange(number), one, np.stack([places, 0 * places], axis=1)[:, None], visibility,
        np.stack([places - 5, 0 * places - 5, 0 * places + 10, 0 * places + 10], axis=1), np.full(number, area),
        np.isin(np.arange(number), crowd),
    )  # fmt: skip


def found(*x: float, scores: tuple[float, ...] | None = None, area: float = 2000.0, image_id: int = 1) -> Detections:
    places = np.array(x, dtype=float)
    one = np.ones(len(x), dtype=np.int64)
    score = np.linspace(0.9, 0.1, len(x)) if scores is None else np.array(scores)
    return Detections(one * image_id, one, np.stack([places, 0 * places], axis=1)[:, None], score, np.full(len(x), area))


def match(detections: Detections, truth: GroundTruth, **kwargs: Any) -> tuple[list[int], list[bool]]:
    """Persons and ignore flags at OKS 0.5 in the range "all", by row of the detections."""
    matches = match_detections(detections, truth, [0.1], oks_thresholds=[0.5], **kwargs)
    order = np.argsort(matches.rows)
    return matches.instances[0, 0][order].tolist(), matches.ignored[0, 0][order].tolist()


def test_predictions_are_matched_in_the_order_of_scores() -> None:
    assert match(found(1, 0, scores=(0.9, 0.8)), people(0)) == ([0, -1], [False, False])
    assert match(found(1, 0, scores=(0.8, 0.9)), people(0)) == ([-1, 0], [False, False])


def test_the_free_instance_of_highest_oks_is_matched() -> None:
    assert match(found(0, 0.5), people(1, 0))[0] == [1, 0]


def test_at_equal_oks_the_later_instance_is_matched() -> None:
    assert match(found(0, 0), people(1, -1))[0] == [1, 0]


def test_crowds_are_matched_repeatedly_and_ignored() -> None:
    assert match(found(0, 0, 0), people(0, crowd=(0,))) == ([0, 0, 0], [True, True, True])


def test_a_counted_instance_precedes_a_nearer_crowd() -> None:
    assert match(found(0, 0), people(0, 2, crowd=(0,))) == ([1, 0], [False, True])


def test_an_instance_without_keypoints_is_ignored_and_matched_once() -> None:
    assert match(found(0, 0), people(0, blank=(0,))) == ([0, -1], [True, False])


def test_unmatched_predictions_outside_of_the_area_range_are_ignored() -> None:
    small = {"area_ranges": {"all": (0, 100)}}
    assert match(found(0, 500, area=2000.0), people(0, area=50.0), **small) == ([0, -1], [False, True])


def test_both_ends_of_an_area_range_belong_to_it() -> None:
    matches = match_detections(
        found(0), people(0, area=1024.0), [0.1], area_ranges={"a": (0, 1024), "b": (1024, 9216), "c": (1025, 9)}
    )
    assert matches.instance_ignored[:, 0].tolist() == [False, False, True]


def test_only_the_best_predictions_of_an_image_count() -> None:
    matches = match_detections(found(0, 0, 0, scores=(0.1, 0.3, 0.2)), people(0), [0.1], max_detections=2)
    assert matches.rows.tolist() == [1, 2]


def test_similarity_at_the_threshold_is_enough() -> None:
    assert match(found(0), people(0))[0] == [0]
    matches = match_detections(found(0), people(0), [0.1], oks_thresholds=[1.0])
    assert matches.instances[0, 0].tolist() == [0]


def test_predictions_match_only_instances_of_their_category() -> None:
    truth = people(0)
    other = Detections(**{**vars(found(0)), "category_ids": np.array([2])})
    assert len(match_detections(other, truth, [0.1]).rows) == 0


def test_thresholds_are_those_of_the_reference() -> None:
    assert list(OKS_THRESHOLDS) == np.linspace(0.5, 0.95, 10).tolist()


def test_unknown_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"1 image ids are not annotated.*\[5\]"):
        match_detections(found(0, image_id=5), people(0), [0.1])


def test_position_among_equals() -> None:
    assert position_among_equals(np.array([7, 5, 7, 7, 5])).tolist() == [0, 0, 1, 2, 1]
    assert position_among_equals(np.zeros(0, dtype=np.int64)).tolist() == []


def test_every_row_is_paired_alone_or_missed() -> None:
    truth = pairs_of_people(3)
    keypoints = truth.keypoints.copy()
    keypoints[2] -= 30_000
    truth.iscrowd[5] = True
    pairs = pair_instances(predict(truth, keypoints), truth, COCO.sigmas)
    assert pairs.rows.tolist() == pairs.instances.tolist() == [0, 1, 3, 4]
    assert (pairs.alone.tolist(), pairs.missed.tolist()) == ([2], [2])


def test_keypoint_similarity_by_hand() -> None:
    got = keypoint_similarity(np.array([[[3.0, 4.0]]]), np.zeros((1, 1, 2)), np.array([AREA]), keypoint_variances([0.05]))
    assert got[0, 0] == pytest.approx(np.exp(-25 / (2 * 0.01 * AREA)), rel=1e-12)
