"""Resume a run: settings of the optimizer and the schedule that differ from the checkpoint's are applied, or refused."""

import logging
import math
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import DictConfig, OmegaConf
from torch.optim import Optimizer

from hrpose.config import ConfigError, plain
from hrpose.module import PoseModule
from hrpose.structures import Batch
from hrpose.tasks.provenance import Provenance

logger = logging.getLogger(__name__)

_FACTOR = "optim.backbone_factor"
_GROUPS = ("optim", "schedule", "schedule_interval")  # all else is built anew from the configuration


def resume_callback(cfg: DictConfig, provenance: Provenance | None) -> "Resume":
    """Compare the settings with those of the checkpoint, log the differences, and return what applies them.

    Args:
        cfg: the configuration of the run.
        provenance: the run of the checkpoint; of None nothing is known, and all settings are applied.

    Raises:
        ConfigError: the optimizer is of another class, or divides the parameters into other groups.
    """
    stored = (
        dict(_flatten({group: provenance.config.get(group) for group in _GROUPS})) if provenance is not None else {}
    )
    given = dict(_flatten({group: OmegaConf.select(cfg, group) for group in _GROUPS}))
    for settings in (stored, given):
        settings.setdefault(_FACTOR, 1.0)  # checkpoints of older versions, and configurations of an optimizer alone
    changes = {
        key: (stored.get(key), given.get(key)) for key in {**given, **stored} if stored.get(key) != given.get(key)
    }
    if provenance is not None and "optim._target_" in changes:
        old, new = changes["optim._target_"]
        raise ConfigError(
            f"optim: expected {old}, whose state is in {provenance.file}, but got {new}. Set the optimizer of the checkpoint, or "
            f"start a new run from its weights: ckpt_path=null weights={provenance.file}."
        )
    if provenance is not None and _FACTOR in changes and 1 in changes[_FACTOR]:
        raise ConfigError(
            f"{_FACTOR}: expected {changes[_FACTOR][0]}, as in {provenance.file}, but got {changes[_FACTOR][1]}: with 1 the "
            "optimizer has one group of parameters, else two. Set that of the checkpoint, or start a new run from its weights: "
            f"ckpt_path=null weights={provenance.file}."
        )
    differences = "; ".join(f"{key}={new} (the checkpoint has {old})" for key, (old, new) in changes.items())
    if differences and provenance is not None:
        logger.info("Resuming with %s", differences)
    return Resume(differences)


class Resume(Callback):
    """Put optimizer and schedule where a run with these settings would be at this epoch and step.

    Lightning restores both with the settings of the checkpoint. Where nothing differs, they are left as they are.

    Args:
        differences: the settings that differ, as text; empty for none.
    """

    def __init__(self, differences: str) -> None:
        self.differences = differences
        self._pending = False
        self._total_steps: int | None = None
        self._max_steps = -1

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Note the length of the schedule; do not restore a schedule with other settings, which may be of another class."""
        self._pending = True
        self._total_steps = next((state.get("total_steps") for state in checkpoint["lr_schedulers"]), None)
        if self.differences:
            checkpoint["lr_schedulers"] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse a schedule of another length, before Lightning restores the state of the loops.

        Raises:
            ConfigError: the schedule is stretched over all steps of a run, and their number is not that of the checkpoint.
        """
        for config in trainer.lr_scheduler_configs:
            total = getattr(config.scheduler, "total_steps", self._total_steps)
            if self._total_steps not in (None, total):
                raise ConfigError(
                    f"schedule: expected a run of {self._total_steps} optimizer steps, over which the checkpoint stretches its "
                    f"schedule, but got {total}. Keep trainer.max_epochs, data.batch_size and the data as they were, choose "
                    "another schedule, or start a new run with weights=<checkpoint>."
                )
        # With max_steps, Lightning 2.6 would count an epoch that ended with the checkpoint once more, and skip the next one.
        self._max_steps = trainer.max_steps
        trainer.fit_loop.epoch_loop.max_steps = -1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the number of steps again."""
        trainer.fit_loop.epoch_loop.max_steps = self._max_steps

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Apply the settings, if the run is resumed at the end of an epoch."""
        self._apply(trainer, pl_module, 0)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """Apply the settings, if the run is resumed within an epoch."""
        self._apply(trainer, pl_module, batch_idx)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Warn if there was nothing to train."""
        if self._pending:
            logger.warning(
                "Nothing was trained: the run of the checkpoint is complete. Set trainer.max_epochs to go on with it."
            )

    def _apply(self, trainer: Trainer, pl_module: LightningModule, batch_idx: int) -> None:
        if not self._pending:
            return
        self._pending = False
        steps_per_epoch = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
        steps = trainer.current_epoch * steps_per_epoch + batch_idx // trainer.accumulate_grad_batches
        by_step = any(config.interval == "step" for config in trainer.lr_scheduler_configs)
        position = steps if by_step else trainer.current_epoch
        restored = {config.scheduler.last_epoch for config in trainer.lr_scheduler_configs}
        if not self.differences and restored - {position}:
            logger.warning(
                "The schedule goes on at step %d, as in a run with these settings, not at step %d as in the checkpoint. An epoch "
                "has another number of steps.",
                position,
                *restored,
            )
        if self.differences or restored - {position}:
            assert isinstance(pl_module, PoseModule)
            self._rebuild(trainer, pl_module, position)

    def _rebuild(self, trainer: Trainer, module: PoseModule, position: int) -> None:
        """Make optimizer and schedule anew, step the schedule to its position, and take over the settings of both."""
        made: Any = module.configure_optimizers()
        optimizer = made if isinstance(made, Optimizer) else made["optimizer"]
        for config in trainer.lr_scheduler_configs:
            schedule = made["lr_scheduler"]["scheduler"]
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
        """Check that the optimizer finds in the checkpoint what it keeps for each parameter.

        Raises:
            ConfigError: it does not, as Adam with `amsgrad=True` in the checkpoint of an Adam without.
        """
        parameter = torch.nn.Parameter(torch.zeros(1))
        parameter.grad = torch.zeros(1)
        sample = module.optimizer([parameter])
        sample.step()
        missing = sorted(set(sample.state[parameter]) - set().union(*state.values()))
        if state and missing:
            raise ConfigError(
                f"optim: expected the state {', '.join(missing)} of each parameter, but the checkpoint does not have it: "
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
