"""A callback that says what a run is doing, for those who kill it."""

import os

from lightning.pytorch import Callback
from lightning.pytorch.trainer.states import TrainerFn


class Phases(Callback):
    """Keep the name of the phase in a file: training, validation or end.

    Args:
        file: it is there already.
    """

    def __init__(self, file: str) -> None:
        self._file = os.open(file, os.O_WRONLY)

    def on_train_start(self, trainer, pl_module):
        self._say("training")

    def on_validation_start(self, trainer, pl_module):
        self._say("validation")

    def on_validation_end(self, trainer, pl_module):
        self._say("training" if trainer.state.fn == TrainerFn.FITTING else "end")

    def _say(self, phase: str) -> None:
        os.pwrite(self._file, phase.ljust(16).encode(), 0)  # in one write, so that a reader sees the old phase or the new
