"""Pure functions of the metrics: arrays in, numbers out."""

from hrpose.metrics.functional.anatomy import ErrorAnatomy, classify_keypoints, error_anatomy
from hrpose.metrics.functional.bootstrap import bootstrap_average_precision, confidence_interval, paired_p_value
from hrpose.metrics.functional.breakdown import (
    average_precision_by_crowding,
    average_precision_by_part,
    average_precision_by_visibility,
    average_precision_per_keypoint,
    crowd_index,
    select_images,
)
from hrpose.metrics.functional.calibration import Calibration, ScoreThreshold, calibrate_keypoint_scores, optimal_score_threshold
from hrpose.metrics.functional.matching import (
    Detections,
    Matches,
    Pairs,
    PrecisionRecall,
    accumulate,
    average_precision,
    keypoint_similarity,
    match_detections,
    pair_instances,
    summarize,
)
from hrpose.metrics.functional.oks import (
    enclosed_areas,
    keypoint_variances,
    oks_between,
    oks_matrix,
    oks_nms,
    oks_pairs,
    soft_oks_nms,
)
from hrpose.metrics.functional.pck import (
    PCKH_COLUMNS,
    PixelErrors,
    closest_pairs,
    head_sizes,
    jhmdb_table,
    mean_pck,
    normalized_errors,
    pck,
    pckh_table,
    pixel_errors,
)
from hrpose.structures import rescore

pair_persons = pair_instances
"""The name of `pair_instances` in earlier versions."""

__all__ = [
    "PCKH_COLUMNS",
    "Calibration",
    "Detections",
    "ErrorAnatomy",
    "Matches",
    "Pairs",
    "PixelErrors",
    "PrecisionRecall",
    "ScoreThreshold",
    "accumulate",
    "average_precision",
    "average_precision_by_crowding",
    "average_precision_by_part",
    "average_precision_by_visibility",
    "average_precision_per_keypoint",
    "bootstrap_average_precision",
    "calibrate_keypoint_scores",
    "classify_keypoints",
    "closest_pairs",
    "confidence_interval",
    "crowd_index",
    "enclosed_areas",
    "error_anatomy",
    "head_sizes",
    "jhmdb_table",
    "keypoint_similarity",
    "keypoint_variances",
    "match_detections",
    "mean_pck",
    "normalized_errors",
    "oks_between",
    "oks_matrix",
    "oks_nms",
    "oks_pairs",
    "optimal_score_threshold",
    "pair_instances",
    "paired_p_value",
    "pck",
    "pckh_table",
    "pixel_errors",
    "rescore",
    "select_images",
    "soft_oks_nms",
    "summarize",
]
