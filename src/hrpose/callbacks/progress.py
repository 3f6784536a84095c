"""Progress of training, validation and test: one line on a terminal, or lines in the log."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from hrpose.callbacks.outputs import metrics_of
from hrpose.structures import Batch

logger = logging.getLogger(__name__)

_SHORTEST_PAUSE, _LONGEST_PAUSE = 10.0, 600.0  # seconds between lines of the log, without a terminal
_PAUSE_SHARE = 0.1  # of the time since the start
_MIN_BAR, _MAX_BAR = 4, 24  # columns
_MAX_POINTS = 20  # measurements over which the pace is taken


class RunProgress(Callback):
    """Show epoch, batch, loss, last AP or PCKh, images per second and the remaining time of the run.

    A terminal shows one line that is redrawn in place, and keeps a line per validated epoch. In files and pipes, lines are
    logged: the first after 10 seconds, later ones after a tenth of the time since the start.

    Args:
        interval: seconds between two updates on a terminal; each reads the loss from the device.
        console: where to draw; standard error by default.
        clock: a function that returns seconds.
    """

    def __init__(
        self, *, interval: float = 0.5, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.interval = interval
        self._clock = clock
        self._display = Display(console)
        self._start = self._next = clock()
        self._train, self._evaluation = Pace(clock), Pace(clock)
        self._loss_sum: torch.Tensor | float = 0.0  # of the batches since the last line
        self._num_losses = 0
        self._loss: float | None = None
        self._score: tuple[str, float] | None = None
        self._validation_seconds: float | None = None  # of the last validation
        self._validation_start = 0.0
        self._is_validated = False  # the running epoch

    def state_dict(self) -> dict[str, Any]:
        """Store the last AP or PCKh for a resumed run."""
        return {"score": self._score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the last AP or PCKh."""
        self._score = state_dict["score"]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Start the clock."""
        self._start = self._clock()
        self._next = self._start + (0 if self._display.is_terminal else _SHORTEST_PAUSE)

    def teardown(self, *args: Any, **kwargs: Any) -> None:
        """Remove the line."""
        self._display.close()

    on_exception = teardown

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restart the pace; `on_train_epoch_start` is not called if a run is resumed within an epoch."""
        self._train.restart()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restart the pace."""
        self._train.restart()
        self._is_validated = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count the batch, add its loss on the device, and show the status."""
        self._train.count(len(batch["images"]) * trainer.world_size)
        self._loss_sum = self._loss_sum + outputs["loss"].detach() * trainer.accumulate_grad_batches
        self._num_losses += 1
        if self._is_due(trainer):
            self._show(self._train_status(trainer, batch_idx + 1))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log a line for a validated epoch."""
        if self._is_validated and trainer.is_global_zero:
            logger.info(self._train_status(trainer, int(trainer.num_training_batches)).line())
            self._plan_next()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restart the pace."""
        self._train.measure()
        self._evaluation.restart()
        self._validation_start = self._clock()

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, *args: Any
    ) -> None:
        """Count the batch and show the status."""
        if trainer.sanity_checking:
            self._evaluate(trainer, batch, "Sanity check", sum(trainer.num_sanity_val_batches))
        elif trainer.state.fn == TrainerFn.FITTING:
            self._evaluate(trainer, batch, f"{_epoch_of(trainer)} val", sum(trainer.num_val_batches), is_in_training=True)
        else:
            self._evaluate(trainer, batch, "Validation", sum(trainer.num_val_batches))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Store AP or PCKh and the duration of the validation."""
        self._train.restart()
        if trainer.sanity_checking:
            return
        self._is_validated = True
        self._validation_seconds = self._clock() - self._validation_start
        for metric in list(metrics_of(pl_module).values())[:1]:
            self._score = (metric.leading, float(trainer.callback_metrics[f"val/{metric.leading}"]))

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restart the pace."""
        self._evaluation.restart()

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, *args: Any) -> None:
        """Count the batch and show the status."""
        self._evaluate(trainer, batch, "Test", sum(trainer.num_test_batches))

    def _evaluate(self, trainer: Trainer, batch: Batch, title: str, total: float, *, is_in_training: bool = False) -> None:
        """Count a batch of a validation or test and show the status."""
        pace = self._evaluation
        pace.count(len(batch["images"]) * trainer.world_size)
        if not self._is_due(trainer):
            return
        pace.measure()
        left = None
        if pace.seconds_per_batch is not None and math.isfinite(total):
            left = (total - pace.done) * pace.seconds_per_batch
        status = Status(title, pace.done, total, rate=pace.images_per_second, seconds_left=left)
        if is_in_training:
            after = self._seconds_left(trainer, 0, trainer.current_epoch + 1)
            left = None if left is None or after is None else left + after
            status = replace(status, loss=self._loss, score=self._score, seconds_left=left)
        self._show(status)

    def _train_status(self, trainer: Trainer, done: int) -> Status:
        self._train.measure()
        if self._num_losses:
            self._loss = float(self._loss_sum) / self._num_losses
            self._loss_sum, self._num_losses = 0.0, 0
        rate, total = self._train.images_per_second, trainer.num_training_batches
        left = self._seconds_left(trainer, done, trainer.current_epoch)
        return Status(_epoch_of(trainer), done, total, self._loss, self._score, rate, left)

    def _seconds_left(self, trainer: Trainer, done: int, epoch: int) -> float | None:
        """Estimate the remaining time of the run after `done` batches of an epoch; None if unknown."""
        per_batch, batches = self._train.seconds_per_batch, _num_batches_left(trainer, done, epoch)
        if per_batch is None or math.isinf(batches):
            return None
        per_validation = self._validation_seconds
        if per_validation is None:
            per_validation = sum(trainer.num_val_batches) * per_batch
        validations = _num_validations_left(trainer, epoch) - (self._is_validated and epoch == trainer.current_epoch)
        return batches * per_batch + validations * per_validation

    def _is_due(self, trainer: Trainer) -> bool:
        return trainer.is_global_zero and self._clock() >= self._next

    def _show(self, status: Status) -> None:
        if self._display.is_terminal:
            self._display.show(status)
        else:
            logger.info(status.line())
        self._plan_next()

    def _plan_next(self) -> None:
        now = self._clock()
        pause = min(_LONGEST_PAUSE, max(_SHORTEST_PAUSE, _PAUSE_SHARE * (now - self._start)))
        self._next = now + (self.interval if self._display.is_terminal else pause)


