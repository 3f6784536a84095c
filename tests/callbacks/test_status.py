"""The line of progress: what it shows at which width, and where it is drawn."""

import io
import logging
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console

from hrpose.callbacks.status import Display, Pace, Status, format_duration, format_loss

statuses = st.builds(
    Status,
    title=st.builds("Epoch {:3}/{}{}".format, st.integers(1, 210), st.just(210), st.sampled_from(["", " val"])),
    done=st.integers(0, 9999),
    total=st.just(9999),
    loss=st.floats(-1e3, 1e3).filter(lambda loss: loss == 0 or abs(loss) > 1e-99),  # exponents of two digits
    score=st.tuples(st.sampled_from(["AP", "PCKh"]), st.floats(0, 99)),
    rate=st.floats(0.1, 9999),
    seconds_left=st.floats(0, 30 * 86400),
)
FULL = Status("Epoch  12/210", 1234, 4682, 3.8e-4, ("AP", 0.612), 1420.4, 3723.0)


def drawn(status, width, **settings):
    console = Console(width=width, file=io.StringIO(), record=True, color_system=None, **settings)
    console.print(status)
    return console.export_text()


@given(statuses, st.integers(10, 200))
def test_the_line_fits_every_width(status, width):
    (line,) = drawn(status, width).splitlines()
    assert len(line) <= width


@given(statuses)
@example(Status("Epoch 200/210", 1000, 9999, -0.0625, ("PCKh", 99.0), 9999.0, 86399.0))
@example(Status("Epoch 200/210 val", 1000, 9999, -0.0625, ("PCKh", 99.0), 9999.0, 86399.0))
def test_80_columns_show_everything(status):
    line = drawn(status, 80)
    assert status.title in line
    assert f"{status.done}/{status.total}" in line
    assert f"loss {format_loss(status.loss)}" in line
    assert f"{status.score[0]} {status.score[1]:.3f}" in line
    assert "img/s" in line or status.title.endswith("val")  # with the longest texts a validation has no room for it
    assert f"{format_duration(status.seconds_left)} left" in line


@given(statuses)
def test_60_columns_show_what_matters(status):
    line = drawn(status, 60)
    assert status.title in line
    assert f"loss {format_loss(status.loss)}" in line
    assert f"{format_duration(status.seconds_left)} left" in line


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (50, "Epoch  12/210  ━━─────  loss 3.8e-04  1:02:03 left"),
        (60, "Epoch  12/210  ━━─────  loss 3.8e-04  AP 0.612  1:02:03 left"),
        (62, "Epoch  12/210  1234/4682  loss 3.8e-04  AP 0.612  1:02:03 left"),
        (80, "Epoch  12/210  ━───  1234/4682  loss 3.8e-04  AP 0.612  1420 img/s  1:02:03 left"),
    ],
)
def test_examples_of_widths(width, line):
    assert drawn(FULL, width).rstrip("\n") == line


def test_a_long_line_has_a_longer_bar_but_no_endless_one():
    assert drawn(FULL, 120).count("━") + drawn(FULL, 120).count("─") == 24


def test_unknown_parts_are_left_out():
    assert Status("Test", 3, float("inf")).line(80) == "Test  3/?"
    assert drawn(Status("Test", 3, float("inf")), 80).strip() == "Test  3/?"


def test_a_line_of_the_log_has_no_count_of_a_finished_epoch():
    assert Status("Epoch 2/14", 62, 62, 1e-3).line() == "Epoch 2/14  loss 1.0e-03"
    assert Status("Epoch 2/14", 31, 62, 1e-3).line() == "Epoch 2/14  31/62  loss 1.0e-03"


@given(st.floats(-1e6, 1e6))
def test_a_loss_keeps_two_significant_digits(loss):
    text = format_loss(loss)
    assert float(text) == pytest.approx(loss, rel=0.051, abs=0)
    assert len(text) <= 10


@pytest.mark.parametrize(
    ("loss", "text"),
    [(3.84e-4, "3.8e-04"), (0.0, "0"), (0.12345, "0.123"), (10.66, "10.7"), (-2.5, "-2.5"), (float("nan"), "nan")],
)
def test_examples_of_losses(loss, text):
    assert format_loss(loss) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"),
        (0.2, "0:01"),
        (59.5, "1:00"),
        (151, "2:31"),
        (3723, "1:02:03"),
        (86399, "23:59:59"),
        (130000, "1d 12h"),
    ],
)
def test_examples_of_durations(seconds, text):
    assert format_duration(seconds) == text


@given(st.floats(0.01, 100), st.integers(1, 100))
def test_the_pace_of_even_batches_is_exact(seconds, images):
    now = 0.0
    pace = Pace(lambda: now)
    for _ in range(50):
        now += seconds
        pace.count(images)
        pace.measure()
    assert pace.seconds_per_batch == pytest.approx(seconds)
    assert pace.images_per_second == pytest.approx(images / seconds)
    now += 1000  # a validation
    pace.restart()
    assert pace.seconds_per_batch == pytest.approx(seconds)


def test_the_pace_follows_a_change():
    now = 0.0
    pace = Pace(lambda: now)
    for seconds in [1.0] * 100 + [3.0] * 30:
        now += seconds
        pace.count(1)
        pace.measure()
    assert pace.seconds_per_batch == pytest.approx(3.0)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_log_is_written_above_the_line(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    handler = logging.StreamHandler(terminal)
    root = logging.getLogger()
    root.addHandler(handler)
    display = Display(Console(file=terminal, force_terminal=True, width=80, color_system=None))
    try:
        display.show(FULL)
        root.warning("Something happens.")
        assert handler.stream is not terminal
    finally:
        display.close()
        root.removeHandler(handler)
    assert handler.stream is terminal
    text = terminal.getvalue()
    assert "left\r\x1b[2KSomething happens.\n" in text
    assert text.rindex("left") < text.rindex("\x1b[2K")  # at the end the line is removed
    display.close()


@pytest.mark.parametrize(("settings", "terminal"), [({"force_terminal": True}, True), ({}, False)])
def test_only_a_terminal_has_a_line(settings, terminal, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    assert Display(Console(file=io.StringIO(), **settings)).is_terminal is terminal


def test_a_redirected_output_is_no_terminal_whatever_the_environment_says(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert not Display().is_terminal
