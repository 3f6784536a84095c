"""Time one network with every installed engine, and compare its heatmaps and keypoints with those of torch.

python scripts/benchmarks/inference.py                                    HRNet-W32 256x192, batch size 1
python scripts/benchmarks/inference.py experiment=w48_384x288 --batch-size 8
python scripts/benchmarks/inference.py experiment=tiny --weights best.ckpt --engines channels_last openvino
python scripts/benchmarks/inference.py --device cuda --batch-size 128

Overrides select the network and the codec, as in `hrpose fit`. Compare only ratios within one run.
"""

from __future__ import annotations

import argparse
import copy
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe_machine
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from hrpose.codecs import Codec
from hrpose.config import build, compose
from hrpose.estimator.engine import convert_network, installed_backends
from hrpose.export import find_ties
from hrpose.weights import load_weights
from hrpose.weights.fetch import find_weights

logger = logging.getLogger(__name__)

NUM_KEYPOINTS = 17
TITLES = {
    "torch": "torch fp32, eager",
    "channels_last": "torch fp32, channels_last",
    "compiled": "torch fp32, compiled",
    "onnxruntime": "onnxruntime fp32",
    "openvino": "OpenVINO fp32",
    "bf16": "torch bf16, channels_last",
    "bf16_graphs": "torch bf16, compiled, CUDA graphs",
    "openvino_bf16": "OpenVINO bf16",
}
HALF = ("bf16", "bf16_graphs", "openvino_bf16")
_NUM_CALLS = 5  # calls per engine and turn
_NUM_WARM_UP = 2  # calls that are not counted, because threads and weights of the previous engine are still in the caches
Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """Print one row per engine.

    Returns:
        The rows: `engine`; `ms` per crop; `ratio` to eager torch in the same run; differences from it on smooth random images:
        `heatmaps` relative to their highest value, `keypoints` (largest, without ties) and `median` in input pixels.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", default=["experiment=w32_256x192"], help="as in `hrpose fit`")
    parser.add_argument("--weights", help="weights of the network; random by default")
    parser.add_argument("--batch-size", type=int, default=1, help="crops per batch")
    parser.add_argument("--repeats", type=int, default=10, help="turns; the fastest call of each engine counts")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, help="threads of torch; all cores by default")
    parser.add_argument(
        "--engines",
        nargs="+",
        help=f"engines to time: {', '.join(TITLES)}; by default all installed ones except compiled, which takes minutes",
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if options.threads:
        torch.set_num_threads(options.threads)
    cfg = compose("fit", options.overrides)
    codec: Codec = build(cfg.codec)
    net = build_network(cfg.model, codec, options.weights)
    engines = options.engines or installed_engines(options.device)
    rows = compare(net.to(options.device), codec, engines, options.batch_size, options.repeats)
    width, height = codec.input_size
    table = Table(
        title=f"{type(net).__name__} {width}x{height}, {options.batch_size} crops at once",
        caption="ms per crop, the fastest call. Differences are from eager torch in fp32.",
    )
    for name in ("engine", "ms", "ratio", "heatmaps", "keypoints", "median"):
        table.add_column(name, justify="left" if name == "engine" else "right", no_wrap=True)
    for row in rows:
        numbers = [f"{row['ms']:.3g}", f"{row['ratio']:.2f}"]
        numbers += [f"{row[key]:.1e}" for key in ("heatmaps", "keypoints", "median")]
        title = TITLES.get(row["engine"], row["engine"])
        table.add_row(title, *numbers, style="dim" if row["engine"] in HALF else None)
    console = Console()
    console.print(table)
    console.print(describe_machine(options.device))
    return rows


def build_network(node: Any, codec: Codec, weights: str | None) -> nn.Module:
    """Build the network; random weights are large enough that the heatmaps differ from 0."""
    torch.manual_seed(0)
    net: nn.Module = build(node, num_keypoints=codec.num_channels(NUM_KEYPOINTS)).eval()
    if weights is not None:
        logger.info("%s", load_weights(net, find_weights(weights)))
        return net
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight)
    return net


def installed_engines(device: str = "cpu") -> list[str]:
    """Return the installed engines, on a CPU without `compiled`; engines in bf16 only if a CPU has bf16 instructions."""
    if device == "cuda":
        return ["channels_last", "compiled", "bf16", "bf16_graphs"]
    names = ["channels_last", *(name for name in installed_backends() if name != "torch")]
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    if any(flag in flags for flag in ("avx512_bf16", "amx_bf16", " bf16")):
        names += ["bf16", *(f"{name}_bf16" for name in names if name == "openvino")]
    return names


def build_engine(net: nn.Module, codec: Codec, name: str) -> Callable[[Tensor], Tensor]:
    """Build an engine of a copy of the network: images (B, 3, H, W) float32 to heatmaps."""
    if name == "torch":
        return net
    if name in ("onnxruntime", "openvino", "openvino_bf16"):
        backend, _, half = name.partition("_")
        return convert_network(net, codec.input_size, backend, precision="bf16" if half else "32")
    if name not in TITLES:
        raise ValueError(f"Expected engines of {', '.join(TITLES)}, but got {name!r}.")
    dtype = torch.bfloat16 if name in HALF else torch.float32
    own: Callable[[Tensor], Tensor] = copy.deepcopy(net).to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if name in ("compiled", "bf16_graphs"):
        own = torch.compile(own, dynamic=False, mode="reduce-overhead" if name == "bf16_graphs" else None)
    return lambda images: own(images.to(dtype, memory_format=torch.channels_last)).float()


def compare(net: nn.Module, codec: Codec, names: Sequence[str], batch_size: int, repeats: int) -> list[Row]:
    """Time the engines alternately and measure their differences from the network."""
    engines = {}
    for name in ("torch", *(name for name in names if name != "torch")):
        start = time.perf_counter()
        engines[name] = build_engine(net, codec, name)
        logger.info("%s: built in %.0f s", TITLES.get(name, name), time.perf_counter() - start)
    device = next(net.parameters()).device
    images = draw_images(codec.input_size, batch_size * -(-4 // batch_size)).to(device)  # at least four, in complete batches
    rows = [{"engine": name, **measure_differences(engines[name], net, codec, images, batch_size)} for name in engines]
    seconds = time_engines(engines, images[:batch_size], repeats)
    for row in rows:
        row["ms"] = 1000 * seconds[row["engine"]] / batch_size
        row["ratio"] = seconds["torch"] / seconds[row["engine"]]
    return rows


@torch.inference_mode()
def measure_differences(
    engine: Callable[[Tensor], Tensor], net: nn.Module, codec: Codec, images: Tensor, batch_size: int
) -> dict[str, float]:
    """Compare an engine with the network on normalised images (B, 3, H, W)."""
    expected = net(images).float().cpu()
    found = torch.cat([engine(part).float().cpu() for part in torch.split(images, batch_size)])
    tied = torch.from_numpy(find_ties(codec, expected, np.tile(np.eye(2, 3), (len(images), 1, 1))))
    distances = (codec.decode(found)[0] - codec.decode(expected)[0]).norm(dim=-1)
    decided = distances[~tied].nan_to_num(nan=float("inf"))
    return {
        "heatmaps": float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-30)),
        "keypoints": float(decided.max()) if decided.numel() else 0.0,
        "median": float(distances.median()),
    }


@torch.inference_mode()
def time_engines(engines: Mapping[str, Callable[[Tensor], Tensor]], images: Tensor, repeats: int) -> dict[str, float]:
    """Return the seconds of the fastest call of each engine. They run alternately, so other programs affect all equally."""
    best = dict.fromkeys(engines, float("inf"))
    for _ in range(repeats):
        for name, engine in engines.items():
            for call in range(_NUM_CALLS):
                start = _now(images.device)
                engine(images)
                if call >= _NUM_WARM_UP:
                    best[name] = min(best[name], _now(images.device) - start)
    return best


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def draw_images(input_size: Sequence[int], count: int, *, seed: int = 0) -> Tensor:
    """Draw normalised images (count, 3, H, W) of smooth blobs of all sizes."""
    width, height = input_size
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(count, 3, height, width)
    for cells in (2, 4, 8, 16, 32):
        noise = torch.randn(count, 3, cells, cells, generator=generator)
        total += nn.functional.interpolate(noise, size=(height, width), mode="bilinear") / 2
    return total


if __name__ == "__main__":
    main()
