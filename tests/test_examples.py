"""The examples in the docstrings run."""

import doctest
import importlib
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"
FILES = [file.relative_to(SRC) for file in sorted(SRC.rglob("*.py")) if ">>> " in file.read_text()]


def test_there_are_examples():
    assert len(FILES) > 25


@pytest.mark.parametrize("file", FILES, ids=str)
def test_examples_run(file):
    module = ".".join(file.with_suffix("").parts).removesuffix(".__init__")
    assert doctest.testmod(importlib.import_module(module)).failed == 0
