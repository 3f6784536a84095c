"""Further processes of a job: started by the right command line, in the folder of the first one, and gone before the next job."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict, read_write

# What Lightning leaves in the environment of the process that starts the others.
_LAUNCHER = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "PL_GLOBAL_SEED")


@contextmanager
def relaunchable(cfg: DictConfig, argv: Sequence[str], single: Sequence[str]) -> Iterator[list[str]]:
    """Let Lightning start further processes of the job that Hydra is running.

    Lightning repeats `sys.argv` and adds the folder of `hydra.run.dir`. Hydra works with another program name, so the original
    goes back in. A job of a sweep is repeated as a single run of its own overrides: otherwise every process would run the whole
    sweep, in folders of its own. Afterwards the traces of the process group go away, so that the next job gets a new one.

    Args:
        cfg: the job's configuration; `paths.run` becomes the folder that Hydra made.
        argv: the command line as the process got it.
        single: the command, verb and flags of a job of a sweep, without its overrides.

    Yields:
        The overrides of the job.
    """
    hydra: Any = HydraConfig.get()
    folder = hydra.runtime.output_dir
    cfg.paths.run = folder
    with read_write(hydra), open_dict(hydra):
        hydra.run.dir = folder
    kept = {name: os.environ.get(name) for name in _LAUNCHER}
    hydra_argv = sys.argv
    sys.argv = [*single, *hydra.overrides.task, "hydra.mode=RUN"] if hydra.mode == RunMode.MULTIRUN else list(argv)
    try:
        yield list(hydra.overrides.task)
    finally:
        sys.argv = hydra_argv
        for name in _LAUNCHER:
            os.environ.pop(name, None)
        os.environ.update({name: value for name, value in kept.items() if value is not None})
        _leave_process_group()


def _leave_process_group() -> None:
    distributed = sys.modules.get("torch.distributed")  # not imported here: a job may have failed before it was needed
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
