"""What a check reports: one record for every kind of check."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from hrpose.errors import DataWarning

Severity: TypeAlias = Literal["error", "warning", "note"]
NUM_IDS = 3  # shown of the rows that a check found
_warned: dict[Finding, None] = {}  # in the order of the warnings


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found in one file.

    Attributes:
        check: the name of the check, such as "keypoints-at-origin".
        file: the annotation file or image folder.
        count: rows that the check found.
        total: rows that it looked at; 0 where the finding is not about rows.
        ids: the first few of their ids or file names.
        what: what is wrong with them, as the rest of a sentence that begins with "<count> of <total>".
        consequence: what training or measuring would do with them.
        fix: the key to set, or what to change in the file.
        severity: "error" for data that cannot be used or is certainly wrong; "warning" for what is probably wrong, or makes AP
            worthless; "note" for what is worth knowing.
    """

    check: str
    file: str
    count: int
    total: int
    ids: tuple[int | str, ...]
    what: str
    consequence: str
    fix: str
    severity: Severity = "warning"

    def __str__(self) -> str:
        """Return the finding as one line."""
        return f"{self.file}: {self.sentence} {self.consequence} {self.fix}".rstrip() + f" [{self.check}]"

    @property
    def sentence(self) -> str:
        """The count, what is wrong, and the first ids; only what is wrong where nothing is counted."""
        if not self.total:
            return self.what
        shown = ", ".join(map(str, self.ids)) + (", ..." if self.count > len(self.ids) else "")
        return f"{self.count} of {self.total} {self.what}" + (f" ({shown})." if shown else ".")

    def to_dict(self) -> dict[str, Any]:
        """Return plain containers."""
        return {**asdict(self), "ids": list(self.ids)}


def warn_of(findings: Iterable[Finding]) -> None:
    """Warn of each finding that this process has not warned of before.

    Warns:
        DataWarning: one per finding.
    """
    for finding in findings:
        if finding not in _warned:
            _warned[finding] = None
            warnings.warn(str(finding), DataWarning, stacklevel=2)


def num_warned() -> int:
    """Count the findings that this process has warned of."""
    return len(_warned)


def warned_findings(files: Iterable[str | Path]) -> list[Finding]:
    """Return the findings about these annotation files and image folders that this process has warned of."""
    names = {str(file) for file in files}
    return [finding for finding in _warned if finding.file in names]
