"""Every script in scripts/ explains itself and stays thin."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hrpose.models import SimpleBaseline

SCRIPTS = sorted((Path(__file__).parents[1] / "scripts").glob("*.py"))


@pytest.fixture(params=SCRIPTS, ids=lambda file: file.name)
def script(request) -> Path:
    return request.param


@pytest.fixture
def status(script, monkeypatch) -> Callable[..., object]:
    """Run the script with some arguments, and give its exit status."""

    def run(*arguments: str) -> object:
        monkeypatch.setattr(sys, "argv", [str(script), *arguments])
        monkeypatch.syspath_prepend(script.parent)
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(script), run_name="__main__")
        return end.value.code

    return run


def test_help_names_every_argument(script, status, capsys):
    assert status("--help") == 0
    assert capsys.readouterr().out.startswith(f"usage: {script.name}")


def test_an_unknown_argument_is_one_message(status, capsys):
    assert status("folder", "file", "--no-such-option") == 2
    assert "--no-such-option" in capsys.readouterr().err


def test_a_script_is_thin(script):
    assert len(script.read_text().splitlines()) <= 80


def test_a_conversion_is_one_command_and_never_overwrites(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.save(SimpleBaseline(18, 2).state_dict(), "pose_resnet_18.pth")
    convert = runpy.run_path(str(SCRIPTS[0].with_name("convert_weights.py")))["main"]
    words = ["pose_resnet_18.pth", "mm.safetensors", "--to", "mmpose"]
    assert convert(words) == 0
    assert capsys.readouterr().out == (
        "pose_resnet_18.pth (pose checkpoint, SimpleBaseline ResNet-18) -> mm.safetensors (mmpose): 140 tensors\n"
    )
    assert convert(words) == 1
    assert capsys.readouterr().err.startswith("error: Expected to write a new file, but mm.safetensors exists.")
    assert convert([*words, "--force"]) == 0
