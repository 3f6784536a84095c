"""The share of time spent waiting for batches is logged, with a warning only if cores are idle."""

from types import SimpleNamespace

import pytest
import torch

from hrpose.callbacks import DataWait, data_wait


def run_epoch(monkeypatch, *, wait: float, step: float, idle: float, callback: DataWait | None = None):
    """Simulate ten batches with `idle` idle cores; return the logged share and the callback."""
    now = [0.0]
    logged = {}
    monkeypatch.setattr(data_wait, "read_idle_seconds", lambda: idle * now[0])
    callback = callback or DataWait()
    callback._clock = lambda: now[0]
    trainer = SimpleNamespace(
        strategy=SimpleNamespace(root_device=torch.device("cpu")), is_global_zero=True, datamodule=SimpleNamespace(num_workers=1)
    )
    module = SimpleNamespace(log=lambda name, value, **_: logged.update({name: value}))
    callback.on_train_epoch_start(trainer, module)
    for number in range(10):
        now[0] += wait if number else 100.0  # workers start
        callback.on_train_batch_start(trainer, module, None, number)
        now[0] += step
        callback.on_train_batch_end(trainer, module, None, None, number)
    callback.on_train_epoch_end(trainer, module)
    return logged["train/data_wait"], callback


def test_the_share_excludes_the_start_of_the_workers(monkeypatch):
    share, _ = run_epoch(monkeypatch, wait=1.0, step=3.0, idle=0)
    assert share == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("wait", "step", "idle", "warned"),
    [(1.0, 1.0, 3.0, True), (1.0, 1.0, 0.5, False), (1.0, 9.0, 3.0, False), (0.1, 0.1, 3.0, False)],
    ids=["much", "no idle core", "little", "short"],
)
def test_a_warning_names_the_workers_that_idle_cores_allow(monkeypatch, caplog, wait, step, idle, warned):
    run_epoch(monkeypatch, wait=wait, step=step, idle=idle)
    assert ["data.num_workers=4" in record.getMessage() for record in caplog.records] == [True] * warned


def test_there_is_one_warning_per_run(monkeypatch, caplog):
    _, callback = run_epoch(monkeypatch, wait=1.0, step=1.0, idle=3.0)
    run_epoch(monkeypatch, wait=1.0, step=1.0, idle=3.0, callback=callback)
    assert len(caplog.records) == 1


def test_idle_seconds_are_those_of_the_allowed_cores(tmp_path, monkeypatch):
    file = tmp_path / "stat"
    file.write_text("cpu 0 0 0 900 0\ncpu0 1 2 3 400 5\ncpu1 1 2 3 200 5\ncpu2 1 2 3 300 5\nintr 5\n")
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 2})
    monkeypatch.setattr("os.sysconf", lambda name: 100)
    assert data_wait.read_idle_seconds(file) == 7.0
    assert data_wait.read_idle_seconds(tmp_path / "missing") is None
