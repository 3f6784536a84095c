"""Run the scripts and commands of the tutorial in order, and compare their output with the page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "tutorial.md"
BLOCK = re.compile(r"(?:Save this as `(?P<file>[^`]+)`:\n\n)?```(?P<kind>\w+)\n(?P<text>.*?)```", re.DOTALL)


def blocks() -> list[tuple[str, str, str]]:
    """Return file name, kind and text of each block."""
    return [(block["file"] or "", block["kind"], block["text"]) for block in BLOCK.finditer(PAGE.read_text())]


def without_numbers(line: str) -> str:
    return re.sub(r"-?\d[\d.e%-]*", "#", " ".join(line.split()))


def score(text: str) -> float | None:
    row = re.search(r"^ *gt +(\d\.\d+) ", text, re.MULTILINE)
    return float(row[1]) if row else None


def test_every_output_follows_a_command_and_every_script_has_a_name() -> None:
    kinds = [kind for _, kind, _ in blocks()]
    assert kinds.count("sh") == 8
    assert all(kinds[place - 1] == "sh" for place, kind in enumerate(kinds) if kind == "text")
    assert all(bool(file) == (kind == "python") for file, kind, _ in blocks())


@pytest.mark.slow
def test_the_commands_print_what_the_page_says(tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "200"}
    printed = ""
    for file, kind, text in blocks():
        if kind == "python":
            (tmp_path / file).write_text(text)
        elif kind == "sh":
            done = subprocess.run(["bash", "-c", text], cwd=tmp_path, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
            printed = (done.stdout + done.stderr).replace(str(tmp_path), "…")
        else:
            found = {without_numbers(line) for line in printed.splitlines()}
            missing = [line for line in text.splitlines() if without_numbers(line) not in found]
            assert not missing, printed
            if (stated := score(text)) is not None:
                assert score(printed) == pytest.approx(stated, abs=0.05)
    error = re.search(r"(\d+\.\d) pixels", printed)
    assert error is not None
    assert float(error[1]) < 10
    assert len(list((tmp_path / "runs" / "rods" / "predict" / "pictures").rglob("*.jpg"))) == 10
    assert (tmp_path / "runs" / "doctor" / "doctor.html").is_file()
