"""Run the jobs of a command: one of a single run, several of a sweep; and end them on a signal."""

import errno
import logging
import math
import os
import shlex
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrpose.cli.arguments import SWEEP, Command
from hrpose.cli.faults import dead_processes_as_lines, in_one_line

logger = logging.getLogger(__name__)

OF_SWEEPER = "+callbacks.pruning="  # the override that a sweeper adds to a job
_PACKAGE = Path(__file__).parents[1]
# Errors of the machine, reported without a traceback.
_MACHINE_ERRORS = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.EFBIG),
    *(errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG),
}
# Environment variables that Lightning sets in the process that starts the others.
_LAUNCHER = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "PL_GLOBAL_SEED")
_FULL_ERROR = "HYDRA_FULL_ERROR"  # environment variable: "1" shows tracebacks
_OBSERVER = "child-process-observer"  # Lightning's thread that ends a run when one of its processes fails

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from hrpose.tasks.sweep import SweepJob


@dataclass
class StopSignal:
    """The received signal; 0 for none."""

    number: int = 0

    @property
    def status(self) -> int:
        """The exit status that shells expect: 130 for SIGINT, 143 for SIGTERM."""
        return 128 + (self.number or signal.SIGINT)


@contextmanager
def stop_signals() -> Iterator[StopSignal]:
    """Raise KeyboardInterrupt for SIGINT and SIGTERM in the block, and store which one was received.

    Lightning then handles both alike, and ends the processes that it started. Otherwise it raises SystemExit without a status
    for SIGTERM.
    """
    stop = StopSignal()
    if threading.current_thread() is not threading.main_thread():  # only the main thread can handle signals
        yield stop
        return

    def handle(number: int, frame: object) -> None:
        stop.number = stop.number or number
        raise KeyboardInterrupt

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass
class JobLog:
    """The state of the jobs of a command."""

    command: Command
    arguments: Sequence[str]  # verb, flags and overrides as typed
    number: int = 0  # jobs started in this process
    current: Sequence[str] | None = None  # overrides of the running job; None before the first
    folder: Path = Path()  # of the running job
    status: int = 0  # exit status of a complete single run; 3 if some images could not be used
    sweep: Path | None = None  # folder of a sweep, with the records of its jobs; None for a single run
    record: "SweepJob | None" = None  # of the running job of a sweep
    started: float = 0.0  # start of the running job, from `time.monotonic`

    @property
    def in_sweep(self) -> bool:
        """Check whether a job of a sweep was started."""
        return self.current is not None and self.command.has(*SWEEP)

    def begin(self, overrides: Sequence[str], folder: str) -> None:
        """Record the start of the job that Hydra is running."""
        # slow to import
        from hydra.core.hydra_config import HydraConfig

        # torch is slow to import
        from hrpose.config.overrides import is_swept
        from hrpose.tasks.sweep import SweepJob

        self.number += 1
        self.current = [text for text in overrides if not text.startswith(OF_SWEEPER)]
        self.folder = Path(folder)
        self.started = time.monotonic()
        if self.sweep is not None:
            fixed = {text.partition("=")[0] for text in self.command.overrides if not is_swept(text)}
            own = [text for text in self.current if text.partition("=")[0] not in fixed]
            number, folder = HydraConfig.get().job.num, os.path.relpath(self.folder, self.sweep)
            self._keep(SweepJob(number, " ".join(own), folder))

    def end(self, result: Any) -> Any:
        """Record the result of a job, and return its score."""
        self.status = max(self.status, getattr(result, "exit_status", 0))
        if self.record is not None:
            self._keep(self.record.end(result, (time.monotonic() - self.started) / 60))
        return getattr(result, "score", result)

    def fail(self, error: Exception) -> float:
        """Print and record the error of a job of a sweep, and return its score, NaN."""
        if explains_itself(error) and os.environ.get(_FULL_ERROR) != "1":
            refuse(error)
        else:
            traceback.print_exception(error)
        if self.record is not None:
            kept = self.record if self.folder.is_dir() else replace(self.record, folder="")
            self._keep(kept.fail(error, (time.monotonic() - self.started) / 60))
        return math.nan

    def _keep(self, record: "SweepJob") -> None:
        # slow to import
        from hrpose.tasks.sweep import write_job

        self.record = record
        if self.sweep is not None and os.environ.get("SLURM_PROCID", "0") == "0":  # the first process of a job writes
            write_job(self.sweep, record)

    def finish(self, *, stopped: bool = False) -> int:
        """Print the table of a sweep and its failed jobs, and return the exit status.

        A job without a result has failed, unless a signal stopped the sweep.
        """
        if self.sweep is None:
            return self.status
        # slow to import
        from rich.console import Console

        # slow to import
        from hrpose.tasks.sweep import RUNNING, read_jobs, report_sweep

        jobs = read_jobs(self.sweep)
        report_sweep(self.sweep, Console())
        failed = [job for job in jobs if job.failed or (job.state == RUNNING and not stopped)]
        if not failed:
            return max((job.status for job in jobs), default=0)
        folders = [f" ({_shorten(Path(os.path.normpath(self.sweep / job.folder)))})" if job.folder else "" for job in failed]
        texts = "; ".join(f"{job.overrides}{folder}" for job, folder in zip(failed, folders, strict=True))
        print(f"hrpose: {len(failed)} of {len(jobs)} jobs failed: {texts}", file=sys.stderr)
        return 1

    def stopped(self, stop: StopSignal) -> int:
        """Print that a signal ended the command and how to continue, and return the exit status."""
        self.finish(stopped=True)
        if os.environ.get("LOCAL_RANK", "0") == "0":  # the first process of a run
            how = "terminated" if stop.number == signal.SIGTERM else "interrupted"
            where = f" in job {self.number} of the sweep" if self.in_sweep else ""
            print(f"hrpose: {how}{where}. {self.advise()}", file=sys.stderr)
        return stop.status

    def advise(self) -> str:
        """Return the command that continues or restarts the current job."""
        arguments = [*_single(self.command), *(self.current or ())] if self.in_sweep else self.arguments
        resuming = self._resuming()
        keys = tuple(f"{text.partition('=')[0]}=" for text in resuming)
        kept = [text for text in arguments if not (keys and text.startswith(keys))]
        return f"To {'continue' if resuming else 'restart'}: {shlex.join(['hrpose', *kept, *resuming])}"

    def _resuming(self) -> list[str]:
        """Return the overrides that continue the current job; none if it has to restart."""
        if self.current is None:
            return []
        if self.command.verb == "fit":
            last = next(self.folder.rglob("last.ckpt"), None)
            return [f"ckpt_path={_shorten(last) if self.in_sweep else 'last'}"] if last is not None else []
        images = self.folder / "images.json"  # of predict; frames of videos, which restart, have times
        if self.command.verb == "predict" and images.is_file() and '"time": ' not in images.read_text(encoding="utf-8"):
            return [f"paths.run={_shorten(self.folder)}", "resume=true"]
        return []


