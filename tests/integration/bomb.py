"""Callbacks that kill a run, send it a signal or let the machine fail."""

import multiprocessing
import os
import resource
import signal
from pathlib import Path

import torch
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


class SignalAt(Callback):
    """Send a signal to the own process once.

    Args:
        name: of the signal.
        hook: the moment: "backward" is within a step, "validation" within a validation.
        step: optimizer steps done by then.
        rank: the process that receives it.
    """

    def __init__(self, name: str, hook: str, step: int, rank: int = 0) -> None:
        self.number, self.hook, self.step, self.rank = getattr(signal, name), hook, step, rank

    def on_after_backward(self, trainer, pl_module) -> None:
        self._send("backward", trainer)

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0) -> None:
        self._send("validation", trainer)

    def _send(self, hook: str, trainer) -> None:
        if (hook, trainer.global_step, trainer.global_rank) == (self.hook, self.step, self.rank):
            self.hook = ""
            os.kill(os.getpid(), self.number)


class FaultAt(Callback):
    """Let the machine fail after a training step.

    Args:
        kind: "worker" kills one of the loader's processes, "memory" asks for more than there is, "file" limits the size of files,
            "delete" and "damage" ruin all images of a folder.
        step: optimizer steps done by then.
        folder: with the images.
    """

    def __init__(self, kind: str, step: int, folder: str = "") -> None:
        self.kind, self.step, self.folder = kind, step, folder

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if trainer.global_step != self.step:
            return
        if self.kind == "worker":
            multiprocessing.active_children()[0].kill()
        elif self.kind == "memory":
            torch.empty(2**46)
        elif self.kind == "file":
            resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        for image in Path(self.folder).glob("*") if self.folder else ():
            image.unlink() if self.kind == "delete" else image.write_bytes(image.read_bytes()[:300])
