"""Show how far the work is, at what rate, and how long it will take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class OnDone(Protocol):
    """Is told of each piece of work that is done."""

    def __call__(self) -> None:
        """Go on by one."""


class RateColumn(ProgressColumn):
    """Pieces of work in a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        """Show the rate of the last while, or of the whole when it is done."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} {self.unit}/s", style="progress.data.speed")


@contextmanager
def show_progress(title: str, total: int | None, unit: str, *, console: Console | None = None) -> Iterator[OnDone]:
    """Show a bar on a terminal, and nothing elsewhere.

    Args:
        title: what is being done.
        total: pieces of work; None where nobody knows.
        unit: what a piece is, in the plural.
        console: where to; standard error by default.

    Yields:
        A function to be called as each piece is done.
    """
    columns = (
        *(SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()),
        *(RateColumn(unit), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()),
    )
    progress = Progress(*columns, console=console or Console(stderr=True), transient=True)
    task = progress.add_task(title, total=total)
    if progress.console.is_terminal:
        progress.start()
    try:
        yield lambda: progress.advance(task)
    finally:
        if progress.live.is_started:
            progress.stop()
