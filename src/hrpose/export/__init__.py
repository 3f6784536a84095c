"""Export: one file from bytes to keypoints in pixels, written, checked against torch, and quantised."""

from hrpose.export.check import Comparer, Comparison, find_ties
from hrpose.export.quantize import quantize_onnx
from hrpose.export.write import SUFFIX_OF, Format, check_choice, write_export

__all__ = [
    "SUFFIX_OF",
    "Comparer",
    "Comparison",
    "Format",
    "check_choice",
    "find_ties",
    "quantize_onnx",
    "write_export",
]
