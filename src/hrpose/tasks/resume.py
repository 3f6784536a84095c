"""Resume a run: apply or refuse settings that differ from the checkpoint's, and find the checkpoint of a requeued SLURM job."""

import hashlib
import logging
import math
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from torch.optim import Optimizer

from hrpose.callbacks.signals import slurm_job
from hrpose.config import ConfigError, plain
from hrpose.files import dumps
from hrpose.module import PoseModule
from hrpose.structures import Batch
from hrpose.tasks.provenance import Provenance

logger = logging.getLogger(__name__)

_FACTOR = "optim.backbone_factor"
_GROUPS = ("optim", "schedule", "schedule_interval")  # everything else is built from the configuration


def requeue_file(cfg: DictConfig) -> Path | None:
    """Return the file that names the checkpoint of a requeued job; None outside of SLURM.

    Its name has the job id and a digest of the configuration, so that other jobs and other runs of the job do not use it.
    """
    job = slurm_job()
    if job is None or cfg.task != "fit":
        return None
    content = OmegaConf.to_container(cfg)
    assert isinstance(content, dict)
    content["paths"] = {key: value for key, value in content["paths"].items() if key not in ("run", "sweep")}
    digest = hashlib.sha256(dumps(content).encode()).hexdigest()[:8]
    return Path(str(cfg.paths.runs), str(cfg.name), f".requeued_{job}_{digest}")


def requeued_checkpoint(cfg: DictConfig) -> Path | None:
    """Return the checkpoint from which a requeued job resumes; None for any other run."""
    note = requeue_file(cfg)
    if note is None or not note.is_file():
        return None
    file = Path(note.read_text(encoding="utf-8"))
    return file if file.is_file() else None


@rank_zero_only
def remove_requeue_file(cfg: DictConfig) -> None:
    """Remove the file after a complete training."""
    note = requeue_file(cfg)
    if note is not None:
        note.unlink(missing_ok=True)


def resume_callback(cfg: DictConfig, provenance: Provenance | None) -> "Resume":
    """Compare the settings with those of the checkpoint, log the differences, and return the callback that applies them.

    If the run of the checkpoint is unknown, all settings are applied.

    Raises:
        ConfigError: if the optimizer has another class or other parameter groups.
    """
    given = dict(_flatten({group: OmegaConf.select(cfg, group) for group in _GROUPS}))
    if provenance is None:
        return Resume("; ".join(f"{key}={value}" for key, value in given.items()))
    stored = dict(_flatten({group: provenance.config.get(group) for group in _GROUPS}))
    for settings in (stored, given):
        settings.setdefault(_FACTOR, 1.0)  # missing in checkpoints of older versions
    changes = {key: (stored.get(key), given.get(key)) for key in {**given, **stored} if stored.get(key) != given.get(key)}
    new_run = f"or start a new run from its weights: ckpt_path=null weights={provenance.file}."
    if "optim._target_" in changes:
        old, new = changes["optim._target_"]
        raise ConfigError(
            f"optim: expected {old}, whose state is in {provenance.file}, but got {new}. Set the optimizer of the checkpoint, "
            f"{new_run}"
        )
    if 1 in changes.get(_FACTOR, ()):
        old, new = changes[_FACTOR]
        raise ConfigError(
            f"{_FACTOR}: expected {old}, as in {provenance.file}, but got {new}. With 1 the optimizer has one parameter group, "
            f"otherwise two. Set the value of the checkpoint, {new_run}"
        )
    differences = "; ".join(f"{key}={new} (the checkpoint has {old})" for key, (old, new) in changes.items())
    if differences:
        logger.info("Resuming with %s", differences)
    return Resume(differences)


