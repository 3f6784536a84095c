import pytest

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
