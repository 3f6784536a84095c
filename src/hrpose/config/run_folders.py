"""The folders that runs write to: made early, and one for each run."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Literal

from omegaconf import DictConfig, OmegaConf

from hrpose.config.errors import ConfigError

_claimed: str | None = None  # what `${run_time:}` is while a command runs


def _run_time() -> str:
    """Return the start of the run in seconds; `${run_time:}` in the configuration."""
    return _claimed or time.strftime("%Y-%m-%d_%H-%M-%S")


OmegaConf.register_new_resolver("run_time", _run_time, use_cache=True, replace=True)


def open_run_folder(cfg: DictConfig) -> None:
    """Make the folder above the run's own, so that one that cannot be made is told before Hydra tries.

    Args:
        cfg: with `paths.run`.

    Raises:
        ConfigError: the folder cannot be made, or nothing may be written there.
    """
    run = Path(str(cfg.paths.run))
    try:
        run.parent.mkdir(parents=True, exist_ok=True)
        reason = "is a file" if run.is_file() else ""
    except OSError as error:
        reason = f"cannot be made ({error.strerror})"
    if not reason and not os.access(run if run.is_dir() else run.parent, os.W_OK | os.X_OK):
        reason = "may not be written to"
    if reason:
        raise ConfigError(
            f"paths.run: expected a folder for what the run leaves, but {run} {reason}. Choose another: paths.runs=<folder> for "
            "all runs, paths.run=<folder> for this one."
        )


@contextmanager
def claimed_folders(configs: Sequence[DictConfig], key: Literal["run", "sweep"]) -> Iterator[None]:
    """Make the folders of a command, and let `${run_time:}` name them within the block.

    Of two commands that start in the same second the later one gets the time with `_2` behind it. A folder that does not
    depend on the time was chosen by the user, and may be there.

    Args:
        configs: those of all jobs.
        key: which entry of `paths` names the folder: `run`, or `sweep` for the common one of several jobs.
    """
    global _claimed
    first, second = (_folders(configs, key, stamp) for stamp in ("a", "b"))
    timed = [cfg for cfg, one, other in zip(configs, first, second, strict=True) if one != other]
    start = time.strftime("%Y-%m-%d_%H-%M-%S")
    for number in count(1):
        stamp = start if number == 1 else f"{start}_{number}"
        if _make_all(sorted(set(_folders(timed, key, stamp)))):
            break
    _claimed = stamp
    try:
        yield
    finally:
        _claimed = None


def _folders(configs: Sequence[DictConfig], key: str, stamp: str) -> list[Path]:
    """Return the folder of each configuration for a value of `${run_time:}`."""
    global _claimed
    before, _claimed = _claimed, stamp
    try:
        for cfg in configs:
            OmegaConf.clear_cache(cfg)
        return [Path(str(cfg.paths[key])) for cfg in configs]
    finally:
        _claimed = before


def _make_all(folders: Sequence[Path]) -> bool:
    """Make all of some folders, or none if one is there already."""
    for position, folder in enumerate(folders):
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            for made in folders[:position]:
                made.rmdir()
            return False
    return True
