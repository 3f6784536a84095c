"""Exported files: capture a network, write it as ONNX or OpenVINO, check it against torch, open it and run it."""

from hrpose.export.check import MAX_SHIFTED, Comparer, Comparison, find_ties
from hrpose.export.open import SUFFIXES, ExportedNetwork, ExportedPoses, is_exported, open_exported
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
