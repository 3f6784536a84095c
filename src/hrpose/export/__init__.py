"""Write a network as ONNX or OpenVINO, compare the file with torch, open and run it.

`hrpose.export(...)` calls the verb `export`; see `hrpose.tasks.calls.export`.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from hrpose.export.check import MAX_SHIFTED, Comparer, Comparison, find_ties
from hrpose.export.open import SUFFIXES, ExportedMaps, ExportedNetwork, ExportedPoses, is_exported, open_exported
from hrpose.export.quantize import Feed
from hrpose.export.record import ExportedFileError, ExportRecord, plain_codec
from hrpose.export.write import SUFFIX_OF, Format, check_choice, write_export

__all__ = [
    "MAX_SHIFTED",
    "SUFFIXES",
    "SUFFIX_OF",
    "Comparer",
    "Comparison",
    "ExportRecord",
    "ExportedFileError",
    "ExportedMaps",
    "ExportedNetwork",
    "ExportedPoses",
    "Feed",
    "Format",
    "check_choice",
    "find_ties",
    "is_exported",
    "open_exported",
    "plain_codec",
    "write_export",
]


class _CallableModule(ModuleType):
    """A module that can be called, because `hrpose.export` is a package and a verb."""

    def __call__(self, *overrides: str, **values: Any) -> Any:
        """Write weights as one file and check it; see `hrpose.tasks.calls.export`."""
        return import_module("hrpose.tasks.calls").export(*overrides, **values)  # imported here: tasks import this package


sys.modules[__name__].__class__ = _CallableModule
