"""Callbacks that determine which weights are trained (a frozen backbone) and which are evaluated (a moving average)."""

import logging
from functools import partial

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn

from hrpose.models import count_parameters, split_modules, split_parameters
from hrpose.module import PoseModule
from hrpose.structures import Batch

logger = logging.getLogger(__name__)


class FreezeBackbone(Callback):
    """Train the head only: the backbone gets no gradients and stays in eval mode, which keeps its batch norm statistics.

    The number of the epoch alone determines whether the backbone is frozen, so a resumed run needs no state.

    Args:
        epochs: epochs after which the whole network is trained; None for the whole run.

    Raises:
        ValueError: if `epochs` is not a positive integer.
    """

    def __init__(self, epochs: int | None = None) -> None:
        if epochs is not None and (isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1):
            raise ValueError(f"Expected argument `epochs` to be None or an integer of at least 1, but got {epochs!r}.")
        self.epochs = epochs
        self._frozen: list[nn.Parameter] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Freeze before the optimizer is built and the network is divided among processes.

        Raises:
            ValueError: if the network names no head; or if several processes train a backbone that is frozen for some epochs,
                because torch synchronises only the weights that have gradients at the start.
        """
        if stage != "fit":
            return
        if self.epochs is not None and trainer.world_size > 1:
            raise ValueError(
                f"callbacks.freeze.epochs: expected null or one process, but got {self.epochs} and {trainer.world_size} "
                "processes, which would not synchronise the backbone after these epochs. Set trainer.devices=1, or train the "
                "head in one run and the network in a second one with weights=<checkpoint>."
            )
        self._freeze(_net_of(pl_module))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """Freeze or release the backbone. A resumed run may start within an epoch, so every batch is checked."""
        net = _net_of(pl_module)
        if self.epochs is not None and trainer.current_epoch >= self.epochs:
            self._release(net)
            return
        self._freeze(net)
        for parameter in self._frozen:
            parameter.grad = None  # a checkpoint of a run without this callback may hold accumulated gradients
        for part in split_modules(net)[0].values():
            if part.training:
                part.eval()

    def _freeze(self, net: nn.Module) -> None:
        if self._frozen:
            return
        self._frozen = [parameter for parameter in split_parameters(net)[0] if parameter.requires_grad]
        for parameter in self._frozen:
            parameter.requires_grad = False
        until = "" if self.epochs is None else f" until epoch {self.epochs}"
        frozen, total = sum(parameter.numel() for parameter in self._frozen) / 1e6, count_parameters(net) / 1e6
        logger.info("The backbone is frozen%s: %.2f M of %.2f M parameters.", until, frozen, total)

    def _release(self, net: nn.Module) -> None:
        if not self._frozen:
            return
        for parameter in self._frozen:
            parameter.requires_grad = True
        self._frozen = []
        for part in split_modules(net)[0].values():
            part.train()
        logger.info("The backbone is no longer frozen: the whole network is trained.")


def _net_of(pl_module: LightningModule) -> nn.Module:
    assert isinstance(pl_module, PoseModule)
    return pl_module.net


class MovingAverage(WeightAveraging):
    """Keep an exponential moving average of the weights and batch norm statistics, used in validations and checkpoints.

    The average moves by a share of the difference, so constant values, such as those of a frozen backbone, stay equal to the bit.
    `EMAWeightAveraging` adds two products and rounds them in each step.

    Args:
        decay: share of the average that is kept in a step, between 0 and 1.

    Raises:
        ValueError: if `decay` is not between 0 and 1.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay <= 1:
            raise ValueError(f"Expected argument `decay` to be between 0 and 1, but got {decay}.")
        super().__init__(avg_fn=partial(_move, share=1 - decay))


def _move(average: Tensor, current: Tensor, _num_averaged: Tensor, *, share: float) -> Tensor:
    """Return the average, moved towards the current values by a share of the difference; counters are copied."""
    return torch.lerp(average, current, share) if average.is_floating_point() else current
