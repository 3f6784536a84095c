"""Errors of the machine in one line: out of memory, a full disk, a killed process."""

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
    "Set a smaller data.batch_size (with trainer.accumulate_grad_batches) or data.val_batch_size, a smaller size, or "
    "trainer.precision=bf16-mixed; data.batch_size=auto finds a batch size that fits."
)
_FEWER_PROCESSES = "Set a smaller data.num_workers or data.batch_size."
_FULL = {errno.ENOSPC, errno.EDQUOT}
_OBSERVER = "lightning.fabric.strategies.launchers.subprocess_script"  # logger of the thread that ends a run of a dead process


class MachineError(RuntimeError):
    """A failure of the machine, not of the program."""


def in_one_line(error: Exception, folder: Path, advise: Callable[[], str]) -> Exception:
    """Return an error of the machine with its explanation and advice; other errors, or with HYDRA_FULL_ERROR=1, unchanged."""
    explained = explain_machine(error, folder) if os.environ.get("HYDRA_FULL_ERROR") != "1" else None
    return error if explained is None else MachineError(f"{explained} {advise()}")


def explain_machine(error: BaseException, folder: Path) -> str | None:
    """Explain an error of the machine in one line, with its cause and fix; None for other errors.

    Args:
        error: that ended a run.
        folder: of the run, for a full disk.
    """
    text = str(error)
    if isinstance(error, OSError) and error.errno in _FULL | {errno.EFBIG}:
        fix = "The shell limits the size of files: ulimit -f." if error.errno == errno.EFBIG else "Free disk space."
        return f"{error.strerror}: {error.filename or _full_folder(folder)}. {fix}"
    if is_out_of_memory(error):
        return f"Out of memory ({_first_line(text) or type(error).__name__}). {_LESS_MEMORY}"
    if worker := re.search(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)(?: is killed by signal: ([\w ]+))?", text):
        return _explain_worker(worker[1], worker[2])
    if re.search(r"Connection (closed|reset) by peer|gloo/transport|NCCL (communicator was aborted|remote process)", text):
        return f"Another process of the run has died, {_KILLED}: {_first_line(text)} {_FEWER_PROCESSES}"
    return None


def _explain_worker(number: str, name: str | None) -> str:
    how = f"was killed ({name.strip()}), {_KILLED}" if name else f"has died, {_KILLED}"
    if name is not None and "Bus" in name:
        how = "ran out of shared memory (/dev/shm). Enlarge it"
    elif name is not None and "Terminated" in name:
        return f"Worker {number} of data.num_workers was ended by SIGTERM."
    return f"Worker {number} of data.num_workers {how}. {_FEWER_PROCESSES}"


def _full_folder(folder: Path) -> str:
    """Return the folder on a full disk: the run folder or the folder for temporary files."""
    temporary = Path(os.environ.get("TMPDIR") or tempfile.gettempdir())
    for candidate in (folder, temporary):
        if candidate.is_dir() and shutil.disk_usage(candidate).free < 2**16:
            return str(candidate)
    return f"{folder} or {temporary}"


def _first_line(text: str) -> str:
    line = text.strip().splitlines()[0] if text.strip() else ""
    return line.rpartition("] ")[2][:200].strip().rstrip(".")


def explain_launcher(error: Exception) -> str:
    """Explain in one line why a launcher of Hydra has ended a sweep."""
    if type(error).__name__ == "CompactHydraException":  # of a sweeper, which explains it
        return f"hydra/sweeper: {error}"
    text = _first_line(str(error)) or type(error).__name__
    cause, fix = f"{type(error).__name__}: {text}", "Set HYDRA_FULL_ERROR=1 to see the traceback."
    if type(error).__name__ == "TerminatedWorkerError":  # of joblib
        how = ", ".join(sorted(set(re.findall(r"SIG\w+", str(error))))) or "without a signal"
        cause = f"the process of a job was killed ({how}), {_KILLED}"
        fix = "Run fewer jobs at once: hydra.launcher.n_jobs=1."
    return f"hydra/launcher: {cause}. The sweep has ended; the table lists the jobs that were started. {fix}"


@contextmanager
def dead_processes_as_lines(advise: Callable[[], str]) -> Iterator[None]:
    """Print one line with advice if a process of the run dies, before Lightning kills the others."""

    def replace(record: logging.LogRecord) -> bool:
        died = re.search(r"rank: (\d+)\].*PID (\d+) terminated with code (-?\d+)", record.getMessage())
        if died is None:
            return True
        status = int(died[3])
        how = f"was killed by signal {-status}, {_KILLED}" if status < 0 else f"ended with status {status}"
        record.msg = f"hrpose: process {died[1]} of the run (PID {died[2]}) {how}. Ending the others. {advise()}"
        record.args, record.levelno, record.levelname = (), logging.INFO, "INFO"
        return True

    observer = logging.getLogger(_OBSERVER)
    observer.addFilter(replace)
    try:
        yield
    finally:
        observer.removeFilter(replace)


class RunLog(logging.FileHandler):
    """The log file of a run; a full disk ends the run instead of printing a traceback for each line."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name of the base
        """Raise an OSError with the name of the file."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            error.filename = error.filename or self.baseFilename
            raise error
        super().handleError(record)
