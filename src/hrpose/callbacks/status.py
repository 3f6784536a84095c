"""The state of a run as one line, its measurement, and its place on a terminal."""

import logging
import math
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

_MIN_BAR, _MAX_BAR = 4, 24  # columns
_MAX_POINTS = 20  # measurements over which the pace is taken


@dataclass(frozen=True)
class Status:
    """The state of a run at one moment. None is left out of the line.

    Attributes:
        title: such as "Epoch 3/14".
        done: batches done.
        total: batches of the epoch, the validation or the test; infinite if unknown.
        loss: mean loss of the last batches.
        score: name and value of the last AP or PCKh.
        rate: images per second.
        seconds_left: time left of the run.
    """

    title: str
    done: int
    total: float
    loss: float | None = None
    score: tuple[str, float] | None = None
    rate: float | None = None
    seconds_left: float | None = None

    def line(self, width: int | None = None) -> str:
        """Format the state as one line.

        Args:
            width: columns; parts are left out, the rate first, until the line fits. None formats a line of the log.
        """
        total = f"{self.total:.0f}" if math.isfinite(self.total) else "?"
        parts = {
            "title": self.title,
            "batches": f"{self.done}/{total}" if width is not None or self.done < self.total else "",
            "loss": "" if self.loss is None else f"loss {format_loss(self.loss)}",
            "score": "" if self.score is None else f"{self.score[0]} {self.score[1]:.3f}",
            "rate": ""
            if self.rate is None
            else f"{self.rate:.0f} img/s"
            if self.rate >= 10
            else f"{self.rate:.1f} img/s",
            "left": "" if self.seconds_left is None else f"{format_duration(self.seconds_left)} left",
        }
        shown = {name: text for name, text in parts.items() if text}
        if width is None:
            return "  ".join(shown.values())
        for name in ("rate", "batches", "score"):
            if len("  ".join(shown.values())) > width:
                shown.pop(name, None)
        return "  ".join(shown.values())[:width]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the line with a bar behind the title where there is room for one."""
        text = self.line(options.max_width)
        columns = min(_MAX_BAR, options.max_width - len(text) - 2)
        if columns < _MIN_BAR or not math.isfinite(self.total):
            yield Text(text, no_wrap=True, end="")
            return
        filled = round(columns * min(1.0, self.done / max(1.0, self.total)))
        full, empty = ("#", ".") if options.ascii_only else ("━", "─")
        bar = Text.assemble((full * filled, "green"), (empty * (columns - filled), "bright_black"))
        yield Text.assemble(self.title, "  ", bar, text[len(self.title) :], no_wrap=True, end="")


def format_loss(loss: float) -> str:
    """Format a loss with two significant digits or more: 3.8e-04, 0.12, 10.7."""
    return f"{loss:.1e}" if abs(loss) < 0.1 and loss != 0 else f"{loss:.3g}"


def format_duration(seconds: float) -> str:
    """Format a time as m:ss, from an hour on as h:mm:ss, and from a day on in days and hours."""
    minutes, second = divmod(math.ceil(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24}d {hours % 24}h"
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


class Pace:
    """Seconds per batch and images per second over the last measurements of a series of batches.

    Args:
        clock: seconds that pass.

    Attributes:
        done: batches of the series.
        seconds_per_batch: None until two measurements are known.
        images_per_second: None until two measurements are known.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.seconds_per_batch: float | None = None
        self.images_per_second: float | None = None
        self.restart()

    def restart(self) -> None:
        """Begin a new series: the time since the last batch does not count."""
        self.done, self._images = 0, 0
        self._points: deque[tuple[float, int, int]] = deque([(self._clock(), 0, 0)], maxlen=_MAX_POINTS)

    def count(self, images: int) -> None:
        """Count a batch."""
        self.done += 1
        self._images += images

    def measure(self) -> None:
        """Read the clock."""
        start, done, images = self._points[0]
        now = self._clock()
        if self.done > done and now > start:
            self.seconds_per_batch = (now - start) / (self.done - done)
            self.images_per_second = (self._images - images) / (now - start)
        self._points.append((now, self.done, self._images))


class Display:
    """A line at the bottom of a terminal. What the log writes meanwhile appears above it.

    Args:
        console: where to draw; standard error by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, force_terminal=sys.stderr.isatty())
        self._live: Live | None = None
        self._redirected: list[tuple[logging.StreamHandler[Any], Any]] = []

    @property
    def is_terminal(self) -> bool:
        """Whether a line can be drawn again in its place."""
        return self._console.is_terminal and not self._console.is_dumb_terminal

    def show(self, status: Status) -> None:
        """Draw the line."""
        if self._live is None:
            self._open()
        assert self._live is not None
        self._live.update(status, refresh=True)

    def close(self) -> None:
        """Remove the line."""
        for handler, stream in self._redirected:
            handler.setStream(stream)
        self._redirected = []
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _open(self) -> None:
        """Draw the line from now on, and let what goes to the same terminal through rich, which writes it above the line."""
        on_terminal = [
            handler
            for handler in logging.getLogger().handlers
            if isinstance(handler, logging.StreamHandler) and handler.stream.isatty()
        ]
        self._live = Live(
            console=self._console, auto_refresh=False, transient=True, redirect_stdout=sys.stdout.isatty()
        )
        self._live.start()
        for handler in on_terminal:
            if (stream := handler.setStream(sys.stderr)) is not None:
                self._redirected.append((handler, stream))
