"""Curves: whatever there is to draw, drawn."""

import numpy as np
import pytest

from hrpose.visualize import draw_curves


@pytest.mark.parametrize(
    "series",
    [
        {},
        {"train/loss": []},
        {"train/loss": [(0, 0.5)]},
        {"train/loss": [(0, 0.5), (9, float("nan"))], "val/AP_gt": [(0, 0.0), (9, 0.8)], "val/AP_det": [(9, 0.7)]},
        {f"val/AP_{i}": [(0, i), (1, i)] for i in range(9)},
        {"train/loss": [(0, 0.0), (1, 1.0)]},
    ],
)
def test_any_series_gives_a_picture(series):
    picture = draw_curves(series)
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert picture.shape[2] == 3
    assert picture.std() > 5


def test_another_curve_gives_another_picture():
    assert (
        draw_curves({"train/loss": [(0, 1.0), (1, 0.5)]}) != draw_curves({"train/loss": [(0, 1.0), (1, 0.9)]})
    ).any()
