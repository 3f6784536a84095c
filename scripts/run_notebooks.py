"""Run the notebooks and store their outputs in them: python scripts/run_notebooks.py."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import matplotlib
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from matplotlib_inline.backend_inline import configure_inline_support, set_matplotlib_formats

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))
BACKEND = "module://matplotlib_inline.backend_inline"


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Run the notebooks and store their outputs in them.")
    parser.add_argument("files", type=Path, nargs="*", default=NOTEBOOKS, help="notebooks to run, all by default")
    return parser.parse_args(arguments)


def run_notebook(file: Path) -> None:
    """Run the cells of a notebook in a new shell and write their outputs into the file.

    Raises:
        RuntimeError: a cell failed.
    """
    content = json.loads(file.read_text())
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    matplotlib.use(BACKEND)
    configure_inline_support(shell, BACKEND)
    set_matplotlib_formats("jpeg", pil_kwargs={"quality": 80})
    cells = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(cells, start=1):
        with capture_output() as captured:
            result = shell.run_cell("".join(cell["source"]), store_history=True)
        if not result.success:
            raise RuntimeError(f"{file.name}: cell {number} failed: {result.error_in_exec or result.error_before_exec}")
        cell["execution_count"] = number
        cell["outputs"] = outputs_of(captured.stdout, [output.data for output in captured.outputs])
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def outputs_of(text: str, shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the outputs of a cell, without the names of temporary folders."""
    outputs: list[dict[str, Any]] = []
    if text:
        lines = text.replace(tempfile.gettempdir(), "/tmp").splitlines(keepends=True)
        outputs.append({"name": "stdout", "output_type": "stream", "text": lines})
    for data in shown:
        kept = {kind: data[kind] for kind in ("image/jpeg", "text/plain") if kind in data}
        outputs.append({"data": kept, "metadata": {}, "output_type": "display_data"})
    return outputs


def main(arguments: list[str] | None = None) -> int:
    """Run the notebooks; return the exit status."""
    os.environ.setdefault("COLUMNS", "100")
    for file in parse_arguments(arguments).files:
        print(file)
        run_notebook(file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
