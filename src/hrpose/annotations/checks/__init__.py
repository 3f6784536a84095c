"""Checks that find suspicious data: tables by what they look at, each entry a fault that real files have."""

from collections.abc import Sequence

from hrpose.annotations.checks.boxes import CROP_CHECKS
from hrpose.annotations.checks.findings import Finding, Severity, num_warned, warn_of, warned_findings
from hrpose.annotations.checks.labels import LABEL_CHECKS
from hrpose.annotations.checks.split import check_split
from hrpose.annotations.checks.table import Check, Found, Inspected, run_checks
from hrpose.annotations.coco_annotations import CocoAnnotations

__all__ = [
    "CHECKS",
    "CROP_CHECKS",
    "LABEL_CHECKS",
    "Check",
    "Finding",
    "Found",
    "Inspected",
    "Severity",
    "check_annotations",
    "check_split",
    "num_warned",
    "run_checks",
    "warn_of",
    "warned_findings",
]

CHECKS = LABEL_CHECKS + CROP_CHECKS
"""The checks of annotation files that `fit`, `test` and `evaluate` warn of, once with their count."""


def check_annotations(annotations: CocoAnnotations, checks: Sequence[Check[Inspected]] = CHECKS) -> list[Finding]:
    """Run checks of the instances of an annotation file."""
    return run_checks(Inspected(annotations), checks, annotations.file)
