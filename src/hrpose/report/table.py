"""Print reports, and write PCKh: the numbers, always with their protocol."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from hrpose.files import write_json
from hrpose.metrics.functional import PCKH_COLUMNS
from hrpose.report.analysis import PIXEL_COLUMNS, Report
from hrpose.report.measurement import COLUMNS, UNDEFINED, Measurement
from hrpose.report.protocol import PckhProtocol


def show_measurements(measurements: Mapping[str, Measurement], console: Console) -> None:
    """Print one row of ten numbers per measurement, and their protocols."""
    table = make_table("Keypoint AP", ["boxes", *COLUMNS])
    for name, measurement in measurements.items():
        table.add_row(name, *(format_number(measurement.numbers[column]) for column in COLUMNS))
    console.print(table)
    for name, measurement in measurements.items():
        say(console, f"{name}: {measurement.protocol}")
        if sentence := measurement.describe_interval():
            say(console, f"{name}: {sentence}")
    explain_undefined([value for m in measurements.values() for value in m.numbers.values()], console)


def show_report(report: Report, console: Console) -> None:
    """Print the ten numbers of all keypoints and of parts, AP by keypoint, error analysis and score threshold."""
    measurement = report.measurement
    rows = {
        "all": measurement.numbers,
        **report.parts,
        **{f"{name} alone": row for name, row in report.visibility.items()},
        **{f"{name} crowding": row for name, row in report.crowding.items()},
    }
    say(console, f"Keypoint AP of {report.title}")
    table = make_table("", ["part", *COLUMNS])
    for name, row in rows.items():
        table.add_row(name, *(format_number(row[column]) for column in COLUMNS))
    console.print(table)
    explain_undefined([value for row in rows.values() for value in row.values()], console)
    if sentence := measurement.describe_interval():
        say(console, sentence)
    say(console, f"Protocol: {measurement.protocol}")
    say(console, f"OKS sigmas: {report.sigmas}")
    console.print(_keypoint_table(report))
    found, total = report.pixels.num_instances - report.pixels.num_missed, report.pixels.num_instances
    say(
        console,
        f"Pixel errors are over the {found} of {total} instances with a prediction; "
        "PCK is relative to the longer side of the box and counts instances without a prediction as wrong.",
    )
    console.print(_error_table(report))
    threshold = report.threshold
    if np.isfinite(threshold.score):
        say(
            console,
            f"Best score threshold: {threshold.score:.3f} (precision {threshold.precision:.3f}, "
            f"recall {threshold.recall:.3f}, F1 {threshold.f1:.3f})",
        )
    if report.calibration is not None:
        say(console, f"Calibration error of the keypoint scores: {report.calibration.error:.3f}")


def make_table(title: str, columns: Sequence[str]) -> Table:
    """Return an empty table with one column for names and others for numbers."""
    table = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left", padding=0)
    for position, column in enumerate(columns):
        table.add_column(column, justify="right" if position else "left", no_wrap=True, min_width=5)
    return table


def format_number(value: float) -> str:
    """Format a number with three decimals; an undefined one as -1."""
    return "-1" if value < 0 else f"{value:.3f}"


def say(console: Console, line: str) -> None:
    """Print a line unchanged, whatever its length."""
    console.print(line, soft_wrap=True, highlight=False, markup=False)


def _keypoint_table(report: Report) -> Table:
    table = make_table("By keypoint", ["keypoint", "AP", "labelled", *PIXEL_COLUMNS.values()])
    rows = {"all": (report.measurement.numbers["AP"], sum(report.labelled.values()), report.pixels.overall)} | {
        name: (ap, report.labelled[name], report.pixels_of(k)) for k, (name, ap) in enumerate(report.keypoints.items())
    }
    for name, (ap, labelled, pixels) in rows.items():
        digits = {"mean_error": 2, "median_error": 2}
        cells = ("" if math.isnan(value) else f"{value:.{digits.get(column, 3)}f}" for column, value in pixels.items())
        table.add_row(name, format_number(ap), str(labelled), *cells)
    return table


def _error_table(report: Report) -> Table:
    table = make_table("Error analysis", ["error", "number", "AP if fixed", "gain"])
    anatomy = report.anatomy
    counts = {**anatomy.keypoints, "false positives": anatomy.false_positives, "false negatives": anatomy.false_negatives}
    for name, fixed in anatomy.fixed.items():
        is_defined = min(fixed["AP"], anatomy.numbers["AP"]) >= 0  # not if all instances are false negatives
        gain = f"{fixed['AP'] - anatomy.numbers['AP']:+.3f}" if is_defined else ""
        table.add_row(name, str(counts[name]), format_number(fixed["AP"]), gain)
    return table


def explain_undefined(values: Sequence[float], console: Console) -> None:
    """Print what -1 means if a value is -1."""
    if any(value < 0 for value in values):
        say(console, UNDEFINED)


def show_pckh(numbers: Mapping[str, float], protocol: PckhProtocol, console: Console) -> None:
    """Print the numbers of `PCKH_COLUMNS` in percent, empty without labels, and the protocol."""
    table = make_table("PCKh of MPII, in percent", PCKH_COLUMNS)
    table.add_row(*("" if math.isnan(numbers[name]) else f"{numbers[name]:.1f}" for name in PCKH_COLUMNS))
    console.print(table)
    say(console, f"Protocol: {protocol}")


def write_pckh(numbers: Mapping[str, float], protocol: PckhProtocol, file: Path) -> None:
    """Write the numbers with their protocol as JSON; undefined ones are null."""
    write_json(file, {"protocol": protocol.to_dict(), "numbers": dict(numbers)}, undefined_as_null=True)
