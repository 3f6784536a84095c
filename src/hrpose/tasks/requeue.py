"""Where a requeued SLURM job finds the checkpoint of its earlier start."""

import hashlib
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from hrpose.callbacks.signals import slurm_job
from hrpose.files import dumps


def requeue_file(cfg: DictConfig) -> Path | None:
    """Return the file that names the checkpoint; None outside of SLURM.

    Its name has the id of the job and a digest of the configuration, so that neither another job of the same name nor another
    run of the same job goes on with it.
    """
    job = slurm_job()
    if job is None or cfg.task != "fit":
        return None
    content = OmegaConf.to_container(cfg)
    assert isinstance(content, dict)
    content["paths"] = {key: value for key, value in content["paths"].items() if key not in ("run", "sweep")}
    digest = hashlib.sha256(dumps(content).encode()).hexdigest()[:8]
    return Path(str(cfg.paths.runs), str(cfg.name), f".requeued_{job}_{digest}")


def requeued_checkpoint(cfg: DictConfig) -> Path | None:
    """Return the checkpoint with which a requeued job goes on; None for any other run."""
    note = requeue_file(cfg)
    file = Path(note.read_text(encoding="utf-8")) if note is not None and note.is_file() else None
    return file if file is not None and file.is_file() else None


@rank_zero_only
def forget_requeue(cfg: DictConfig) -> None:
    """Remove the note of a job whose training is complete."""
    note = requeue_file(cfg)
    if note is not None:
        note.unlink(missing_ok=True)
