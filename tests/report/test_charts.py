"""The positions of marks in charts."""

import re

import numpy as np

from hrpose.metrics.functional import Calibration
from hrpose.report.charts import (
    WIDTH,
    Bar,
    Line,
    draw_bars,
    draw_calibration,
    draw_curves,
    draw_histogram,
    draw_shares,
    draw_visibility,
)


def widths(chart: str) -> list[float]:
    return [float(width) for width in re.findall(r'<rect[^>]* width="([\d.]+)"', chart)]


def test_a_bar_is_as_long_as_its_value() -> None:
    half, whole = widths(draw_bars([Bar("a", 0.5, "x"), Bar("b", 1.0, "x")], name="bars"))
    assert abs(whole - 2 * half) < 0.2
    assert widths(draw_bars([Bar("a", None, "–")], name="bars")) == []


def test_a_bar_between_two_values() -> None:
    chart = draw_bars([Bar("a", 0.75, "x", start=0.25), Bar("b", 0.5, "x")], name="bars", reference=0.25)
    part, half = widths(chart)
    assert abs(part - half) < 0.2
    assert 'class="reference"' in chart


def test_shares_fill_the_whole_width() -> None:
    chart = draw_shares([("a", 30, "s1"), ("b", 0, "s2"), ("c", 10, "s3")], name="shares")
    first, second = widths(chart)
    assert (first, second) == (WIDTH * 0.75 - 2, WIDTH * 0.25 - 2)
    assert "<b>0.0%</b>" in chart


def test_curves_begin_and_end_in_the_corners() -> None:
    chart = draw_curves([Line(np.array([0, 1]), np.array([0, 1]), "s1", "up")], name="c", x_title="x", y_title="y")
    assert 'points="56.0,256.0 448.0,10.0"' in chart
    assert "up</li>" in chart


def test_empty_bins_have_no_dot() -> None:
    nan = float("nan")
    calibration = Calibration(
        np.linspace(0, 1, 4), np.array([2, 0, 4]), np.array([0.1, nan, 0.9]), np.array([0.2, nan, 0.8]), 0.1
    )
    chart = draw_calibration(calibration)
    assert chart.count("<circle") == 2
    assert "nan" not in chart


def heights(chart: str) -> list[float]:
    return [float(height) for height in re.findall(r'<rect[^>]* height="([\d.]+)"', chart)]


def test_columns_are_shares_of_their_distribution() -> None:
    distributions = {"a": np.array([1, 0, 3]), "b": np.array([20, 0, 20])}
    chart = draw_histogram(["0", "1", "2"], distributions, name="h", x_title="x", reference=1.5)
    quarter, most, half, other = heights(chart)
    assert abs(most - 3 * quarter) < 0.3
    assert abs(half - 2 * quarter) < 0.3
    assert half == other
    assert "b, 2: 20 (50.0%)" in chart
    assert 'class="reference"' in chart


def test_empty_distributions_have_no_columns() -> None:
    assert heights(draw_histogram(["0"], {"a": np.zeros(1, int)}, name="h", x_title="x")) == []


def test_the_bar_of_occluded_follows_that_of_visible() -> None:
    chart = draw_visibility(["nose", "tail"], np.array([[2, 4, 4], [10, 0, 0]]), name="v")
    visible, occluded, *none = widths(chart)
    assert visible == occluded
    assert none == [0, 0]
    assert "80%" in chart
    assert heights(chart)[:2] == [12, 6]


def test_many_keypoints_are_columns() -> None:
    chart = draw_visibility([f"k{k}" for k in range(294)], np.tile([1, 1, 2], (294, 1)), name="v")
    assert chart.count("<text") == 1
    assert set(heights(chart)) == {105.0, 52.5}
    assert "293 k293: 2 visible, 1 occluded, 1 unlabelled" in chart
