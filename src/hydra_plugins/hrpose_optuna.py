"""Hydra's sweeper `hydra/sweeper=optuna`: Optuna chooses the values of each job and learns from its score.

Hydra finds sweepers in the namespace `hydra_plugins` alone, and imports this module at every start: it imports nothing slow.
The study is a journal in a file. The same command continues a stopped search; trials that were running are repeated.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.core.plugins import Plugins
from hydra.errors import CompactHydraException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    from optuna import Study, Trial

logger = logging.getLogger(__name__)


class OptunaSweeper(Sweeper):
    """Run trials until a study has enough of them; the score is maximised.

    Args:
        num_trials: of the study, those of earlier commands included.
        num_parallel: trials that are chosen at once, for a launcher that runs several jobs.
        storage: file of the study; a new one is made.
        study_name: several studies can share a file.
        seed: of the choices.
        prune: stop a training whose AP is below the median of the earlier trials at the same epoch.
        params: keys with ranges in Hydra's notation, as on the command line, whose ranges come after them.
    """

    def __init__(
        self,
        *,
        num_trials: int,
        num_parallel: int,
        storage: str,
        study_name: str,
        seed: int,
        prune: bool,
        params: Mapping[str, Any] | None = None,
    ) -> None:
        self.num_trials = num_trials
        self.num_parallel = num_parallel
        self.storage = Path(storage).absolute()
        self.study_name = study_name
        self.seed = seed
        self.prune = prune
        self.params = dict(params or {})
        self.launcher: Launcher | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Make the launcher; Hydra calls this before `sweep`."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run the trials that the study lacks."""
        # optuna is optional
        from optuna.trial import TrialState

        assert self.launcher is not None
        assert self.config is not None
        parsed = OverridesParser.create().parse_overrides([*(f"{k}={v}" for k, v in self.params.items()), *arguments])
        overrides = {override.get_key_element(): override for override in parsed}
        study = self._open_study()
        folder = Path(str(self.config.hydra.sweep.dir))
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        job = 0
        while (left := self.num_trials - num_tried(study)) > 0:
            trials = [study.ask() for _ in range(min(left, self.num_parallel))]
            batch = [self._choose(trial, overrides) for trial in trials]
            try:
                returned = self.launcher.launch(batch, initial_job_idx=job)
            except Exception as error:
                for trial in trials:
                    study.tell(trial, state=TrialState.FAIL)
                raise CompactHydraException(
                    f"The launcher failed ({type(error).__name__}: {error}). The same command continues the study."
                ) from error
            for position, (trial, result) in enumerate(zip(trials, returned, strict=True)):
                tell(study, trial, result, folder, job + position)
            job += len(batch)
        best = max((trial.value for trial in study.get_trials(states=[TrialState.COMPLETE])), default=None)
        logger.info("Study %s: %d trials, best score %s (%s)", self.study_name, num_tried(study), best, self.storage)

    def _open_study(self) -> Study:
        """Open the study, or make one; trials that a stopped command has left are repeated."""
        # optuna is optional, and slow to import
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            self.storage.parent.mkdir(parents=True, exist_ok=True)
            study = optuna.create_study(
                storage=JournalStorage(JournalFileBackend(str(self.storage))),
                study_name=self.study_name,
                direction="maximize",
                load_if_exists=True,
                pruner=optuna.pruners.MedianPruner() if self.prune else optuna.pruners.NopPruner(),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = error if isinstance(error, OSError) else f"{self.storage} is no journal of Optuna, or damaged ({error})"
            raise CompactHydraException(f"hydra.sweeper.storage: {reason}. Name another file.") from error
        study.sampler = optuna.samplers.TPESampler(seed=self.seed + len(study.trials), constant_liar=True)
        for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            study.enqueue_trial(trial.params, user_attrs={"repeats": trial.number})
        return study

    def _choose(self, trial: Trial, overrides: Mapping[str, Override]) -> list[str]:
        """Return the overrides of a trial."""
        # hrpose comes in with Hydra, and this module before it
        from hrpose.config import write_override

        chosen = []
        for key, override in overrides.items():
            try:
                text = suggest(trial, key, override) if override.is_sweep_override() else None
            except ValueError as error:  # the study has trials with other choices of this key
                raise CompactHydraException(
                    f"{key}: study {self.study_name} was made with another range ({error}). Name a new study: "
                    "hydra.sweeper.study_name=..."
                ) from error
            chosen.append(f"{key}={override.get_value_element_as_str() if text is None else text}")
        assert self.config is not None
        if self.prune and self.config.task == "fit":
            study = {"storage": str(self.storage), "study_name": self.study_name, "trial": trial.number}
            target = {"_target_": "hrpose.callbacks.OptunaPruning", **study, "monitor": self.config.monitor}
            chosen.append(f"+{write_override('callbacks.pruning', target)}")
        return chosen


def num_tried(study: Study) -> int:
    """Count the trials that have ended, without those that were stopped and are repeated."""
    repeated = {trial.user_attrs.get("repeats") for trial in study.trials}
    return sum(trial.state.is_finished() and trial.number not in repeated for trial in study.trials)


def suggest(trial: Trial, key: str, override: Override) -> str:
    """Choose one value of a range with Optuna, which knows the order of numbers but not of choices.

    Raises:
        ValueError: the study has other choices for this key.
    """
    sweep = override.value()
    if isinstance(sweep, IntervalSweep):
        low, high, log = sweep.start, sweep.end, "log" in sweep.tags
        assert low is not None
        assert high is not None
        if isinstance(low, int) and isinstance(high, int):
            return str(trial.suggest_int(key, low, high, log=log))
        return repr(trial.suggest_float(key, low, high, log=log))
    texts = list(dict.fromkeys(override.sweep_string_iterator()))
    if isinstance(sweep, RangeSweep) and all(isinstance(value, int) for value in (sweep.start, sweep.stop, sweep.step)):
        numbers = sorted(map(int, texts))
        return str(trial.suggest_int(key, numbers[0], numbers[-1], step=abs(int(sweep.step))))
    return str(trial.suggest_categorical(key, texts))


def tell(study: Study, trial: Trial, result: Any, sweep: Path, job: int) -> None:
    """Report the score of a job; without a finite one the trial has failed. The record of a pruned one says so."""
    # optuna is optional
    from optuna.trial import TrialState

    # and hrpose comes in with Hydra
    from hrpose.tasks.sweep import DONE, read_jobs, write_job

    try:
        score = result.return_value
    except Exception as error:
        logger.warning("Trial %d failed: %s", trial.number, error)
        score = None
    stored = study.trials[trial.number]
    if not isinstance(score, int | float) or not math.isfinite(score):
        study.tell(trial, state=TrialState.FAIL)
    elif "pruned" in stored.user_attrs:
        study.tell(trial, state=TrialState.PRUNED)
        for record in read_jobs(sweep):
            if record.number == job:
                write_job(sweep, replace(record, state=f"{DONE}, pruned after epoch {stored.user_attrs['pruned']}"))
    else:
        study.tell(trial, score)
