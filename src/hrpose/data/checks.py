"""Checks of annotation files and images: data that can be read but would probably train or measure something else.

A check finds rows; it never changes them. `fit`, `test` and `evaluate` warn of every finding once, with its count.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hrpose.data.coco_annotations import CocoAnnotations
from hrpose.data.errors import DataWarning

_NUM_IDS = 3  # shown of the rows that a check found
_warned: set[Finding] = set()


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found in one file.

    Attributes:
        check: the name of the check, such as "keypoints-at-origin".
        file: the annotation file or image folder.
        count: rows that the check found.
        total: rows that it looked at.
        ids: the first few of their ids or file names.
        what: what is wrong with them, as the rest of a sentence that begins with "<count> of <total>".
        consequence: what training or measuring would do with them.
        fix: the key to set, or what to change in the file.
    """

    check: str
    file: str
    count: int
    total: int
    ids: tuple[int | str, ...]
    what: str
    consequence: str
    fix: str

    def __str__(self) -> str:
        """Return the finding as one line."""
        shown = ", ".join(map(str, self.ids)) + (", ..." if self.count > len(self.ids) else "")
        return (
            f"{self.file}: {self.count} of {self.total} {self.what} ({shown}). {self.consequence} {self.fix} "
            f"[{self.check}]"
        )


def warn_of(findings: Iterable[Finding]) -> None:
    """Warn of each finding that this process has not warned of before.

    Warns:
        DataWarning: one per finding.
    """
    for finding in findings:
        if finding not in _warned:
            _warned.add(finding)
            warnings.warn(str(finding), DataWarning, stacklevel=2)


class Inspected:
    """The instances of an annotation file that the checks look at: those with labelled keypoints, crowds aside.

    Attributes:
        annotations: all of the file.
        ids: (N,) int64 annotation ids.
        points: (N, K, 2) float32 in image pixels.
        labelled: (N, K) bool.
        bbox: (N, 4) float32 x, y, width, height as the file has them.
        sizes: (N, 2) float32 width and height of the image.
    """

    def __init__(self, annotations: CocoAnnotations) -> None:
        self.annotations = annotations
        rows = np.flatnonzero((annotations.visibility > 0).any(axis=1) & ~annotations.iscrowd)
        self.ids = annotations.instance_ids[rows]
        self.points = annotations.keypoints[rows].astype(np.float32)
        self.labelled = annotations.visibility[rows] > 0
        self.bbox = annotations.bbox[rows].astype(np.float32)
        self.sizes = annotations.image_sizes[annotations.image_index[rows]].astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Check:
    """One kind of fault of an annotation file.

    Attributes:
        name: of the check.
        what: as of `Finding`.
        consequence: as of `Finding`.
        fix: as of `Finding`.
        find: gives the ids of all rows that it looks at, and which of them have the fault.
        min_share: of the rows with the fault from which on they are reported.
    """

    name: str
    what: str
    consequence: str
    fix: str
    find: Callable[[Inspected], tuple[NDArray[np.int64], NDArray[np.bool_]]]
    min_share: float = 0.0


def check_annotations(annotations: CocoAnnotations) -> list[Finding]:
    """Run all checks of annotation files.

    Args:
        annotations: of one file.

    Returns:
        What the checks found, in the order of `CHECKS`.
    """
    inspected = Inspected(annotations)
    findings = []
    for check in CHECKS:
        ids, faulty = check.find(inspected)
        count = int(np.count_nonzero(faulty))
        if count and count >= check.min_share * len(ids):
            findings.append(
                Finding(
                    check=check.name,
                    file=str(annotations.file),
                    count=count,
                    total=len(ids),
                    ids=tuple(ids[faulty][:_NUM_IDS].tolist()),
                    what=check.what,
                    consequence=check.consequence,
                    fix=check.fix,
                )
            )
    return findings


def _keypoints_at_origin(seen: Inspected) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    placeholder = (seen.points == 0).all(axis=2) | (seen.points == -1).all(axis=2)
    return seen.ids, (placeholder & seen.labelled).any(axis=1)


CHECKS: tuple[Check, ...] = (
    Check(
        name="keypoints-at-origin",
        what="annotations have keypoints that are labelled at (0, 0) or (-1, -1)",
        consequence="They train towards the corner of the image and count as missed in AP.",
        fix="Set the visibility of keypoints that are not labelled to 0.",
        find=_keypoints_at_origin,
    ),
)
"""All checks of annotation files."""
