"""Training samples and their order. A row of the table becomes a crop by one decode, one warp and one matrix for the keypoints.

The generator of a sample is seeded by (seed, epoch, index), so the sample is the same in every worker, process and resumed run.
"""

import os
import signal
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from threading import Thread
from typing import Any

import cv2
import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

from hrpose.data.crops import crop_matrices, crops_of_bboxes, empty_images, warp_crops
from hrpose.data.pixels import PixelStage
from hrpose.data.transforms import CropTransform, HalfBody
from hrpose.errors import DataError
from hrpose.geometry import Grid, invert_affine, transform_points
from hrpose.media.archives import archives_of, split_archive
from hrpose.media.folders import check_images_exist
from hrpose.media.images import STORED, Reading, read_image
from hrpose.skeletons import Skeleton
from hrpose.structures import Crop, InstanceTable, RawBatch, Sample

RUNS_PER_BLOCK = 64  # runs of samples stored together that are shuffled with each other
Key = int | tuple[int, int]
_NAMES = {  # names in messages of what the order of the samples depends on
    "samples_per_batch": "the samples in a step (batch size x processes)",
    "num_samples": "the number of training samples",
    "seed": "the seed",
    "shuffle_block": "data.shuffle_block (0 is null)",
}


def sample_generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Return the random generator of one sample of one epoch.

    Philox is counter-based: different keys give independent streams, and a new one takes 10 microseconds.
    """
    key = np.array([seed % 2**64, (epoch % 2**32) << 32 | index], np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def split_key(key: Key, count: int) -> tuple[int, int]:
    """Return (epoch, index) of a key of a dataset with `count` samples; negative indices count from the end.

    Raises:
        IndexError: if the index is out of range.
    """
    epoch, index = key if isinstance(key, tuple) else (0, key)
    if not -count <= index < count:
        raise IndexError(f"Expected an index below {count}, the number of samples, but got {index}.")
    return int(epoch), int(index) % count


class PoseDataset(Dataset[Sample]):
    """Crops of instances, addressed by (epoch, index); a plain index is of epoch 0.

    `__getitems__` returns a batch, warped into memory that is shared with the training process; use `collate_fn=keep_batch` in a
    DataLoader.

    Args:
        table: the instances.
        image_dir: image folder or archives, which must contain all images of the table.
        input_size: (width, height) of the crops.
        skeleton: the keypoints.
        grid: pixel grid of the codec.
        augment: transforms of the crop, in their order.
        pixel_transforms: albumentations `Compose` of pixel-level transforms, run on the finished crop.
        bbox_padding: factor by which boxes are enlarged.
        seed: of all random draws.
        reading: orientation and scale of the images.

    Raises:
        MissingDataError: if images are missing.
        DataError: if the table has another number of keypoints than the skeleton, or a transform moves pixels.
    """

    def __init__(
        self,
        table: InstanceTable,
        image_dir: str | Path,
        input_size: tuple[int, int],
        skeleton: Skeleton,
        *,
        grid: Grid = "plain",
        augment: Sequence[CropTransform] = (),
        pixel_transforms: Any = None,
        bbox_padding: float = 1.25,
        seed: int = 0,
        reading: Reading = STORED,
    ) -> None:
        if table.num_keypoints != skeleton.num_keypoints:
            raise DataError(
                f"Expected instances with the {skeleton.num_keypoints} keypoints of skeleton '{skeleton.name}', but the "
                f"annotations have {table.num_keypoints}. Use the skeleton of the annotation file (skeleton=auto, or the one "
                "named after the data set), or another annotation file."
            )
        check_images_exist([table.file_names[int(index)] for index in np.unique(table.image_index)], image_dir)
        self.table, self.skeleton, self.grid = table, skeleton, grid
        self.image_dir = str(image_dir)
        self._archives = archives_of(image_dir)  # pickled for the workers
        self.input_size = (int(input_size[0]), int(input_size[1]))
        self.augment = tuple(t.for_skeleton(skeleton) if isinstance(t, HalfBody) else t for t in augment)
        self.pixel_stage = PixelStage(pixel_transforms) if pixel_transforms is not None else None
        self.bbox_padding, self.seed, self.reading = bbox_padding, seed, reading
        self._last_image: tuple[int, int, NDArray[np.uint8]] | None = None

    def __len__(self) -> int:
        return len(self.table)

    def stored_order(self) -> NDArray[np.int64]:
        """Return the samples in the order in which their images are stored: by place in archives, otherwise by name."""
        names = self.table.file_names.tolist()
        used, places = np.unique(self.table.image_index, return_inverse=True)
        ranks = rank_stored([names[index] for index in used.tolist()], self.image_dir)
        return np.argsort(ranks[places], kind="stable")

    def __getitem__(self, key: Key) -> Sample:
        """Return one crop."""
        batch = self.__getitems__([key])
        return Sample(
            image=batch["images"][0].numpy(),
            keypoints=batch["keypoints"][0].numpy(),
            visibility=batch["visibility"][0].numpy(),
            image_from_input=batch["image_from_input"][0].numpy(),
            center=batch["center"][0].numpy(),
            scale=batch["scale"][0].numpy(),
            bbox_score=float(batch["bbox_scores"][0]),
            image_id=int(batch["image_ids"][0]),
            instance_id=int(batch["instance_ids"][0]),
        )

    def __getitems__(self, keys: Sequence[Key]) -> RawBatch:
        """Return a batch of crops.

        Raises:
            IndexError: if an index is out of range.
            DataError: if an image is missing or damaged, or its size differs from the annotations.
        """
        addresses = [split_key(key, len(self)) for key in keys]
        rows = np.array([row for _, row in addresses], np.int64)
        images = empty_images(len(rows), self.input_size)
        crops, generators, matrices = self._place(addresses, rows)
        inverses = invert_affine(matrices)
        self._warp(rows, matrices, inverses, images.numpy())
        if self.pixel_stage is not None:
            for pixels, rng in zip(images.numpy(), generators, strict=True):
                pixels[:] = self.pixel_stage(pixels, rng)
        keypoints, visibility = self._move_keypoints(rows, crops, matrices)
        table = self.table
        return RawBatch(
            images=images,
            keypoints=torch.from_numpy(keypoints),
            visibility=torch.from_numpy(visibility),
            image_from_input=torch.from_numpy(inverses),
            center=torch.from_numpy(np.stack([crop.center for crop in crops])),
            scale=torch.from_numpy(np.stack([crop.scale for crop in crops])),
            bbox_scores=torch.from_numpy(table.bbox_scores[rows]),
            image_ids=torch.from_numpy(table.image_ids[table.image_index[rows]]),
            instance_ids=torch.from_numpy(table.instance_ids[rows]),
        )

    def _place(
        self, addresses: Sequence[tuple[int, int]], rows: NDArray[np.int64]
    ) -> tuple[list[Crop], list[np.random.Generator], NDArray[np.float64]]:
        """Return the augmented crops, their generators and input_from_image (B, 2, 3)."""
        crops = crops_of_bboxes(self.table.bbox[rows], self.input_size, self.bbox_padding)
        generators = [sample_generator(self.seed, epoch, row) for epoch, row in addresses]
        for slot, (row, rng) in enumerate(zip(rows, generators, strict=True)):
            for transform in self.augment:
                crops[slot] = transform(crops[slot], self.table.keypoints[row], self.table.visibility[row], rng)
        return crops, generators, crop_matrices(crops, self.input_size, self.grid)

    def _warp(
        self, rows: NDArray[np.int64], matrices: NDArray[np.float64], inverses: NDArray[np.float64], pixels: NDArray[np.uint8]
    ) -> None:
        """Warp the crops; each image is decoded once, down to the last row that its crops need."""
        width, height = self.input_size
        corners = transform_points([[-1, -1], [width, -1], [-1, height], [width, height]], inverses)
        bottoms = np.ceil(corners[..., 1].max(axis=1)).clip(0, 2**20).astype(int)
        images = self.table.image_index[rows]
        for index in dict.fromkeys(images.tolist()):
            slots = np.flatnonzero(images == index)
            image = self._image_of(index, int(bottoms[slots].max()) + 1)
            warp_crops(image, matrices, pixels, slots)

    def _move_keypoints(
        self, rows: NDArray[np.int64], crops: Sequence[Crop], matrices: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Transform the keypoints with the matrices (B, 2, 3) of their crops; mirrored crops swap left and right."""
        flipped = np.array([crop.flip for crop in crops])[:, None]
        order = np.where(flipped, self.skeleton.flip_permutation, np.arange(self.skeleton.num_keypoints))
        visibility = np.take_along_axis(self.table.visibility[rows], order, axis=1)
        keypoints = transform_points(np.take_along_axis(self.table.keypoints[rows], order[..., None], axis=1), matrices)
        return np.where(visibility[..., None] > 0, keypoints, 0).astype(np.float32), visibility

    def _image_of(self, index: int, num_rows: int) -> NDArray[np.uint8]:
        """Return the first rows of an image; those of the last image are kept."""
        width, height = self.table.image_sizes[index].tolist()
        size = (width, height) if height else None  # MPII's annotations state no sizes
        height = height or num_rows
        if self._last_image is None or self._last_image[0] != index or self._last_image[1] < min(num_rows, height):
            file = f"{self.image_dir}/{self.table.file_names[index]}"
            image = read_image(file, size=size, num_rows=num_rows, reading=self.reading)
            self._last_image = (index, height if len(image) == height else num_rows, image)
        return self._last_image[2]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_last_image": None}


