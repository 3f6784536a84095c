"""Check that the notebooks run, are committed with small outputs, and quote the figures of the documents."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path

import pytest

from processes import run_module

# decoding errors are measured on fewer points here; tests/test_codecs_page.py measures them on all points
FEW_POINTS = """
import hrpose.codecs
def measure_few(codec, measure=hrpose.codecs.decoding_errors, **options):
    return measure(codec, **{**options, "num_points": 20})
hrpose.codecs.decoding_errors = measure_few
"""
NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda file: file.name)
def notebook(request) -> Path:
    return request.param


def code_cells(notebook: Path) -> list[dict]:
    return [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]


def test_a_notebook_is_committed_with_its_outputs_in_order(notebook):
    cells = code_cells(notebook)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    pictures = [output for cell in cells for output in cell["outputs"] if "image/jpeg" in output.get("data", {})]
    assert pictures
    assert notebook.stat().st_size < 500_000


def test_the_outputs_of_a_notebook_name_no_folder_of_the_machine(notebook):
    text = json.dumps([cell["outputs"] for cell in code_cells(notebook)])
    assert [folder for folder in ("/root/", "/home/", "/Users/", f"{NOTEBOOKS[0].parents[1]}/") if folder in text] == []


def test_a_notebook_uses_public_names_only(notebook):
    for cell in code_cells(notebook):
        tree = ast.parse("".join(cell["source"]))
        imported = [alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names]
        attributes = [node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        assert not [name for name in imported + attributes if name.startswith("_") and not name.endswith("__")]


@pytest.mark.slow
def test_a_notebook_runs_from_top_to_bottom(notebook, tmp_path):
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "few_points.py").write_text(FEW_POINTS)
    # drawn people go to TMPDIR
    environment = {**os.environ, "TMPDIR": str(tmp_path), "IPYTHONDIR": str(tmp_path / "ipython")}
    done = run_module("IPython", "--matplotlib=inline", str(notebook), cwd=tmp_path, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "<Figure size" in done.stdout


def test_the_figures_of_a_notebook_are_those_of_the_documents():
    page = (NOTEBOOKS[0].parents[1] / "docs" / "codecs.md").read_text()
    cells = json.loads((NOTEBOOKS[0].parent / "compare_codecs.ipynb").read_text())["cells"]
    (text,) = ["".join(cell["source"]) for cell in cells if "| codec | 128x96" in "".join(cell["source"])]
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) > 5
    assert all(row in page.splitlines() for row in rows)
