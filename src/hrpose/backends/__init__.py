"""Engines beside torch: exported files, opened and computed on the CPU, and networks captured for them."""

from hrpose.backends.opening import SUFFIXES, ExportedNetwork, ExportedPoses, is_exported, open_exported
from hrpose.backends.record import ExportedFileError, ExportRecord, plain_codec

__all__ = [
    "SUFFIXES",
    "ExportRecord",
    "ExportedFileError",
    "ExportedNetwork",
    "ExportedPoses",
    "is_exported",
    "open_exported",
    "plain_codec",
]