def rank_stored(names: Sequence[str], image_dir: str) -> NDArray[np.int64]:
    """Return the rank of each image in the order of storage: by place in archives, otherwise by name."""
    archives, inside = archives_of(image_dir), split_archive(image_dir)
    if archives is None or inside is None:
        return np.argsort(np.argsort(np.array(names)))
    prefix = f"{inside[1]}/" if inside[1] else ""
    return archives.stored_order([prefix + name for name in names])


def keep_batch(batch: RawBatch) -> RawBatch:
    """Return the batch that `PoseDataset.__getitems__` returned, as `collate_fn`."""
    return batch


def start_worker(worker_id: int) -> None:
    """Limit OpenCV to one thread in a worker of a loader, and let only the main process stop the worker.

    `timeout`, SLURM and systemd send a signal to all processes of a run. The main process then needs workers until it has
    written a checkpoint.
    """
    cv2.setNumThreads(0)
    if hasattr(signal, "sigwaitinfo"):  # Linux
        for number in (signal.SIGUSR1, signal.SIGUSR2):  # warnings of SLURM
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    """End the process when its parent sends SIGTERM."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)


def shuffle_in_blocks(stored: NDArray[np.int64], block: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Shuffle samples so that those stored together are read at about the same time.

    The stored order is cut into runs at random places, and the runs are shuffled. Then the samples of each block, of
    `RUNS_PER_BLOCK` runs, are shuffled.

    Args:
        stored: (N,) the samples in the order in which they are stored.
        block: number of samples that are shuffled together.
        rng: source of random numbers.
    """
    count = len(stored)
    run = max(block // RUNS_PER_BLOCK, 1)
    runs = (np.arange(count) + rng.integers(run)) // run
    ranks = rng.permutation(int(runs[-1]) + 1 if count else 0)
    order = stored[np.argsort(ranks[runs], kind="stable")]
    return order[np.argsort(np.arange(count) // block + rng.random(count))]


class EpochSampler(DistributedSampler[Any]):
    """Yield (epoch, index) for every sample of this process.

    As in torch's DistributedSampler, each process has every n-th sample of the common order, and the first ones are repeated so
    that all processes have the same number.

    Args:
        dataset: the samples.
        shuffle: a new order in every epoch, instead of the order of the table.
        seed: of the order.
        num_replicas: number of processes; by default the world size of torch.distributed.
        rank: of this process; by default its rank in torch.distributed.
        block: number of samples that are shuffled together, see `shuffle_in_blocks`, which needs a method `stored_order` of the
            dataset; None shuffles all.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        *,
        shuffle: bool,
        seed: int = 0,
        block: int | None = None,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        grouped = dist.is_available() and dist.is_initialized()
        super().__init__(
            dataset,
            num_replicas=num_replicas if num_replicas is not None else dist.get_world_size() if grouped else 1,
            rank=rank if rank is not None else dist.get_rank() if grouped else 0,
            shuffle=shuffle,
            seed=seed,
        )
        self.block = block
        self._stored: NDArray[np.int64] | None = None
        self._skip = 0

    def skip_next(self, count: int) -> None:
        """Skip the first `count` samples of the next pass."""
        self._skip = count

    def __iter__(self) -> Iterator[Any]:
        count = len(self.dataset)  # type: ignore[arg-type]
        rng = np.random.default_rng((self.seed, self.epoch))
        if not self.shuffle:
            order = np.arange(count)
        elif self.block is None:
            order = rng.permutation(count)
        else:
            if self._stored is None:
                self._stored = self.dataset.stored_order()  # type: ignore[attr-defined]  # a dataset that has blocks
            order = shuffle_in_blocks(self._stored, self.block, rng)
        own = np.resize(order, self.total_size)[self.rank : self.total_size : self.num_replicas]
        skip, self._skip = self._skip, 0
        return iter([(self.epoch, index) for index in own[skip:].tolist()])


class ResumableLoader(DataLoader[RawBatch]):
    """A DataLoader that resumes where it stopped.

    Its state counts the batches that were returned, not those that workers have prepared. After `load_state_dict` the next pass
    over the same epoch skips those, without opening their images if the sampler is an `EpochSampler`; passes over other epochs
    are complete. Iteration begins with the first `next`, because Lightning sets the epoch between `iter` and `next`.
    """

    _epoch = 0
    _batches = 0
    _resume_epoch = -1
    _resume_batches = 0

    def __iter__(self) -> Iterator[RawBatch]:  # type: ignore[override]
        self._epoch = int(getattr(self.sampler, "epoch", 0))
        self._batches = unwanted = self._resume_batches if self._epoch == self._resume_epoch else 0
        self._resume_epoch = -1
        if isinstance(self.sampler, EpochSampler):
            self.sampler.skip_next(self._batches * self._samples_per_batch)
            unwanted = 0
        for batch in islice(super().__iter__(), unwanted, None):
            self._batches += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Return the number of returned batches, and what the rest of the epoch depends on."""
        return {"epoch": self._epoch, "batches": self._batches, **self._order()}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Resume an interrupted pass.

        Raises:
            DataError: if the batch size, the number of processes, the data or the seed differ within an epoch.
        """
        now = self._order()
        then = {key: state_dict.get(key, value) for key, value in now.items()}
        done = state_dict["batches"] * then["samples_per_batch"]
        differing = [key for key in now if now[key] != then[key]]
        if 0 < done < then["num_samples"] and differing:
            key = differing[0]
            raise DataError(
                f"Expected {_NAMES[key]} to be {then[key]}, as in the checkpoint, to resume within epoch {state_dict['epoch']}, "
                f"but got {now[key]}. Set it as before, or resume from a checkpoint at the end of an epoch."
            )
        self._epoch = self._resume_epoch = state_dict["epoch"]
        self._batches = self._resume_batches = state_dict["batches"]

    def _order(self) -> dict[str, int]:
        """Return what the samples of a batch depend on."""
        return {
            "samples_per_batch": self._samples_per_batch * int(getattr(self.sampler, "num_replicas", 1)),
            "num_samples": len(self.dataset),  # type: ignore[arg-type]
            "seed": int(getattr(self.sampler, "seed", 0)),
            "shuffle_block": int(getattr(self.sampler, "block", None) or 0),
        }

    @property
    def _samples_per_batch(self) -> int:
        return int(self.batch_size or 1)
