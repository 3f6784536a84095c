"""hrpose fit: train a network, and validate its best checkpoint."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lightning.pytorch.callbacks import ModelCheckpoint, WeightAveraging
from omegaconf import DictConfig, OmegaConf

from hrpose.annotations.checks import num_warned
from hrpose.config import ConfigError, find_checkpoint
from hrpose.export import is_exported
from hrpose.files import write_atomically
from hrpose.report import Diagnosis
from hrpose.tasks.assemble import Assembly, assemble, connect_loggers
from hrpose.tasks.provenance import advised, read_provenance
from hrpose.tasks.report import report_run
from hrpose.tasks.resume import remove_requeue_file, requeued_checkpoint, resume_callback
from hrpose.weights import load_weights

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitResult:
    """The result of `hrpose fit`: its checkpoints, and the metrics of the best one.

    Attributes:
        run_dir: folder of the run.
        score: as in `ScoreResult`; NaN without a validation.
        numbers: as in `ScoreResult`.
        num_epochs: epochs trained, including those before a resume.
        best_checkpoint: the checkpoint with the best validation; None without a validation.
        last_checkpoint: the state at the end, from which a run can be resumed; None if it is not saved.
        reports: HTML pages, and tables of PCKh.
        diagnosis: as in `ScoreResult`.
    """

    run_dir: Path
    score: float
    numbers: Mapping[str, float]
    num_epochs: int
    best_checkpoint: Path | None
    last_checkpoint: Path | None
    reports: tuple[Path, ...]
    diagnosis: Diagnosis | None = None


def fit(cfg: DictConfig) -> FitResult:
    """Train, and validate the best checkpoint.

    Raises:
        ConfigError: if `weights` is an exported file, or the run cannot be resumed with these settings.
    """
    if cfg.weights is not None and is_exported(cfg.weights):
        raise ConfigError(
            f"weights: expected a checkpoint or weights of torch, but {cfg.weights} is an exported file, which cannot be trained."
        )
    checkpoint = find_checkpoint(cfg) or requeued_checkpoint(cfg)
    provenance = None if checkpoint is None else read_provenance(checkpoint)
    if provenance is not None:
        provenance.check(cfg)
        if cfg.data.get("batch_size") == "auto":
            cfg.data.batch_size = provenance.data.get("batch_size", "auto")
    before = num_warned()
    assembly = assemble(cfg, bit_depth=None if provenance is None else provenance.bit_depth)
    trainer = assembly.trainer
    if num_warned() > before and trainer.is_global_zero:
        logger.info("For all checks of the data, run hrpose doctor with the same arguments.")
    if trainer.is_global_zero:
        with write_atomically(Path(cfg.paths.run) / "config.yaml") as file:
            OmegaConf.save(OmegaConf.create(assembly.module.hparams["config"]), file)
    if checkpoint is not None:
        with advised(cfg, provenance):  # the message for a wrong file is clearer than Lightning's
            load_weights(assembly.pose_module.net, checkpoint)
        logger.info("Resuming from %s", checkpoint)
        trainer.callbacks.insert(0, resume_callback(cfg, provenance))  # type: ignore[attr-defined]
    connect_loggers(cfg, trainer)
    trainer.fit(assembly.module, datamodule=assembly.datamodule, ckpt_path=checkpoint, weights_only=True)
    result = _validate_best(cfg, assembly)
    remove_requeue_file(cfg)
    return result


def _validate_best(cfg: DictConfig, assembly: Assembly) -> FitResult:
    """Validate the best checkpoint of a training and report its metrics."""
    trainer = assembly.trainer
    run, num_epochs = Path(cfg.paths.run), trainer.current_epoch
    best, last = _find_checkpoint(assembly, monitored=True), _find_checkpoint(assembly, monitored=False)
    if best is None:
        logger.warning("Nothing was validated, so there is no best checkpoint and no AP.")
        return FitResult(run, math.nan, {}, num_epochs, best_checkpoint=None, last_checkpoint=last, reports=())
    load_weights(assembly.pose_module.net, best)
    # The checkpoint has averaged weights already; the callback would replace them by the last average.
    trainer.callbacks = [c for c in trainer.callbacks if not isinstance(c, WeightAveraging)]  # type: ignore[attr-defined]
    numbers = trainer.validate(assembly.module, datamodule=assembly.datamodule, verbose=False)
    measured = report_run(cfg, assembly, numbers, stage="val", checkpoint=best)
    return FitResult(
        *(run, measured.score, measured.numbers, num_epochs),
        best_checkpoint=best,
        last_checkpoint=last,
        reports=measured.reports,
        diagnosis=measured.diagnosis,
    )


def _find_checkpoint(assembly: Assembly, *, monitored: bool) -> Path | None:
    """Return the best checkpoint by a monitored metric, or the last one of a callback that monitors none."""
    for callback in assembly.trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and bool(callback.monitor) == monitored and callback.best_model_path:
            return Path(callback.best_model_path)
    return None
