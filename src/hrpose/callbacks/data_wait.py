"""The share of the training time that is spent waiting for batches."""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

logger = logging.getLogger(__name__)

_MAX_SHARE = 0.2  # of the time, above which a warning follows
_MIN_SECONDS = 5.0  # of waiting, before a warning
_NUM_SYNCHRONIZED = 100  # batches of an epoch that are measured on a GPU


class DataWait(Callback):
    """Log `train/data_wait`, the share of the time between the first and the last batch of an epoch that is spent waiting.

    Warn once if the share is above 20 % while cores of the machine are idle. A GPU computes while the next batch is loaded, so
    the first 100 batches of an epoch are synchronised with the GPU, and only these are measured.

    Args:
        clock: a function that returns seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._warned = False
        self._ended: float | None = None
        self._started = self._waited = self._worked = self._epoch_start = 0.0
        self._num_batches = 0
        self._idle_before: float | None = None

    def on_train_epoch_start(self, *args: Any, **kwargs: Any) -> None:
        """Reset the measurement."""
        self._ended, self._num_batches = None, 0
        self._started = self._waited = self._worked = 0.0
        self._idle_before, self._epoch_start = read_idle_seconds(), self._clock()

    def on_train_batch_start(self, *args: Any, **kwargs: Any) -> None:
        """Add the time since the previous batch. The first batch of an epoch starts the workers and is not measured."""
        self._started = self._clock()
        if self._ended is not None:
            self._waited += self._started - self._ended

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Add the duration of the step."""
        self._num_batches += 1
        on_gpu = trainer.strategy.root_device.type == "cuda"
        if on_gpu and self._num_batches > _NUM_SYNCHRONIZED:
            self._ended = None
            return
        if on_gpu:
            torch.cuda.synchronize()
        self._ended = self._clock()
        if self._num_batches > 1:
            self._worked += self._ended - self._started

    def on_validation_start(self, *args: Any, **kwargs: Any) -> None:
        """Exclude the validation from the measurement."""
        self._ended = None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the share and, if necessary, a warning."""
        total = self._waited + self._worked
        if not total:
            return
        share = self._waited / total
        pl_module.log("train/data_wait", share, rank_zero_only=True)
        idle = self._num_idle()
        if share > _MAX_SHARE and self._waited > _MIN_SECONDS and idle >= 1 and not self._warned and trainer.is_global_zero:
            self._warned = True
            workers = int(getattr(trainer.datamodule, "num_workers", 0))  # type: ignore[attr-defined]
            logger.warning(
                "%.0f %% of the time is spent waiting for batches, and %d cores are idle: set data.num_workers=%d (it is %d).",
                *(100 * share, idle, workers + idle, workers),
            )

    def _num_idle(self) -> int:
        """Return how many cores were idle on average; 0 if unknown."""
        now, seconds = read_idle_seconds(), self._clock() - self._epoch_start
        if now is None or self._idle_before is None or seconds <= 0:
            return 0
        return int((now - self._idle_before) / seconds)


def read_idle_seconds(file: Path = Path("/proc/stat")) -> float | None:
    """Return the idle seconds, summed over the cores that this process may use; None on systems other than Linux."""
    try:
        cores = {f"cpu{number}" for number in os.sched_getaffinity(0)}
        rows = [line.split() for line in file.read_text().splitlines() if line.startswith("cpu")]
        return sum(float(row[4]) for row in rows if row[0] in cores) / os.sysconf("SC_CLK_TCK")
    except (AttributeError, OSError, ValueError, IndexError):
        return None
