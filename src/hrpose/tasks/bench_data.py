"""`hrpose bench data`: what a training sample costs, beside the usual way of making one."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from hrpose.annotations.coco import read_skeleton
from hrpose.codecs import HeatmapCodec
from hrpose.data.benchmark import COLLATE, DECODE, DRAW, NORMALISE, TARGETS, WARP, SampleTimes, time_samples
from hrpose.data.datamodule import PoseDataModule

STAGES = (DECODE, DRAW, WARP, NORMALISE, TARGETS, COLLATE, "total", "device")


def bench_data(
    *,
    annotations_file: str | Path,
    image_dir: str | Path,
    input_size: tuple[int, int] = (192, 256),
    num_samples: int = 512,
    repeats: int = 3,
) -> list[dict[str, str | float | None]]:
    """Time training samples with the paper's augmentation and print a table of milliseconds per sample and core.

    hrpose and the reference (see `hrpose.data.benchmark`) take turns; of the repeats the one with the least disturbed total
    counts, for each side. The photos are read once before, so that the disk is not measured.

    Args:
        annotations_file: COCO keypoint file.
        image_dir: its photos.
        input_size: (width, height) of the crops.
        num_samples: samples in a repeat.
        repeats: how often to measure.

    Returns:
        A row for each stage: its name, `hrpose_ms`, `reference_ms`; the total's row has `ratio` too. "device" is what the
        training process does to a batch afterwards, here on the CPU: it is no part of the total.

    Raises:
        ValueError: if a number is below 1.
        DataError: if the data cannot be used.
    """
    if num_samples < 1 or repeats < 1:
        raise ValueError(f"Expected `num_samples` and `repeats` to be at least 1, but got {num_samples} and {repeats}.")
    width, height = input_size
    data = PoseDataModule(
        HeatmapCodec(input_size=(width, height), heatmap_size=(width // 4, height // 4), sigma=2),
        read_skeleton(annotations_file),
        train_annotations=annotations_file,
        train_images=image_dir,
        val_annotations=annotations_file,
        val_images=image_dir,
    )
    data.setup("fit")
    time_samples(data, min(num_samples, len(data.train_table)))
    runs = [time_samples(data, num_samples) for _ in range(repeats)]
    best = SampleTimes(
        hrpose=min((run.hrpose for run in runs), key=lambda times: times["total"]),
        reference=min((run.reference for run in runs), key=lambda times: times["total"]),
        photos=runs[0].photos,
    )
    Console().print(_table(best, width, height))
    return _rows(best)


def _rows(times: SampleTimes) -> list[dict[str, str | float | None]]:
    rows: list[dict[str, str | float | None]] = [
        {"stage": stage, "hrpose_ms": times.hrpose.get(stage), "reference_ms": times.reference.get(stage)}
        for stage in STAGES
    ]
    for row in rows:
        if row["stage"] == "total":
            row["ratio"] = times.ratio
    return rows


def _table(times: SampleTimes, width: int, height: int) -> Table:
    table = Table(
        title=f"One {width}x{height} training sample, ms per core",
        caption=(
            f"hrpose costs {times.ratio:.2f} of the reference; {times.photos:.2f} photos decoded for a sample. "
            "'device' (normalise, target heatmaps) runs after the transfer, here on the CPU, and is not in the total."
        ),
    )
    for name, justify in (("stage", "left"), ("hrpose", "right"), ("reference", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for row in _rows(times):
        shown = ["" if row[key] is None else f"{row[key]:.3f}" for key in ("hrpose_ms", "reference_ms")]
        table.add_row(str(row["stage"]), *shown, style="bold" if row["stage"] == "total" else None)
    return table
