"""What the machine refuses a run, in one line: memory, disk space, a process that was killed."""

import errno
import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hrpose.errors import is_out_of_memory

_KILLED = "probably by the system, because memory ran out"
_LESS_MEMORY = (
    "Set a smaller data.batch_size (trainer.accumulate_grad_batches makes up for it) or data.val_batch_size, a smaller size, or "
    "trainer.precision=bf16-mixed; data.batch_size=auto finds a batch that fits."
)
_FEWER_PROCESSES = "Set a smaller data.num_workers or data.batch_size."
_FULL = {errno.ENOSPC, errno.EDQUOT}
_OBSERVER = (
    "lightning.fabric.strategies.launchers.subprocess_script"  # its thread ends a run of which a process has died
)


class MachineError(RuntimeError):
    """A failure of the machine, not of the program."""


def in_one_line(error: Exception, folder: Path, advise: Callable[[], str]) -> Exception:
    """Return a failure of the machine with its explanation and how to go on, and any other error as it is.

    HYDRA_FULL_ERROR=1 leaves all errors as they are.
    """
    explained = explain_machine(error, folder) if os.environ.get("HYDRA_FULL_ERROR") != "1" else None
    return error if explained is None else MachineError(f"{explained} {advise()}")


def explain_machine(error: BaseException, folder: Path) -> str | None:
    """Say which part of the machine has failed, why, and what to change.

    Args:
        error: what has ended a run.
        folder: of the run, for a full disk.

    Returns:
        One line; None for an error of another kind.
    """
    text = str(error)
    if isinstance(error, OSError) and error.errno in _FULL | {errno.EFBIG}:
        limit = " The shell limits the size of files: ulimit -f." if error.errno == errno.EFBIG else ""
        return f"{error.strerror}: {error.filename or _full_folder(folder)}.{limit or ' Make room.'}"
    if is_out_of_memory(error):
        return f"Out of memory ({_first_line(text) or type(error).__name__}). {_LESS_MEMORY}"
    if worker := re.search(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)(?: is killed by signal: ([\w ]+))?", text):
        return _explain_worker(worker[1], worker[2])
    if re.search(
        r"Connection (closed|reset) by peer|gloo/transport|NCCL (communicator was aborted|remote process)", text
    ):
        return f"Another process of the run has died, {_KILLED}: {_first_line(text)} {_FEWER_PROCESSES}"
    return None


def _explain_worker(number: str, name: str | None) -> str:
    if name is not None and "Bus" in name:
        folder = "/dev/shm"
        return (
            f"Worker {number} of data.num_workers ran out of shared memory ({folder}). Enlarge it. {_FEWER_PROCESSES}"
        )
    how = f"was killed ({name.strip()}), {_KILLED}" if name else f"has died, {_KILLED}"
    return f"Worker {number} of data.num_workers {how}. {_FEWER_PROCESSES}"


def _full_folder(folder: Path) -> str:
    """Name what is full: the folder for temporary files, if it has no room, else that of the run."""
    temporary = Path(os.environ.get("TMPDIR") or tempfile.gettempdir())
    for place in (folder, temporary):
        if place.is_dir() and shutil.disk_usage(place).free < 2**16:
            return str(place)
    return f"{folder} or {temporary}"


def _first_line(text: str) -> str:
    line = text.strip().splitlines()[0] if text.strip() else ""
    return line.rpartition("] ")[2][:200].strip().rstrip(".")


@contextmanager
def dead_processes_as_lines(advise: Callable[[], str]) -> Iterator[None]:
    """Print one line if a process of the run dies, before Lightning kills the others.

    Args:
        advise: returns how to go on.
    """

    def replace(record: logging.LogRecord) -> bool:
        died = re.search(r"rank: (\d+)\].*PID (\d+) terminated with code (-?\d+)", record.getMessage())
        if died is None:
            return True
        status = int(died[3])
        how = f"was killed by signal {-status}, {_KILLED}" if status < 0 else f"has ended with status {status}"
        record.msg = f"hrpose: process {died[1]} of the run (PID {died[2]}) {how}. The others are ended. {advise()}"
        record.args, record.levelno, record.levelname = (), logging.INFO, "INFO"
        return True

    observer = logging.getLogger(_OBSERVER)
    observer.addFilter(replace)
    try:
        yield
    finally:
        observer.removeFilter(replace)


class RunLog(logging.FileHandler):
    """The file with the log of a run; a full disk ends the run, instead of a traceback for each line."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name of the base
        """Raise what has happened, with the name of the file."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            error.filename = error.filename or self.baseFilename
            raise error
        super().handleError(record)
