"""Save a checkpoint between two optimizer steps on SIGTERM, or on the signal that SLURM sends before the end of a job."""

import logging
import math
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn

from hrpose.files import write_atomically
from hrpose.structures import Batch

logger = logging.getLogger(__name__)

_REQUEUE = tuple(getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2", "SIGHUP") if hasattr(signal, name))


class SignalCheckpoint(Checkpoint):
    """Write `last.ckpt` at the end of the optimizer step in which a signal arrives.

    Lightning handles SIGTERM after the next batch, even during gradient accumulation, and SLURM's requeue signal immediately,
    during a step. A run resumed from such a checkpoint differs from an uninterrupted one. This callback handles a signal after
    the gradients have been applied and, if a validation follows, after the validation. SIGTERM then ends the run. After the
    requeue signal the run continues until SLURM ends it, as with Lightning's `SLURMEnvironment`.

    Outside of training, the program's own handler receives SIGTERM. Lightning calls this callback after all others that write
    checkpoints, so they have finished when it ends the run.

    Args:
        requeue_file: receives the path of the checkpoint of a requeued job; None outside of SLURM.
    """

    def __init__(self, requeue_file: Path | None = None) -> None:
        self.requeue_file = requeue_file
        self._received: set[int] = set()
        self._before: dict[int, Any] = {}  # handlers of the program
        self._requeue: int | None = None  # the signal for which Lightning has set a handler

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Store the program's handlers before Lightning replaces them."""
        self._before = {number: signal.getsignal(number) for number in (signal.SIGTERM, *_REQUEUE)}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Install handlers that record the signals."""
        if threading.current_thread() is not threading.main_thread():  # only the main thread can handle signals
            return
        changed = [number for number in _REQUEUE if signal.getsignal(number) != self._before[number]]
        self._requeue = changed[0] if changed and self.requeue_file is not None else None
        for number in (signal.SIGTERM, self._requeue):
            if number is not None:
                signal.signal(number, lambda number, frame: self._received.add(number))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Handle signals after an optimizer step, unless a validation follows it, which a resumed run would skip."""
        stepped = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if stepped and not trainer.is_last_batch and not _validates_after(trainer, batch_idx):
            self._handle(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Handle signals after a validation within an epoch."""
        within = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking and not trainer.is_last_batch
        if within and (trainer.fit_loop.batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            self._handle(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Handle signals after an epoch and its validation."""
        if trainer.is_last_batch:
            self._handle(trainer)

    def on_train_end(self, *args: Any, **kwargs: Any) -> None:
        """Restore the program's handler of SIGTERM."""
        handler = self._before.get(signal.SIGTERM)  # None if the run fails before `setup`
        if threading.current_thread() is threading.main_thread() and callable(handler):
            signal.signal(signal.SIGTERM, handler)

    on_exception = on_sanity_check_start = on_test_start = on_train_end

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the handler before the validation of the best checkpoint; a job requeued during it resumes from the last."""
        if trainer.state.fn == TrainerFn.FITTING:
            return
        self.on_train_end()
        if self._requeue is not None and trainer.is_global_zero:
            signal.signal(self._requeue, lambda *_: self._ask_for_requeue(_last_file(trainer)))

    def _handle(self, trainer: Trainer) -> None:
        """Handle the signals that any process of the run has received, in all processes after the same step."""
        handled = [number for number in (self._requeue, signal.SIGTERM) if number is not None]
        received = [n for n in handled if trainer.strategy.reduce_boolean_decision(n in self._received, all=False)]
        self._received.clear()
        if not received:
            return
        file = _save(trainer)
        if self._requeue in received and trainer.is_global_zero:
            self._ask_for_requeue(file)
        if signal.SIGTERM in received:
            handler = self._before[signal.SIGTERM]
            if not callable(handler):
                raise SystemExit(128 + signal.SIGTERM)
            handler(signal.SIGTERM, None)

    def _ask_for_requeue(self, file: Path | None) -> None:
        """Requeue the job in SLURM; its next start resumes from the file."""
        if file is None or self.requeue_file is None:
            return
        with write_atomically(self.requeue_file) as partial:
            partial.write_text(str(file.absolute()), encoding="utf-8")
        command = ["scontrol", "requeue", str(slurm_job())]
        try:
            status = subprocess.run(command, check=False, timeout=60).returncode
            fault = f" with status {status}" if status else ""
        except (OSError, subprocess.TimeoutExpired) as error:
            fault = f" ({error})"
        if fault:
            logger.warning("SLURM: `%s` failed%s. The run continues.", " ".join(command), fault)
        else:
            logger.info("SLURM: the job is requeued and will resume from %s.", file)


def _validates_after(trainer: Trainer, batch_idx: int) -> bool:
    """Check whether a validation follows this batch, because of `trainer.val_check_interval`."""
    epochs, batches = trainer.check_val_every_n_epoch, trainer.val_check_batch
    if batches is None or not math.isfinite(batches) or not trainer.enable_validation:  # None: an interval in minutes
        return False
    if epochs is None:
        return (trainer.fit_loop.total_batch_idx + 1) % int(batches) == 0
    return (trainer.current_epoch + 1) % epochs == 0 and (batch_idx + 1) % int(batches) == 0


def slurm_job() -> str | None:
    """Return the id of this process's SLURM job, including the task of a job array; None outside of SLURM."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")


def _save(trainer: Trainer) -> Path | None:
    """Write `last.ckpt` and return its path; None if the run keeps none."""
    file = _last_file(trainer)
    if file is None:
        logger.warning("Received a signal, but the run keeps no last.ckpt, because callbacks.last and last_in_epoch are null.")
    else:
        trainer.save_checkpoint(file, weights_only=False)
        logger.info("Received a signal: step %d is saved in %s.", trainer.global_step, file)
    return file


def _last_file(trainer: Trainer) -> Path | None:
    """Return the path of `last.ckpt`; None if the run keeps none."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor is None and callback.dirpath is not None:
            return Path(callback.dirpath) / "last.ckpt"
    return None
