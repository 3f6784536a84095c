"""The jobs of a command, one after the other: one of a single run, several of a sweep; and how a signal ends them."""

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
from typing import TYPE_CHECKING, Any, TextIO

from hrpose.cli.arguments import SWEEP, Command
from hrpose.cli.faults import dead_processes_as_lines, in_one_line

logger = logging.getLogger(__name__)

OF_SWEEPER = "+callbacks.pruning="  # what a sweeper adds to the overrides of a job
_PACKAGE = Path(__file__).parents[1]
# Of the machine, not of the program: what and where is enough.
_OF_THE_MACHINE = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.EFBIG),
    *(errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG),
}
# What Lightning leaves in the environment of the process that starts the others.
_LAUNCHER = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "PL_GLOBAL_SEED")

# What Lightning calls the thread that ends a run when one of its processes fails.
_OBSERVER = "child-process-observer"

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from hrpose.tasks.sweep import SweepJob


@dataclass
class StopSignal:
    """The signal that has come; 0 for none."""

    number: int = 0

    @property
    def status(self) -> int:
        """The exit status that shells expect: 130 for SIGINT, 143 for SIGTERM."""
        return 128 + (self.number or signal.SIGINT)

    def report(self, where: str, advice: str) -> int:
        """Print one line, from the first process only, and return the exit status."""
        if os.environ.get("LOCAL_RANK", "0") == "0":
            how = "terminated" if self.number == signal.SIGTERM else "interrupted"
            print(f"hrpose: {how}{where}. {advice}", file=sys.stderr)
        return self.status


