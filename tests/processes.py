"""Commands in processes of their own, forked from one that has imported hrpose, because a new interpreter imports for seconds.

Arguments, environment, working directory, signals and exit status are those of a process of its own. What a fresh interpreter
imports cannot be tested so.
"""

from __future__ import annotations

import atexit
import multiprocessing
import multiprocessing.forkserver
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["preloaded"])


def _start_server() -> None:
    """Start the server that forks the processes, if it does not run yet, where it finds what it is to import."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        multiprocessing.forkserver.ensure_running()


class Process:
    """`python program arguments`, or `python -m program arguments` where the program is no path, in the background."""

    def __init__(
        self, program: str | Path, arguments: Sequence[str], *, cwd: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._args = [str(program), *arguments]
        environment = dict(os.environ if environment is None else environment)
        self._process = _CONTEXT.Process(target=_run, args=(program, self._args, cwd, environment, self._folder.name))
        _start_server()
        self._process.start()

    def wait(self, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Wait for the end and return the status and what was printed; a signal is a negative status."""
        with self._folder:
            self._process.join(timeout)
            status = self._process.exitcode
            if status is None:
                self._process.kill()
                raise TimeoutError(f"{self._args} did not end within {timeout} s")
            self._process.close()
            printed = [Path(self._folder.name, name).read_text() for name in ("stdout", "stderr")]
            return subprocess.CompletedProcess(self._args, status, *printed)


def run_module(
    module: str, *arguments: str, cwd: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `python -m module arguments`."""
    return Process(module, arguments, cwd=cwd, environment=environment).wait()


def set_first_keypoint(table: Any, value: float) -> None:
    """Change a table in a spawned process, which cannot import test modules if a library installs a package `tests`."""
    table.keypoints[0] = value


def _run(program: str | Path, argv: Sequence[str], cwd: Path, environment: Mapping[str, str], outputs: str) -> None:
    """Become the process, as far as a fork can."""
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(Path(outputs, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, descriptor)
        os.close(file)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # TMPDIR may be another
    sys.path[:0] = [folder for folder in environment.get("PYTHONPATH", "").split(os.pathsep) if folder not in sys.path]
    sys.argv = list(argv)
    try:
        if isinstance(program, Path):
            runpy.run_path(str(program), run_name="__main__")
        else:
            runpy.run_module(program, run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()
