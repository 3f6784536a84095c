"""Progress bars for long work, shown on a terminal only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Timer

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text


class RateColumn(ProgressColumn):
    """Show the rate, such as 12.3 images/s."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        """Return the recent rate, or the mean rate of finished work."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} {self.unit}/s", style="progress.data.speed")


def make_progress(unit: str, *, console: Console | None = None, transient: bool = True) -> Progress:
    """Make progress bars with title, bar, count, rate, elapsed and remaining time.

    Args:
        unit: of the count, in the plural; "bytes" are shown as sizes.
        console: standard error by default.
        transient: whether the bars disappear when the work is finished.
    """
    counts = (DownloadColumn(), TransferSpeedColumn()) if unit == "bytes" else (MofNCompleteColumn(), RateColumn(unit))
    times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    columns = (TextColumn("{task.description}"), BarColumn(), *counts, *times)
    return Progress(*columns, console=console or Console(stderr=True), transient=transient)


@contextmanager
def show_progress(
    title: str, total: int | None, unit: str, *, delay: float = 0.0, console: Console | None = None
) -> Iterator[Callable[..., None]]:
    """Show one bar on a terminal, and nothing otherwise.

    Args:
        title: of the work.
        total: number of items; None if unknown.
        unit: of the items, in the plural.
        delay: seconds before the bar appears; shorter work has no bar.
        console: standard error by default.

    Yields:
        A function to call for each item, with a new title if there is one.
    """
    progress = make_progress(unit, console=console)
    task = progress.add_task(title, total=total)
    timer = Timer(delay, progress.start)
    timer.daemon = True
    if progress.console.is_terminal:
        timer.start() if delay else progress.start()

    def advance(title: str | None = None) -> None:
        progress.update(task, advance=1, description=title)

    try:
        yield advance
    finally:
        timer.cancel()
        if progress.live.is_started:
            progress.stop()
