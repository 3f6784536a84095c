"""Examine the data of a training: each annotation file with its images, and the two splits against each other."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from hrpose.annotations.checks import CHECKS, Finding, check_annotations, check_split
from hrpose.annotations.coco_annotations import CocoAnnotations
from hrpose.annotations.image_files import complete_images
from hrpose.annotations.mpii import MpiiAnnotations
from hrpose.annotations.reader import PersonFiles
from hrpose.errors import DataError, DataWarning
from hrpose.structures import InstanceTable

SplitName: TypeAlias = Literal["train", "val"]


@dataclass(frozen=True, eq=False)
class Split:
    """One annotation file and its images, as far as they could be read.

    Attributes:
        name: "train" or "val".
        file: the annotations.
        images: the image folder; None where none is given.
        annotations: all of the file; None where it cannot be read.
        table: the instances that are trained on or measured; None where there are none.
        findings: of the checks of this split.
    """

    name: SplitName
    file: Path
    images: Path | None
    annotations: CocoAnnotations | MpiiAnnotations | None = None
    table: InstanceTable | None = None
    findings: tuple[Finding, ...] = field(default=())


def examine_split(name: SplitName, file: Path, images: Path | None, files: PersonFiles) -> Split:
    """Run the checks of one annotation file and its images; a file that cannot be read is a finding.

    Args:
        name: "train" or "val".
        file: the annotations.
        images: the image folder; without one the images are not checked.
        files: how annotation files are read.
    """
    findings: list[Finding] = []
    annotations: CocoAnnotations | MpiiAnnotations | None = None
    table = None
    with _noticed(file, findings), _refused("unreadable-file", file, findings):
        annotations = files.read(file)
        if isinstance(annotations, CocoAnnotations):
            findings += check_annotations(annotations, CHECKS)
            if images is not None:
                annotations = complete_images(annotations, images, upright=files.upright)
            table = annotations.instances(files.bbox_rules)
        else:
            table = annotations.instances()
    return Split(name, file, images, annotations, table if table is not None and len(table) else None, tuple(findings))


def examine_pair(train: Split, val: Split) -> list[Finding]:
    """Run the checks of two splits against each other."""
    findings: list[Finding] = []
    one, other = train.annotations, val.annotations
    if isinstance(one, CocoAnnotations) and isinstance(other, CocoAnnotations) and train.images and val.images:
        findings += check_split(one, other, train.images, val.images)
    return findings


@contextmanager
def _refused(check: str, file: Path, findings: list[Finding]) -> Iterator[None]:
    """Turn what refuses a file into a finding."""
    try:
        yield
    except DataError as error:
        text = str(error).removeprefix(f"{file}: ")
        findings.append(_plain_finding(check, file, text, "The file cannot be used.", "error"))


@contextmanager
def _noticed(file: Path, findings: list[Finding]) -> Iterator[None]:
    """Turn what the readers assume or leave out into findings; their own findings are there already."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", DataWarning)
        yield
    known = {str(finding) for finding in findings}
    for text in dict.fromkeys(str(warning.message) for warning in caught):
        if text not in known and not text.endswith("]"):
            findings.append(_plain_finding("assumed-on-reading", file, text.removeprefix(f"{file}: "), "", "note"))


def _plain_finding(
    check: str, file: Path, what: str, consequence: str, severity: Literal["error", "warning", "note"]
) -> Finding:
    return Finding(
        check=check,
        file=str(file),
        count=0,
        total=0,
        ids=(),
        what=what,
        consequence=consequence,
        fix="",
        severity=severity,
    )


def sort_findings(findings: Sequence[Finding]) -> list[Finding]:
    """Sort by severity, errors first; the order of the checks stays."""
    order = ("error", "warning", "note")
    return sorted(findings, key=lambda finding: order.index(finding.severity))
