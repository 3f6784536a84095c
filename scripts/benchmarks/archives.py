"""Time reading and training samples from files, zip and tar archives, shuffled and in blocks; and the memory of an epoch.

python scripts/benchmarks/archives.py                                  20,000 images, with the index of a million members
python scripts/benchmarks/archives.py --num-images 500 --num-members 1000 --repeats 1

A few hundred images are drawn and copied under other names, because drawing 20,000 takes long and reading does not depend on the
content. "cold" drops the files from the page cache first (posix_fadvise), so that they are read from the disk. Processor times of
this process are printed beside wall times, because they depend less on other programs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from hrpose.annotations.converters.archives import write_archives
from hrpose.codecs import HeatmapCodec
from hrpose.data.datamodule import PoseDataModule
from hrpose.data.dataset import PoseDataset, shuffle_in_blocks
from hrpose.media.archives import Archives
from hrpose.media.images import read_bytes
from hrpose.skeletons import COCO
from hrpose.synthetic import write_dataset

NUM_DRAWN, BATCH = 256, 32


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Print the tables with the fastest of the repeats."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-images", type=int, default=20_000)
    parser.add_argument("--num-members", type=int, default=1_000_000, help="members of the archives for the time of the index")
    parser.add_argument("--block", type=int, default=4096, help="data.shuffle_block")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", help="folder of the images; a temporary folder by default")
    options = parser.parse_args(arguments)
    console = Console()
    with tempfile.TemporaryDirectory(dir=options.folder) as made:
        folder = Path(made)
        places = write_images(folder, options.num_images)
        figures = {"samples": time_sources(folder, places, options.block, options.repeats)}
        console.print(sample_table(figures["samples"], options))
        figures["memory"] = measure_memory(folder, places["tar"], options.block)
        console.print("Memory of the process and 2 workers, MB: {after_100:.0f} after 100 batches, {after_epoch:.0f} after "
                      "the epoch of {batches} batches".format(**figures["memory"]))  # fmt: skip
        figures["index"] = {kind: time_index(folder, kind, options.num_members) for kind in ("zip", "tar")}
        for kind, (wall, processor, held) in figures["index"].items():
            console.print(
                f"Index of {options.num_members:,} members of a {kind}: {wall:.1f} s, {processor:.1f} s of a core, "
                f"{held / 1e6:.0f} MB"
            )
    console.print(describe_machine())
    return figures


def write_images(folder: Path, count: int) -> dict[str, Path]:
    """Write images and their annotations as files, tar and zip; return the folder or pattern of each."""
    num_drawn = min(NUM_DRAWN, count)
    drawn = write_dataset(folder / "drawn", num_train=num_drawn, num_val=1, image_size=(640, 480))
    content = json.loads((drawn / "annotations" / "person_keypoints_train2017.json").read_text())
    of_image: dict[int, dict[str, Any]] = {}
    for row in content["annotations"]:
        of_image.setdefault(row["image_id"], row)  # one instance per image, so every sample reads an image
    rows = [row for row in content["images"] if row["id"] in of_image]
    images, annotations = [], []
    (folder / "files").mkdir()
    for number in range(count):
        image = rows[number % len(rows)]
        name = f"{number:06}.jpg"
        shutil.copyfile(drawn / "train2017" / image["file_name"], folder / "files" / name)
        images.append({**image, "id": number, "file_name": name})
        annotations.append({**of_image[image["id"]], "id": number, "image_id": number})
    (folder / "train.json").write_text(json.dumps({**content, "images": images, "annotations": annotations}))
    names = {"train": [image["file_name"] for image in images]}
    packed = {
        kind: write_archives(names, folder / "files", folder / kind, kind=kind, size=100, seed=0)["train"]
        for kind in ("tar", "zip")
    }
    return {"files": folder / "files", **packed}


def open_dataset(folder: Path, images: Path, **options: Any) -> PoseDataModule:
    """Build the data module of the images with the settings of a training."""
    data = PoseDataModule(
        HeatmapCodec(input_size=(192, 256), heatmap_size=(48, 64), sigma=2.0),
        COCO,
        train_annotations=folder / "train.json",
        train_images=images,
        val_annotations=folder / "train.json",
        val_images=images,
        batch_size=BATCH,
        **options,
    )
    data.setup("fit")
    return data


def time_sources(folder: Path, places: dict[str, Path], block: int, repeats: int) -> dict[str, dict[str, float]]:
    """Time reading and complete samples of each source in each order; in microseconds per image and milliseconds per sample."""
    found: dict[str, dict[str, float]] = {}
    for source, images in places.items():
        dataset = open_dataset(folder, images)._train_set
        assert isinstance(dataset, PoseDataset)
        rng = np.random.default_rng(0)
        count = len(dataset)
        orders = {"shuffled": rng.permutation(count), "in blocks": shuffle_in_blocks(dataset.stored_order(), block, rng)}
        for name, order in orders.items():
            row = found[f"{source}, {name}"] = {}
            drop_from_cache(images)
            row["cold"] = timed(lambda order=order, dataset=dataset: read_all(dataset, order))[0] / count * 1e6
            warm = [timed(lambda order=order, dataset=dataset: read_all(dataset, order)) for _ in range(repeats)]
            row["warm"], row["cpu"] = (min(column) / count * 1e6 for column in zip(*warm, strict=True))
            some = order[: 32 * BATCH]
            whole = [timed(lambda some=some, dataset=dataset: make_all(dataset, some)) for _ in range(repeats)]
            row["sample"], row["sample cpu"] = (min(column) / len(some) * 1e3 for column in zip(*whole, strict=True))
    return found


def read_all(dataset: PoseDataset, order: NDArray[np.int64]) -> None:
    """Read the bytes of the images of some samples."""
    table = dataset.table
    for index in table.image_index[order].tolist():
        read_bytes(f"{dataset.image_dir}/{table.file_names[index]}")


def make_all(dataset: PoseDataset, order: NDArray[np.int64]) -> None:
    """Make training samples in batches."""
    for start in range(0, len(order), BATCH):
        dataset.__getitems__(order[start : start + BATCH].tolist())


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Return the wall time and the processor time of a function in seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def drop_from_cache(images: Path) -> None:
    """Drop the files of a folder or a pattern from the page cache."""
    for file in images.iterdir() if images.is_dir() else images.parent.glob(images.name):
        descriptor = os.open(file, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def measure_memory(folder: Path, images: Path, block: int) -> dict[str, float]:
    """Read an epoch with two workers; return the memory after 100 batches and at the end, in MB."""
    data = open_dataset(folder, images, num_workers=2, shuffle_block=block)
    used = []
    for number, _ in enumerate(data.train_dataloader(), start=1):
        if number % 20 == 0 or number == data.num_train_batches:
            used.append((number, own_memory()))
    after_100 = next((held for batch, held in used if batch >= 100), used[-1][1])
    return {"after_100": after_100, "after_epoch": used[-1][1], "batches": used[-1][0]}


def own_memory() -> float:
    """Return the memory of this process and its children in MB; shared pages count once."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    total = 0
    for process in ["self", *children]:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1000


