"""Measurements: intervals without undefined resamples, and comparisons."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keypoint_oracle import detections_from_coco, random_case, truth_from_coco
from small_case import PROTOCOL, evaluated

from hrpose.metrics.functional import match_detections
from hrpose.report import COLUMNS, FileStamp, Measurement, analyse, compare_measurements, read_measurement, write_report
from hrpose.report.measurement import measure

SAMPLES = np.random.default_rng(0).normal(0.5, 0.05, 200)
ONE = Measurement(PROTOCOL, dict.fromkeys(COLUMNS, 0.5), SAMPLES, 0)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), num_images=st.integers(1, 12), num_instances=st.integers(0, 3), num_samples=st.integers(1, 30)
)
def test_intervals_are_between_zero_and_one(seed: int, num_images: int, num_instances: int, num_samples: int) -> None:
    annotations, results, sigmas = random_case(seed, num_keypoints=3, num_images=num_images)
    annotations["annotations"] = annotations["annotations"][:num_instances]
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


def test_resamples_without_instances_are_left_out_and_counted() -> None:
    measurement = measured(0.4, np.nan, 0.6)
    assert measurement.interval == pytest.approx((0.405, 0.595))
    assert "over 2 resamples" in measurement.describe_interval()
    assert "(1 without annotated instances" in measurement.describe_interval()
    assert measurement.to_dict()["bootstrap"]["num_used"] == 2
    assert "left out" not in measured(0.4, 0.6).describe_interval()
    assert measured().describe_interval() == ""


def test_too_few_resamples_with_instances_give_no_interval() -> None:
    measurement = measured(0.4, np.nan, np.nan)
    assert measurement.interval is None
    assert measurement.to_dict()["bootstrap"]["interval_95"] is None
    assert "2 of 3 resamples" in measurement.describe_interval()
    comparison = compare_measurements(measurement, measurement)
    assert (comparison.interval, comparison.p_value, comparison.num_used) == (None, None, 0)
    assert "2 of 3 resamples" in comparison.unpaired


def test_pairs_are_compared_where_both_are_defined() -> None:
    one, other = measured(0.4, np.nan, 0.6, 0.5), measured(0.5, 0.1, 0.7, np.nan)
    comparison = compare_measurements(one, replace(other, numbers=one.numbers))
    assert comparison.interval == pytest.approx((0.1, 0.1))
    assert (comparison.num_used, comparison.p_value) == (2, 0.5)


def test_reports_with_minus_one_are_read() -> None:
    content = measured(0.4, 0.5, 0.6).to_dict()
    content["bootstrap"]["samples"] = [0.4, -1.0, 0.6]
    np.testing.assert_array_equal(Measurement.from_dict(content).samples, [0.4, np.nan, 0.6])


def test_a_constant_gain_is_significant() -> None:
    comparison = compare_measurements(ONE, replace(ONE, numbers=dict.fromkeys(COLUMNS, 0.52), samples=SAMPLES + 0.02))
    assert comparison.differences == pytest.approx(dict.fromkeys(COLUMNS, 0.02))
    assert comparison.p_value == 1 / 200
    assert comparison.interval == pytest.approx((0.02, 0.02))
    assert comparison.unlike == ()


def test_equal_measurements_do_not_differ() -> None:
    comparison = compare_measurements(ONE, ONE)
    assert (comparison.p_value, comparison.interval) == (1.0, (0.0, 0.0))


def test_an_undefined_number_has_no_difference() -> None:
    undefined = replace(ONE, numbers={**ONE.numbers, "APM": -1.0})
    assert compare_measurements(ONE, undefined).differences["APM"] is None
    nobody = replace(ONE, numbers=dict.fromkeys(COLUMNS, -1.0))
    assert "annotated" in compare_measurements(nobody, nobody).unpaired


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (replace(ONE, protocol=replace(PROTOCOL, annotations=FileStamp("gt.json", "c" * 64))), "annotations"),
        (replace(ONE, seed=1), "200 times with seed 0, 200 times with seed 1"),
        (replace(ONE, samples=SAMPLES[:10]), "200 times with seed 0, 10 times with seed 0"),
    ],
)
def test_samples_of_other_images_are_not_paired(other: Measurement, why: str) -> None:
    comparison = compare_measurements(ONE, other)
    assert comparison.p_value is None
    assert comparison.interval is None
    assert why in comparison.unpaired


def test_different_protocols_are_reported() -> None:
    comparison = compare_measurements(ONE, replace(ONE, protocol=replace(PROTOCOL, flip_test=True)))
    assert comparison.unlike == ("flip test: not stated | on",)
    assert comparison.p_value == 1.0
    assert comparison.to_dict()["unlike"] == ["flip test: not stated | on"]


def test_a_measurement_survives_json(tmp_path: Path) -> None:
    report = analyse(evaluated(), title="res.json", num_samples=20, seed=3)
    page = write_report(report, tmp_path / "run")
    assert page == tmp_path / "run" / "report.html"
    got, wanted = read_measurement(tmp_path / "run" / "report.json"), report.measurement
    assert (got.protocol, got.numbers, got.seed) == (wanted.protocol, wanted.numbers, 3)
    np.testing.assert_array_equal(got.samples, wanted.samples)


@pytest.mark.parametrize(
    ("content", "message"), [("[]", "a JSON list"), ("{}", "it has no 'bootstrap'"), ("{", "Expecting property name")]
)
def test_another_file_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "report.json").write_text(content)
    with pytest.raises(ValueError, match=f"report.json to be a report of hrpose, but .*{message}"):
        read_measurement(tmp_path / "report.json")
