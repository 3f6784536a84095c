"""Draw training curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hrpose.visualize.pictures import Image

Curve = Sequence[tuple[float, float]]

_COLOURS = ("#2f7fc9", "#e5812b", "#4f9d69", "#8a63b8", "#c8506c", "#6b7380")
_INK, _FAINT = "#22262d", "#8a919c"


def draw_curves(history: Mapping[str, Curve], *, steps_per_epoch: float | None = None) -> Image:
    """Draw training curves, (H, W, 3) uint8 RGB: losses in one panel, AP, PCKh and other scores in a second one if there are any.

    The scale of the losses is logarithmic if all are positive. Each label has the last value, the labels of
    scores also the maximum.

    Args:
        history: name -> points (step, value); a name that contains "loss" is a loss. Values that are not finite leave a gap.
        steps_per_epoch: draw over epochs; None draws over steps.
    """
    # imported here because it takes half a second, and only curves need it
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width = steps_per_epoch or 1
    placed = {name: [(step / width, value) for step, value in curve] for name, curve in history.items()}
    losses = {name: curve for name, curve in placed.items() if "loss" in name}
    scores = {name: curve for name, curve in placed.items() if "loss" not in name}
    metrics = [metric for metric in ("AP", "PCKh", "PCK@") if any(f"/{metric}" in name for name in scores)]
    title = " and ".join(metrics).rstrip("@") or "Score"
    panels = [panel for panel in (("Loss", losses), (title, scores)) if panel[1]] or [("Loss", losses)]
    figure = Figure(figsize=(6 * len(panels), 4), dpi=120, layout="constrained", facecolor="white")
    canvas = FigureCanvasAgg(figure)
    row = figure.subplots(1, len(panels), sharex=True, squeeze=False)[0]
    for axes, (title, curves) in zip(row, panels, strict=True):
        _draw_panel(axes, title, curves)
        axes.set_xlabel("step" if steps_per_epoch is None else "epoch", fontsize=9, color=_FAINT)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.array(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]


def _draw_panel(axes: Any, title: str, curves: Mapping[str, Curve]) -> None:
    is_loss = title == "Loss"
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold", color=_INK)
    axes.tick_params(labelsize=8, colors=_FAINT, which="both", length=0)
    axes.grid(color="#e8eaee", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("#c9cdd4")
    for index, (name, curve) in enumerate(curves.items()):
        _draw_curve(axes, name, curve, _COLOURS[index % len(_COLOURS)], is_loss=is_loss)
    values = np.array([value for curve in curves.values() for _, value in curve], np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        axes.text(0.5, 0.5, "no values yet", ha="center", transform=axes.transAxes, color=_FAINT)
        return
    best = 100 if title == "PCKh" else 1  # PCKh is in percent
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    if is_loss and (values > 0).all():
        _scale_by_logarithm(axes, is_wide=values.max() > 10 * values.min())
    elif not is_loss and values.min() >= 0 and values.max() <= best:
        axes.set_ylim(0, best)
    axes.legend(frameon=False, fontsize=9, labelcolor=_INK, loc="upper right" if is_loss else "lower right")


def _scale_by_logarithm(axes: Any, *, is_wide: bool) -> None:
    """Label a logarithmic axis with decimal numbers: 1, 2 and 5 of each decade, or regular steps within less than one."""
    # imported here like matplotlib above
    from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullLocator

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if is_wide else MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.yaxis.set_minor_locator(NullLocator())


def _draw_curve(axes: Any, name: str, curve: Curve, colour: str, *, is_loss: bool) -> None:
    steps, values = np.asarray(curve, np.float64).reshape(-1, 2).T
    finite = np.flatnonzero(np.isfinite(values))
    marker = "o" if len(finite) <= 40 else None
    if not len(finite):
        axes.plot([], [], color=colour, label=f"{name}  no values yet")
        return
    last = values[finite[-1]]
    label = f"{name}  {last:.3g}" if is_loss else f"{name}  {last:.3f}, best {values[finite].max():.3f}"
    axes.plot(steps, values, color=colour, linewidth=1.8, marker=marker, markersize=3.5, label=label)
