import pytest
from lightning.pytorch.callbacks import RichProgressBar

from hrpose.callbacks import RunProgress, TorchThreads
from hrpose.config import ConfigError, compose
from hrpose.tasks.assemble import build_trainer


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["trainer.accelerator=tpu"],
            r"^trainer: expected what this machine can do, but got accelerator=tpu, devices=1, .* says: ",
        ),
        (
            ["trainer.accelerator=cpu", "trainer.devices=0"],
            r"^trainer: .*accelerator=cpu, devices=0, .*trainer\.accelerator=auto",
        ),
        (["trainer.accelerator=cpu", "trainer.strategy=ddpp"], r"^trainer: .*ddpp"),
    ],
)
def test_a_trainer_that_this_machine_cannot_run_is_explained(words, told, tmp_path):
    with pytest.raises(ConfigError, match=told):
        build_trainer(compose("fit", [*words, f"paths.run={tmp_path}"]))


def test_without_its_callback_a_run_has_no_progress_bar(tmp_path):
    with_bar, without = (
        build_trainer(compose("fit", [*words, f"paths.run={tmp_path}"])) for words in ([], ["callbacks.progress=null"])
    )
    assert [type(callback) for callback in with_bar.callbacks if "Progress" in type(callback).__name__] == [RunProgress]
    assert [callback for callback in without.callbacks if "Progress" in type(callback).__name__] == []
    assert with_bar.progress_bar_callback is without.progress_bar_callback is None


def test_a_bar_of_lightning_can_take_its_place(tmp_path):
    words = ["~callbacks.progress", "+callbacks.bar._target_=lightning.pytorch.callbacks.RichProgressBar"]
    trainer = build_trainer(compose("fit", [*words, f"paths.run={tmp_path}"]))
    assert isinstance(trainer.progress_bar_callback, RichProgressBar)


@pytest.mark.parametrize(("words", "number"), [([], "auto"), (["threads=1"], 1)])
def test_the_number_of_threads_is_a_key_of_its_own(words, number, tmp_path):
    trainer = build_trainer(compose("fit", [*words, f"paths.run={tmp_path}"]))
    assert [callback.number for callback in trainer.callbacks if isinstance(callback, TorchThreads)] == [number]
