"""Time the stages of a training sample, and compare them with reference code.

python scripts/benchmarks/data.py                                               drawn people, 256x192
python scripts/benchmarks/data.py --data data=coco paths.data=datasets/coco     the training images of a dataset
python scripts/benchmarks/data.py --num-samples 64 --repeats 1

The reference follows common HRNet code: `cv2.imread`, `cvtColor`, `warpAffine` (from a mirrored view for half of the
samples), normalisation to float CHW, Gaussian targets keypoint by keypoint in numpy, torch's default collate. Both run
alternately, in one process and on one thread. Times are CPU times, which depend little on other programs.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from machine import describe_machine
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.data import default_collate

from hrpose.config import build, compose
from hrpose.data.crops import IMAGENET_MEAN, IMAGENET_STD
from hrpose.data.datamodule import PoseDataModule
from hrpose.data.dataset import PoseDataset
from hrpose.data.transforms import HalfBody, RandomFlip, RandomRotation, RandomScale
from hrpose.geometry import center_scale_from_bbox, flip_keypoints, input_from_image, transform_points
from hrpose.synthetic import write_dataset

DECODE, DRAW, WARP, NORMALISE, TARGETS, COLLATE = (
    "read and decode",
    "draw the crop",
    "warp",
    "normalise",
    "target heatmaps",
    "keypoints and batch",
)
STAGES = (DECODE, DRAW, WARP, NORMALISE, TARGETS, COLLATE, "total", "device")


def main(arguments: Sequence[str] | None = None) -> "SampleTimes":
    """Print the milliseconds per sample of each stage, each from the fastest of the repeats."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", help="overrides of `hrpose fit` that select the data; drawn people by default")
    parser.add_argument("--num-samples", type=int, default=512, help="samples per repeat")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        data = build_data(options.data or [], Path(folder), options.num_samples)
        time_samples(data, min(options.num_samples, len(data.train_table)))  # read once before, so that the disk is not measured
        runs = [time_samples(data, options.num_samples) for _ in range(options.repeats)]
    best = SampleTimes(
        hrpose=min((run.hrpose for run in runs), key=lambda times: times["total"]),
        reference=min((run.reference for run in runs), key=lambda times: times["total"]),
        images=runs[0].images,
    )
    width, height = data.codec.input_size
    table = Table(
        title=f"One {width}x{height} training sample, ms per core",
        caption=f"hrpose takes {best.ratio:.2f} of the reference's time; {best.images:.2f} images are decoded per sample. "
        f"'device' (normalise, target heatmaps) runs after the transfer, here on the CPU, and is not in the total.",
    )
    for name in ("stage", "hrpose", "reference"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for stage in STAGES:
        shown = [f"{side[stage]:.3f}" if stage in side else "" for side in (best.hrpose, best.reference)]
        table.add_row(stage, *shown, style="bold" if stage == "total" else None)
    console = Console()
    console.print(table)
    console.print(describe_machine())
    return best


def build_data(overrides: Sequence[str], folder: Path, num_samples: int) -> PoseDataModule:
    """Build the data module of a configuration; without overrides, draw people into a folder."""
    if not overrides:
        write_dataset(folder / "people", num_train=min(num_samples, 256), num_val=1)
        overrides = ["experiment=w32_256x192", f"paths.data={folder / 'people'}"]
    cfg = compose("fit", [*overrides, "data.num_workers=0"])
    data: PoseDataModule = build(cfg.data, codec=build(cfg.codec), skeleton=build(cfg.skeleton))
    data.setup("fit")
    return data


class Stopwatch:
    """Add up CPU seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Add the time of a block."""
        start = time.process_time()
        yield
        self.seconds[stage] += time.process_time() - start


class _TimedDataset(PoseDataset):
    """A dataset that times its own steps."""

    watch = Stopwatch()
    num_images = 0

    def _image_of(self, index: int, num_rows: int) -> NDArray[np.uint8]:
        self.num_images += 1
        with self.watch(DECODE):
            return super()._image_of(index, num_rows)

    def _place(self, *arguments: Any) -> Any:
        with self.watch(DRAW):
            return super()._place(*arguments)

    def _warp(self, *arguments: Any) -> None:
        with self.watch("decode and warp"):
            super()._warp(*arguments)


@dataclass(frozen=True)
class SampleTimes:
    """Milliseconds per sample by stage.

    Attributes:
        hrpose: times by stage; "total" is the time of a worker, "device" the time on the device (here the CPU).
        reference: times by stage, with "total".
        images: number of images that hrpose decodes per sample; below 1 if instances of one image are in one batch.
    """

    hrpose: dict[str, float]
    reference: dict[str, float]
    images: float

    @property
    def ratio(self) -> float:
        """Time of a sample relative to the reference."""
        return self.hrpose["total"] / self.reference["total"]


def time_samples(data: PoseDataModule, num_samples: int, batch_size: int = 32) -> SampleTimes:
    """Make training samples once with hrpose and once with the reference.

    Args:
        data: the data module, after `setup("fit")`.
        num_samples: number of instances, in random order; repeated if there are fewer.
        batch_size: samples per batch.
    """
    dataset = _TimedDataset(
        data.train_table,
        data.train_images,
        data.codec.input_size,
        data.skeleton,
        augment=[HalfBody(), RandomScale(), RandomRotation(), RandomFlip()],
    )
    order = np.random.default_rng(0).permutation(np.resize(np.arange(len(dataset)), num_samples)).tolist()
    batches = [order[start : start + batch_size] for start in range(0, num_samples, batch_size)]
    with _one_thread():
        ours = _time_hrpose(data, dataset, batches)
        reference = _time_reference(dataset, batches)
    return SampleTimes(_per_sample(ours, num_samples), _per_sample(reference, num_samples), dataset.num_images / num_samples)


def _time_hrpose(data: PoseDataModule, dataset: _TimedDataset, batches: Sequence[list[int]]) -> dict[str, float]:
    watch = dataset.watch = Stopwatch()
    for epoch, rows in enumerate(batches):
        with watch("total"):
            batch = dataset.__getitems__([(epoch, row) for row in rows])
        with watch("device"):
            data.on_after_batch_transfer(batch, 0)
    seconds = watch.seconds
    return {
        DECODE: seconds[DECODE],
        DRAW: seconds[DRAW],
        WARP: seconds["decode and warp"] - seconds[DECODE],
        COLLATE: seconds["total"] - seconds["decode and warp"] - seconds[DRAW],
        "total": seconds["total"],
        "device": seconds["device"],
    }


def _time_reference(dataset: PoseDataset, batches: Sequence[list[int]]) -> dict[str, float]:
    watch = Stopwatch()
    rng = np.random.default_rng(0)
    for rows in batches:
        with watch("total"):
            samples = [_reference_sample(dataset, row, rng, watch) for row in rows]
            with watch(COLLATE):
                default_collate(samples)
    return dict(watch.seconds)


def _reference_sample(dataset: PoseDataset, row: int, rng: np.random.Generator, watch: Stopwatch) -> tuple[Any, ...]:
    """Make one sample as common HRNet code does."""
    table, size = dataset.table, dataset.input_size
    with watch(DECODE):
        name = table.file_names[int(table.image_index[row])]
        pixels = cv2.imread(str(Path(dataset.image_dir) / name), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        assert pixels is not None, "the dataset has checked that it exists"
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    with watch(WARP):
        center, scale = center_scale_from_bbox(table.bbox[row], size[0] / size[1], dataset.bbox_padding)
        keypoints, visibility = table.keypoints[row].astype(np.float64), table.visibility[row]
        if rng.random() < 0.5:
            width = pixels.shape[1]
            pixels = pixels[:, ::-1]
            center = np.array([width - 1 - center[0], center[1]])
            keypoints, visibility = flip_keypoints(keypoints, visibility, dataset.skeleton.flip_permutation, width)
        matrix = input_from_image(center, scale * rng.uniform(0.65, 1.35), rng.uniform(-45, 45), size)
        crop = cv2.warpAffine(pixels, matrix, size, flags=cv2.INTER_LINEAR)
        keypoints = transform_points(keypoints, matrix)
    with watch(NORMALISE):
        image = torch.from_numpy(crop).permute(2, 0, 1).contiguous().to(torch.float32).div(255)
        image.sub_(torch.tensor(IMAGENET_MEAN).view(3, 1, 1)).div_(torch.tensor(IMAGENET_STD).view(3, 1, 1))
    with watch(TARGETS):
        target, weight = _reference_target(keypoints, visibility, size)
    return image, target, weight, {"image": name, "center": center, "scale": scale, "keypoints": keypoints}


def _reference_target(
    keypoints: NDArray[np.float64], visibility: NDArray[Any], input_size: tuple[int, int], sigma: int = 2
) -> tuple[Tensor, Tensor]:
    """Draw the paper's Gaussians keypoint by keypoint."""
    width, height = input_size[0] // 4, input_size[1] // 4
    target = np.zeros((len(keypoints), height, width), np.float32)
    weight = (visibility > 0).astype(np.float32)[:, None]
    radius = 3 * sigma
    for k, point in enumerate(keypoints):
        x, y = int(point[0] / 4 + 0.5), int(point[1] / 4 + 0.5)
        left, top, right, bottom = x - radius, y - radius, x + radius + 1, y + radius + 1
        if left >= width or top >= height or right < 0 or bottom < 0:
            weight[k] = 0
        elif weight[k] > 0.5:
            grid = np.arange(2 * radius + 1, dtype=np.float32)
            patch = np.exp(-((grid - radius) ** 2 + (grid[:, None] - radius) ** 2) / (2 * sigma**2))
            rows, columns = slice(max(0, top), min(bottom, height)), slice(max(0, left), min(right, width))
            target[k, rows, columns] = patch[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return torch.from_numpy(target), torch.from_numpy(weight)


def _per_sample(seconds: dict[str, float], count: int) -> dict[str, float]:
    return {stage: 1000 * total / count for stage, total in seconds.items()}


@contextmanager
def _one_thread() -> Iterator[None]:
    """Limit OpenCV and torch to one thread inside the block."""
    before = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    yield
    cv2.setNumThreads(before[0])
    torch.set_num_threads(before[1])


if __name__ == "__main__":
    main()
