"""Measure the decoding error of each codec without a network, and the time of decoding.

python scripts/benchmarks/codecs.py                           five codecs at three sizes
python scripts/benchmarks/codecs.py dark_256x192 --repeats 1  one codec
"""

import argparse
from collections.abc import Sequence
from time import perf_counter

import torch
from machine import describe_machine
from rich.console import Console
from rich.table import Table

from hrpose.codecs import Codec, decoding_errors
from hrpose.config import build, compose

NAMES = tuple(
    f"{codec}_{size}" for size in ("128x96", "256x192", "384x288") for codec in ("heatmap", "dark", "udp", "udp_offset", "simcc")
)
NUM_POINTS, NOISE, SEED = 2000, 0.05, 0
Row = dict[str, str | float]


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """Print one row per codec.

    Returns:
        The rows: `codec`; the mean distance between decoded and true keypoint in input pixels, `clean`, `noisy` and
        `flip_test` (averaged with the target of the mirrored image); `flip_bias`, the mean error along x in the flip test;
        `decode_us`, microseconds to decode one instance of 17 keypoints in a batch of 32.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("codecs", nargs="*", default=NAMES, help=f"codecs to measure, all by default: {', '.join(NAMES)}")
    parser.add_argument("--num-points", type=int, default=NUM_POINTS, help="keypoints per codec")
    parser.add_argument("--noise", type=float, default=NOISE, help="standard deviation, relative to the highest value")
    parser.add_argument("--repeats", type=int, default=5, help="number of timed calls; the fastest counts")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.codecs if name not in NAMES]:
        parser.error(f"there is no codec {unknown[0]}; there are {', '.join(NAMES)}")
    rows = [measure(name, options.num_points, options.noise, options.repeats) for name in options.codecs]
    table = Table(
        title="Decoding error of a codec alone, mean distance in input pixels",
        caption=f"noisy: noise of {options.noise:g} of the highest value is added. flip test: averaged with the target of "
        f"the mirrored image; its bias is the mean error along x.",
    )
    for name in ("codec", "clean", "noisy", "flip test", "flip bias", "us per instance"):
        table.add_column(name, justify="left" if name == "codec" else "right")
    for row in rows:
        lengths = [f"{row[key]:.3f}" for key in ("clean", "noisy", "flip_test", "flip_bias")]
        table.add_row(str(row["codec"]), *lengths, f"{row['decode_us']:.1f}")
    console = Console()
    console.print(table)
    console.print(describe_machine())
    return rows


def build_codec(name: str) -> Codec:
    """Build a codec from its name, such as "dark_256x192" for `codec=dark size=256x192`."""
    codec, _, size = name.rpartition("_")
    built: Codec = build(compose("fit", [f"codec={codec}", f"size={size}"]).codec)
    return built


def measure(name: str, num_points: int = NUM_POINTS, noise: float = NOISE, repeats: int = 5) -> Row:
    """Measure one codec; without repeats, its time is not measured."""
    codec = build_codec(name)
    clean, noisy, flipped = (
        decoding_errors(codec, num_points=num_points, seed=SEED, **kind) for kind in ({}, {"noise": noise}, {"flip_test": True})
    )
    row: Row = {
        "codec": name,
        "clean": float(clean.norm(dim=1).mean()),
        "noisy": float(noisy.norm(dim=1).mean()),
        "flip_test": float(flipped.norm(dim=1).mean()),
        "flip_bias": float(flipped[:, 0].mean()),
    }
    return row | ({"decode_us": time_decoding(codec, repeats)} if repeats else {})


def time_decoding(codec: Codec, repeats: int) -> float:
    """Return the microseconds per instance of the fastest call."""
    size = torch.tensor(codec.input_size, dtype=torch.float32)
    points = torch.rand(32, 17, 2, generator=torch.Generator().manual_seed(0)) * size
    outputs = codec.encode(points, torch.ones(32, 17))[0]
    codec.decode(outputs)
    times = []
    for _ in range(max(1, repeats)):
        start = perf_counter()
        codec.decode(outputs)
        times.append(perf_counter() - start)
    return min(times) / 32 * 1e6


if __name__ == "__main__":
    main()
