"""hrpose fit: train, keep the best checkpoint, and say what its AP is."""

import logging
import math
from collections.abc import Mapping
from pathlib import Path

from lightning.pytorch.callbacks import ModelCheckpoint, WeightAveraging
from omegaconf import DictConfig, OmegaConf

from hrpose.annotations.checks import num_warned
from hrpose.config import ConfigError, find_checkpoint
from hrpose.export import is_exported
from hrpose.files import write_atomically
from hrpose.tasks.assemble import Assembly, assemble, connect_loggers
from hrpose.tasks.provenance import advised, read_provenance
from hrpose.tasks.report import report_run
from hrpose.tasks.requeue import forget_requeue, requeued_checkpoint
from hrpose.tasks.results import FitResult
from hrpose.tasks.resume import resume_callback
from hrpose.weights import load_weights

logger = logging.getLogger(__name__)


def fit(cfg: DictConfig) -> FitResult:
    """Train as the configuration says and validate the best checkpoint.

    Args:
        cfg: a composed configuration of the verb `fit`.

    Returns:
        The checkpoints and the numbers of the best one; its score is AP on the first kind of validation boxes, or mean PCKh in
        percent.
    """
    if cfg.weights is not None and is_exported(cfg.weights):
        raise ConfigError(
            f"weights: an exported file cannot be trained: {cfg.weights}. Set a checkpoint or weights of torch."
        )
    checkpoint = find_checkpoint(cfg) or requeued_checkpoint(cfg)
    provenance = None if checkpoint is None else read_provenance(checkpoint)
    if provenance is not None:
        provenance.check(cfg)
        stored = provenance.config.get("data")
        if cfg.data.get("batch_size") == "auto" and isinstance(stored, Mapping):
            cfg.data.batch_size = stored.get("batch_size", "auto")
    before = num_warned()
    assembly = assemble(cfg, bit_depth=None if provenance is None else provenance.bit_depth)
    trainer = assembly.trainer
    if num_warned() > before and trainer.is_global_zero:
        logger.info(
            "hrpose doctor with the same arguments runs all checks of the data, and writes what they find to a page."
        )
    if trainer.is_global_zero:
        with write_atomically(Path(cfg.paths.run) / "config.yaml") as file:
            OmegaConf.save(OmegaConf.create(assembly.module.hparams["config"]), file)
    if checkpoint is not None:
        with advised(cfg, provenance):
            load_weights(
                assembly.pose_module.net, checkpoint
            )  # its message for a wrong file is clearer than Lightning's
        logger.info("Resuming from %s", checkpoint)
        trainer.callbacks.insert(0, resume_callback(cfg, provenance))  # type: ignore[attr-defined]
    connect_loggers(cfg, trainer)
    trainer.fit(assembly.module, datamodule=assembly.datamodule, ckpt_path=checkpoint, weights_only=True)
    result = _validate_best(cfg, assembly)
    forget_requeue(cfg)
    return result


def _validate_best(cfg: DictConfig, assembly: Assembly) -> FitResult:
    """Validate the best checkpoint of a training and report its numbers."""
    trainer = assembly.trainer
    run, best, last = Path(cfg.paths.run), _best_checkpoint(assembly), _last_checkpoint(assembly)
    num_epochs = trainer.current_epoch
    if best is None:
        logger.warning("Nothing was validated, so there is no best checkpoint and no AP.")
        return FitResult(run, math.nan, {}, num_epochs, best_checkpoint=None, last_checkpoint=last, reports=())
    load_weights(assembly.pose_module.net, best)
    # Averaged weights are in the checkpoint already; the callback would put its last ones in their place.
    trainer.callbacks = [c for c in trainer.callbacks if not isinstance(c, WeightAveraging)]  # type: ignore[attr-defined]
    numbers = trainer.validate(assembly.module, datamodule=assembly.datamodule, verbose=False)
    measured = report_run(cfg, assembly, numbers, stage="val", checkpoint=best)
    return FitResult(
        run,
        measured.score,
        measured.numbers,
        num_epochs,
        best_checkpoint=best,
        last_checkpoint=last,
        reports=measured.reports,
        diagnosis=measured.diagnosis,
    )


def _best_checkpoint(assembly: Assembly) -> Path | None:
    """Find what the checkpoint callback that watches an AP has kept."""
    for callback in assembly.trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor and callback.best_model_path:
            return Path(callback.best_model_path)
    return None


def _last_checkpoint(assembly: Assembly) -> Path | None:
    """Find the state at the end of the training, which the checkpoint callbacks that watch nothing have kept."""
    for callback in assembly.trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and not callback.monitor and callback.best_model_path:
            return Path(callback.best_model_path)
    return None
