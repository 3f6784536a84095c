"""Reports as files: JSON to read again and compare, HTML to look at."""

from __future__ import annotations

import json
from pathlib import Path

from hrpose.files import write_atomically, write_json
from hrpose.report.analysis import Report
from hrpose.report.measurement import Measurement
from hrpose.report.page import draw_page


def write_report(report: Report, folder: Path, stem: str = "report") -> Path:
    """Write <stem>.json and <stem>.html.

    Args:
        report: from `analyse`.
        folder: it is made if it is not there.
        stem: of the files' names.

    Returns:
        The HTML page.
    """
    write_json(folder / f"{stem}.json", report.to_dict(), undefined_as_null=True)
    page = folder / f"{stem}.html"
    with write_atomically(page) as file:
        file.write_text(draw_page(report), encoding="utf-8")
    return page


def read_measurement(file: Path) -> Measurement:
    """Read the numbers of a report, their protocol and samples.

    Raises:
        ValueError: if the file is no report.
    """
    try:
        content = json.loads(file.read_bytes())
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}")
        return Measurement.from_dict(content)
    except (KeyError, TypeError, ValueError) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"Expected {file} to be a report of hrpose, but {what}.") from error