def time_index(folder: Path, kind: str, count: int) -> tuple[float, float, int]:
    """Return the wall time and processor time of building an index in seconds, and its size in bytes."""
    file = folder / f"index.{kind}"
    with written(file, kind) as add:
        for number in range(count):
            add(f"train2017/{number * 7919 % count:012}.jpg")
    made: list[Archives] = []
    wall, processor = timed(lambda: made.append(Archives(str(file), [str(file)])))
    return wall, processor, made[0].nbytes


@contextmanager
def written(file: Path, kind: str) -> Iterator[Callable[[str], None]]:
    """Open an archive with members of four bytes; yield a function that adds one. The time of writing is not measured."""
    if kind == "zip":
        with zipfile.ZipFile(file, "w") as archive:
            yield lambda name: archive.writestr(zipfile.ZipInfo(name), b"four")
        return
    member = tarfile.TarInfo()
    member.size = 4
    with file.open("wb") as stream:

        def add(name: str) -> None:
            member.name = name
            stream.write(member.tobuf(tarfile.GNU_FORMAT) + b"four" + bytes(508))

        yield add
        stream.write(bytes(1024))


def sample_table(figures: dict[str, dict[str, float]], options: argparse.Namespace) -> Table:
    """Return a table of the times of each source and order."""
    table = Table(title=f"{options.num_images:,} images of {NUM_DRAWN} drawn ones; blocks of {options.block} samples")
    titles = {"cold": "read cold, us", "warm": "read, us", "cpu": "of a core", "sample": "sample, ms", "sample cpu": "of a core"}
    for title in ("images", *titles.values()):
        table.add_column(title, justify="left" if title == "images" else "right", no_wrap=title == "images")
    for name, row in figures.items():
        table.add_row(name, *(f"{row[key]:.{2 if 'sample' in key else 0}f}" for key in titles))
    return table


if __name__ == "__main__":
    main()
