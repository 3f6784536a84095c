"""Checks that find suspicious data: one table per kind of object, one entry per fault."""

from hrpose.annotations.checks.boxes import BOX_CHECKS, CROP_CHECKS, SHAPE_CHECKS, Shapes
from hrpose.annotations.checks.keypoints import KEYPOINT_CHECKS, LABEL_CHECKS
from hrpose.annotations.checks.rows import REFUSED_ROW_CHECKS, ROW_CHECKS, RawFile
from hrpose.annotations.checks.skeleton import SKELETON_CHECKS, Described
from hrpose.annotations.checks.split import SPLIT_CHECKS, Pair, check_split
from hrpose.annotations.checks.table import (
    Check,
    Faulty,
    Finding,
    Found,
    Inspected,
    Severity,
    check_annotations,
    error,
    note,
    num_warned,
    run_checks,
    warn_of,
    warned_findings,
)

__all__ = [
    "BOX_CHECKS",
    "CHECKS",
    "CROP_CHECKS",
    "KEYPOINT_CHECKS",
    "LABEL_CHECKS",
    "REFUSED_ROW_CHECKS",
    "ROW_CHECKS",
    "SHAPE_CHECKS",
    "SKELETON_CHECKS",
    "SPLIT_CHECKS",
    "Check",
    "Described",
    "Faulty",
    "Finding",
    "Found",
    "Inspected",
    "Pair",
    "RawFile",
    "Severity",
    "Shapes",
    "check_annotations",
    "check_split",
    "error",
    "note",
    "num_warned",
    "run_checks",
    "warn_of",
    "warned_findings",
]

CHECKS = LABEL_CHECKS + CROP_CHECKS
"""Checks whose findings `fit`, `test` and `evaluate` report as warnings."""
