"""Stop the training of a trial that Optuna judges hopeless; `hydra/sweeper=optuna` adds this callback to each job."""

import logging
import math

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.trainer.states import TrainerFn

from hrpose.errors import import_optional

logger = logging.getLogger(__name__)


class OptunaPruning(Callback):
    """Report the AP of each validation to a study, and end the training where its pruner says so.

    The best checkpoint is validated as after a complete training.

    Args:
        storage: journal file of the study.
        study_name: which of its studies.
        trial: number of the trial.
        monitor: the logged number, val/AP or val/PCKh.

    Raises:
        MissingLibraryError: without optuna.
    """

    def __init__(self, *, storage: str, study_name: str, trial: int, monitor: str) -> None:
        self._optuna = import_optional("optuna", "callbacks.pruning", "hrpose[sweep]")
        self.storage = storage
        self.study_name = study_name
        self.trial = trial
        self.monitor = monitor

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report, and end the training in all processes if the first one was answered so."""
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
        """Report a value; return whether the pruner would stop here."""
        journal = self._optuna.storages.journal.JournalFileBackend(self.storage)
        study = self._optuna.load_study(
            study_name=self.study_name,
            storage=self._optuna.storages.JournalStorage(journal),
            pruner=self._optuna.pruners.MedianPruner(),
        )
        # Optuna has no public way from the number of a trial to the trial in another process.
        trial = self._optuna.trial.Trial(study, study.trials[self.trial]._trial_id)
        trial.report(value, epoch)
        if not trial.should_prune():
            return False
        trial.set_user_attr("pruned", epoch)
        logger.info(
            "Stopped after epoch %d: %s %.3f is below the median of the earlier trials at this epoch",
            epoch,
            self.monitor,
            value,
        )
        return True