@contextmanager
def stop_signals() -> Iterator[StopSignal]:
    """Raise KeyboardInterrupt for SIGINT and SIGTERM within the block, and note which one came.

    Lightning ends both in the same way then, processes that it has started included. It hides SIGTERM in a SystemExit without
    a status otherwise, and KeyboardInterrupt in one with the status 1.
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
    """What has become of the jobs of a command.

    Attributes:
        command: the command line.
        arguments: verb, flags and overrides, as they were typed.
        number: how many jobs have begun in this process.
        current: overrides of the one that runs; None before the first.
        folder: that of the one that runs.
        status: the exit status of a single run that is done, all but some of its images.
        sweep: the folder of a sweep, where its jobs leave their records; None for a single run.
        record: of the job of a sweep that runs.
        started: when it began, on the clock of `time.monotonic`.
    """

    command: Command
    arguments: Sequence[str]
    number: int = 0
    current: Sequence[str] | None = None
    folder: Path = Path()
    status: int = 0
    sweep: Path | None = None
    record: "SweepJob | None" = None
    started: float = 0.0

    def begin(self, overrides: Sequence[str], folder: str) -> None:
        """Note that the job begins that Hydra is running."""
        # Hydra is imported here
        from hydra.core.hydra_config import HydraConfig

        # with these torch comes in, which the job needs too
        from hrpose.config.overrides import is_swept
        from hrpose.tasks.sweep import SweepJob

        self.number += 1
        self.current = [text for text in overrides if not text.startswith(OF_SWEEPER)]
        self.folder = Path(folder)
        self.started = time.monotonic()
        if self.sweep is not None:
            fixed = {text.partition("=")[0] for text in self.command.overrides if not is_swept(text)}
            own = [text for text in self.current if text.partition("=")[0] not in fixed]
            below = self.folder.is_relative_to(self.sweep)
            shown = str(self.folder.relative_to(self.sweep)) if below else os.path.relpath(self.folder, self.sweep)
            self._keep(SweepJob(HydraConfig.get().job.num, " ".join(own), shown))

    def end(self, result: Any) -> None:
        """Note what a job has returned."""
        self.status = max(self.status, getattr(result, "exit_status", 0))
        if self.record is not None:
            self._keep(self.record.end(result, (time.monotonic() - self.started) / 60))

    def fail(self, error: Exception) -> float:
        """Print the error of a job of a sweep, note it, and return its score, nan."""
        if explains_itself(error) and os.environ.get("HYDRA_FULL_ERROR") != "1":
            refuse(error)
        else:
            traceback.print_exception(error)
        if self.record is not None:
            kept = self.record if self.folder.is_dir() else replace(self.record, folder="")
            self._keep(kept.fail(error, (time.monotonic() - self.started) / 60))
        return math.nan

    def _keep(self, record: "SweepJob") -> None:
        # imported when the job began
        from hrpose.tasks.sweep import write_job

        self.record = record
        if (
            self.sweep is not None and os.environ.get("SLURM_PROCID", "0") == "0"
        ):  # further processes of a job have no record
            write_job(self.sweep, record)

    def finish(self, *, stopped: bool = False) -> int:
        """Print the table of a sweep and which of its jobs failed, and return the exit status.

        A job without a result was ended by something else, unless a signal has stopped them all.
        """
        if self.sweep is None:
            return self.status
        # slow to import
        from rich.console import Console

        # and this draws it
        from hrpose.tasks.sweep import RUNNING, read_jobs, report_sweep

        jobs = read_jobs(self.sweep)
        report_sweep(self.sweep, Console())
        failed = [job for job in jobs if job.failed or (job.state == RUNNING and not stopped)]
        if not failed:
            return max((job.status for job in jobs), default=0)
        folders = [Path(os.path.normpath(self.sweep / job.folder)) for job in failed]
        named = [
            f"{job.overrides} ({_shorten(folder)})" if job.folder else job.overrides
            for job, folder in zip(failed, folders, strict=True)
        ]
        print(f"hrpose: {len(failed)} of {len(jobs)} jobs failed: {'; '.join(named)}", file=sys.stderr)
        return 1

    def stopped(self, stop: StopSignal) -> int:
        """Print that a signal has ended the command and how to go on, and return the exit status."""
        self.finish(stopped=True)
        in_sweep = self.current is not None and self.command.has(*SWEEP)
        return stop.report(f" in job {self.number} of the sweep" if in_sweep else "", self.advise())

    def advise(self) -> str:
        """Return the command with which the current job goes on, or starts again."""
        several = self.current is not None and self.command.has(*SWEEP)
        arguments = [*_single(self.command), *(self.current or ())] if several else self.arguments
        return advise_resume(arguments, self._resuming(several=several))

    def _resuming(self, *, several: bool) -> list[str]:
        """Return the overrides with which the current job goes on; none where nothing is kept."""
        if self.current is None:
            return []
        if self.command.verb == "fit":
            last = next(self.folder.rglob("last.ckpt"), None)
            return [f"ckpt_path={_shorten(last) if several else 'last'}"] if last is not None else []
        images = self.folder / "images.json"  # of predict; frames have times, and videos begin anew
        if self.command.verb == "predict" and images.is_file() and '"time": ' not in images.read_text(encoding="utf-8"):
            return [f"paths.run={_shorten(self.folder)}", "resume=true"]
        return []


def make_job(log: JobLog, argv: list[str], stop: StopSignal) -> "Callable[[DictConfig], Any]":
    """Make what Hydra calls for each job, in this process or in one of Hydra's launchers.

    A job of a sweep that fails does not keep the others from running: it is noted, and its score is nan.
    """
    command = log.command
    module = getattr(sys.modules["__main__"].__spec__, "name", None)  # of `python -m`

    def job(cfg: "DictConfig") -> Any:
        # Hydra is imported here
        from hydra.core.hydra_config import HydraConfig

        # and with it the rest of the library
        from hrpose.config import describe_choices, remove_unused_folder, unpublished
        from hrpose.tasks import find_task, run

        find_own_code(command)  # in the process of a launcher too
        try:
            with (
                relaunchable(cfg, argv, [argv[0], *_single(command)], module) as overrides,
                warnings_as_lines(),
                dead_processes_as_lines(log.advise),
            ):
                log.begin(overrides, cfg.paths.run)
                choices = HydraConfig.get().runtime.choices
                for line in (*describe_choices(command.verb, overrides), *unpublished(cfg, choices)):
                    logger.info(line)
                find_task(command.verb)
                logging.getLogger("lightning").handlers.clear()  # its own handler would print every line twice
                result = run(command.verb, cfg)
                log.end(result)
                return getattr(result, "score", result)
        except Exception as error:
            if stop.number:  # what a signal has broken
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


def find_own_code(command: Command) -> None:
    """Let classes that the user names be imported from the current folder, after all others: it replaces no library's module."""
    folder = str(Path.cwd())
    if command.names_own_code and folder not in sys.path:
        sys.path.append(folder)


