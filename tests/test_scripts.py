"""Every script in scripts/ explains itself and stays thin."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[1] / "scripts").glob("*.py"))


@pytest.fixture(params=SCRIPTS, ids=lambda file: file.name)
def script(request) -> Path:
    return request.param


def test_help_names_every_argument(script, tmp_path):
    done = subprocess.run([sys.executable, script, "--help"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: {script.name}")


def test_an_unknown_argument_is_one_message(script, tmp_path):
    command = [sys.executable, script, "folder", "--no-such-option"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--no-such-option" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_script_is_thin(script):
    assert len(script.read_text().splitlines()) <= 80
