"""Optuna's pruning of trials; `hydra/sweeper=optuna` adds this callback to each job."""

import logging
import math

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.trainer.states import TrainerFn

from hrpose.errors import import_optional

logger = logging.getLogger(__name__)


class OptunaPruning(Callback):
    """Report each validation to an Optuna study, and end the training if the median pruner would.

    The best checkpoint is validated as after a complete training.

    Args:
        storage: journal file.
        study_name: name of the study in this file.
        trial: number of the trial.
        monitor: name of the logged metric, val/AP or val/PCKh.

    Raises:
        MissingLibraryError: without optuna.
    """

    def __init__(self, *, storage: str, study_name: str, trial: int, monitor: str) -> None:
        self._optuna = import_optional("optuna", "callbacks.pruning", "hrpose[sweep]")
        self.storage, self.study_name, self.trial, self.monitor = storage, study_name, trial, monitor

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the metric from the first process, and end the training in all processes if the trial is pruned."""
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        epoch = trainer.current_epoch + 1
        stop = False
        if trainer.is_global_zero:
            value = float(trainer.callback_metrics.get(self.monitor, math.nan))
            stop = math.isfinite(value) and self._report(value, epoch) and epoch != trainer.max_epochs
        if trainer.strategy.broadcast(stop):
            trainer.should_stop = True

    def _report(self, value: float, epoch: int) -> bool:
        """Report a value, and return whether the pruner stops the trial."""
        storages, pruner = self._optuna.storages, self._optuna.pruners.MedianPruner()
        storage = storages.JournalStorage(storages.journal.JournalFileBackend(self.storage))
        study = self._optuna.load_study(study_name=self.study_name, storage=storage, pruner=pruner)
        # Optuna has no public function that returns a trial of another process.
        trial = self._optuna.trial.Trial(study, study.trials[self.trial]._trial_id)
        trial.report(value, epoch)
        if not trial.should_prune():
            return False
        trial.set_user_attr("pruned", epoch)
        text = "Stopped after epoch %d: %s %.3f is below the median of the earlier trials at this epoch"
        logger.info(text, epoch, self.monitor, value)
        return True