def make_job(log: JobLog, argv: list[str], stop: StopSignal) -> "Callable[[DictConfig], Any]":
    """Return the function that Hydra calls for each job; a failed job of a sweep is recorded, and its score is NaN."""
    command = log.command
    module = getattr(sys.modules["__main__"].__spec__, "name", None)  # of `python -m`
    full_error = os.environ.get(_FULL_ERROR)

    def job(cfg: "DictConfig") -> Any:
        # slow to import
        from hydra.core.hydra_config import HydraConfig

        # imports Hydra
        from hrpose.config import describe_choices, remove_unused_folder, unpublished
        from hrpose.tasks import find_task, run

        find_own_code(command)  # also in the process of a launcher
        _set_full_error(full_error)
        try:
            with (
                relaunchable(cfg, argv, [argv[0], *_single(command)], module) as overrides,
                warnings_as_lines(),
                dead_processes_as_lines(log.advise),
            ):
                log.begin(overrides, cfg.paths.run)
                lines = describe_choices(command.verb, overrides)
                for line in (*lines, *unpublished(cfg, HydraConfig.get().runtime.choices)):
                    logger.info(line)
                find_task(command.verb)
                logging.getLogger("lightning").handlers.clear()  # its handler would print every line twice
                return log.end(run(command.verb, cfg))
        except Exception as error:
            if stop.number:  # the signal caused the error
                raise KeyboardInterrupt from error
            error = in_one_line(error, Path(cfg.paths.run), log.advise)
            if explains_itself(error):
                remove_unused_folder(Path(cfg.paths.run))
            if log.sweep is not None:
                return log.fail(error)
            if explains_itself(error):
                sys.exit(refuse(error))
            raise

    return job


@contextmanager
def raised_by_hydra() -> Iterator[None]:
    """Let Hydra raise the errors of a launcher in the block, instead of printing a traceback; jobs restore the setting."""
    before = os.environ.get(_FULL_ERROR)
    _set_full_error("1")
    try:
        yield
    finally:
        _set_full_error(before)


def _set_full_error(value: str | None) -> None:
    os.environ.pop(_FULL_ERROR, None)
    if value is not None:
        os.environ[_FULL_ERROR] = value


def find_own_code(command: Command) -> None:
    """Append the current folder to the import path, for custom classes in the configuration."""
    folder = str(Path.cwd())
    if command.names_own_code and folder not in sys.path:
        sys.path.append(folder)


