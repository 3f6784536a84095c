"""In training, signals are handled between two optimizer steps; otherwise by the handler of the program."""

import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn

from hrpose.callbacks.signals import SignalCheckpoint, slurm_job


class Ended(Exception):
    """Raised by the handler of the program."""


@pytest.fixture
def handlers():
    """Handlers of a program that raise an exception; the previous ones are restored."""

    def end(number, frame):
        raise Ended

    kinds = (signal.SIGTERM, signal.SIGUSR1)
    before = {number: signal.getsignal(number) for number in kinds}
    signal.signal(signal.SIGTERM, end)
    yield end
    for number, handler in before.items():
        signal.signal(number, handler)


def trainer_of(folder: Path, *, last: bool = False, others: bool = False) -> SimpleNamespace:
    """The attributes of a trainer that the callback uses; `others`: whether another process received the signal."""
    checkpoints = [ModelCheckpoint(folder, monitor="val/AP"), ModelCheckpoint(folder)]
    strategy = SimpleNamespace(reduce_boolean_decision=lambda decision, all: decision or others)
    state = SimpleNamespace(fn=TrainerFn.FITTING)
    return SimpleNamespace(
        **{"accumulate_grad_batches": 2, "is_last_batch": last, "is_global_zero": True, "global_step": 1},
        **{"strategy": strategy, "checkpoint_callbacks": checkpoints, "state": state},
        **{"check_val_every_n_epoch": 1, "val_check_batch": 4, "enable_validation": True, "current_epoch": 0},
        save_checkpoint=lambda file, weights_only: Path(file).touch(),
    )


def started(trainer, requeue_file=None, lightning=False) -> SignalCheckpoint:
    callback = SignalCheckpoint(requeue_file)
    callback.setup(trainer, None, "fit")
    if lightning:  # sets handlers between the two hooks
        signal.signal(signal.SIGUSR1, lambda *_: None)
    callback.on_train_start(trainer, None)
    return callback


def test_sigterm_waits_for_the_end_of_the_accumulation(tmp_path, handlers):
    trainer = trainer_of(tmp_path)
    callback = started(trainer)
    signal.raise_signal(signal.SIGTERM)
    callback.on_train_batch_end(trainer, None, None, None, 0)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(Ended):
        callback.on_train_batch_end(trainer, None, None, None, 1)
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_sigterm_in_the_last_step_of_an_epoch_waits_for_the_validation(tmp_path, handlers):
    trainer = trainer_of(tmp_path, last=True)
    callback = started(trainer)
    signal.raise_signal(signal.SIGTERM)
    callback.on_train_batch_end(trainer, None, None, None, 1)
    callback.on_validation_start(trainer, None)
    with pytest.raises(Ended):
        callback.on_train_epoch_end(trainer, None)


def test_a_signal_to_one_process_ends_all(tmp_path, handlers):
    trainer = trainer_of(tmp_path, others=True)
    with pytest.raises(Ended):
        started(trainer).on_train_batch_end(trainer, None, None, None, 1)


def test_without_a_signal_nothing_is_written(tmp_path, handlers):
    trainer = trainer_of(tmp_path)
    started(trainer).on_train_batch_end(trainer, None, None, None, 1)
    assert list(tmp_path.iterdir()) == []


def test_a_program_without_a_handler_ends_with_the_status_of_the_signal(tmp_path, handlers):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    trainer = trainer_of(tmp_path)
    callback = started(trainer)
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        callback.on_train_batch_end(trainer, None, None, None, 1)
    assert ended.value.code == 143


def test_a_run_without_last_checkpoints_ends_with_a_warning(tmp_path, handlers, caplog):
    trainer = trainer_of(tmp_path)
    del trainer.checkpoint_callbacks[1]
    callback = started(trainer)
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(Ended):
        callback.on_train_batch_end(trainer, None, None, None, 1)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_outside_of_training_the_program_handles_signals(tmp_path, handlers):
    trainer = trainer_of(tmp_path)
    callback = started(trainer)
    trainer.state.fn = TrainerFn.VALIDATING
    for hook in (callback.on_train_end, callback.on_sanity_check_start, callback.on_validation_start):
        signal.signal(signal.SIGTERM, lambda *_: None)
        hook(trainer, None)
        assert signal.getsignal(signal.SIGTERM) is handlers


def test_an_error_before_the_setup_is_not_masked(handlers):
    SignalCheckpoint().on_exception(None, None, ValueError())


@pytest.mark.parametrize("program", ["exit 3", "missing"])
def test_a_failed_requeue_is_a_warning_and_the_run_continues(tmp_path, handlers, monkeypatch, caplog, program):
    if program != "missing":
        (tmp_path / "scontrol").write_text(f"#!/bin/sh\n{program}\n")
        (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SLURM_JOB_ID", "5")
    trainer, note = trainer_of(tmp_path / "run"), tmp_path / "note"
    (tmp_path / "run").mkdir()
    callback = started(trainer, note, lightning=True)
    signal.raise_signal(signal.SIGUSR1)
    callback.on_train_batch_end(trainer, None, None, None, 1)
    assert note.read_text() == str(tmp_path / "run/last.ckpt")
    assert "scontrol requeue 5" in next(record for record in caplog.records if record.levelname == "WARNING").message


def test_tasks_of_an_array_have_different_job_ids(monkeypatch):
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    assert slurm_job() is None
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    assert slurm_job() == "12"
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "10")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    assert slurm_job() == "10_2"
