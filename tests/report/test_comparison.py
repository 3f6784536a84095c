"""Two measurements: their difference, the chance of it, and what makes them unlike."""

from dataclasses import replace

import numpy as np
import pytest
from small_case import PROTOCOL

from hrpose.report import COLUMNS, FileStamp, Measurement, compare_measurements

SAMPLES = np.random.default_rng(0).normal(0.5, 0.05, 200)
ONE = Measurement(PROTOCOL, dict.fromkeys(COLUMNS, 0.5), SAMPLES, 0)


def test_a_constant_gain_is_no_chance() -> None:
    comparison = compare_measurements(ONE, replace(ONE, numbers=dict.fromkeys(COLUMNS, 0.52), samples=SAMPLES + 0.02))
    assert comparison.differences == pytest.approx(dict.fromkeys(COLUMNS, 0.02))
    assert comparison.p_value == 1 / 200
    assert comparison.interval == pytest.approx((0.02, 0.02))
    assert comparison.unlike == ()


def test_equals_do_not_differ() -> None:
    comparison = compare_measurements(ONE, ONE)
    assert (comparison.p_value, comparison.interval) == (1.0, (0.0, 0.0))


def test_an_undefined_number_has_no_difference() -> None:
    undefined = replace(ONE, numbers={**ONE.numbers, "APM": -1.0})
    assert compare_measurements(ONE, undefined).differences["APM"] is None
    nobody = replace(ONE, numbers=dict.fromkeys(COLUMNS, -1.0))
    assert compare_measurements(nobody, nobody).unpaired == "nobody is annotated"


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (replace(ONE, protocol=replace(PROTOCOL, annotations=FileStamp("gt.json", "c" * 64))), "on other annotations"),
        (replace(ONE, seed=1), "not resampled alike"),
        (replace(ONE, samples=SAMPLES[:10]), "200 times with seed 0, 10 times with seed 0"),
    ],
)
def test_samples_of_other_photos_are_not_paired(other: Measurement, why: str) -> None:
    comparison = compare_measurements(ONE, other)
    assert comparison.p_value is None
    assert comparison.interval is None
    assert why in comparison.unpaired


def test_unlike_protocols_are_named_and_kept() -> None:
    comparison = compare_measurements(ONE, replace(ONE, protocol=replace(PROTOCOL, flip_test=True)))
    assert comparison.unlike == ("flip test: not stated | on",)
    assert comparison.p_value == 1.0
    assert comparison.to_dict()["unlike"] == ["flip test: not stated | on"]
