"""The bar: how many, at what rate, how long still; nothing where nobody looks."""

import io

from rich.console import Console

from hrpose.tasks.predict.progress import RateColumn, show_progress


def shown(total, *, terminal):
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=160, color_system=None)
    with show_progress("photos", total, "photos", console=console) as on_done:
        for _ in range(3):
            on_done()
    return stream.getvalue()


def test_a_terminal_shows_counts_rate_and_time_left():
    text = shown(12, terminal=True)
    assert "3/12" in text
    assert "left" in text


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
