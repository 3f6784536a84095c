"""Crops on an HTML page: the input of the network, with keypoints, names, target heatmaps and predictions as SVG.

Convention:
    A panel is drawn in units of about a screen pixel. The center of pixel (x, y) of a crop is at ((x + 0.5) s, (y + 0.5) s), s
    units per pixel. Colours show the side of a keypoint; its shape shows whether it is visible, occluded or predicted.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrpose.codecs.cells import input_from_cells_map
from hrpose.geometry import Grid
from hrpose.report.charts import cut
from hrpose.skeletons import Skeleton
from hrpose.visualize.pictures import encode_image, limb_sides
from hrpose.visualize.sheets import heatmap_layer

MAX_BYTES = 3_000_000
"""Size limit of a page; crops that do not fit are left out."""
MOST_NAMES = 25
"""Largest number of keypoints with names next to a pose; the names of more keypoints are in a list."""

_LARGEST = (190.0, 240.0)  # width and height of a crop in units
_LABELS, _GAP, _ROW = 92.0, 4.0, 13.0  # width of a column of names, distance from the crop, height of a name
_LETTERS = 14  # of a name next to a pose
_LISTED = 6  # names in a caption
_HINT_LETTERS = 80


@dataclass(frozen=True, eq=False, kw_only=True)
class ShownCrop:
    """A crop and its keypoints."""

    title: str  # image and annotation
    image: NDArray[np.uint8] | None  # (H, W, 3) uint8 RGB; None if the image cannot be read
    fault: str = ""  # why the image cannot be read
    keypoints: NDArray[np.floating[Any]]  # (K, 2) annotated, in pixels of the crop
    visibility: NDArray[np.uint8]  # (K,) 0 unlabelled, 1 occluded, 2 visible
    heatmaps: NDArray[np.floating[Any]] | None = None  # (K, h, w) targets; None for codecs without heatmaps
    grid: Grid = "plain"  # pixel grid of the crop
    predicted: NDArray[np.floating[Any]] | None = None  # (K, 2) in pixels of the crop; None for none
    scores: NDArray[np.floating[Any]] | None = None  # (K,) of the predicted keypoints
    oks: float | None = None  # of the prediction


def draw_crops(crops: Sequence[ShownCrop], skeleton: Skeleton, *, key: str, max_bytes: int) -> str:
    """Return figures of as many crops as fit in `max_bytes`, with element ids that begin with `key`, and a note on the others."""
    figures: list[str] = []
    size = 0
    for number, crop in enumerate(crops):
        figure = _figure(crop, skeleton, f"{key}-{number}")
        size += len(figure.encode())
        if size > max_bytes:
            break
        figures.append(figure)
    left_out = len(crops) - len(figures)
    note = f'<p class="small">{left_out} more are left out to keep the page small.</p>' if left_out else ""
    return f'<div class="crops">{"".join(figures)}</div>{note}'


def draw_predictions(crops: Sequence[ShownCrop], skeleton: Skeleton, *, note: str, max_bytes: int = MAX_BYTES) -> str:
    """Return the section of predictions next to their annotations, of at most `max_bytes`; the note is its first sentence."""
    text = (
        f"{escape(note)} The first picture shows the annotation: filled marks are visible keypoints, hollow marks occluded ones. "
        "The second picture shows the prediction: yellow lines connect predicted (cross) and annotated keypoints (ring)."
    )
    figures = draw_crops(crops, skeleton, key="predicted", max_bytes=max_bytes)
    return f'<section class="long"><h2>Worst predictions</h2><p>{text}</p>{figures}{list_names(skeleton)}</section>'


def list_names(skeleton: Skeleton) -> str:
    """Return a numbered list of names for skeletons of more than `MOST_NAMES` keypoints; empty for others."""
    if skeleton.num_keypoints <= MOST_NAMES:
        return ""
    names = "".join(f"<li>{escape(cut(name, _HINT_LETTERS))}</li>" for name in skeleton.keypoint_names)
    summary = f"<summary>Names of the {skeleton.num_keypoints} keypoints</summary>"
    return f'<details>{summary}<ol class="names" start="0">{names}</ol></details>'


def draw_pose(
    points: NDArray[np.floating[Any]],
    visibility: NDArray[np.uint8],
    skeleton: Skeleton,
    size: tuple[float, float],
    *,
    background: str,
    name: str,
    hints: Sequence[str] | None = None,
) -> str:
    """Draw a pose as SVG over a background, with names in columns on both sides.

    Points (K, 2) are in units, as is the size (width, height); unlabelled ones and those outside are not drawn. `name` is the
    alternative text, and the K hints are tooltips, names by default.
    """
    inside = ((points >= 0) & (points <= np.array(size))).all(axis=1)
    drawn = np.flatnonzero((visibility > 0) & inside)
    hints = skeleton.keypoint_names if hints is None else hints
    marks = "".join(_mark(points[k], skeleton.sides[k], int(visibility[k]), _hint(k, hints[k])) for k in drawn.tolist())
    limbs = _limbs(points, visibility > 0, skeleton)
    if skeleton.num_keypoints > MOST_NAMES:
        marks = f'<g class="many">{marks}</g>'
        return _panel(f"{background}{_clipped(limbs, size)}{marks}", (0.0, size[0]), size[1], name)
    lines, texts, height = _names(points, drawn, skeleton, size)
    parts = f"{background}{_clipped(limbs, size)}{lines}{marks}{texts}"
    return _panel(parts, (-_LABELS, size[0] + 2 * _LABELS), max(size[1], height), name)


def fit_size(width: float, height: float) -> tuple[float, float]:
    """Return the size in units of a crop of this aspect ratio."""
    scale = min(_LARGEST[0] / width, _LARGEST[1] / height)
    return width * scale, height * scale


def _figure(crop: ShownCrop, skeleton: Skeleton, key: str) -> str:
    oks = "" if crop.oks is None else f"<b>OKS {crop.oks:.3f}</b> "
    if oks and crop.image is not None and crop.predicted is None:
        oks += "(no pose in this crop) "
    caption = f"<figcaption>{oks}{escape(crop.title)}{_list_absent(crop, skeleton)}</figcaption>"
    if crop.image is None:
        return f'<figure>{caption}<p class="absent">No image: {escape(crop.fault)}</p></figure>'
    height, width = crop.image.shape[:2]
    size = fit_size(width, height)
    scale = size[0] / width
    encoded = b64encode(encode_image(crop.image, ".jpg")).decode()
    picture = (
        f'<image id="{key}" width="{size[0]:.1f}" height="{size[1]:.1f}" preserveAspectRatio="none" '
        f'href="data:image/jpeg;base64,{encoded}"/>'
    )
    points = (crop.keypoints + 0.5) * scale
    count = int((crop.visibility > 0).sum())
    name = f"{crop.title}: {count} of {len(crop.visibility)} keypoints are labelled"
    panels = draw_pose(points, crop.visibility, skeleton, size, background=picture, name=name)
    again = f'<use href="#{key}"/>'
    if crop.heatmaps is not None:
        overlay = _heatmaps(crop, skeleton, scale)
        parts = f'{again}<rect class="dim" width="{size[0]:.1f}" height="{size[1]:.1f}"/>{_clipped(overlay, size)}'
        panels += _panel(parts, (0.0, size[0]), size[1], f"{crop.title}: target heatmaps")
    if crop.predicted is not None:
        parts = _clipped(_prediction(crop, skeleton, points, (crop.predicted + 0.5) * scale), size)
        panels += _panel(f"{again}{parts}", (0.0, size[0]), size[1], f"{crop.title}: prediction")
    return f'<figure>{caption}<div class="panels">{panels}</div></figure>'


def _list_absent(crop: ShownCrop, skeleton: Skeleton) -> str:
    """List the keypoints that are unlabelled or outside the crop."""
    labelled = crop.visibility > 0
    outside = np.zeros_like(labelled)
    if crop.image is not None:
        limits = np.array(crop.image.shape[1::-1]) - 0.5
        outside = labelled & ~((crop.keypoints >= -0.5) & (crop.keypoints <= limits)).all(axis=1)
    parts = []
    for what, rows in (("Not labelled", ~labelled), ("Outside the crop", outside)):
        names = [escape(cut(skeleton.keypoint_names[k], _HINT_LETTERS)) for k in np.flatnonzero(rows).tolist()]
        if names:
            more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
            parts.append(f"{what}: {', '.join(names[:_LISTED])}{more}.")
    return f"<br><small>{' '.join(parts)}</small>" if parts else ""


def _heatmaps(crop: ShownCrop, skeleton: Skeleton, scale: float) -> str:
    """Draw all heatmaps over the crop, with each cell centered on its point in the crop."""
    assert crop.image is not None
    assert crop.heatmaps is not None
    layer = heatmap_layer(crop.heatmaps, skeleton)
    (rows, columns), (height, width) = layer.shape[:2], crop.image.shape[:2]
    strides, first = input_from_cells_map((width, height), (columns, rows), crop.grid)
    x, y = ((place + 0.5 - stride / 2) * scale for place, stride in zip(first, strides, strict=True))
    encoded = b64encode(encode_image(layer, ".png")).decode()
    return (
        f'<image x="{x:.2f}" y="{y:.2f}" width="{columns * strides[0] * scale:.2f}" height="{rows * strides[1] * scale:.2f}" '
        f'preserveAspectRatio="none" href="data:image/png;base64,{encoded}"/>'
    )


def _prediction(crop: ShownCrop, skeleton: Skeleton, points: NDArray[np.floating[Any]], found: NDArray[np.floating[Any]]) -> str:
    labelled = crop.visibility > 0
    errors = "".join(
        f"M{_xy(points[k])}L{_xy(found[k])}" for k in np.flatnonzero(labelled).tolist() if np.isfinite(found[k]).all()
    )
    rings = "".join(f'<circle class="truth" {_at(points[k])} r="3"/>' for k in np.flatnonzero(labelled).tolist())
    crosses = []
    for k, place in enumerate(found):
        score = "" if crop.scores is None else f", score {crop.scores[k]:.2f}"
        (x, y), hint = place, f"{_hint(k, skeleton.keypoint_names[k])}{score}"
        path = f"M{x - 3:.1f} {y - 3:.1f}l6 6m0 -6l-6 6"
        crosses.append(
            f'<g><title>{escape(hint)}</title><path class="halo" d="{path}"/>'
            f'<path class="{_side(skeleton.sides[k])} cross" d="{path}"/></g>'
        )
    limbs = _limbs(found, np.ones(len(found), bool), skeleton)
    return f'{limbs}<path class="off" d="{errors}"/>{rings}{"".join(crosses)}'


def _limbs(points: NDArray[np.floating[Any]], drawn: NDArray[np.bool_], skeleton: Skeleton) -> str:
    """Draw the edges between drawn keypoints, one path per side."""
    paths: dict[str, str] = {}
    for (one, other), side in zip(skeleton.edges, limb_sides(skeleton), strict=True):
        if drawn[one] and drawn[other]:
            paths[side] = f"{paths.get(side, '')}M{_xy(points[one])}L{_xy(points[other])}"
    if not paths:
        return ""
    lines = "".join(f'<path class="{_side(side)} limb" d="{path}"/>' for side, path in paths.items())
    return f'<path class="halo" d="{"".join(paths.values())}"/>{lines}'


def _names(
    points: NDArray[np.floating[Any]], drawn: NDArray[np.int64], skeleton: Skeleton, size: tuple[float, float]
) -> tuple[str, str, float]:
    """Place names in columns on the left and right without overlap; return lines, texts and their height."""
    order = drawn[np.argsort(points[drawn, 0], kind="stable")]
    half = (len(order) + 1) // 2
    lines, texts, lowest = [], [], 0.0
    for rows, edge, end, anchor in ((order[:half], 0.0, -_GAP, "end"), (order[half:], size[0], size[0] + _GAP, "")):
        column = rows[np.argsort(points[rows, 1], kind="stable")].tolist()
        heights = _spread([float(points[k, 1]) for k in column], size[1])
        for k, y in zip(column, heights, strict=True):
            lines.append(f"M{edge:.1f} {y:.1f}L{_xy(points[k])}")
            name = cut(skeleton.keypoint_names[k], _LETTERS)
            texts.append(f'<text class="label {anchor}" x="{end:.1f}" y="{y:.1f}" dy="0.34em">{escape(name)}</text>')
            lowest = max(lowest, y + _ROW / 2)
    return f'<path class="lead" d="{"".join(lines)}"/>', "".join(texts), lowest


def _spread(wanted: Sequence[float], height: float) -> list[float]:
    """Move ascending positions apart by at least the height of a name, within `height` if they fit."""
    places: list[float] = []
    for y in wanted:
        places.append(max(y, places[-1] + _ROW if places else _ROW / 2))
    limit = max(height - _ROW / 2, len(places) * _ROW - _ROW / 2)
    for index in reversed(range(len(places))):
        places[index] = min(places[index], limit - (len(places) - 1 - index) * _ROW)
    return places


def _mark(point: NDArray[np.floating[Any]], side: str, visibility: int, hint: str) -> str:
    state, text = ("occluded", f"{hint}, occluded") if visibility == 1 else ("mark", hint)
    return f'<circle class="{_side(side)} {state}" {_at(point)} r="3.2"><title>{escape(text)}</title></circle>'


def _panel(parts: str, across: tuple[float, float], height: float, name: str) -> str:
    """Return an SVG with a width in a row of panels that is proportional to its units."""
    left, width = across
    return (
        f'<svg class="pose" viewBox="{left:.1f} 0 {width:.1f} {height:.1f}" role="img" aria-label="{escape(name)}" '
        f'style="flex:{width:.0f} {width:.0f} {0.8 * width:.0f}px;max-width:{width:.0f}px">{parts}</svg>'
    )


def _clipped(parts: str, size: tuple[float, float]) -> str:
    """Clip SVG to the size of a crop."""
    return f'<svg class="clip" width="{size[0]:.1f}" height="{size[1]:.1f}">{parts}</svg>'


def _side(side: str) -> str:
    return "no-side" if side == "middle" else f"{side}-side"


def _xy(point: NDArray[np.floating[Any]]) -> str:
    return f"{point[0]:.1f} {point[1]:.1f}"


def _at(point: NDArray[np.floating[Any]]) -> str:
    return f'cx="{point[0]:.1f}" cy="{point[1]:.1f}"'


def _hint(index: int, name: str) -> str:
    return f"{index} {cut(name, _HINT_LETTERS)}"