def _single(command: Command) -> list[str]:
    """Return the verb and the flags of one job of a sweep."""
    return [command.verb, *(flag for flag in command.flags if flag not in SWEEP)]


def _shorten(path: Path) -> Path:
    """Return a path from the working directory if it is below it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def advise_resume(arguments: Sequence[str], resuming: Sequence[str]) -> str:
    """Return the command that goes on.

    Args:
        arguments: verb, flags and overrides of the job.
        resuming: the overrides with which it goes on; none where nothing is kept, and the job starts again.
    """
    keys = tuple(f"{text.partition('=')[0]}=" for text in resuming)
    kept = [text for text in arguments if not text.startswith(keys)] if keys else arguments
    return f"To {'go on' if resuming else 'start again'}: {shlex.join(['hrpose', *kept, *resuming])}"


@contextmanager
def relaunchable(
    cfg: "DictConfig", argv: Sequence[str], single: Sequence[str], module: str | None = None
) -> Iterator[list[str]]:
    """Let Lightning start further processes of the job that Hydra is running.

    Lightning repeats `sys.argv` and adds the folder of `hydra.run.dir`. Hydra works with another program name, so the original
    goes back in. A job of a sweep is repeated as a single run of its own overrides: otherwise every process would run the whole
    sweep, in folders of its own. Afterwards the traces of the process group go away, so that the next job gets a new one.
    Lightning prefers `python -m` with the module of the main program, which is that of the launcher in the processes of joblib
    and submitit, so this module is replaced too.

    Args:
        cfg: the job's configuration; `paths.run` becomes the folder that Hydra made.
        argv: the command line as the process got it.
        single: the command, verb and flags of a job of a sweep, without its overrides.
        module: what the command line was started with by `python -m`; None for a script, `argv[0]`.

    Yields:
        The overrides of the job.
    """
    # Hydra is imported here
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
    """End the further processes of a job that has failed.

    The thread with which Lightning observes them would end the whole sweep some seconds later.
    """
    for thread in threading.enumerate():
        if thread.name == _OBSERVER:
            processes = list(thread._child_processes)  # type: ignore[attr-defined]  # there is no public way
            thread._child_processes.clear()  # type: ignore[attr-defined]
            for process in processes:
                process.kill()
                process.wait()


def _leave_process_group() -> None:
    distributed = sys.modules.get("torch.distributed")  # not imported here: a job may have failed before it was needed
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


class LineFormatter(logging.Formatter):
    """The message alone; warnings and errors say that they are such. The configuration of Hydra names it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line for the screen."""
        text = super().format(record)
        return text if record.levelno < logging.WARNING else f"{record.levelname.capitalize()}: {text}"


def log_to_screen() -> None:
    """Print warnings of the log until Hydra configures it.

    Lightning, which checks import before Hydra runs, prints its own messages if the root logger has no handler at this time.
    """
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(LineFormatter())
    logging.basicConfig(handlers=[handler])


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Send warnings to the log, without the line of code that they come from."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        logging.getLogger("py.warnings").warning("%s", message)

    shown_before = warnings.showwarning
    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = shown_before


def explains_itself(error: BaseException) -> bool:
    """Check whether the message of an error is for the user; others need a trace.

    It is for exceptions of the classes of this library and of Lightning's for misuse, for the ValueErrors and OSErrors that
    this library raises, and for what the machine refuses: files that may not be written, a full disk.
    """
    if type(error).__module__.partition(".")[0] == "hrpose":
        return True
    if type(error).__name__ == "MisconfigurationException":
        return True
    if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
        return True
    if not isinstance(error, ValueError | OSError):
        return False
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and Path(trace.tb_frame.f_code.co_filename).is_relative_to(_PACKAGE)


def refuse(error: BaseException) -> int:
    """Print what is wrong, and with HYDRA_FULL_ERROR=1 raise it. Return the exit status."""
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        raise error
    print(f"hrpose: {_text_of(error)}", file=sys.stderr)
    return int(getattr(error, "exit_status", 1))


def _text_of(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror is not None:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)
