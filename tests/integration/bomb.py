"""A callback that kills its own process, as a power cut would."""

import os
import signal

from lightning.pytorch import Callback


class KillAtStep(Callback):
    """Send SIGKILL after a training step.

    Args:
        step: optimizer steps done when it goes off.
    """

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)
