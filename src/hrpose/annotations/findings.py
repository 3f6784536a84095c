"""Checks of annotation files and images: data that can be read but would probably train or measure something else.

A check finds rows; it never changes them. `fit`, `test` and `evaluate` warn of every finding once, with its count.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass

from hrpose.errors import DataWarning

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
