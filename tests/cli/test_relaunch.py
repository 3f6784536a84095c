import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.fabric.strategies.launchers.subprocess_script import _ChildProcessObserver
from omegaconf import OmegaConf

from hrpose.cli import jobs
from hrpose.cli.jobs import relaunchable

SMALL = (
    "prepare.num_train=6", "prepare.num_val=2", "trainer.max_epochs=1", "data.num_workers=0", "data.batch_size=4",
    "trainer.devices=2", "trainer.accelerator=cpu", "trainer.strategy=ddp",
)  # fmt: skip


@pytest.fixture
def job(monkeypatch, tmp_path):
    """Simulate a job of Hydra in a mode."""

    def start(mode: RunMode):
        hydra = OmegaConf.create(
            {
                "mode": mode,
                "run": {"dir": "runs/pattern"},
                "runtime": {"output_dir": str(tmp_path)},
                "overrides": {"task": ["optim.lr=0.1", "+own=${paths.run}"]},
            }
        )
        monkeypatch.setattr(HydraConfig, "get", staticmethod(lambda: hydra))
        monkeypatch.setattr(jobs, "_leave_process_group", lambda: None)
        monkeypatch.setattr(sys, "argv", ["hrpose fit", "reordered"])
        return hydra, OmegaConf.create({"paths": {"run": "runs/pattern"}})

    return start


def test_a_single_run_is_repeated_by_its_own_command_line(job, tmp_path):
    hydra, cfg = job(RunMode.RUN)
    with relaunchable(cfg, ["bin/hrpose", "fit", "optim.lr=0.1"], ["unused"]):
        assert sys.argv == ["bin/hrpose", "fit", "optim.lr=0.1"]
        assert cfg.paths.run == hydra.run.dir == str(tmp_path)
    assert sys.argv == ["hrpose fit", "reordered"]


def test_a_job_of_a_sweep_is_repeated_as_a_single_run(job):
    _, cfg = job(RunMode.MULTIRUN)
    with relaunchable(cfg, ["bin/hrpose", "fit", "-m", "optim.lr=0.1,0.2"], ["bin/hrpose", "fit"]):
        assert sys.argv == ["bin/hrpose", "fit", "optim.lr=0.1", "+own=${paths.run}", "hydra.mode=RUN"]


@pytest.mark.parametrize("module", [None, "hrpose.__main__"])
def test_a_job_in_the_process_of_a_launcher_is_repeated_by_the_original_command(job, module):
    """Lightning runs `python -m __main__.__spec__.name`, which is joblib's or submitit's module there."""
    _, cfg = job(RunMode.MULTIRUN)
    main = sys.modules["__main__"]
    before = main.__spec__

    def fail() -> None:
        with relaunchable(cfg, ["bin/hrpose", "fit"], ["bin/hrpose", "fit"], module):
            assert getattr(main.__spec__, "name", None) == module
            raise RuntimeError("the job fails")

    with pytest.raises(RuntimeError, match="the job fails"):
        fail()
    assert main.__spec__ is before


def test_a_failed_job_ends_its_processes(job):
    """Lightning's observer would see them fail, and kill the process that runs the next job of the sweep."""
    _, cfg = job(RunMode.MULTIRUN)
    child = subprocess.Popen(["sleep", "60"])
    observer = _ChildProcessObserver(os.getpid(), [child], sleep_period=1)

    def fail() -> None:
        with relaunchable(cfg, [], []):
            observer.start()
            raise RuntimeError("the job fails")

    with pytest.raises(RuntimeError, match="the job fails"):
        fail()
    observer.join(5)
    assert not observer.is_alive()
    assert child.returncode == -9


def test_the_environment_of_the_launcher_is_restored(job, monkeypatch):
    _, cfg = job(RunMode.RUN)
    monkeypatch.setenv("MASTER_PORT", "1234")
    monkeypatch.delenv("LOCAL_RANK", raising=False)

    def fail() -> None:
        with relaunchable(cfg, [], []):
            os.environ.update(LOCAL_RANK="0", MASTER_PORT="5678")
            raise RuntimeError("the job fails")

    with pytest.raises(RuntimeError, match="the job fails"):
        fail()
    assert "LOCAL_RANK" not in os.environ
    assert os.environ["MASTER_PORT"] == "1234"


def fit(folder: Path, *words: str) -> list[Path]:
    """Run the command and return the run folders, in which the first process stores Hydra's copy of the configuration."""
    environment = {name: value for name, value in os.environ.items() if name not in ("LOCAL_RANK", "WORLD_SIZE")}
    done = subprocess.run(
        [sys.executable, "-m", "hrpose", "fit", *SMALL, *words], cwd=folder, env=environment, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((folder / "runs").rglob("checkpoints"))) == len(list((folder / "runs").rglob(".hydra")))
    assert not [path for path in folder.iterdir() if path.name not in ("runs", "datasets")]
    return sorted(path.parent for path in (folder / "runs").rglob(".hydra"))


@pytest.mark.slow
def test_two_processes_share_one_folder(tmp_path):
    (folder,) = fit(tmp_path)
    assert (folder / "checkpoints" / "last.ckpt").is_file()
    assert (folder / "train_ddp_process_1.log").is_file()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@pytest.mark.slow
def test_two_jobs_of_two_processes_make_two_folders(tmp_path):
    folders = fit(tmp_path, "-m", "optim.lr=1e-3,5e-4")
    assert [folder.name for folder in folders] == ["0", "1"]
    for folder, rate in zip(folders, (1e-3, 5e-4), strict=True):
        assert (folder / "checkpoints" / "last.ckpt").is_file()
        assert (folder / "train_ddp_process_1.log").is_file()
        assert OmegaConf.load(folder / "config.yaml").optim.lr == rate
