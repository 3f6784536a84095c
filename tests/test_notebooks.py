"""The notebooks run from top to bottom, and are committed without outputs."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda file: file.name)
def notebook(request) -> Path:
    return request.param


def code_cells(notebook: Path) -> list[dict]:
    return [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]


def test_a_notebook_is_committed_without_outputs(notebook):
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code_cells(notebook))


def test_a_notebook_uses_public_names_only(notebook):
    for cell in code_cells(notebook):
        tree = ast.parse("".join(cell["source"]))
        imported = [alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names]
        attributes = [node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        assert not [name for name in imported + attributes if name.startswith("_") and not name.endswith("__")]


def test_a_notebook_runs_from_top_to_bottom(notebook, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # where the drawn people go
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    document = nbformat.read(notebook, as_version=4)
    NotebookClient(
        document, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    shown = [output.output_type for cell in document.cells if cell.cell_type == "code" for output in cell.outputs]
    assert "display_data" in shown
