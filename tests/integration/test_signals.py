"""A signal during a training leaves a checkpoint between two optimizer steps, from which the run goes on to the same bits."""

import os
from pathlib import Path

import bomb
import pytest
import torch
from test_resume import differing

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*num_workers.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*"),
    pytest.mark.filterwarnings("ignore::hrpose.errors.DataWarning"),
]
SHORT = ["schedule=onecycle", "trainer.limit_val_batches=1", "trainer.precision=32-true"]


def send(name: str, hook: str, step: int, rank: int = 0) -> list[str]:
    """Overrides of a run that gets a signal."""
    values = {"_target_": "bomb.SignalAt", "name": name, "hook": hook, "step": step, "rank": rank}
    return [f"+callbacks.signal.{key}={value}" for key, value in values.items()]


def step_of(file: Path) -> int:
    return torch.load(file, weights_only=True)["global_step"]


@pytest.mark.parametrize(
    ("accumulate", "hook", "step", "saved", "interval"),
    [
        pytest.param(2, "backward", 1, 2, 1.0, marks=pytest.mark.slow),
        pytest.param(2, "validation", 3, 3, 1.0, marks=pytest.mark.slow),
        pytest.param(1, "backward", 3, 4, 1.0, marks=pytest.mark.slow),
        pytest.param(1, "validation", 5, 5, 1.0, marks=pytest.mark.slow),
        pytest.param(1, "validation", 2, 2, 2, marks=pytest.mark.slow),  # within an epoch
        pytest.param(1, "backward", 1, 2, 2, marks=pytest.mark.slow),  # a validation follows
        pytest.param(1, "backward", 2, 3, 2, marks=pytest.mark.slow),
    ],
)
def test_a_run_stopped_by_sigterm_ends_with_the_same_bits(fit, tmp_path, accumulate, hook, step, saved, interval) -> None:
    words = [*SHORT, f"trainer.accumulate_grad_batches={accumulate}", "callbacks/ema=default"]
    words.append(f"+trainer.val_check_interval={interval}")
    words += [f"trainer.max_epochs={1 if saved == 2 else 2}"]
    fit(*words, run="whole")
    with pytest.raises(SystemExit) as stopped:
        fit(*words, *send("SIGTERM", hook, step), run="stopped")
    last = tmp_path / "stopped/checkpoints/last.ckpt"
    assert (stopped.value.code, step_of(last)) == (143, saved)
    assert (last.with_name("best.ckpt")).is_file() == (hook == "validation" or interval == 2)
    assert "gradients" not in torch.load(last, weights_only=True)
    fit(*words, f"ckpt_path={last}", run="resumed")
    whole, resumed = (tmp_path / name / "checkpoints" for name in ("whole", "resumed"))
    assert differing(whole / "last.ckpt", resumed / "last.ckpt") == []
    assert step_of(whole / "best.ckpt") == step_of(resumed / "best.ckpt")


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> Path:
    """A SLURM job of one process; returns the file in which its scontrol writes its arguments."""
    calls, program = tmp_path / "calls", tmp_path / "bin" / "scontrol"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {calls}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    job = {"JOB_ID": "17", "NTASKS": "1", "NTASKS_PER_NODE": "1", "PROCID": "0", "LOCALID": "0", "NODEID": "0"}
    for name, value in {**job, "NNODES": "1", "JOB_NAME": "train", "JOB_NODELIST": "localhost"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    return calls


def test_a_requeued_slurm_job_goes_on_where_its_signal_arrived(fit, tmp_path, slurm, monkeypatch) -> None:
    words = [*SHORT, "trainer.accumulate_grad_batches=2", "trainer.max_epochs=1"]
    end = [text.replace("signal.", "end.") for text in send("SIGTERM", "validation", 3)]
    words += [*send("SIGUSR1", "backward", 1), *end]  # SLURM ends a job that it has requeued
    with pytest.raises(SystemExit):
        fit(*words, run="stopped")
    assert slurm.read_text().split() == ["requeue", "17"]
    (note,) = tmp_path.glob("runs/*/.requeued_17_*")
    monkeypatch.setattr(bomb.SignalAt, "_send", lambda *_: None)
    fit(*words, run="requeued")
    best, last = (tmp_path / "requeued/checkpoints" / name for name in ("best.ckpt", "last.ckpt"))
    assert differing(tmp_path / "stopped/checkpoints/last.ckpt", last if last.is_file() else best) == []
    assert best.is_file()
    assert not note.exists()
    assert slurm.read_text().count("requeue") == 1
