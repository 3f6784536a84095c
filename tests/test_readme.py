"""Run the commands of README.md that need no COCO, on a drawn dataset, and its Python."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from hrpose.synthetic import write_dataset
from processes import Process

README = (Path(__file__).parents[1] / "README.md").read_text()
SMALL = ("trainer.max_epochs=1", "threads=1", "data.num_workers=0")


def commands() -> list[list[str]]:
    """Return the arguments of each command `hrpose`, without those that need COCO."""
    lines = [
        line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.replace("\\\n", " ").splitlines()
    ]
    found = [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("hrpose ")]
    return [arguments for arguments in found if "paths.data=datasets/coco" not in arguments]


def python() -> str:
    """Return the Python of the README, with a short training of few images."""
    (text,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    small = '"trainer.max_epochs": 1, "prepare.num_train": 40, "prepare.num_val": 8'
    assert '"trainer.max_epochs": 3' in text
    return text.replace('"trainer.max_epochs": 3', small)


def test_the_commands_are_those_that_the_test_prepares_for():
    assert [arguments[0] for arguments in commands()] == ["doctor", "fit", "predict", "evaluate", "compare", "export"]


@pytest.mark.slow
def test_the_readme_runs_from_top_to_bottom(tmp_path):
    write_dataset(tmp_path / "drawn", num_train=40, num_val=8)
    horses = tmp_path / "horses"
    for split in ("train", "val"):
        shutil.copytree(tmp_path / "drawn" / f"{split}2017", horses / "images", dirs_exist_ok=True)
        labels = tmp_path / "drawn" / "annotations" / f"person_keypoints_{split}2017.json"
        shutil.copy(labels, horses / f"{split}.json")
    for arguments in commands():
        small = SMALL if arguments[0] == "fit" else ()
        done = Process("hrpose", [*arguments, *small], cwd=tmp_path).wait(timeout=900)
        # the check of `hrpose export` refuses the flat heatmaps of one epoch
        assert done.returncode == 0 or "hardly trained" in " ".join(done.stderr.split()), done.stdout + done.stderr
        if arguments[0] == "fit":  # what the following commands name
            (run,) = (tmp_path / "runs" / "horses").iterdir()
            shutil.copy(horses / "val.json", tmp_path / "gt.json")
            shutil.copy(run / "results" / "keypoints_gt.json", tmp_path / "results.json")
            for day in ("monday", "tuesday"):
                shutil.copytree(run, tmp_path / "runs" / "tiny" / day)
            shutil.copy(run / "checkpoints" / "best.ckpt", tmp_path)
            shutil.copy(next((horses / "images").iterdir()), tmp_path / "image.jpg")
    (tmp_path / "example.py").write_text(python())
    done = Process(tmp_path / "example.py", (), cwd=tmp_path).wait(timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
