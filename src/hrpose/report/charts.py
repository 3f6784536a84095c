"""Charts as inline SVG without scripts, coloured by the classes of page.css. A chart is WIDTH units wide; the page scales it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrpose.metrics.functional import Calibration
from hrpose.metrics.functional.oks import Floats

WIDTH = 460
_TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_QUARTERS = (0, 0.25, 0.5, 0.75, 1)
_STYLES = ("s1", "outline")  # of the distributions of a histogram
_MOST_ROWS = 40  # largest number of keypoints that are drawn as rows
_LABEL, _DIGIT, _ROW = 128, 7.5, 22  # width of bar labels, width of a digit, height of a row
_LETTERS = 18  # of a bar label


@dataclass(frozen=True)
class Bar:
    """A horizontal bar."""

    label: str  # text on the left
    value: float | None  # end of the bar, from 0 to 1; None draws no bar
    text: str  # text on the right
    start: float = 0.0  # start of the bar, from 0 to 1
    style: str = "s1"  # class of the style sheet
    hint: str = ""  # tooltip


@dataclass(frozen=True, eq=False)
class Line:
    """A curve over [0, 1] x [0, 1]."""

    x: Floats  # (n,)
    y: Floats  # (n,)
    style: str  # class of the style sheet
    label: str = ""  # text of the legend; empty for none


def draw_bars(bars: Sequence[Bar], *, name: str, reference: float | None = None) -> str:
    """Draw horizontal bars on a scale from 0 to 1, with a dashed line at a reference."""
    left, right = _LABEL, WIDTH - 10 - _DIGIT * max((len(bar.text) for bar in bars), default=0)
    span, height = right - left, len(bars) * _ROW
    parts = [_line("grid", left + tick * span, 0, height) for tick in _QUARTERS]
    for row, bar in enumerate(bars):
        middle = row * _ROW + _ROW / 2
        parts.append(_text(left - 8, middle, cut(bar.label, _LETTERS), "label end", hint=bar.label))
        if bar.value is not None:
            begin, end = sorted((left + bar.start * span, left + bar.value * span))
            hint = bar.hint or f"{bar.label}: {bar.text}"
            parts.append(_rect(bar.style, begin, middle - 6, max(end - begin, 1), 12, hint=hint, radius=2))
        parts.append(_text(right + 8, middle, bar.text, "value"))
    if reference is not None:
        parts.append(_line("reference", left + reference * span, 0, height))
    return _svg(parts, height + 4, name)


def draw_shares(counts: Sequence[tuple[str, int, str]], *, name: str) -> str:
    """Draw parts of a whole as one bar, with a legend of (label, count, style)."""
    total = sum(count for _, count, _ in counts)
    parts, x = [], 0.0
    for label, count, style in counts:
        width = WIDTH * count / max(total, 1)
        if count:
            parts.append(_rect(style, x, 2, max(width - 2, 0.8), 20, hint=f"{label}: {count} of {total}", radius=2))
        x += width
    texts = (f"{escape(label)} <b>{count / max(total, 1):.1%}</b> <small>{count}</small>" for label, count, _ in counts)
    return _svg(parts, 26, name) + _legend(zip((style for *_, style in counts), texts, strict=True))


def draw_histogram(
    bins: Sequence[str],
    distributions: Mapping[str, NDArray[np.integer[Any]]],
    *,
    name: str,
    x_title: str,
    reference: float | None = None,
) -> str:
    """Draw the shares of each of n bins as columns, side by side for two distributions: their counts (n,) by label.

    At most 8 of the n bin labels are drawn. The reference is the position of a dashed line, from 0, the left edge of the first
    bin, to n.
    """
    shares = {label: counts / max(int(counts.sum()), 1) for label, counts in distributions.items()}
    highest = max([float(share.max(initial=0)) for share in shares.values()], default=0) or 1.0
    top = next(step for step in (0.05, 0.1, 0.2, 0.5, 1.0) if step >= min(highest, 1.0))
    parts = [_rule_across(tick, f"{tick * top:.0%}" if top > 0.1 else f"{tick * top:.1%}") for tick in (0, 0.5, 1)]
    column = 1 / max(len(bins), 1)
    bar = 0.84 * column / max(len(distributions), 1)
    for position, (label, share) in enumerate(shares.items()):
        for index in np.flatnonzero(share).tolist():
            x, y = _x(index * column + 0.08 * column + position * bar), _y(share[index] / top)
            hint = f"{label}, {bins[index]}: {distributions[label][index]:,} ({share[index]:.1%})"
            parts.append(_rect(_STYLES[position], x, y, max(_x(bar) - _x(0) - 1, 0.8), max(_y(0) - y, 0.8), hint=hint))
    every = -(-len(bins) // 8)
    for index in range(0, len(bins), max(every, 1)):
        parts.append(_text(_x((index + 0.5) * column), _y(0) + 14, bins[index], "tick middle"))
    parts.append(_text(_x(0.5), _y(0) + 34, x_title, "axis middle"))
    if reference is not None:
        parts.append(_line("reference", _x(min(max(reference * column, 0), 1)), _y(1), _y(0)))
    keys = zip(_STYLES, map(escape, distributions), strict=False) if len(distributions) > 1 else ()
    return _svg(parts, 300, name) + _legend(keys)


def draw_visibility(labels: Sequence[str], counts: NDArray[np.integer[Any]], *, name: str) -> str:
    """Draw how often each keypoint is visible, occluded and unlabelled: bars in rows, or thin columns for many keypoints.

    Counts (K, 3) are the numbers of instances in which a keypoint is unlabelled, occluded and visible.
    """
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    is_long = len(labels) > _MOST_ROWS
    left, right = (_x(0), _x(1)) if is_long else (_LABEL, WIDTH - 48.0)
    span, height = right - left, 210.0 if is_long else float(len(labels) * _ROW)
    parts = [] if is_long else [_line("grid", left + tick * span, 0, height) for tick in _QUARTERS]
    for row, (label, (absent, occluded, visible), share) in enumerate(zip(labels, counts.tolist(), shares, strict=True)):
        hint = f"{row} {label}: {visible:,} visible, {occluded:,} occluded, {absent:,} unlabelled"
        ends = np.cumsum([0.0, share[2], share[1]])
        if is_long:
            step = span / len(labels)
            boxes = [(left + row * step, height * (1 - b), step, height * (b - a)) for a, b in pairwise(ends)]
        else:
            y = row * _ROW + _ROW / 2
            parts.append(_text(left - 8, y, cut(label, _LETTERS), "label end", hint=label))
            parts.append(_text(right + 8, y, f"{ends[2]:.0%}", "value"))
            sizes = zip(pairwise(ends), (12, 6), strict=True)
            boxes = [(left + a * span, y - h / 2, (b - a) * span, h) for (a, b), h in sizes]
        rects = "".join(_rect(style, *box) for style, box in zip(("s1", "s2"), boxes, strict=True))
        parts.append(f"<g><title>{escape(hint)}</title>{rects}</g>")
    if is_long:
        parts.append(_text((left + right) / 2, height + 14, f"keypoints 0 to {len(labels) - 1}", "axis middle"))
    keys = (("s1", "visible"), ("half s2", "occluded"), ("", "remainder: unlabelled"))
    return _svg(parts, height + (30 if is_long else 4), name) + _legend(keys)


def draw_curves(lines: Sequence[Line], *, name: str, x_title: str, y_title: str) -> str:
    """Draw curves over the unit square, with a legend of those with a label."""
    parts = [*_frame(x_title, y_title), *map(_polyline, lines)]
    return _svg(parts, 300, name) + _legend((line.style, escape(line.label)) for line in lines if line.label)


def draw_calibration(calibration: Calibration) -> str:
    """Draw mean similarity over mean score, the diagonal of calibrated scores, and the number of keypoints per bin."""
    filled, edges = calibration.counts > 0, calibration.edges
    x, y = calibration.scores[filled].clip(0, 1), calibration.similarities[filled]
    heights = 246 * 0.25 * calibration.counts / max(int(calibration.counts.max()), 1)
    parts = _frame("score of the keypoint", "similarity to the annotation")
    for low, high, count, height in zip(edges[:-1], edges[1:], calibration.counts, heights, strict=True):
        hint = f"{count} keypoints score {low:.1f} to {high:.1f}"
        parts.append(_rect("count", _x(low) + 1, _y(0) - height, _x(high) - _x(low) - 2, height, hint=hint))
    parts += [_polyline(Line(np.array([0, 1]), np.array([0, 1]), "reference")), _polyline(Line(x, y, "s1"))]
    for score, similarity, count in zip(x, y, calibration.counts[filled], strict=True):
        hint = f"score {score:.2f}: similarity {similarity:.2f}, {count} keypoints"
        parts.append(f'<circle class="dot" cx="{_x(score):.1f}" cy="{_y(similarity):.1f}" r="4.5"><title>{hint}</title></circle>')
    return _svg(parts, 300, "Calibration: similarity over score")


def _x(value: float) -> float:
    return 56 + value * (WIDTH - 68)


def _y(value: float) -> float:
    return 256 - value * 246


def _frame(x_title: str, y_title: str) -> list[str]:
    """Draw the grid of the unit square with its numbers and titles."""
    parts = []
    for tick in _TICKS:
        parts.append(_rule_across(tick, f"{tick:.1f}"))
        parts.append(_line("grid", _x(tick), _y(0), _y(1)))
        parts.append(_text(_x(tick), _y(0) + 14, f"{tick:.1f}", "tick middle"))
    parts.append(_text(_x(0.5), _y(0) + 34, x_title, "axis middle"))
    parts.append(f'<g transform="translate(8 {_y(0.5):.1f}) rotate(-90)">{_text(0, 0, y_title, "axis middle")}</g>')
    return parts


def _rule_across(tick: float, label: str) -> str:
    line = f'<line class="grid" x1="{_x(0)}" x2="{_x(1)}" y1="{_y(tick):.1f}" y2="{_y(tick):.1f}"/>'
    return line + _text(_x(0) - 8, _y(tick), label, "tick end")


def _polyline(line: Line) -> str:
    points = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in zip(line.x.tolist(), line.y.tolist(), strict=True))
    title = f"<title>{escape(line.label)}</title>" if line.label else ""
    return f'<polyline class="line {line.style}" points="{points}">{title}</polyline>'


def _rect(style: str, x: float, y: float, width: float, height: float, *, hint: str = "", radius: int = 0) -> str:
    corners, title = f' rx="{radius}"' if radius else "", f"<title>{escape(hint)}</title>" if hint else ""
    return f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" width="{width:.2f}" height="{height:.1f}"{corners}>{title}</rect>'


def _line(style: str, x: float, top: float, bottom: float) -> str:
    return f'<line class="{style}" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>'


def _text(x: float, y: float, content: str, style: str, *, hint: str = "") -> str:
    title = f"<title>{escape(hint)}</title>" if hint and hint != content else ""
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" dy="0.34em">{escape(content)}{title}</text>'


def _legend(keys: Iterable[tuple[str, str]]) -> str:
    """List (style, HTML text); a text without style has no key."""
    marks = ((f'<span class="key {style}"></span>' if style else "") + text for style, text in keys)
    return f'<ul class="legend">{"".join(f"<li>{mark}</li>" for mark in marks)}</ul>'


def cut(text: str, letters: int) -> str:
    """Return at most this number of letters, the last one an ellipsis if the text is longer."""
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def _svg(parts: Sequence[str], height: float, name: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(name)}">{"".join(parts)}</svg>'
