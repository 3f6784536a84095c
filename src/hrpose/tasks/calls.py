"""The verbs as functions, for notebooks and scripts: `hrpose.fit("experiment=tiny", **{"optim.lr": 5e-4})`.

Each composes, checks and runs as the command line does, and returns a small frozen record. The working folder, `sys.argv`, the
signal handlers, the root logger and the environment are afterwards what they were before.
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
from hrpose.config import (
    ConfigError,
    check,
    claimed_folders,
    compose,
    describe_choices,
    find_choices,
    open_run_folder,
    remove_unused_folder,
    unpublished,
    write_override,
)

if TYPE_CHECKING:
    from hrpose.annotations.converters import Conversion
    from hrpose.tasks.doctor import DoctorResult
    from hrpose.tasks.results import ExportResult, FitResult, PredictResult, ScoreResult

logger = logging.getLogger(__name__)

_SEEDS = ("PL_GLOBAL_SEED", "PL_SEED_WORKERS")  # what Lightning leaves in the environment


def fit(*overrides: str, **values: Any) -> FitResult:
    """Train a network and measure its best checkpoint, as `hrpose fit` does.

    Args:
        overrides: as on the command line: `"experiment=w32_256x192"`.
        values: keys with values of Python: `**{"data.train_annotations": path, "trainer.max_epochs": 5}`. They may be numbers,
            texts, paths, lists, mappings, booleans and None, and come after the overrides.

    Returns:
        Score and numbers of the best checkpoint, the checkpoints, the reports and the folder of the run.

    Raises:
        ConfigError: the configuration has faults; all of them are named, and no folder was made.
        DataError: the data cannot be used.

    Example:
        >>> result = hrpose.fit("experiment=tiny", **{"trainer.max_epochs": 3})  # doctest: +SKIP
        >>> hrpose.test("experiment=tiny", ckpt_path=result.best_checkpoint).numbers["AP"]  # doctest: +SKIP
    """
    result: FitResult = call("fit", overrides, values)
    return result


def test(*overrides: str, **values: Any) -> ScoreResult:
    """Measure the AP of a checkpoint, of weights, or of an exported file, as `hrpose test` does.

    Args:
        overrides: as on the command line.
        values: keys with values of Python, as for `fit`: `ckpt_path=result.best_checkpoint`.

    Returns:
        Score, numbers, reports and the folder of the run.

    Raises:
        ConfigError: the configuration has faults.
        ValueError: checkpoint, weights or data cannot be used.
    """
    result: ScoreResult = call("test", overrides, values)
    return result


def evaluate(*overrides: str, **values: Any) -> ScoreResult:
    """Measure a COCO result file of any tool against its annotations, as `hrpose evaluate` does.

    Args:
        overrides: as on the command line.
        values: keys with values of Python, as for `fit`: `annotations="gt.json", results="results.json"`.

    Returns:
        Score, numbers, report and the folder of the run.

    Raises:
        ConfigError: the configuration has faults.
        ValueError: a file cannot be used, or the two do not fit.
    """
    result: ScoreResult = call("evaluate", overrides, values)
    return result


def predict(*overrides: str, **values: Any) -> PredictResult:
    """Estimate the poses in images or in a video, as `hrpose predict` does.

    For images that are in memory, and boxes of a detector of your own, use `hrpose.PoseEstimator`.

    Args:
        overrides: as on the command line.
        values: keys with values of Python, as for `fit`: `source="images", ckpt_path=result.best_checkpoint`.

    Returns:
        The number of instances, and the files; `read_poses()` reads them.

    Raises:
        ConfigError: the configuration has faults.
        DataError: some images could not be used; the results of the others are in the folder of the run.
    """
    result: PredictResult = call("predict", overrides, values)
    return result


def export(*overrides: str, **values: Any) -> ExportResult:
    """Write weights as one file and check it against the weights, as `hrpose export` does.

    Args:
        overrides: as on the command line.
        values: keys with values of Python, as for `fit`: `ckpt_path=result.best_checkpoint, format="onnx"`.

    Returns:
        The file, the report of the check, and the two APs if they were measured.

    Raises:
        ConfigError: the configuration has faults.
        ValueError: the weights cannot be used, or the file differs from them by more than is allowed.
    """
    result: ExportResult = call("export", overrides, values)
    return result


def convert(*overrides: str, **values: Any) -> Conversion:
    """Convert the labels of an annotation tool to COCO keypoint files, as `hrpose convert` does.

    Args:
        overrides: as on the command line.
        values: keys with values of Python, as for `fit`: `source="labels", flip_pairs=[["left_eye", "right_eye"]]`.

    Returns:
        The files, the counts, what was assumed, and the command that trains on them.

    Raises:
        ConfigError: the configuration has faults.
        DataError: the labels cannot be used, or need a further argument.
    """
    result: Conversion = call("convert", overrides, values)
    return result


def doctor(*overrides: str, **values: Any) -> DoctorResult:
    """Check annotation files and images before they train, as `hrpose doctor` does.

    Args:
        overrides: as on the command line.
        values: keys with values of Python, as for `fit`: `**{"data.train_annotations": path, "data.train_images": folder}`.

    Returns:
        The findings, each with its count, first ids, consequence and fix; the annotation files as they were read.

    Raises:
        ConfigError: the configuration has faults.
    """
    result: DoctorResult = call("doctor", overrides, values)
    return result


def call(verb: str, overrides: Sequence[str], values: Mapping[str, Any]) -> Any:
    """Compose, check and run a verb in a folder of its own.

    Args:
        verb: "fit", "test", ...
        overrides: as on the command line.
        values: further keys, with values of Python.

    Returns:
        The record of the task.

    Raises:
        ConfigError: the configuration has faults.
        RuntimeError: further processes were started from a script without the guard that they need.
    """
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
            saved = folder / ".hydra" / "overrides.yaml"  # where Hydra saves those of a command
            saved.parent.mkdir(exist_ok=True)
            saved.write_text(OmegaConf.to_yaml(OmegaConf.create(texts)), encoding="utf-8")
            return task(cfg)
        except BrokenProcessPool as error:
            raise RuntimeError(
                "A process that draws or reads images has ended early. If this is a script, put its calls under "
                "`if __name__ == '__main__':`, because these processes import the script."
            ) from error
        finally:
            remove_unused_folder(folder)


def _check_processes(cfg: DictConfig, texts: Sequence[str]) -> None:
    """Refuse a run of several processes without a common folder: each repeats the script, and would make one of its own.

    Raises:
        ConfigError: naming `paths.run`.
    """
    trainer = cfg.get("trainer")
    if trainer is None or cfg.task not in ("fit", "test") or any(text.startswith("paths.run=") for text in texts):
        return
    given = trainer.get("devices")
    several = (isinstance(given, int) and given > 1) or (not isinstance(given, int | str) and len(given or ()) > 1)
    launched = os.environ.get("WORLD_SIZE", "1") != "1" or os.environ.get("SLURM_STEP_NUM_TASKS", "1") != "1"
    if several or launched or "LOCAL_RANK" in os.environ or trainer.get("num_nodes", 1) > 1:
        raise ConfigError(
            f"paths.run: expected a folder that all processes share, because trainer.devices={given} starts several, or a "
            "launcher has, and each would make a folder of its own. Set paths.run=runs/<name>/<folder>."
        )


@contextmanager
def _restored() -> Iterator[None]:
    """Restore what libraries change: signal handlers, seeds in the environment, filters of warnings and of the log.

    Lightning ends the program when it is interrupted, and ignores SIGINT from then on. Here the interrupt is raised again.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()  # only there can handlers be set
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    seeds = {name: os.environ.get(name) for name in _SEEDS}
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
        for name, seed in seeds.items():
            os.environ.pop(name, None)
            if seed is not None:
                os.environ[name] = seed
        for log_handler, before in filters.items():
            log_handler.filters[:] = before
