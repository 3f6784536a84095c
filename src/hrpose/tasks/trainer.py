"""Build the Lightning trainer of a run: callbacks, loggers, complete checkpoints, and a SIGTERM that ends the run."""

import signal
import threading
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, ProgressBar
from lightning.pytorch.plugins.io import AsyncCheckpointIO, CheckpointIO, TorchCheckpointIO
from omegaconf import DictConfig, ListConfig

from hrpose.callbacks import LossHistory
from hrpose.config import ConfigError, build
from hrpose.files import write_atomically


def build_trainer(cfg: DictConfig) -> Trainer:
    """Build the trainer with its callbacks and loggers.

    Raises:
        ConfigError: if Lightning cannot run like that, on this machine.
    """
    callbacks = _named(cfg.callbacks)
    has_bar = any(isinstance(callback, ProgressBar) for callback in callbacks)  # otherwise Lightning would add one
    parts = {
        "callbacks": [*callbacks, LossHistory(), KeepSigtermHandler()],
        "logger": _named(cfg.logger),
        "plugins": build_plugins(cfg.trainer.get("plugins")),
        "enable_progress_bar": cfg.trainer.get("enable_progress_bar", has_bar),
    }
    try:
        trainer: Trainer = build(cfg.trainer, **parts)
    except (MisconfigurationException, ImportError) as error:  # an accelerator's library may be missing
        chosen = ", ".join(
            f"{name}={cfg.trainer.get(name)}" for name in ("accelerator", "devices", "strategy", "precision")
        )
        raise ConfigError(
            f"trainer: expected what this machine can do, but got {chosen}, and Lightning says: {str(error).strip()} "
            "trainer.accelerator=auto takes what there is."
        ) from error
    return trainer


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


def _named(nodes: DictConfig | None) -> list[Any]:
    """Build the named nodes of a group; a node that is null is switched off."""
    parts = []
    for node in (nodes or {}).values():
        try:
            parts += [build(node)] if node is not None else []
        except ImportError as error:  # a library that is there and cannot be used
            raise ConfigError(f"{node._get_full_key(None)}: {error}") from error
    return parts
