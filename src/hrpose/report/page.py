"""Write a report as JSON and as a self-contained HTML page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from importlib.resources import files
from pathlib import Path

import numpy as np

from hrpose.files import write_atomically, write_json
from hrpose.metrics.functional.breakdown import CROWDING_RANGES
from hrpose.report.analysis import PIXEL_COLUMNS, Report
from hrpose.report.charts import Bar, Line, draw_bars, draw_calibration, draw_curves, draw_shares
from hrpose.report.measurement import COLUMNS, UNDEFINED
from hrpose.report.protocol import NOT_STATED

_KINDS = {"good": "calm", "jitter": "s4", "inversion": "s5", "swap": "s2", "miss": "s6"}
_MEANINGS = {
    "jitter": "near the correct position",
    "inversion": "on the mirrored keypoint of the same instance",
    "swap": "on a keypoint of another instance",
    "miss": "far from all keypoints",
    "false positives": "poses without an annotated instance",
    "false negatives": "annotated instances without a pose",
}
_CURVE_STYLES = {0.5: "s1", 0.75: "s3", 0.95: "s2"}
_DASH = "–"
_FAINT = ' class="faint"'


def write_report(report: Report, folder: Path, stem: str = "report", *, predictions: str = "") -> Path:
    """Write <stem>.json and <stem>.html to a folder, which is created, and return the HTML page; see `draw_page`."""
    write_json(folder / f"{stem}.json", report.to_dict(), undefined_as_null=True)
    page = folder / f"{stem}.html"
    with write_atomically(page) as file:
        file.write_text(draw_page(report, predictions=predictions), encoding="utf-8")
    return page


def draw_page(report: Report, *, predictions: str = "") -> str:
    """Return the report as a self-contained HTML document, with a section of predictions from `draw_predictions`."""
    pairs = ((_precision_recall, _keypoints), (_anatomy, _scores))
    parts = [_header(report), _headline(report)]
    parts += [f'<div class="pair">{left(report)}{right(report)}</div>' for left, right in pairs]
    parts += [predictions, _parts(report), _pixels(report), _protocol(report)]
    return html_document(f"{report.title}: keypoint AP", "\n".join(parts))


def html_document(title: str, body: str) -> str:
    """Return a self-contained HTML document with the style of page.css; the title is escaped here, the body is HTML."""
    style = files("hrpose.report").joinpath("page.css").read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _header(report: Report) -> str:
    protocol = report.measurement.protocol
    counts = f"{report.num_predictions:,} poses, {protocol.num_instances:,} instances in {protocol.num_images:,} images"
    return f"<header><h1>{escape(report.title)}</h1><p>{counts} of {escape(protocol.annotations.name)}</p></header>"


def _headline(report: Report) -> str:
    numbers, interval = report.measurement.numbers, report.measurement.describe_interval()
    table = _table({"": numbers})
    return (
        f'<section class="headline"><div class="hero"><span>AP</span><b>{_number(numbers["AP"])}</b><span>{interval}</span></div>'
        f'<div class="scroll">{table}{_undefined([numbers])}</div></section>'
    )


def _precision_recall(report: Report) -> str:
    recall = np.linspace(0, 1, 101)
    lines = []
    for threshold, curve in sorted(report.precision.items(), key=lambda item: item[0] in _CURVE_STYLES):
        if curve.min() >= 0:
            label = f"OKS {threshold:.2f}: {curve.mean():.3f}" if threshold in _CURVE_STYLES else ""
            lines.append(Line(recall, curve.clip(0, 1), _CURVE_STYLES.get(threshold, "other"), label))
    chart = draw_curves(lines, name="Precision over recall", x_title="recall", y_title="precision")
    note = "A pose is correct if its OKS reaches the threshold. Thin lines are the other thresholds; AP is the mean area."
    return f"<section><h2>Precision and recall</h2><p>{note}</p>{chart}</section>"


def _keypoints(report: Report) -> str:
    hints = {name: f"{name}: AP {_number(ap)}, {report.labelled[name]} labelled" for name, ap in report.keypoints.items()}
    bars = [Bar(name, ap if ap >= 0 else None, _number(ap), hint=hints[name]) for name, ap in report.keypoints.items()]
    note = "AP if each keypoint were the only one; the dashed line is the AP of whole poses."
    chart = draw_bars(bars, name="AP by keypoint", reference=max(report.measurement.numbers["AP"], 0))
    return f"<section><h2>Keypoints</h2><p>{note}</p>{chart}</section>"


def _anatomy(report: Report) -> str:
    anatomy, now = report.anatomy, report.measurement.numbers["AP"]
    shares = [(kind, anatomy.keypoints[kind], style) for kind, style in _KINDS.items()]
    bars = [
        Bar(
            kind,
            fixed["AP"] if min(fixed["AP"], now) >= 0 else None,
            f"{fixed['AP']:.3f} ({fixed['AP'] - now:+.3f})" if min(fixed["AP"], now) >= 0 else "undefined",
            start=max(now, 0),
            style=_KINDS.get(kind, "s1"),
            hint=f"{kind}, {_MEANINGS[kind]}: AP {_number(fixed['AP'])} without",
        )
        for kind, fixed in anatomy.fixed.items()
    ]
    chart = draw_bars(bars, name="AP with one kind of error fixed", reference=max(now, 0))
    terms = "".join(f"<dt>{kind}</dt><dd>{escape(meaning)}</dd>" for kind, meaning in _MEANINGS.items())
    return (
        "<section><h2>Error analysis</h2><p>Labelled keypoints of poses that match an instance.</p>"
        f"{draw_shares(shares, name='Kinds of errors')}"
        "<p>AP if all errors of one kind were fixed.</p>"
        f"{chart}"
        f'<p class="small">{anatomy.false_positives:,} poses without instance, {anatomy.false_negatives:,} instances without '
        f'pose.</p><dl class="small">{terms}</dl></section>'
    )


def _scores(report: Report) -> str:
    threshold, calibration = report.threshold, report.calibration
    cut = "There is no best score threshold, because no pose is correct."
    if np.isfinite(threshold.score):
        cut = (
            f"The best score threshold is <b>{threshold.score:.3f}</b>: precision {threshold.precision:.3f}, "
            f"recall {threshold.recall:.3f}, F1 {threshold.f1:.3f} (means over the OKS thresholds)."
        )
    curve = "<p>The results have no keypoint scores, so there is no calibration.</p>"
    if calibration is not None and calibration.counts.sum():
        curve = (
            "<p>Keypoint scores on the dashed line are calibrated; below it they are too high. "
            f"Calibration error: <b>{calibration.error:.3f}</b>. Grey: number of keypoints.</p>"
            f"{draw_calibration(calibration)}"
        )
    return f"<section><h2>Scores</h2><p>{cut}</p>{curve}</section>"


def _parts(report: Report) -> str:
    rows = {f"{name} alone": row for name, row in report.parts.items()}
    rows |= {f"{name} keypoints alone": row for name, row in report.visibility.items()}
    for name, row in report.crowding.items():
        low, high = CROWDING_RANGES[name]
        rows[f"crowding {low:g} to {high:g} ({report.crowding_images[name]:,} images)"] = row
    note = (
        "Crowding is the share of keypoints of other instances in the box of an instance, averaged over an image "
        "(CrowdPose's easy, medium and hard)."
    )
    table = _table(rows)
    return f'<section><h2>Parts</h2><p>{note}</p><div class="scroll">{table}</div>{_undefined(rows.values())}</section>'


def _pixels(report: Report) -> str:
    rows = {"all": report.pixels.overall} | {name: report.pixels_of(k) for k, name in enumerate(report.keypoints)}
    note = (
        "Errors are in image pixels, over instances with a prediction. PCK is the share of labelled keypoints with an error "
        f"below a share of the longer side of the box; those of the {report.pixels.num_missed:,} missed instances are wrong."
    )
    table = _table(rows, PIXEL_COLUMNS)
    return f'<section><h2>Pixels</h2><p>{note}</p><div class="scroll">{table}</div></section>'


def _protocol(report: Report) -> str:
    entries = "".join(
        f"<div><dt>{escape(name)}</dt><dd{_FAINT if text == NOT_STATED else ''}>{escape(text)}</dd></div>"
        for name, text in report.measurement.protocol.entries().items()
    )
    note = "Two APs can be compared only if all of these are equal."
    source = f'<p class="small">OKS sigmas: {escape(report.sigmas)}.</p>'
    return f'<section><h2>Protocol</h2><p>{note}</p><dl class="columns">{entries}</dl>{source}</section>'


def _table(rows: Mapping[str, Mapping[str, float]], columns: Mapping[str, str] | None = None) -> str:
    labelled = any(rows)
    shown = dict(zip(COLUMNS, COLUMNS, strict=True)) if columns is None else columns
    head = "".join(f'<th scope="col">{name}</th>' for name in ([""] if labelled else []) + [*shown.values()])
    body = "".join(
        "<tr>"
        + (f'<th scope="row">{escape(name)}</th>' if labelled else "")
        + "".join(f"<td>{_number(row[column])}</td>" for column in shown)
        + "</tr>"
        for name, row in rows.items()
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _undefined(rows: Iterable[Mapping[str, float]]) -> str:
    missing = any(value < 0 for row in rows for value in row.values())
    return f'<p class="small">{UNDEFINED.replace("-1", _DASH)}</p>' if missing else ""


def _number(value: float) -> str:
    return _DASH if np.isnan(value) or value < 0 else f"{value:.3f}"
