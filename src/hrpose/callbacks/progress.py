"""Progress of a training, validation or test: one line on a terminal, and lines in the log."""

import logging
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from rich.console import Console

from hrpose.callbacks.outputs import metrics_of
from hrpose.callbacks.status import Display, Pace, Status
from hrpose.structures import Batch

logger = logging.getLogger(__name__)

_SHORTEST_PAUSE, _LONGEST_PAUSE = 10.0, 600.0  # seconds between lines of the log, where there is no terminal
_PAUSE_SHARE = 0.1  # of the time since the start


class RunProgress(Callback):
    """Show epoch, batch, loss, last AP or PCKh, images per second and the time left of the whole run.

    A terminal shows one line that is drawn again and again, and keeps a line of each validated epoch. Elsewhere, in files and
    pipes, lines go to the log: the first after 10 seconds, later ones after a tenth of the time since the start.

    Args:
        interval: seconds between two drawings on a terminal. Each reads the loss from the device.
        console: where to draw; standard error by default.
        clock: seconds that pass.
    """

    def __init__(
        self,
        *,
        interval: float = 0.5,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
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
        """Keep the last AP or PCKh in the checkpoint, so that a resumed run shows it."""
        return {"score": self._score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the last AP or PCKh from the checkpoint."""
        self._score = state_dict["score"]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Start the clock."""
        self._start = self._clock()
        self._next = self._start + (0 if self._display.is_terminal else _SHORTEST_PAUSE)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Remove the line."""
        self._display.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Remove the line."""
        self._display.close()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count; a run that is resumed within an epoch does not start one."""
        self._train.restart()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count."""
        self._train.restart()
        self._is_validated = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count the batch, keep its loss on the device and show the state."""
        self._train.count(len(batch["images"]) * trainer.world_size)
        self._loss_sum = self._loss_sum + outputs["loss"].detach() * trainer.accumulate_grad_batches
        self._num_losses += 1
        if self._is_due(trainer):
            self._show(self._train_status(trainer, batch_idx + 1))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave a line of a validated epoch."""
        if self._is_validated and trainer.is_global_zero:
            logger.info(self._train_status(trainer, int(trainer.num_training_batches)).line())
            self._plan_next()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count."""
        self._train.measure()
        self._evaluation.restart()
        self._validation_start = self._clock()

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, *args: Any
    ) -> None:
        """Count the batch and show the state."""
        if trainer.sanity_checking:
            self._evaluate(trainer, batch, "Sanity check", sum(trainer.num_sanity_val_batches))
        elif trainer.state.fn == TrainerFn.FITTING:
            self._evaluate(trainer, batch, f"{_epoch_of(trainer)} val", _num_val_batches(trainer), is_in_training=True)
        else:
            self._evaluate(trainer, batch, "Validation", _num_val_batches(trainer))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take note of AP or PCKh and of the time that the validation took."""
        self._train.restart()
        if trainer.sanity_checking:
            return
        self._is_validated = True
        self._validation_seconds = self._clock() - self._validation_start
        for metric in list(metrics_of(pl_module).values())[:1]:
            self._score = (metric.leading, float(trainer.callback_metrics[f"val/{metric.leading}"]))

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count."""
        self._evaluation.restart()

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, *args: Any
    ) -> None:
        """Count the batch and show the state."""
        self._evaluate(trainer, batch, "Test", sum(trainer.num_test_batches))

    def _evaluate(
        self, trainer: Trainer, batch: Batch, title: str, total: float, *, is_in_training: bool = False
    ) -> None:
        """Count a batch of a validation or test and show the state."""
        self._evaluation.count(len(batch["images"]) * trainer.world_size)
        if not self._is_due(trainer):
            return
        self._evaluation.measure()
        per_batch, rate, done = (
            self._evaluation.seconds_per_batch,
            self._evaluation.images_per_second,
            self._evaluation.done,
        )
        left = None if per_batch is None or math.isinf(total) else (total - done) * per_batch
        if not is_in_training:
            self._show(Status(title, done, total, rate=rate, seconds_left=left))
            return
        after = self._seconds_left(trainer, 0, trainer.current_epoch + 1)
        left = None if left is None or after is None else left + after
        self._show(Status(title, done, total, self._loss, self._score, rate, left))

    def _train_status(self, trainer: Trainer, done: int) -> Status:
        self._train.measure()
        if self._num_losses:
            self._loss = float(self._loss_sum) / self._num_losses
            self._loss_sum, self._num_losses = 0.0, 0
        rate, total = self._train.images_per_second, trainer.num_training_batches
        left = self._seconds_left(trainer, done, trainer.current_epoch)
        return Status(_epoch_of(trainer), done, total, self._loss, self._score, rate, left)

    def _seconds_left(self, trainer: Trainer, done: int, epoch: int) -> float | None:
        """Estimate the time left of the run after `done` batches of an epoch; None if it is unknown."""
        per_batch, batches = self._train.seconds_per_batch, _num_batches_left(trainer, done, epoch)
        if per_batch is None or math.isinf(batches):
            return None
        per_validation = self._validation_seconds
        if per_validation is None:
            per_validation = _num_val_batches(trainer) * per_batch
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
    """Name the running epoch, counted from 1."""
    epoch, last = trainer.current_epoch + 1, trainer.max_epochs
    return f"Epoch {epoch}" if last in (None, -1) else f"Epoch {epoch:{len(str(last))}}/{last}"


def _num_val_batches(trainer: Trainer) -> float:
    return sum(trainer.num_val_batches)


def _num_batches_left(trainer: Trainer, done: int, epoch: int) -> float:
    """Count the training batches after `done` batches of an epoch; infinite if the run has no end."""
    left = math.inf
    if trainer.max_epochs is not None and trainer.max_epochs != -1:
        left = (trainer.max_epochs - epoch) * trainer.num_training_batches - done
    if trainer.max_steps != -1:
        left = min(left, (trainer.max_steps - trainer.global_step) * trainer.accumulate_grad_batches)
    return max(0, left)


def _num_validations_left(trainer: Trainer, epoch: int) -> int:
    """Count the validations from an epoch on, its own among them."""
    every, last = trainer.check_val_every_n_epoch, trainer.max_epochs
    if every is None or last is None or last == -1:
        return 0
    return sum((done % every == 0) or done == last for done in range(epoch + 1, last + 1))
