"""What every trainer gets beside the parts of its configuration: complete checkpoints, and signals that end it."""

import signal
import threading
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.io import AsyncCheckpointIO, CheckpointIO, TorchCheckpointIO
from omegaconf import DictConfig, ListConfig

from hrpose.config import build
from hrpose.files import write_atomically


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write each checkpoint beside its target and move it there when it is complete.

    Lightning writes it to the folder for temporary files; where that is on another file system, the move is a copy, and a
    process that is killed during the copy leaves a torn checkpoint.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Save a checkpoint; a path of another protocol (`s3://...`) is left to Lightning."""
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        with write_atomically(path) as partial, partial.open("wb") as stream:
            torch.save(checkpoint, stream)


class KeepSigtermHandler(Callback):
    """Let the program's own handler of SIGTERM end the run at once.

    Lightning puts a handler before it that sends a tensor to the other processes of the run, which blocks for ever while one of
    them waits for this one. A program without a handler keeps Lightning's.
    """

    def __init__(self) -> None:
        self._handler: Any = signal.SIG_DFL

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Note the program's handler, before Lightning sets its own."""
        self._handler = signal.getsignal(signal.SIGTERM)

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set it again."""
        self._restore()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set it again."""
        self._restore()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set it again."""
        self._restore()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set it again."""
        self._restore()

    def _restore(self) -> None:
        in_main_thread = threading.current_thread() is threading.main_thread()
        if in_main_thread and callable(self._handler):
            signal.signal(signal.SIGTERM, self._handler)


def build_plugins(nodes: DictConfig | ListConfig | None) -> list[Any]:
    """Build the plugins of `trainer.plugins`, and `AtomicCheckpointIO` unless one of them writes checkpoints."""
    given = [] if nodes is None else list(nodes) if isinstance(nodes, ListConfig) else [nodes]
    plugins = [build(node) if isinstance(node, DictConfig) else node for node in given]
    writers = [plugin for plugin in plugins if isinstance(plugin, CheckpointIO)]
    for writer in writers:
        if isinstance(writer, AsyncCheckpointIO) and writer.checkpoint_io is None:
            writer.checkpoint_io = AtomicCheckpointIO()
    return plugins if writers else [*plugins, AtomicCheckpointIO()]
