"""Fine-tuning with a frozen backbone: only the head is trained, for some epochs or in the whole run."""

import logging

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from hrpose.models import count_parameters, split_modules, split_parameters
from hrpose.module import PoseModule
from hrpose.structures import Batch

logger = logging.getLogger(__name__)


class FreezeBackbone(Callback):
    """Keep the backbone as it is: no gradients, and eval mode, so that batch norm statistics do not change either.

    Whether it is frozen follows from the number of the epoch alone. A resumed run therefore needs no state.

    Args:
        epochs: epochs after which the whole network is trained; None is the whole run.

    Raises:
        ValueError: if `epochs` is not a positive whole number.
    """

    def __init__(self, epochs: int | None = None) -> None:
        if epochs is not None and (isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1):
            raise ValueError(
                f"Expected argument `epochs` to be None or a whole number of at least 1, but got {epochs!r}."
            )
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
        """Freeze or release the backbone, as the epoch asks for; at a batch, because a resumed run may start inside an epoch."""
        net = _net_of(pl_module)
        if self.epochs is not None and trainer.current_epoch >= self.epochs:
            self._release(net)
            return
        self._freeze(net)
        for parameter in self._frozen:
            parameter.grad = None  # of an unfinished accumulation in a checkpoint that was trained otherwise
        for part in split_modules(net)[0].values():
            if part.training:
                part.eval()

    def _freeze(self, net: nn.Module) -> None:
        if not self._frozen:
            self._frozen = [parameter for parameter in split_parameters(net)[0] if parameter.requires_grad]
            for parameter in self._frozen:
                parameter.requires_grad = False
            logger.info(
                "The backbone is frozen%s: %.2f M of %.2f M parameters.",
                "" if self.epochs is None else f" until epoch {self.epochs}",
                sum(parameter.numel() for parameter in self._frozen) / 1e6,
                count_parameters(net) / 1e6,
            )

    def _release(self, net: nn.Module) -> None:
        if not self._frozen:
            return
        for parameter in self._frozen:
            parameter.requires_grad = True
        self._frozen = []
        for part in split_modules(net)[0].values():
            part.train()
        logger.info("The whole network is trained from here on.")


def _net_of(pl_module: LightningModule) -> nn.Module:
    assert isinstance(pl_module, PoseModule)
    return pl_module.net
