"""An error of the machine ends a run with one line that names the cause, and its files are valid."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.slow
BOMBS = [Path(__file__).parent]


def overrides_of(kind: str, /, **values: object) -> list[str]:
    """Overrides that add a callback of bomb.py."""
    return [f"+callbacks.bomb._target_=bomb.{kind}", *(f"+callbacks.bomb.{key}={value}" for key, value in values.items())]


def check_end(done: subprocess.CompletedProcess[str], *found: str, status: int = 1) -> str:
    """Check that the last line has what was found, and that there is no trace; return the line."""
    printed = done.stdout + done.stderr
    assert done.returncode == status, printed[-3000:]
    assert "Traceback" not in printed
    assert "Logging error" not in printed
    lines = [line for line in printed.splitlines() if all(text in line for text in found)]
    assert len(lines) == 1, printed[-3000:]
    return lines[0]


def check_files(folder: Path) -> list[str]:
    """Check that all checkpoints and JSON files can be read; return the names of the checkpoints."""
    for file in folder.rglob("*.json"):
        json.loads(file.read_text())
    checkpoints = sorted(folder.rglob("*.ckpt"))
    for file in checkpoints:
        torch.load(file, weights_only=True)
    assert list(folder.rglob(".*.part")) == []
    return [file.name for file in checkpoints]


@pytest.fixture
def small_disk(tmp_path) -> Iterator:
    """Return a function that mounts a file system of some kilobytes."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str) -> Path:
        if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True).returncode:
            pytest.skip("file systems cannot be mounted here")
        return folder

    yield mount
    subprocess.run(["umount", folder], capture_output=True)


@pytest.mark.parametrize("size", ["24k", "250k", "700k"])
def test_a_full_disk_is_named(hrpose, small_disk, size) -> None:
    folder = small_disk(f"size={size}")
    done = hrpose("fit", f"paths.runs={folder}/runs", "callbacks.last_in_epoch.every_n_train_steps=2")
    check_end(done, "hrpose: No space left on device", str(folder))
    check_files(folder)


def test_a_folder_that_is_read_only_is_named(hrpose, small_disk) -> None:
    folder = small_disk("ro")
    check_end(hrpose("fit", f"paths.runs={folder}/runs"), "paths.run", str(folder))


def test_a_limit_of_the_file_size_is_named(hrpose, tmp_path) -> None:
    done = hrpose("fit", *overrides_of("FaultAt", kind="file", step=1), path=BOMBS)
    check_end(done, "hrpose: File too large", "ulimit -f", str(tmp_path), "To restart: hrpose fit")
    assert check_files(tmp_path) == []


@pytest.mark.parametrize("kind", ["worker", "memory"])
def test_a_dead_worker_and_exhausted_memory_say_how_to_go_on(hrpose, tmp_path, kind) -> None:
    words = ["data.num_workers=1", "callbacks.last_in_epoch.every_n_train_steps=2"]
    done = hrpose("fit", *words, *overrides_of("FaultAt", kind=kind, step=3), path=BOMBS)
    named = {"worker": "data.num_workers", "memory": "data.batch_size=auto"}[kind]
    check_end(done, "hrpose: ", named, "emory", "ckpt_path=last")
    assert check_files(tmp_path) == ["last.ckpt"]


def test_a_dead_rank_is_named_and_ends_the_others(hrpose, tmp_path) -> None:
    words = ["trainer.devices=2", "trainer.strategy=ddp", "callbacks.last_in_epoch.every_n_train_steps=1"]
    bomb = overrides_of("SignalAt", name="SIGKILL", hook="backward", step=2, rank=1)
    done = hrpose("fit", *words, *bomb, path=BOMBS)
    assert done.returncode != 0
    line = check_end(done, "process", "of the run", "memory", "ckpt_path=last", status=done.returncode)
    assert line.startswith("hrpose: ")
    assert check_files(tmp_path) == ["last.ckpt"]


def test_sigterm_to_one_rank_ends_all_after_the_same_step(hrpose, tmp_path) -> None:
    words = ["trainer.devices=2", "trainer.strategy=ddp", "trainer.accumulate_grad_batches=2"]
    bomb = overrides_of("SignalAt", name="SIGTERM", hook="backward", step=0, rank=1)
    done = hrpose("fit", *words, *bomb, path=BOMBS)
    check_end(done, "hrpose: terminated", "ckpt_path=last", status=143)
    (last,) = tmp_path.rglob("*.ckpt")
    assert (last.name, torch.load(last, weights_only=True)["global_step"]) == ("last.ckpt", 1)


@pytest.mark.parametrize(("kind", "workers"), [("delete", 0), ("damage", 1)])
def test_images_that_are_lost_in_mid_epoch_are_named(hrpose, people, tmp_path, kind, workers) -> None:
    data = tmp_path / "data"
    shutil.copytree(people, data)
    bomb = overrides_of("FaultAt", kind=kind, step=1, folder=data / "train2017")
    done = hrpose("fit", f"paths.data={data}", f"data.num_workers={workers}", *bomb, path=BOMBS)
    check_end(done, "hrpose: ", str(data / "train2017"))
    check_files(tmp_path / "runs")


def test_a_loss_that_is_no_number_ends_the_run(hrpose, tmp_path) -> None:
    done = hrpose("fit", "optim.lr=1e30", "trainer.max_epochs=3")
    check_end(done, "hrpose: ", "optim.lr")
    check_files(tmp_path)


def test_neither_a_home_nor_plain_names_are_needed(people, tmp_path, monkeypatch, hrpose) -> None:
    monkeypatch.delenv("HOME")
    folder = tmp_path / "my dätä"
    shutil.copytree(people, folder)
    done = hrpose("fit", f"paths.data='{folder}'", f"paths.runs='{tmp_path}/my rüns'", "name='a tést, 1'")
    assert done.returncode == 0, done.stderr[-2000:]
    assert check_files(tmp_path / "my rüns" / "a tést, 1") == ["best.ckpt", "last.ckpt"]
    assert (
        hrpose(
            "test", f"paths.data='{folder}'", f"paths.runs='{tmp_path}/my rüns'", "name='a tést, 1'", "ckpt_path=last"
        ).returncode
        == 0
    )
