"""Training curves are drawn for every history."""

import numpy as np
import pytest
from matplotlib import pyplot

from hrpose.visualize import curves, draw_curves

NAN = float("nan")
draw = curves._draw_panel


@pytest.mark.parametrize(
    "history",
    [
        {},
        {"train/loss": []},
        {"train/loss": [(0, 0.5)]},
        {"train/loss": [(0, NAN)]},
        {"train/loss": [(0, float("inf")), (1, 0.5)], "val/AP_gt": [(1, NAN)]},
        {"train/loss": [(0, 0.5), (9, NAN)], "val/AP_gt": [(0, 0.0), (9, 0.8)], "val/AP_det": [(9, 0.7)]},
        {f"val/AP_{i}": [(0, i), (1, i)] for i in range(9)},
        {"train/loss": [(0, 0.0), (1, 1.0)]},
        {"train/loss": [(0, -3.0), (1, 1.0)], "val/loss": [(0, 2.0)], "val/PCKh": [(0, -1.0)]},
        {"train/loss": [(step, 1 / (step + 1)) for step in range(500)]},
    ],
)
def test_every_history_is_drawn(history):
    picture = draw_curves(history)
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert picture.shape[2] == 3
    assert picture.std() > 5


def test_scores_have_their_own_panel():
    loss, ap = {"train/loss": [(0, 1.0), (1, 0.5)]}, {"val/AP_gt": [(1, 0.5)]}
    assert draw_curves({**loss, **ap}).shape[1] == 2 * draw_curves(loss).shape[1]
    assert draw_curves(ap).shape == draw_curves(loss).shape


def test_pckh_is_drawn_from_0_to_100(monkeypatch):
    drawn = []
    monkeypatch.setattr(curves, "_draw_panel", lambda axes, title, lines: drawn.append((axes, title, draw(axes, title, lines))))
    draw_curves({"train/loss": [(0, 1.0)], "val/PCKh_gt": [(1, 55.0), (2, 90.3)]})
    assert [title for _, title, _ in drawn] == ["Loss", "PCKh"]
    assert drawn[1][0].get_ylim() == (0, 100)


def test_another_curve_is_drawn_differently():
    assert (draw_curves({"train/loss": [(0, 1.0), (1, 0.5)]}) != draw_curves({"train/loss": [(0, 1.0), (1, 0.9)]})).any()


def test_no_figure_stays_open():
    before = pyplot.get_fignums()
    draw_curves({"train/loss": [(0, 1.0)]})
    assert pyplot.get_fignums() == before


@pytest.mark.parametrize(
    ("curve", "labels"),
    [
        ([(0, 0.0015), (100, 0.0007)], ["0.0008", "0.001", "0.0012", "0.0014"]),
        ([(0, 0.5), (100, 0.004)], ["0.005", "0.01", "0.02", "0.05", "0.1", "0.2", "0.5"]),
    ],
)
def test_losses_are_labelled_with_plain_numbers(curve, labels):
    figure, axes = pyplot.subplots()
    draw(axes, "Loss", {"train/loss": curve})
    figure.canvas.draw()
    low, high = axes.get_ylim()
    assert [tick.get_text() for tick in axes.get_yticklabels() if low <= tick.get_position()[1] <= high] == labels
    pyplot.close(figure)


def test_the_axis_of_a_single_step_has_whole_numbers():
    figure, axes = pyplot.subplots()
    draw(axes, "AP", {"val/AP_gt": [(3, 0.5)]})
    figure.canvas.draw()
    low, high = axes.get_xlim()
    assert [place for place in axes.get_xticks() if low <= place <= high] == [3]
    pyplot.close(figure)


def test_curves_are_drawn_over_epochs_if_their_length_is_known(monkeypatch):
    drawn = []
    monkeypatch.setattr(
        curves, "_draw_panel", lambda axes, title, lines: drawn.append((axes, title, lines, draw(axes, title, lines)))
    )
    history = {"train/loss": [(5, 1.0), (10, 0.5)], "val/AP_gt": [(10, 0.5)], "val/PCK@0.1_gt": [(10, 0.7)]}
    draw_curves(history, steps_per_epoch=5)
    draw_curves(history)
    assert [(axes.get_xlabel(), lines["train/loss"][-1][0]) for axes, title, lines, _ in drawn if title == "Loss"] == [
        ("epoch", 2),
        ("step", 10),
    ]
    assert drawn[1][1] == "AP and PCK"
