"""hrpose bench inference: what one crop costs a network on the CPU, by engine, and how far each is from torch."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from hrpose.codecs import Codec
from hrpose.export.accelerate import HALF, accelerate, installed_backends
from hrpose.export.choose import compare_engines, draw_images, time_engines
from hrpose.weights import load_weights
from hrpose.weights.fetch import find_weights

logger = logging.getLogger(__name__)

_TITLES = {
    "torch": "torch fp32, as it is",
    "channels_last": "torch fp32, channels_last",
    "frozen": "torch fp32, folded",
    "compiled": "torch fp32, compiled",
    "onnxruntime": "onnxruntime fp32",
    "openvino": "OpenVINO fp32",
    "bf16": "torch bf16, channels_last",
    "openvino_bf16": "OpenVINO bf16",
}


def bench_inference(
    *,
    model: Callable[..., nn.Module],
    codec: Codec,
    weights: str | None = None,
    num_keypoints: int = 17,
    batch_size: int = 1,
    repeats: int = 10,
    threads: int | None = None,
    backends: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Time a network with every engine, turn and turn about, and print a table.

    The network alone is timed, images in and heatmaps out; ratios are to torch as it is, in the same run. Differences are to it
    too, on soft random images: of the heatmaps as a share of their highest value, of keypoints that hang on no tie in pixels
    of the input.

    Args:
        model: makes the network, given `num_keypoints`.
        codec: its input size, and how keypoints are read.
        weights: of the network; None draws them, so large that the heatmaps differ from 0.
        num_keypoints: of the network.
        batch_size: crops at once.
        repeats: turns; of each engine the fastest call counts.
        threads: None takes all cores.
        backends: None takes all that are installed.

    Returns:
        A row for each engine: `backend`, `ms` for one crop, `ratio` to torch, and the differences.

    Raises:
        ValueError: if a number is below 1, or there is no such backend.
    """
    if min(batch_size, repeats, threads or 1) < 1:
        raise ValueError(
            f"Expected `batch_size`, `repeats` and `threads` to be at least 1, but got {batch_size}, {repeats}, {threads}."
        )
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        net = _network(model, codec.num_channels(num_keypoints), weights)
        names = ["torch", *(name for name in backends or installed_backends() if name != "torch")]
        engines = {name: _made(net, codec, name) for name in names}
        images = draw_images(codec.input_size, batch_size * -(-4 // batch_size))  # four at least, in whole batches
        rows = [
            {"backend": name, **asdict(compare_engines(engine, net, codec, images, batch_size=batch_size))}
            for name, engine in engines.items()
        ]
        seconds = time_engines(engines, images[:batch_size], repeats=repeats)
    finally:
        torch.set_num_threads(before)
    for row in rows:
        row["ms"] = 1000 * seconds[row["backend"]] / batch_size
        row["ratio"] = seconds["torch"] / seconds[row["backend"]]
    Console().print(_table(rows, net, codec, batch_size, threads or before))
    return rows


def _made(net: nn.Module, codec: Codec, backend: str) -> nn.Module:
    """Give the network to an engine, and say how long that takes: minutes for some."""
    start = time.perf_counter()
    engine = accelerate(net, codec.input_size, backend)
    logger.info("%s: made in %.0f s", _TITLES.get(backend, backend), time.perf_counter() - start)
    return engine


def _network(model: Callable[..., nn.Module], num_channels: int, weights: str | None) -> nn.Module:
    torch.manual_seed(0)
    net = model(num_keypoints=num_channels).eval()
    if weights is not None:
        logger.info("%s", load_weights(net, find_weights(weights)))
        return net
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight)
    return net


def _table(rows: Sequence[dict[str, Any]], net: nn.Module, codec: Codec, batch_size: int, threads: int) -> Table:
    width, height = codec.input_size
    table = Table(
        title=f"{type(net).__name__} {width}x{height}, {batch_size} crops at once, {threads} threads",
        caption=(
            "ms for a crop, the fastest call; ratio to torch as it is. Differences are to torch fp32: of heatmaps by their "
            "highest value, of keypoints the largest and the median in pixels of the input."
        ),
    )
    for name in ("engine", "ms", "ratio", "heatmaps", "keypoints", "median"):
        table.add_column(name, justify="left" if name == "engine" else "right", no_wrap=True)
    for row in rows:
        numbers = (
            f"{row['ms']:.1f}",
            f"{row['ratio']:.2f}",
            f"{row['heatmaps']:.1e}",
            f"{row['keypoints']:.1e}",
            f"{row['median']:.1e}",
        )
        table.add_row(
            _TITLES.get(row["backend"], row["backend"]), *numbers, style="dim" if row["backend"] in HALF else None
        )
    return table