def _single(command: Command) -> list[str]:
    """Return the verb and the flags of one job of a sweep."""
    return [command.verb, *(flag for flag in command.flags if flag not in SWEEP)]


def _shorten(path: Path) -> Path:
    """Return a path relative to the working directory if it is inside."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


@contextmanager
def relaunchable(cfg: "DictConfig", argv: Sequence[str], single: Sequence[str], module: str | None = None) -> Iterator[list[str]]:
    """Set `sys.argv` so that Lightning can start further processes of the job that Hydra is running; yield its overrides.

    Lightning repeats `sys.argv` with the folder of `hydra.run.dir`. Hydra changes the program name, so the original is restored.
    A job of a sweep is repeated as a single run with its overrides, otherwise every process would run the whole sweep. The
    module of `python -m`, which Lightning prefers, is replaced too, because joblib and submitit start another one. The process
    group is removed afterwards, so that the next job gets a new one.

    Args:
        cfg: the job's configuration; `paths.run` becomes the folder that Hydra made.
        argv: the command line of the process.
        single: the command, verb and flags of a job of a sweep, without its overrides.
        module: of `python -m`; None for a script, `argv[0]`.
    """
    # slow to import
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import OmegaConf, open_dict, read_write

    hydra: Any = HydraConfig.get()
    folder = hydra.runtime.output_dir
    # each process resolves interpolations such as ${paths.run} in its own configuration
    overrides: Any = OmegaConf.to_container(hydra.overrides.task, resolve=False)
    cfg.paths.run = folder
    with read_write(hydra), open_dict(hydra):
        hydra.run.dir = folder
    kept = {name: os.environ.get(name) for name in _LAUNCHER}
    hydra_argv, main = sys.argv, sys.modules["__main__"]
    main_spec = main.__spec__
    main.__spec__ = None if module is None else ModuleSpec(module, None)
    sys.argv = [*single, *overrides, "hydra.mode=RUN"] if hydra.mode == RunMode.MULTIRUN else list(argv)
    try:
        yield overrides
    except Exception:
        _end_processes()
        raise
    finally:
        sys.argv, main.__spec__ = hydra_argv, main_spec
        for name in _LAUNCHER:
            os.environ.pop(name, None)
        os.environ.update({name: value for name, value in kept.items() if value is not None})
        _leave_process_group()


def _end_processes() -> None:
    """End the further processes of a failed job, before Lightning's observer of them ends the whole sweep."""
    for thread in threading.enumerate():
        if thread.name == _OBSERVER:
            processes = list(thread._child_processes)  # type: ignore[attr-defined]  # there is no public attribute
            thread._child_processes.clear()  # type: ignore[attr-defined]
            for process in processes:
                process.kill()
                process.wait()


def _leave_process_group() -> None:
    distributed = sys.modules.get("torch.distributed")  # a job may fail before it is imported
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


class LineFormatter(logging.Formatter):
    """Format a log line for the screen: the message, with the level of warnings and errors. Hydra's configuration uses it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        text = super().format(record)
        return text if record.levelno < logging.WARNING else f"{record.levelname.capitalize()}: {text}"


def log_to_screen() -> None:
    """Print warnings of the log until Hydra configures it.

    Lightning is imported before Hydra runs, and prints further messages if the root logger has no handler.
    """
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(LineFormatter())
    logging.basicConfig(handlers=[handler])


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Log warnings without their line of code."""

    def show(message: Warning | str, *details: object, **files: object) -> None:
        logging.getLogger("py.warnings").warning("%s", message)

    shown_before = warnings.showwarning
    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = shown_before


def explains_itself(error: BaseException) -> bool:
    """Check whether the message of an error is for the user; others need a traceback.

    It is for exception classes of this library, Lightning's for misuse, ValueErrors and OSErrors that this library raises, and
    errors of the machine, such as a full disk.
    """
    if type(error).__module__.partition(".")[0] == "hrpose" or type(error).__name__ == "MisconfigurationException":
        return True
    if isinstance(error, OSError) and error.errno in _MACHINE_ERRORS:
        return True
    files = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    return isinstance(error, ValueError | OSError) and bool(files) and Path(files[-1]).is_relative_to(_PACKAGE)


def refuse(error: BaseException) -> int:
    """Print an error and return the exit status; with HYDRA_FULL_ERROR=1 raise it."""
    if os.environ.get(_FULL_ERROR) == "1":
        raise error
    text = str(error)
    if isinstance(error, OSError) and error.strerror is not None:
        text = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    print(f"hrpose: {text}", file=sys.stderr)
    return int(getattr(error, "exit_status", 1))
