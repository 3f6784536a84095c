"""The HTML page of a data set: findings of the checks, statistics of the labels, and crops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrpose.annotations.checks import Finding
from hrpose.files import write_atomically
from hrpose.geometry import fit_aspect_ratio
from hrpose.report.charts import draw_histogram, draw_visibility
from hrpose.report.crops import MAX_BYTES, ShownCrop, draw_crops, draw_pose, draw_predictions, fit_size, list_names
from hrpose.report.page import html_document
from hrpose.skeletons import Skeleton
from hrpose.structures import InstanceTable

_SEVERITIES = ("error", "warning", "note")
_NUM_BINS = 20
_MOST_SAMPLED = 20_000  # instances in a mean pose


@dataclass(frozen=True, eq=False, kw_only=True)
class DataPage:
    """The content of a page."""

    title: str  # heading
    findings: Sequence[Finding]  # of the checks
    tables: Mapping[str, InstanceTable]  # instances by set, "train" and "val"; empty if no file can be read
    skeleton: Skeleton | None  # of the keypoints; None if unknown: no poses and crops are shown
    input_size: tuple[int, int]  # (width, height) of the network's input
    bbox_padding: float  # factor by which boxes are enlarged
    training_crops: Sequence[ShownCrop] = ()  # augmented crops
    training_note: str = ""  # a sentence on omitted training crops
    predicted_crops: Sequence[ShownCrop] = ()  # crops with predictions, lowest OKS first
    note: str = ""  # a sentence on the predictions


def write_data_page(page: DataPage, file: Path) -> None:
    """Write a page as one HTML file."""
    with write_atomically(file) as partial:
        partial.write_text(draw_data_page(page), encoding="utf-8")


def draw_data_page(page: DataPage) -> str:
    """Return a page as a self-contained HTML document of at most about `MAX_BYTES`."""
    sets = ", ".join(f"{len(table):,} instances of {name}" for name, table in page.tables.items())
    parts = [f"<header><h1>{escape(page.title)}</h1><p>{escape(sets)}</p></header>", _findings(page)]
    if page.tables:
        parts += [_counts(page), _histograms(page)]
    if page.skeleton is not None and page.tables:
        parts += [_labels(name, table, page.skeleton) for name, table in page.tables.items()]
        names = list_names(page.skeleton)
        parts.append(f"<section><h2>Names</h2>{names}</section>" if names else "")
        parts.append(_training_crops(page, page.skeleton, MAX_BYTES - _size(parts)))
        if page.note:
            left = MAX_BYTES - _size(parts)
            parts.append(draw_predictions(page.predicted_crops, page.skeleton, note=page.note, max_bytes=left))
    return html_document(page.title, "\n".join(parts))


def _findings(page: DataPage) -> str:
    kinds: Counter[str] = Counter(finding.severity for finding in page.findings)
    counts = ", ".join(f"{kinds[kind]} {kind}{'s' if kinds[kind] > 1 else ''}" for kind in _SEVERITIES if kinds[kind])
    items = "".join(
        f'<li class="{finding.severity}"><span class="tag">{finding.severity}</span> <b>{escape(finding.check)}</b>'
        f"<p>{escape(finding.sentence)} {escape(finding.consequence)}</p>"
        f"{f'<p><b>Fix:</b> {escape(finding.fix)}</p>' if finding.fix else ''}<small>{escape(finding.file)}</small></li>"
        for finding in sorted(page.findings, key=lambda finding: _SEVERITIES.index(finding.severity))
    )
    listed = f'<ul class="findings">{items}</ul>' if items else ""
    return f'<section class="long"><h2>Findings</h2><p>{counts or "Nothing found"}.</p>{listed}</section>'


def _counts(page: DataPage) -> str:
    heads = ("images", "without instances", "instances", "keypoints", "box in pixels", "crop filled")
    rows = ""
    for name, table in page.tables.items():
        used, size = len(np.unique(table.image_index)), table.bbox[:, 2:]
        labelled = (table.visibility > 0).sum(axis=1)
        crop = fit_aspect_ratio(size, page.input_size[0] / page.input_size[1]) * page.bbox_padding
        filled = size.prod(axis=1) / np.maximum(crop.prod(axis=1), 1e-9)
        width, height = (_median(side) for side in size.T)
        cells = [f"{len(table.image_ids):,}", f"{len(table.image_ids) - used:,}", f"{len(table):,}"]
        mean = labelled.mean() if len(labelled) else 0
        cells += [f"{mean:.1f} of {table.num_keypoints}", f"{width:.0f} x {height:.0f}"]
        cells += [f"{_median(filled):.0%}"]
        rows += f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
    head = "".join(f'<th scope="col">{text}</th>' for text in ("set", *heads))
    width, height = page.input_size
    note = (
        "Keypoints: mean number of labelled keypoints per instance. Box: median width and height. Crop filled: median share of "
        f"the crop of {width} x {height} (width x height) that the box covers, with a padding of {page.bbox_padding:g}."
    )
    content = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<section><h2>Data</h2><div class="scroll" tabindex="0">{content}</div><p class="small">{note}</p></section>'


def _histograms(page: DataPage) -> str:
    tables = page.tables
    per_image = {name: np.bincount(t.image_index, minlength=len(t.image_ids)) for name, t in tables.items()}
    per_instance = {name: (t.visibility > 0).sum(axis=1) for name, t in tables.items()}
    sizes = {name: np.log2(np.sqrt(np.maximum(t.bbox[:, 2:].prod(axis=1), 1))) for name, t in tables.items()}
    ratios = {name: np.log2(np.maximum(t.bbox[:, 2], 1e-3) / np.maximum(t.bbox[:, 3], 1e-3)) for name, t in tables.items()}
    width, height = page.input_size
    side, ratio = np.log2(np.sqrt(width * height) / page.bbox_padding), np.log2(width / height)
    texts = (
        ("Instances per image", "", _whole_numbers(per_image, "instances")),
        ("Keypoints per instance", "", _whole_numbers(per_instance, "labelled keypoints")),
        (
            "Size of the boxes",
            "Boxes to the left of the dashed line are smaller than the input, so their crops are enlarged.",
            _steps(sizes, "side of a square of the same area, in pixels", reference=float(side), step=0.5),
        ),
        (
            "Shape of the boxes",
            f"The dashed line is the shape of the input, {width} x {height}. Boxes of a different shape fill less of their crop.",
            _steps(ratios, "width / height", reference=float(ratio), step=0.25, limit=2.5),
        ),
    )
    sections = [f"<section><h2>{title}</h2>{f'<p>{note}</p>' if note else ''}{chart}</section>" for title, note, chart in texts]
    return "".join(f'<div class="pair">{"".join(sections[start : start + 2])}</div>' for start in (0, 2))


def _whole_numbers(values: Mapping[str, NDArray[Any]], what: str) -> str:
    """Draw the distributions of counts in at most `_NUM_BINS` bins of equal width."""
    highest = max((int(numbers.max(initial=0)) for numbers in values.values()), default=0)
    width = -(-(highest + 1) // _NUM_BINS)
    starts = range(0, highest + 1, width)
    bins = [str(start) if width == 1 else f"{start}–{start + width - 1}" for start in starts]
    counts = {name: np.bincount(numbers // width, minlength=len(bins)) for name, numbers in values.items()}
    return draw_histogram(bins, counts, name=f"Histogram: {what}", x_title=what)


def _steps(values: Mapping[str, NDArray[Any]], what: str, *, reference: float, step: float, limit: float = 16.0) -> str:
    """Draw the distributions of base 2 logarithms in bins of equal width; values beyond the limits are in the last bins."""
    indices = {name: np.floor(numbers.clip(-limit, limit) / step + 1e-9).astype(int) for name, numbers in values.items()}
    ends = [int(end) for numbers in indices.values() if len(numbers) for end in (numbers.min(), numbers.max())]
    place = int(np.floor(reference / step))
    first, last = min([*ends, place]), max([*ends, place])
    bins = [f"{2 ** (index * step):.3g}" for index in range(first, last + 1)]
    counts = {name: np.bincount(numbers - first, minlength=len(bins)) for name, numbers in indices.items()}
    return draw_histogram(bins, counts, name=f"Histogram: {what}", x_title=what, reference=reference / step - first)


def _labels(name: str, table: InstanceTable, skeleton: Skeleton) -> str:
    counts = np.stack([(table.visibility == value).sum(axis=0) for value in (0, 1, 2)], axis=1)
    chart = draw_visibility(skeleton.keypoint_names, counts, name=f"Visibility of the keypoints, {name}")
    return (
        f'<div class="pair"><section><h2>Mean pose, {escape(name)}</h2><p>Mean position of each keypoint relative to its box, '
        "drawn in a box of median shape (dashed). If instances have all orientations, all positions are near the center.</p>"
        f"{_mean_pose(name, table, skeleton)}</section>"
        f"<section><h2>Visibility, {escape(name)}</h2><p>Share of the instances in which a keypoint is labelled.</p>{chart}"
        "</section></div>"
    )


def _mean_pose(name: str, table: InstanceTable, skeleton: Skeleton) -> str:
    """Draw the mean keypoints in units of their boxes; tooltips show the standard deviations."""
    rows = np.flatnonzero((table.bbox[:, 2:] > 0).all(axis=1))
    rows = rows[:: max(1, len(rows) // _MOST_SAMPLED)]
    if not len(rows):
        return '<p class="absent">No box has an area.</p>'
    boxes, labelled = table.bbox[rows, None], table.visibility[rows] > 0
    places = (table.keypoints[rows] - boxes[..., :2]) / boxes[..., 2:]
    number = labelled.sum(axis=0)
    divisor = np.maximum(number, 1)[:, None]
    mean = np.where(labelled[..., None], places, 0).sum(axis=0) / divisor
    spread = np.sqrt((np.where(labelled[..., None], places - mean, 0) ** 2).sum(axis=0) / divisor)
    shape = float(np.median(boxes[:, 0, 2] / boxes[:, 0, 3]).clip(1 / 3, 3))
    size = fit_size(shape, 1.0)
    frame = f'<rect class="frame" width="{size[0]:.1f}" height="{size[1]:.1f}"/>'
    hints = [
        f"{keypoint}: x {x:.2f} ± {dx:.2f}, y {y:.2f} ± {dy:.2f} of the box"
        for keypoint, (x, y), (dx, dy) in zip(skeleton.keypoint_names, mean.tolist(), spread.tolist(), strict=True)
    ]
    visibility = np.where(number > 0, 2, 0).astype(np.uint8)
    label = f"Mean pose of {len(rows):,} instances, {name}"
    return draw_pose(mean.clip(0, 1) * size, visibility, skeleton, size, background=frame, name=label, hints=hints)


def _training_crops(page: DataPage, skeleton: Skeleton, left: int) -> str:
    if not page.training_crops:
        note = page.training_note or "No images were opened."
        return f"<section><h2>Training crops</h2><p>{escape(note)}</p></section>"
    heatmaps = " The second picture shows the target heatmaps over the same crop."
    note = (
        "Augmented training crops of the first epoch; filled marks are visible keypoints, hollow marks occluded ones."
        f"{heatmaps if any(crop.heatmaps is not None for crop in page.training_crops) else ''} {escape(page.training_note)}"
    )
    share = left if not page.predicted_crops else left // 2
    figures = draw_crops(page.training_crops, skeleton, key="train", max_bytes=share)
    return f'<section class="long"><h2>Training crops</h2><p>{note}</p>{figures}</section>'


def _size(parts: Sequence[str]) -> int:
    return sum(len(part.encode()) for part in parts)


def _median(values: NDArray[Any]) -> float:
    return float(np.median(values)) if len(values) else 0.0
