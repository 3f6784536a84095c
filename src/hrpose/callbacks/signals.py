"""Answer SIGTERM, and the signal with which SLURM announces the end of a job, with a checkpoint between two optimizer steps."""

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

    Lightning answers SIGTERM after the next batch, within an accumulation too, and the requeue signal of SLURM at once, within a
    step. A run that is resumed from such a checkpoint has other weights than an undisturbed one. Here a signal is noted, and
    answered when the gradients have been applied: after the step, or, where a validation ends the epoch, after that. SIGTERM then
    ends the run. After the requeue signal the run goes on until SLURM ends it, as with Lightning's `SLURMEnvironment`.

    Outside of a training, the program's own handler answers SIGTERM at once. It is the last of the callbacks that
    write checkpoints: all others have done their work when it ends the run.

    Args:
        requeue_file: receives the path of the checkpoint of a requeued job; None outside of SLURM.
    """

    def __init__(self, requeue_file: Path | None = None) -> None:
        self.requeue_file = requeue_file
        self._noted: set[int] = set()
        self._before: dict[int, Any] = {}  # handlers of the program
        self._requeue: int | None = None  # the signal for which Lightning has set a handler

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Note the program's handlers, before Lightning sets its own."""
        self._before = {number: signal.getsignal(number) for number in (signal.SIGTERM, *_REQUEUE)}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take note of signals from here on."""
        if threading.current_thread() is not threading.main_thread():  # only the main thread can handle signals
            return
        changed = [number for number in _REQUEUE if signal.getsignal(number) != self._before[number]]
        self._requeue = changed[0] if changed and self.requeue_file is not None else None
        for number in (signal.SIGTERM, self._requeue):
            if number is not None:
                signal.signal(number, lambda number, frame: self._noted.add(number))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Answer after an optimizer step that no validation follows; a resumed run would leave the validation out."""
        stepped = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if stepped and not trainer.is_last_batch and not _validates_after(trainer, batch_idx):
            self._answer(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Answer after a validation within an epoch."""
        within = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking and not trainer.is_last_batch
        if within and (trainer.fit_loop.batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            self._answer(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Answer after the epoch and its validation."""
        if trainer.is_last_batch:
            self._answer(trainer)

    def on_train_end(self, *args: Any, **kwargs: Any) -> None:
        """Let the program's handler answer at once from here on."""
        handler = self._before.get(signal.SIGTERM)  # None if the run has failed before `setup`
        if threading.current_thread() is threading.main_thread() and callable(handler):
            signal.signal(signal.SIGTERM, handler)

    on_exception = on_sanity_check_start = on_test_start = on_train_end

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Do so in the validation of the best checkpoint too; a job that is requeued during it goes on from the last one."""
        if trainer.state.fn == TrainerFn.FITTING:
            return
        self.on_train_end()
        if self._requeue is not None and trainer.is_global_zero:
            signal.signal(self._requeue, lambda *_: self._ask_for_requeue(_last_file(trainer)))

    def _answer(self, trainer: Trainer) -> None:
        """Answer the signals that any process of the run has received, in all processes after the same step."""
        handled = [number for number in (self._requeue, signal.SIGTERM) if number is not None]
        came = [n for n in handled if trainer.strategy.reduce_boolean_decision(n in self._noted, all=False)]
        self._noted.clear()
        if not came:
            return
        file = _save(trainer)
        if self._requeue in came and trainer.is_global_zero:
            self._ask_for_requeue(file)
        if signal.SIGTERM in came:
            handler = self._before[signal.SIGTERM]
            if not callable(handler):
                raise SystemExit(128 + signal.SIGTERM)
            handler(signal.SIGTERM, None)

    def _ask_for_requeue(self, file: Path | None) -> None:
        """Let SLURM start the job anew, which goes on from the file."""
        if file is None or self.requeue_file is None:
            return
        with write_atomically(self.requeue_file) as partial:
            partial.write_text(str(file.absolute()), encoding="utf-8")
        command = ["scontrol", "requeue", str(slurm_job())]
        try:
            status = subprocess.run(command, check=False, timeout=60).returncode
        except (OSError, subprocess.TimeoutExpired) as error:
            logger.warning("SLURM: `%s` failed (%s). The run goes on.", " ".join(command), error)
            return
        if status:
            logger.warning("SLURM: `%s` failed with status %d. The run goes on.", " ".join(command), status)
        else:
            logger.info("SLURM: the job is requeued and will go on from %s.", file)


def _validates_after(trainer: Trainer, batch_idx: int) -> bool:
    """Check whether `trainer.val_check_interval` makes a validation follow this batch."""
    epochs, batches = trainer.check_val_every_n_epoch, trainer.val_check_batch
    if batches is None or not math.isfinite(batches) or not trainer.enable_validation:  # None: an interval in minutes
        return False
    if epochs is None:
        return (trainer.fit_loop.total_batch_idx + 1) % int(batches) == 0
    return (trainer.current_epoch + 1) % epochs == 0 and (batch_idx + 1) % int(batches) == 0


def slurm_job() -> str | None:
    """Return the id of the SLURM job that this process belongs to, with that of a task of an array; None outside of SLURM."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")


def _save(trainer: Trainer) -> Path | None:
    """Write `last.ckpt`; None where the run keeps none."""
    file = _last_file(trainer)
    if file is None:
        logger.warning(
            "A signal has arrived, but the run keeps no last.ckpt: callbacks.last and last_in_epoch are null."
        )
        return None
    trainer.save_checkpoint(file, weights_only=False)
    logger.info("A signal has arrived: step %d is saved in %s.", trainer.global_step, file)
    return file


def _last_file(trainer: Trainer) -> Path | None:
    """Return `last.ckpt` in the folder of the checkpoints that are not chosen by a score; None where the run keeps none."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor is None and callback.dirpath is not None:
            return Path(callback.dirpath) / "last.ckpt"
    return None
