"""The verbs as functions, for notebooks and scripts: `hrpose.fit("experiment=tiny", **{"optim.lr": 5e-4})`.

Each composes, checks and runs as the command line does, and returns a frozen record. The working folder, `sys.argv`, signal
handlers, root logger and environment are restored afterwards.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from hrpose import tasks
from hrpose.config import ConfigError, check, compose, describe_choices, find_choices, unpublished, write_override
from hrpose.config.paths import claimed_folders, open_run_folder, remove_unused_folder

if TYPE_CHECKING:
    from hrpose.annotations.converters import Conversion
    from hrpose.tasks.doctor import DoctorResult
    from hrpose.tasks.evaluate import ScoreResult
    from hrpose.tasks.export import ExportResult
    from hrpose.tasks.fit import FitResult
    from hrpose.tasks.predict import PredictResult

logger = logging.getLogger(__name__)

_SEEDS = ("PL_GLOBAL_SEED", "PL_SEED_WORKERS")  # environment variables that Lightning sets


def fit(*overrides: str, **values: Any) -> FitResult:
    """Train a network and validate its best checkpoint, like `hrpose fit`.

    Args:
        overrides: as on the command line: `"experiment=w32_256x192"`.
        values: keys with Python values, applied after the overrides: `**{"trainer.max_epochs": 5}`. They may be
            numbers, strings, paths, lists, mappings, booleans and None.

    Raises:
        ConfigError: if the configuration has faults; the message lists all of them, and no folder is made.
        DataError: if the data cannot be used.

    Example:
        >>> result = hrpose.fit("experiment=tiny", **{"trainer.max_epochs": 3})  # doctest: +SKIP
        >>> hrpose.test("experiment=tiny", ckpt_path=result.best_checkpoint).numbers["AP"]  # doctest: +SKIP
    """
    result: FitResult = call("fit", overrides, values)
    return result


def test(*overrides: str, **values: Any) -> ScoreResult:
    """Measure the AP of a checkpoint, weights or an exported file, like `hrpose test`. See `fit` for the arguments."""
    result: ScoreResult = call("test", overrides, values)
    return result


def evaluate(*overrides: str, **values: Any) -> ScoreResult:
    """Evaluate a COCO result file of any tool, like `hrpose evaluate`. See `fit` for arguments and errors."""
    result: ScoreResult = call("evaluate", overrides, values)
    return result


def predict(*overrides: str, **values: Any) -> PredictResult:
    """Estimate the poses in images or a video, like `hrpose predict`. See `fit` for the arguments.

    For images in memory, or boxes of a custom detector, use `hrpose.PoseEstimator`.

    Raises:
        DataError: if some images cannot be used; the results of the others are in the folder of the run.
    """
    result: PredictResult = call("predict", overrides, values)
    return result


def export(*overrides: str, **values: Any) -> ExportResult:
    """Export weights to one file and check it, like `hrpose export`. See `fit` for the arguments.

    Raises:
        ValueError: if the weights cannot be used, or the file differs from them by more than the tolerance.
    """
    result: ExportResult = call("export", overrides, values)
    return result


def convert(*overrides: str, **values: Any) -> Conversion:
    """Convert the labels of an annotation tool to COCO files, like `hrpose convert`. See `fit` for arguments and errors.

    Returns:
        The files, the counts, the assumptions, and the command that trains on the files.
    """
    result: Conversion = call("convert", overrides, values)
    return result


def doctor(*overrides: str, **values: Any) -> DoctorResult:
    """Check annotation files and images before training, like `hrpose doctor`. See `fit` for the arguments."""
    result: DoctorResult = call("doctor", overrides, values)
    return result


def call(verb: str, overrides: Sequence[str], values: Mapping[str, Any]) -> Any:
    """Compose, check and run a verb in a new folder, and return its result."""
    texts = [*overrides, *(write_override(key, value) for key, value in values.items())]
    check(verb, texts)
    cfg, task = compose(verb, texts), tasks.find_task(verb)
    with _restored():
        tasks.check(verb, cfg)
        _check_processes(cfg, texts)
        open_run_folder(cfg)
        with claimed_folders([cfg], "run"):
            folder = Path(str(cfg.paths.run))
        cfg.paths.run = str(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for line in (*describe_choices(verb, texts), *unpublished(cfg, find_choices(verb, texts))):
            logger.info(line)
        try:
            saved = folder / ".hydra" / "overrides.yaml"  # Hydra saves the overrides of a command there
            saved.parent.mkdir(exist_ok=True)
            saved.write_text(OmegaConf.to_yaml(OmegaConf.create(texts)), encoding="utf-8")
            return task(cfg)
        except BrokenProcessPool as error:
            raise RuntimeError(
                "A process that draws or reads images ended early. In a script, put the calls under "
                "`if __name__ == '__main__':`, because these processes import the script."
            ) from error
        finally:
            remove_unused_folder(folder)


def _check_processes(cfg: DictConfig, texts: Sequence[str]) -> None:
    """Raise ConfigError for several processes without a common folder: each repeats the script, and would make a new one."""
    if cfg.task not in ("fit", "test") or any(text.startswith("paths.run=") for text in texts):
        return
    given = cfg.trainer.get("devices")
    several = (isinstance(given, int) and given > 1) or (not isinstance(given, int | str) and len(given or ()) > 1)
    launched = os.environ.get("WORLD_SIZE", "1") != "1" or os.environ.get("SLURM_STEP_NUM_TASKS", "1") != "1"
    if several or launched or "LOCAL_RANK" in os.environ or cfg.trainer.get("num_nodes", 1) > 1:
        raise ConfigError(
            f"paths.run: expected one folder for all processes of this run (trainer.devices={given}, or a launcher), otherwise "
            "each makes a folder. Set paths.run=runs/<name>/<folder>."
        )


@contextmanager
def _restored() -> Iterator[None]:
    """Restore signal handlers, seeds in the environment, and filters of warnings and of the log.

    Lightning turns an interrupt into SystemExit, and ignores SIGINT from then on. Here KeyboardInterrupt is raised.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()  # only the main thread can set handlers
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    seeds = {name: os.environ[name] for name in _SEEDS if name in os.environ}
    filters = {handler: list(handler.filters) for handler in logging.root.handlers}
    try:
        with warnings.catch_warnings():
            yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise
    finally:
        for number, handler in signals.items():
            if in_main_thread and handler is not None and signal.getsignal(number) != handler:
                signal.signal(number, handler)
        for name in _SEEDS:
            os.environ.pop(name, None)
        os.environ.update(seeds)
        for log_handler, before in filters.items():
            log_handler.filters[:] = before
