"""The interval of AP is one of APs: resamples without an annotated person are not in it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keypoint_oracle import detections_from_coco, random_case, truth_from_coco
from small_case import PROTOCOL

from hrpose.metrics.functional import match_detections
from hrpose.report import COLUMNS, Measurement, compare_measurements
from hrpose.report.measurement import measure


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_images=st.integers(1, 12),
    num_persons=st.integers(0, 3),
    num_samples=st.integers(1, 30),
)
def test_intervals_lie_between_zero_and_one(seed: int, num_images: int, num_persons: int, num_samples: int) -> None:
    annotations, results, sigmas = random_case(seed, num_keypoints=3, num_images=num_images)
    annotations["annotations"] = annotations["annotations"][:num_persons]
    truth = truth_from_coco(annotations, 3)
    sides = [
        measure(match_detections(found, truth, sigmas), PROTOCOL, num_samples=num_samples, seed=seed)
        for found in (detections_from_coco(results, 3), detections_from_coco(results[::2], 3))
    ]
    comparison = compare_measurements(*sides)
    for low, high in [side.interval for side in sides if side.interval]:
        assert 0 <= low <= high <= 1
    if comparison.interval is not None:
        assert -1 <= comparison.interval[0] <= comparison.interval[1] <= 1
    if sides[0].numbers["AP"] < 0:
        assert sides[0].interval is comparison.interval is comparison.p_value is None
    content = json.loads(json.dumps(sides[0].to_dict(), allow_nan=False))
    np.testing.assert_array_equal(Measurement.from_dict(content).samples, sides[0].samples)


def measured(*samples: float) -> Measurement:
    return Measurement(PROTOCOL, dict.fromkeys(COLUMNS, 0.5), np.array(samples), 0)


def test_resamples_without_a_person_are_left_out_and_counted() -> None:
    measurement = measured(0.4, np.nan, 0.6)
    assert measurement.interval == pytest.approx((0.405, 0.595))
    assert "of 2 resamplings" in measurement.describe_interval()
    assert "(1 without an annotated person are left out)" in measurement.describe_interval()
    assert measurement.to_dict()["bootstrap"]["num_used"] == 2
    assert "left out" not in measured(0.4, 0.6).describe_interval()
    assert measured().describe_interval() == ""


def test_too_few_resamples_with_a_person_give_no_interval() -> None:
    measurement = measured(0.4, np.nan, np.nan)
    assert measurement.interval is None
    assert measurement.to_dict()["bootstrap"]["interval_95"] is None
    assert "not enough images, 2 of 3 resamplings" in measurement.describe_interval()
    comparison = compare_measurements(measurement, measurement)
    assert (comparison.interval, comparison.p_value, comparison.num_used) == (None, None, 0)
    assert "not enough images" in comparison.unpaired


def test_pairs_are_compared_where_both_are_defined() -> None:
    one, other = measured(0.4, np.nan, 0.6, 0.5), measured(0.5, 0.1, 0.7, np.nan)
    comparison = compare_measurements(one, replace(other, numbers=one.numbers))
    assert comparison.interval == pytest.approx((0.1, 0.1))
    assert (comparison.num_used, comparison.p_value) == (2, 0.5)


def test_reports_with_minus_one_are_read() -> None:
    content = measured(0.4, 0.5, 0.6).to_dict()
    content["bootstrap"]["samples"] = [0.4, -1.0, 0.6]
    np.testing.assert_array_equal(Measurement.from_dict(content).samples, [0.4, np.nan, 0.6])
