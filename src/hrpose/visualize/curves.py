"""Draw how a training went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hrpose.visualize.images import Image

_COLOURS = ("#2a7fd4", "#f07f1a", "#3fae5a", "#a05cc8", "#d2405a", "#6d7480")


def draw_curves(series: Mapping[str, Sequence[tuple[float, float]]]) -> Image:
    """Draw training curves: losses on the left, everything else (AP) on the right.

    Args:
        series: name -> points (step, value); values that are not finite leave a gap.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    # Imported here: it takes half a second, and only this function needs it.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), dpi=110, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    losses = {name: points for name, points in series.items() if "loss" in name}
    others = {name: points for name, points in series.items() if "loss" not in name}
    for axes, title, group in zip(figure.subplots(1, 2), ("Loss", "Score"), (losses, others), strict=True):
        axes.set_title(title, loc="left", fontweight="bold")
        axes.set_xlabel("step")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        _plot(axes, group)
    if losses and all(value > 0 for points in losses.values() for _, value in points):
        figure.axes[0].set_yscale("log")
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.array(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]


def _plot(axes: Any, series: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    for (name, points), colour in zip(series.items(), _COLOURS * (len(series) // len(_COLOURS) + 1), strict=False):
        steps, values = np.asarray(points, np.float64).reshape(-1, 2).T
        axes.plot(steps, values, color=colour, linewidth=1.8, marker="o", markersize=3, label=name)
        finite = np.isfinite(values)
        if finite.any():
            last = steps[finite][-1], values[finite][-1]
            axes.annotate(f"{last[1]:.3g}", last, (4, 4), textcoords="offset points", fontsize=8, color=colour)
    if series:
        axes.legend(frameon=False, fontsize=8)
    else:
        axes.text(0.5, 0.5, "nothing yet", ha="center", transform=axes.transAxes, alpha=0.5)