class Resume(Callback):
    """Set optimizer and schedule to the state that a run with these settings has at this epoch and step.

    Lightning restores both with the settings of the checkpoint, which are kept if nothing differs (`differences` is empty).
    """

    def __init__(self, differences: str) -> None:
        self.differences = differences
        self._pending = False
        self._total_steps: int | None = None
        self._max_steps = -1

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Store the length of the schedule, and remove its state if settings differ, because its class may differ too."""
        self._pending = True
        self._total_steps = next((state.get("total_steps") for state in checkpoint["lr_schedulers"]), None)
        if self.differences:
            checkpoint["lr_schedulers"] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the length of a schedule that spans all steps, before Lightning restores the state of the loops."""
        for config in trainer.lr_scheduler_configs:
            total = getattr(config.scheduler, "total_steps", self._total_steps)
            if self._total_steps not in (None, total):
                raise ConfigError(
                    f"schedule: expected a run of {self._total_steps} optimizer steps, the length of the checkpoint's schedule, "
                    f"but got {total}. Keep trainer.max_epochs, data.batch_size and the data, choose another schedule, or start "
                    "a new run with weights=<checkpoint>."
                )
        # With max_steps, Lightning 2.6 would count an epoch that ended with the checkpoint once more, and skip the next one.
        self._max_steps = trainer.max_steps
        trainer.fit_loop.epoch_loop.max_steps = -1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore `max_steps`."""
        trainer.fit_loop.epoch_loop.max_steps = self._max_steps

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Apply the settings if the run is resumed at the end of an epoch."""
        self._apply(trainer, pl_module, 0)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """Apply the settings if the run is resumed within an epoch."""
        self._apply(trainer, pl_module, batch_idx)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Warn if there was nothing to train."""
        if self._pending:
            logger.warning("Nothing was trained: the run of the checkpoint is complete. Increase trainer.max_epochs.")

    def _apply(self, trainer: Trainer, pl_module: LightningModule, batch_idx: int) -> None:
        if not self._pending:
            return
        self._pending = False
        steps_per_epoch = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
        steps = trainer.current_epoch * steps_per_epoch + batch_idx // trainer.accumulate_grad_batches
        by_step = any(config.interval == "step" for config in trainer.lr_scheduler_configs)
        position = steps if by_step else trainer.current_epoch
        restored = {config.scheduler.last_epoch for config in trainer.lr_scheduler_configs}
        if not self.differences and not restored - {position}:
            return
        if not self.differences:
            logger.warning(
                "An epoch has another number of steps than in the checkpoint: the schedule continues at step %d instead of %d.",
                *(position, *restored),
            )
        assert isinstance(pl_module, PoseModule)
        self._rebuild(trainer, pl_module, position)

    def _rebuild(self, trainer: Trainer, module: PoseModule, position: int) -> None:
        """Build new optimizer and schedule, advance the schedule to its position, and copy the settings of both."""
        built: Any = module.configure_optimizers()
        optimizer = built if isinstance(built, Optimizer) else built["optimizer"]
        for config in trainer.lr_scheduler_configs:
            schedule = built["lr_scheduler"]["scheduler"]
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*before `optimizer.step", category=UserWarning)
                for _ in range(position):
                    schedule.step()
            config.scheduler.load_state_dict(schedule.state_dict())
        (restored,) = trainer.optimizers
        state = restored.state_dict()
        self._check_state(module, state["state"])
        restored.load_state_dict({**state, "param_groups": optimizer.state_dict()["param_groups"]})

    def _check_state(self, module: PoseModule, state: Mapping[int, Mapping[str, Any]]) -> None:
        """Raise ConfigError if the checkpoint lacks state of the optimizer, such as Adam's with `amsgrad=True`."""
        parameter = torch.nn.Parameter(torch.zeros(1))
        parameter.grad = torch.zeros(1)
        sample = module.optimizer([parameter])
        sample.step()
        missing = sorted(set(sample.state[parameter]) - set().union(*state.values()))
        if state and missing:
            raise ConfigError(
                f"optim: expected the state {', '.join(missing)} of each parameter, but the checkpoint lacks it: "
                f"{self.differences}. Set optim as in the checkpoint."
            )


def _flatten(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested mappings with their dotted keys."""
    node = plain(node)
    if not isinstance(node, Mapping):
        yield key, node
        return
    for name, value in node.items():
        yield from _flatten(value, f"{key}.{name}" if key else str(name))
