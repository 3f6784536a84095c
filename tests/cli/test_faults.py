"""An error of the machine is one line with its cause and fix."""

import errno
import logging
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from hrpose.cli.faults import RunLog, dead_processes_as_lines, explain_launcher, explain_machine

FOLDER = Path("/runs/a")


def worker(pids: str, rest: str) -> RuntimeError:
    return RuntimeError(f"DataLoader worker (pid{'(s)' if ',' in pids else ''} {pids}) {rest}")


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/runs/a/last.ckpt"), ["/runs/a/last.ckpt", "Free disk space"]),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), ["quota", "/runs/a", "Free disk space"]),
        (OSError(errno.EFBIG, "File too large", "/runs/a/last.ckpt"), ["/runs/a/last.ckpt", "ulimit -f"]),
        (MemoryError(), ["memory", "data.batch_size"]),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."), ["2 GiB", "data.batch_size=auto"]),
        (RuntimeError("[x.cpp:1] can't allocate memory: 8 bytes.\nmore"), ["8 bytes", "data.val_batch_size"]),
        (worker("12", "is killed by signal: Killed. "), ["12", "data.num_workers", "memory"]),
        (worker("12, 13", "exited unexpectedly"), ["12, 13", "data.num_workers", "memory"]),
        (worker("12", "is killed by signal: Bus error. It is"), ["12", "/dev/shm"]),
        (RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [::1]:4"), ["process", "memory"]),
    ],
)
def test_a_fault_of_the_machine_is_explained(error, found):
    explained = explain_machine(error, FOLDER)
    assert explained is not None
    assert [text for text in found if text not in explained] == []
    assert "\n" not in explained


@pytest.mark.parametrize("error", [RuntimeError("a bug"), OSError(errno.ENOENT, "No such file", "a"), ValueError()])
def test_other_errors_are_not_explained(error):
    assert explain_machine(error, FOLDER) is None


def test_memory_that_torch_cannot_allocate_is_recognised():
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**46)
    assert "data.batch_size" in (explain_machine(raised.value, FOLDER) or "")


def test_a_full_temporary_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    (tmp_path / "run").mkdir()
    usage = type("Usage", (), {"free": 0})
    monkeypatch.setattr("shutil.disk_usage", lambda place: usage if place.name == "tmp" else type("U", (), {"free": 2**40}))
    explained = explain_machine(OSError(errno.ENOSPC, "No space left on device"), tmp_path / "run")
    assert f"{tmp_path}/tmp." in (explained or "")


def test_a_dead_process_of_lightning_is_one_line(caplog):
    """The record is that of Lightning's observer."""
    from lightning.fabric.strategies.launchers.subprocess_script import _ChildProcessObserver

    ended = subprocess.Popen([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])
    ended.wait()
    observer = _ChildProcessObserver(main_pid=0, child_processes=[ended])
    observer._terminate_all = lambda: None
    with caplog.at_level(logging.INFO), dead_processes_as_lines(lambda: "To continue: hrpose fit"):
        observer._run()
    (record,) = caplog.records
    assert f"process 1 of the run (PID {ended.pid}) was killed by signal 9" in record.getMessage()
    assert record.getMessage().endswith("To continue: hrpose fit")


def test_a_log_on_a_full_disk_raises_once_with_its_name(tmp_path, capsys, monkeypatch):
    def fail(text):
        raise OSError(errno.ENOSPC, "No space left on device")

    handler = RunLog(tmp_path / "a.log")
    monkeypatch.setattr(handler, "stream", SimpleNamespace(write=fail, flush=lambda: None, close=handler.stream.close))
    with pytest.raises(OSError) as raised:
        handler.emit(logging.makeLogRecord({"msg": "a line"}))
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(tmp_path / "a.log"))
    assert capsys.readouterr().err == ""
    handler.close()


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("TerminatedWorkerError", "A worker died.\nThe exit codes are {SIGKILL(-9), SIGKILL(-9)}", ["(SIGKILL)", "n_jobs=1"]),
        ("TerminatedWorkerError", "A worker died.", ["without a signal", "n_jobs=1"]),
        ("UncompletedJobError", "Job 3 has no output\nmore", ["UncompletedJobError: Job 3 has no output."]),
        ("CompactHydraException", "The study cannot be read.", ["hydra/sweeper: The study cannot be read."]),
    ],
)
def test_a_failed_launcher_is_one_line_with_its_cause(name, text, found):
    line = explain_launcher(type(name, (Exception,), {})(text))
    assert all(part in line for part in found)
    assert "\n" not in line
