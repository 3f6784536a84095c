"""Pure functions of the metrics: arrays in, numbers out."""

from hrpose.metrics.functional.average_precision import (
    PrecisionRecall,
    accumulate,
    average_precision,
    summarize,
)
from hrpose.metrics.functional.matching import Detections, Matches, match_detections
from hrpose.metrics.functional.oks import keypoint_variances, oks_between, oks_matrix, oks_pairs
from hrpose.metrics.functional.oks_nms import oks_nms, soft_oks_nms
from hrpose.metrics.functional.pck import head_sizes, mean_pck, normalized_errors, pck, pckh_table
from hrpose.metrics.functional.rescore import rescore

__all__ = [
    "Detections",
    "Matches",
    "PrecisionRecall",
    "accumulate",
    "average_precision",
    "head_sizes",
    "keypoint_variances",
    "match_detections",
    "mean_pck",
    "normalized_errors",
    "oks_between",
    "oks_matrix",
    "oks_nms",
    "oks_pairs",
    "pck",
    "pckh_table",
    "rescore",
    "soft_oks_nms",
    "summarize",
]
