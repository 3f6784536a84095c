"""hrpose convert: from the command line to the files."""

from __future__ import annotations

import shlex

import pytest
from grey_images import write_images

from hrpose.cli import parse
from hrpose.config import ConfigError, compose
from hrpose.tasks.convert import convert
from processes import run_module


def test_a_source_is_converted_and_the_printed_command_composes(tmp_path) -> None:
    folder = tmp_path / "my data"
    write_images(folder, "images/train/a.png", "images/val/b.png")
    text = "path: .\ntrain: images/train\nval: images/val\nkpt_shape: [2, 2]\nnames: [fly]\n"
    (folder / "data.yaml").write_text(text)
    for name in ("train/a", "val/b"):
        file = folder / "labels" / f"{name}.txt"
        file.parent.mkdir(parents=True)
        file.write_text("0 .5 .5 .5 .5 .25 .5 .5 .5")
    done = run_module("hrpose", "convert", "my data", "names=[left_wing,right_wing]", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    command = done.stdout.splitlines()[-1]
    verb, *arguments = shlex.split(command)[1:]
    cfg = compose(verb, parse(verb, arguments).overrides)
    assert cfg.data.train_annotations == str(folder / "train.json")
    assert cfg.data.val_images == str(folder)


def test_a_source_that_cannot_be_converted_is_one_message(tmp_path) -> None:
    done = run_module("hrpose", "convert", "model.pth", cwd=tmp_path)
    assert done.returncode == 1
    assert "scripts/convert_weights.py" in done.stderr


def test_keys_without_effect_with_to_are_refused(tmp_path) -> None:
    with pytest.raises(ConfigError) as error:
        convert(compose("convert", ["source=x.json", "to=yolo", "names=[a,b]"]))
    assert [fault.partition(":")[0] for fault in error.value.faults] == ["names", "images"]
