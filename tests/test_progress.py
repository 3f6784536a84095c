"""A bar shows count, rate and times on a terminal, and nothing elsewhere."""

import io

from rich.console import Console

from hrpose.progress import RateColumn, show_progress


def shown(total, *, terminal, delay=0.0):
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=160, color_system=None)
    with show_progress("photos", total, "photos", delay=delay, console=console) as on_done:
        for _ in range(3):
            on_done()
    return stream.getvalue()


def test_a_terminal_shows_counts_rate_and_time_left():
    text = shown(12, terminal=True)
    assert "3/12" in text
    assert "left" in text


def test_short_work_shows_no_bar():
    assert shown(12, terminal=True, delay=60.0) == ""


def test_an_unknown_total_is_no_obstacle():
    assert "3/?" in shown(None, terminal=True)


def test_nothing_is_written_elsewhere():
    assert shown(12, terminal=False) == ""


def test_the_rate_has_its_unit():
    class Task:
        finished_speed, speed = None, 12.34

    assert RateColumn("frames").render(Task()).plain == "12.3 frames/s"
    Task.speed = None
    assert RateColumn("frames").render(Task()).plain == ""
