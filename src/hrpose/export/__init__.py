"""Export: one file from bytes to keypoints in pixels, written, checked against torch, and quantised."""

from hrpose.export.check import MAX_SHIFTED, Comparer, Comparison
from hrpose.export.quantize import Feed
from hrpose.export.write import SUFFIX_OF, Format, check_choice, write_export, write_int8

__all__ = [
    "MAX_SHIFTED",
    "SUFFIX_OF",
    "Comparer",
    "Comparison",
    "Feed",
    "Format",
    "check_choice",
    "write_export",
    "write_int8",
]
