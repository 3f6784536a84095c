"""The examples in the docstrings of the metrics run."""

import doctest
import importlib
import pkgutil

import pytest

import hrpose.metrics

MODULES = [name for _, name, _ in pkgutil.walk_packages(hrpose.metrics.__path__, "hrpose.metrics.")]


@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module: str) -> None:
    assert doctest.testmod(importlib.import_module(module)).failed == 0
