"""`hrpose bench codecs`: how far each codec alone puts keypoints off, and what decoding costs."""

from collections.abc import Mapping
from time import perf_counter

import torch
from rich.console import Console
from rich.table import Table

from hrpose.codecs import Codec, decoding_errors

Row = dict[str, str | float]


def bench_codecs(
    *, codecs: Mapping[str, Codec], num_points: int = 2000, noise: float = 0.05, repeats: int = 5, seed: int = 0
) -> list[Row]:
    """Measure codecs on targets of their own, clean, with noise and in a flip test, and print a table.

    Args:
        codecs: by the names of the table's rows.
        num_points: keypoints for each.
        noise: deviation of what is added to a target, in units of its highest value.
        repeats: how often to time the decoding of 17 keypoints; the best counts.
        seed: of keypoints and noise.

    Returns:
        A row for each codec: `codec`; the mean distance between decoded and true keypoint in input pixels, `clean`, `noisy`
        and `flip_test` (clean heatmaps averaged with those of the mirror image); `flip_bias`, the mean error along x in the
        flip test; `decode_us`, microseconds to decode one person of 17 keypoints in a batch of 32.

    Raises:
        ValueError: if a number is out of range.
    """
    if repeats < 1:
        raise ValueError(f"Expected `repeats` to be at least 1, but got {repeats}.")
    rows = [_row(name, codec, num_points, noise, repeats, seed) for name, codec in codecs.items()]
    Console().print(_table(rows, noise))
    return rows


def _row(name: str, codec: Codec, num_points: int, noise: float, repeats: int, seed: int) -> Row:
    clean = decoding_errors(codec, num_points=num_points, seed=seed)
    noisy = decoding_errors(codec, num_points=num_points, noise=noise, seed=seed)
    flipped = decoding_errors(codec, num_points=num_points, flip_test=True, seed=seed)
    return {
        "codec": name,
        "clean": float(clean.norm(dim=1).mean()),
        "noisy": float(noisy.norm(dim=1).mean()),
        "flip_test": float(flipped.norm(dim=1).mean()),
        "flip_bias": float(flipped[:, 0].mean()),
        "decode_us": _decode_us(codec, repeats),
    }


def _decode_us(codec: Codec, repeats: int) -> float:
    size = torch.tensor(codec.input_size, dtype=torch.float32)
    points = torch.rand(32, 17, 2, generator=torch.Generator().manual_seed(0)) * size
    outputs = codec.encode(points, torch.ones(32, 17))[0]
    codec.decode(outputs)
    times = []
    for _ in range(repeats):
        start = perf_counter()
        codec.decode(outputs)
        times.append(perf_counter() - start)
    return min(times) / 32 * 1e6


def _table(rows: list[Row], noise: float) -> Table:
    table = Table(
        title="What a codec alone puts off, mean distance in input pixels",
        caption=f"noisy: {noise:g} of the height is added at random. flip test: averaged with the mirror image; its bias "
        "is the mean error along x.",
    )
    for name in ("codec", "clean", "noisy", "flip test", "flip bias", "us a person"):
        table.add_column(name, justify="left" if name == "codec" else "right")
    for row in rows:
        lengths = [f"{row[key]:.3f}" for key in ("clean", "noisy", "flip_test", "flip_bias")]
        table.add_row(str(row["codec"]), *lengths, f"{row['decode_us']:.1f}")
    return table
