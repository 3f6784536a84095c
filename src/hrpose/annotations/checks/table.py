"""What checks are and what they report. A new check is a function that finds rows, and an entry of a table."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from hrpose.annotations.coco_annotations import CocoAnnotations
from hrpose.annotations.coco_keypoints import extent
from hrpose.errors import DataWarning
from hrpose.skeletons import Skeleton

Severity: TypeAlias = Literal["error", "warning", "note"]
_MAX_LENGTH = 200  # characters of a name in a message
NUM_IDS = 3  # ids in a message
_warned: dict[Finding, None] = {}  # an ordered set
Mask = NDArray[np.bool_]
Faulty: TypeAlias = Any  # (N,) bool or a list of bool, or one bool for all rows; NumPy's stubs give comparisons no closer type
Floats = NDArray[np.floating[Any]]


class Checked(Protocol):
    """What is checked, with the ids or names of its rows."""

    @property
    def ids(self) -> NDArray[Any] | Sequence[Any]:
        """Return the ids or names of all rows."""


Data = TypeVar("Data", bound=Checked)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of one check of one file.

    Attributes:
        check: name of the check, such as "keypoints-at-origin".
        file: the annotation file or image folder.
        count: number of faulty rows.
        total: number of rows checked; 0 if the finding is not about rows.
        ids: ids or file names of the first faulty rows.
        what: the fault, as the rest of a sentence that begins with "<count> of <total>".
        consequence: the effect on training or evaluation.
        fix: the key to set, or what to change in the file.
        severity: "error" for data that cannot be used or is certainly wrong; "warning" for data that is probably wrong, or makes
            AP meaningless; "note" for information.
    """

    check: str
    file: str
    count: int = 0
    total: int = 0
    ids: tuple[int | str, ...] = ()
    what: str
    consequence: str = ""
    fix: str = ""
    severity: Severity = "warning"

    def __str__(self) -> str:
        """Return the finding as one line."""
        return f"{self.file}: {self.sentence} {self.consequence} {self.fix}".rstrip() + f" [{self.check}]"

    @property
    def sentence(self) -> str:
        """Return the count, the fault and the first ids; the fault alone if nothing is counted."""
        if not self.total:
            return self.what
        shown = ", ".join(map(str, self.ids)) + (", ..." if self.count > len(self.ids) else "")
        return f"{self.count} of {self.total} {self.what}" + (f" ({shown})." if shown else ".")

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as plain containers."""
        return {**asdict(self), "ids": list(self.ids)}


class Inspected:
    """The instances of an annotation file with labelled keypoints, without crowds.

    Attributes:
        annotations: of the file.
        rows: (N,) indices of the instances in `annotations`.
        ids: (N,) int64 annotation ids.
        points: (N, K, 2) float32 in image pixels.
        labelled: (N, K) bool.
        num_labelled: (N,) number of labelled keypoints.
        low: (N, 2) first two numbers of `bbox`, the top left corner.
        size: (N, 2) last two numbers of `bbox`, width and height.
        high: (N, 2) bottom right corner of the box.
        area: (N,) float64 in square pixels.
        has_area: (N,) bool, whether the file states the area.
        image: (N, 2) width and height of the image; 0 where unknown.
        known: (N,) bool, whether the size of the image is known.
        skeleton: of the keypoints; None if unknown.
    """

    def __init__(self, annotations: CocoAnnotations, skeleton: Skeleton | None = None) -> None:
        self.annotations, self.skeleton = annotations, skeleton
        self.rows = np.flatnonzero((annotations.visibility > 0).any(axis=1) & ~annotations.iscrowd)
        self.ids = annotations.instance_ids[self.rows]
        self.points = annotations.keypoints[self.rows].astype(np.float32)
        self.labelled = annotations.visibility[self.rows] > 0
        self.num_labelled = self.labelled.sum(axis=1)
        self.low, self.size = np.split(annotations.bbox[self.rows].astype(np.float32), 2, axis=1)
        self.high = self.low + self.size
        self.area, self.has_area = annotations.area[self.rows], annotations.has_area[self.rows]
        self.image = annotations.image_sizes[annotations.image_index[self.rows]].astype(np.float32)
        self.known = (self.image > 0).all(axis=1)

    @property
    def names(self) -> NDArray[np.str_]:
        """Return the (K,) names of the keypoints; "keypoint 0", ... if they have none."""
        names = self.skeleton.keypoint_names if self.skeleton is not None else self.annotations.keypoint_names
        number = self.labelled.shape[1]
        return np.array(names if len(names) == number else [f"keypoint {k}" for k in range(number)], str)

    @cached_property
    def extent(self) -> tuple[Floats, Floats]:
        """Return two corners, (N, 2) each, of the smallest box around the labelled keypoints."""
        return extent(self.points, self.labelled)

    @cached_property
    def share_in_box(self) -> Floats:
        """Return the share of the labelled keypoints in the box, (N,)."""
        return self.share_within(self.low, self.high)

    def share_within(self, low: Floats, high: Floats) -> Floats:
        """Return the share (N,) of the labelled keypoints between two corners (N, 2), with a margin of 5 % of their distance."""
        margin = 0.05 * (high - low)
        inside = self.labelled.copy()
        for axis in (0, 1):
            places = self.points[..., axis]
            inside &= places >= (low - margin)[:, axis, None]
            inside &= places <= (high + margin)[:, axis, None]
        shares: Floats = inside.sum(axis=1) / self.num_labelled
        return shares


@dataclass(frozen=True)
class Found:
    """The rows that a check has found.

    Attributes:
        ids: (N,) annotation ids or names of all rows checked.
        faulty: (N,) whether each has the fault; one value for all rows.
        details: values of the names in braces in the sentences of the check.
    """

    ids: NDArray[Any] | Sequence[Any]
    faulty: Faulty
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Check(Generic[Data]):
    """One kind of fault.

    Attributes:
        name: of the check.
        what, consequence, fix: see `Finding`; they may name details of `Found` in braces.
        find: finds the rows with the fault, among all rows or those of `Found`.
        min_share: smallest share of faulty rows that is reported.
        severity: see `Finding`.
    """

    name: str
    what: str
    consequence: str
    fix: str
    find: Callable[[Data], Found | Faulty]
    min_share: float = 0.0
    severity: Severity = "warning"


error, note = partial(Check[Any], severity="error"), partial(Check[Any], severity="note")


def check_annotations(annotations: CocoAnnotations, checks: Sequence[Check[Inspected]]) -> list[Finding]:
    """Run checks of the instances of an annotation file."""
    return run_checks(Inspected(annotations), checks, annotations.file)


def run_checks(data: Data, checks: Sequence[Check[Data]], file: str | Path) -> list[Finding]:
    """Run checks in their order; `file` is the annotation file or image folder that the findings name."""
    findings = []
    for check in checks:
        result = check.find(data)
        found = result if isinstance(result, Found) else Found(data.ids, result)
        total = len(found.ids)
        faulty = np.broadcast_to(np.asarray(found.faulty, bool), total)
        count = int(np.count_nonzero(faulty))
        if count and count >= check.min_share * total:
            findings.append(
                Finding(
                    check=check.name,
                    file=str(file),
                    count=count,
                    total=total,
                    ids=tuple(_printable(one) for one in np.asarray(found.ids, object)[faulty][:NUM_IDS].tolist()),
                    what=_fill(check.what, found.details),
                    consequence=_fill(check.consequence, found.details),
                    fix=_fill(check.fix, found.details),
                    severity=check.severity,
                )
            )
    return findings


def _printable(one: int | str) -> int | str:
    """Shorten a name and escape its control characters; return a number unchanged."""
    if not isinstance(one, str):
        return one
    short = one if len(one) <= _MAX_LENGTH else f"{one[:_MAX_LENGTH]}..."
    return short if short.isprintable() else repr(short)


def _fill(text: str, details: Mapping[str, str]) -> str:
    for name, value in details.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def warn_of(findings: Iterable[Finding]) -> None:
    """Issue a DataWarning for each finding, once per process."""
    for finding in findings:
        if finding not in _warned:
            _warned[finding] = None
            warnings.warn(str(finding), DataWarning, stacklevel=2)


def num_warned() -> int:
    """Return the number of findings that this process has warned of."""
    return len(_warned)


def warned_findings(files: Iterable[str | Path]) -> list[Finding]:
    """Return the findings about these annotation files and image folders that this process has warned of."""
    names = {str(file) for file in files}
    return [finding for finding in _warned if finding.file in names]
