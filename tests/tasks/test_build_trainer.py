"""The trainer has its callbacks and writes complete checkpoints."""

import pytest
import torch
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.plugins.io import AsyncCheckpointIO, TorchCheckpointIO
from lightning.pytorch.plugins.precision import MixedPrecision

from hrpose.callbacks import RunProgress, TorchThreads
from hrpose.callbacks.signals import SignalCheckpoint
from hrpose.config import ConfigError, compose
from hrpose.tasks.assemble import AtomicCheckpointIO, build_trainer, connect_loggers

CONTENT = {"state_dict": {"a": torch.arange(5)}, "epoch": 3}


IO = "lightning.pytorch.plugins.io"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["trainer.accelerator=tpu"], r"accelerator=tpu.*devices=1"),
        (["trainer.accelerator=cpu", "trainer.devices=0"], r"accelerator=cpu.*devices=0.*trainer\.accelerator=auto"),
        (["trainer.accelerator=cpu", "trainer.strategy=ddpp"], r"^trainer: .*ddpp"),
    ],
)
def test_a_trainer_that_this_machine_does_not_support_is_refused(overrides, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        build_trainer(compose("fit", [*overrides, f"paths.run={tmp_path}"]))


def test_a_run_without_the_progress_callback_has_no_bar(tmp_path):
    with_bar, without = (
        build_trainer(compose("fit", [*overrides, f"paths.run={tmp_path}"])) for overrides in ([], ["callbacks.progress=null"])
    )
    assert [type(callback) for callback in with_bar.callbacks if "Progress" in type(callback).__name__] == [RunProgress]
    assert [callback for callback in without.callbacks if "Progress" in type(callback).__name__] == []
    assert with_bar.progress_bar_callback is without.progress_bar_callback is None


def test_a_progress_bar_of_lightning_can_replace_the_callback(tmp_path):
    overrides = ["~callbacks.progress", "+callbacks.bar._target_=lightning.pytorch.callbacks.RichProgressBar"]
    trainer = build_trainer(compose("fit", [*overrides, f"paths.run={tmp_path}"]))
    assert isinstance(trainer.progress_bar_callback, RichProgressBar)


@pytest.mark.parametrize(("overrides", "number"), [([], "auto"), (["threads=1"], 1)])
def test_the_number_of_threads_is_a_key(overrides, number, tmp_path):
    trainer = build_trainer(compose("fit", [*overrides, f"paths.run={tmp_path}"]))
    assert [callback.number for callback in trainer.callbacks if isinstance(callback, TorchThreads)] == [number]


def trainer_of(tmp_path, *overrides):
    return build_trainer(compose("fit", [f"paths.run={tmp_path}", "trainer.precision=32-true", *overrides]))


@pytest.mark.parametrize("overrides", [[], ["callbacks/ema=default"], ["trainer.strategy=ddp"], ["trainer.devices=2"]])
def test_every_trainer_writes_complete_checkpoints(tmp_path, overrides):
    assert type(trainer_of(tmp_path, *overrides).strategy.checkpoint_io) is AtomicCheckpointIO


def test_plugins_of_the_user_are_kept(tmp_path):
    io = trainer_of(tmp_path, f"+trainer.plugins=[{{_target_:{IO}.TorchCheckpointIO}}]").strategy.checkpoint_io
    assert type(io) is TorchCheckpointIO
    io = trainer_of(tmp_path, f"+trainer.plugins={{_target_:{IO}.AsyncCheckpointIO}}").strategy.checkpoint_io
    assert isinstance(io, AsyncCheckpointIO)
    assert type(io.checkpoint_io) is AtomicCheckpointIO
    precision = "{_target_:lightning.pytorch.plugins.precision.MixedPrecision,precision:bf16-mixed,device:cpu}"
    trainer = trainer_of(tmp_path, f"+trainer.plugins=[{precision}]", "trainer.precision=null")
    assert isinstance(trainer.precision_plugin, MixedPrecision)
    assert type(trainer.strategy.checkpoint_io) is AtomicCheckpointIO


def test_a_checkpoint_is_loaded_with_weights_only(tmp_path):
    AtomicCheckpointIO().save_checkpoint(CONTENT, tmp_path / "new/last.ckpt")
    content = AtomicCheckpointIO().load_checkpoint(tmp_path / "new/last.ckpt", weights_only=True)
    assert torch.equal(content["state_dict"]["a"], CONTENT["state_dict"]["a"])
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["last.ckpt"]


def test_a_checkpoint_is_kept_until_the_new_one_is_complete(tmp_path, monkeypatch):
    """Nothing is written to the temporary folder, which may be on another file system."""
    file = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(CONTENT, file)
    before = file.read_bytes()

    def stop(content, stream):
        stream.write(b"PK half of it")
        assert [path.parent for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path, tmp_path]
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        AtomicCheckpointIO().save_checkpoint(CONTENT, file)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_signals_are_handled_after_all_other_checkpoints_are_written(tmp_path):
    assert isinstance(trainer_of(tmp_path).callbacks[-1], SignalCheckpoint)
    nothing = [f"callbacks.{name}=null" for name in ("best", "last", "last_in_epoch")]
    without = trainer_of(tmp_path, *nothing, "+trainer.enable_checkpointing=false")
    assert not any(isinstance(callback, SignalCheckpoint) for callback in without.callbacks)


def test_a_failed_connection_to_wandb_is_a_message(tmp_path, monkeypatch):
    CommError = type("CommError", (Exception,), {"__module__": "wandb.errors"})

    def fail(self):
        raise CommError("no such host\nmore")

    monkeypatch.setattr(WandbLogger, "experiment", property(fail))
    for offline in (True, False):
        cfg = compose("fit", [f"paths.run={tmp_path}", "logger=[csv,wandb]", f"logger.wandb.offline={offline}"])
        trainer = build_trainer(cfg)
        if offline:
            connect_loggers(cfg, trainer)
            continue
        with pytest.raises(ConfigError, match=r"^logger\.wandb: .*no such host.*offline=true") as raised:
            connect_loggers(cfg, trainer)
        assert "\n" not in str(raised.value)