def _epoch_of(trainer: Trainer) -> str:
    """Return the title of the current epoch, counted from 1."""
    epoch, last = trainer.current_epoch + 1, trainer.max_epochs
    return f"Epoch {epoch}" if last in (None, -1) else f"Epoch {epoch:{len(str(last))}}/{last}"


def _num_batches_left(trainer: Trainer, done: int, epoch: int) -> float:
    """Return the training batches that remain after `done` batches of an epoch; infinite without a limit."""
    left = math.inf
    if trainer.max_epochs is not None and trainer.max_epochs != -1:
        left = (trainer.max_epochs - epoch) * trainer.num_training_batches - done
    if trainer.max_steps != -1:
        left = min(left, (trainer.max_steps - trainer.global_step) * trainer.accumulate_grad_batches)
    return max(0, left)


def _num_validations_left(trainer: Trainer, epoch: int) -> int:
    """Return the number of validations from an epoch on, including its own."""
    every, last = trainer.check_val_every_n_epoch, trainer.max_epochs
    if every is None or last is None or last == -1:
        return 0
    return sum((done % every == 0) or done == last for done in range(epoch + 1, last + 1))


@dataclass(frozen=True)
class Status:
    """The state of a run at one moment; values that are None are not shown."""

    title: str  # such as "Epoch 3/14"
    done: int  # batches
    total: float  # batches of the epoch, the validation or the test; infinite if unknown
    loss: float | None = None  # mean of the last batches
    score: tuple[str, float] | None = None  # name and value of the last AP or PCKh
    rate: float | None = None  # images per second
    seconds_left: float | None = None  # of the run

    def line(self, width: int | None = None) -> str:
        """Format a line of the log, or one that fits in a width: rate, batches and score are omitted in this order."""
        total = f"{self.total:.0f}" if math.isfinite(self.total) else "?"
        parts = {
            "title": self.title,
            "batches": f"{self.done}/{total}" if width is not None or self.done < self.total else "",
            "loss": "" if self.loss is None else f"loss {format_loss(self.loss)}",
            "score": "" if self.score is None else f"{self.score[0]} {self.score[1]:.3f}",
            "rate": "" if self.rate is None else f"{self.rate:.{0 if self.rate >= 10 else 1}f} img/s",
            "left": "" if self.seconds_left is None else f"{format_duration(self.seconds_left)} left",
        }
        shown = {name: text for name, text in parts.items() if text}
        for name in ("rate", "batches", "score"):
            if width is not None and len("  ".join(shown.values())) > width:
                shown.pop(name, None)
        return "  ".join(shown.values())[:width]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the line, with a bar after the title if it fits."""
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
    """Format a time as m:ss, h:mm:ss, or days and hours."""
    minutes, second = divmod(math.ceil(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24}d {hours % 24}h"
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


class Pace:
    """Seconds per batch and images per second over the last measurements of a series of batches."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.seconds_per_batch: float | None = None  # None before two measurements
        self.images_per_second: float | None = None
        self.restart()

    def restart(self) -> None:
        """Begin a new series; the time since the last batch is not measured."""
        self.done, self._images = 0, 0
        self._points: deque[tuple[float, int, int]] = deque([(self._clock(), 0, 0)], maxlen=_MAX_POINTS)

    def count(self, images: int) -> None:
        """Count a batch."""
        self.done += 1
        self._images += images

    def measure(self) -> None:
        """Update both rates."""
        start, done, images = self._points[0]
        now = self._clock()
        if self.done > done and now > start:
            self.seconds_per_batch = (now - start) / (self.done - done)
            self.images_per_second = (self._images - images) / (now - start)
        self._points.append((now, self.done, self._images))


class Display:
    """A line at the bottom of a terminal, by default of standard error; log lines appear above it."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, force_terminal=sys.stderr.isatty())
        self._live: Live | None = None
        self._redirected: list[tuple[logging.StreamHandler[Any], Any]] = []

    @property
    def is_terminal(self) -> bool:
        """Check whether a line can be redrawn in place."""
        return self._console.is_terminal and not self._console.is_dumb_terminal

    def show(self, status: Status) -> None:
        """Draw the line."""
        self._live = self._live or self._open()
        self._live.update(status, refresh=True)

    def close(self) -> None:
        """Remove the line."""
        for handler, stream in self._redirected:
            handler.setStream(stream)
        self._redirected = []
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _open(self) -> Live:
        """Begin to draw, and redirect log handlers of the terminal through rich, which writes above the line."""
        on_terminal = [
            handler
            for handler in logging.getLogger().handlers
            if isinstance(handler, logging.StreamHandler) and handler.stream.isatty()
        ]
        live = Live(console=self._console, auto_refresh=False, transient=True, redirect_stdout=sys.stdout.isatty())
        live.start()
        for handler in on_terminal:
            if (stream := handler.setStream(sys.stderr)) is not None:
                self._redirected.append((handler, stream))
        return live
