"""Training samples: their order, and from a row of the table to a crop: one decode, one warp, one matrix for the keypoints.

Randomness is counted, not streamed: a sample is drawn from a generator keyed by (seed, epoch, index), so it is the same
whatever worker, process or resumed run makes it.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
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
from hrpose.media.archives import open_archives, split_archive
from hrpose.media.folders import check_images_exist
from hrpose.media.images import STORED, Reading, read_image
from hrpose.skeletons import Skeleton
from hrpose.structures import Crop, InstanceTable, RawBatch, Sample

RUNS_PER_BLOCK = 64  # of samples that are stored together: where a batch of a block shuffle comes from
Key = int | tuple[int, int]
_NAMES = {  # of what decides the order, in messages
    "samples_per_batch": "the samples in a step (batch size x processes)",
    "num_samples": "the number of training samples",
    "seed": "the seed",
    "shuffle_block": "data.shuffle_block (0 is null)",
}


def sample_generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Make the generator that one sample of one epoch is drawn from.

    Philox is a counter-based generator: different keys give independent streams, and making one costs 10 microseconds.
    """
    key = np.array([seed % 2**64, (epoch % 2**32) << 32 | index], np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


class PoseDataset(Dataset[Sample]):
    """Crops of persons, addressed by (epoch, index); a plain index stands for epoch 0.

    `__getitems__` makes a whole batch at once, warped straight into the memory that travels to the training process; give
    `collate_fn=keep_batch` to a DataLoader.

    Args:
        table: the persons.
        image_dir: folder of the images, or archives; all that the table refers to must be there.
        input_size: (width, height) of the crops.
        skeleton: the keypoints.
        grid: how the pixels of a crop lie in its box; the codec's.
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
                f"Expected persons with the {skeleton.num_keypoints} keypoints of skeleton '{skeleton.name}', but the "
                f"annotations have {table.num_keypoints}. Take the skeleton of the annotation file (skeleton=auto, or the "
                "one that is named after the data set), or the right file."
            )
        check_images_exist([table.file_names[int(index)] for index in np.unique(table.image_index)], image_dir)
        self.table = table
        self.image_dir = str(image_dir)
        inside = split_archive(image_dir)
        self._archives = (
            None if inside is None else open_archives(inside[0])
        )  # which a spawned worker receives with this
        self.input_size = (int(input_size[0]), int(input_size[1]))
        self.skeleton = skeleton
        self.grid = grid
        self.augment = tuple(t.for_skeleton(skeleton) if isinstance(t, HalfBody) else t for t in augment)
        self.pixel_stage = PixelStage(pixel_transforms) if pixel_transforms is not None else None
        self.bbox_padding = bbox_padding
        self.seed = seed
        self.reading = reading
        self._last_image: tuple[int, int, NDArray[np.uint8]] | None = None

    def __len__(self) -> int:
        return len(self.table)

    def stored_order(self) -> NDArray[np.int64]:
        """Return the samples in the order in which their images are stored: as they lie in archives, else by name."""
        names = self.table.file_names.tolist()
        used, places = np.unique(self.table.image_index, return_inverse=True)
        ranks = rank_stored([names[index] for index in used.tolist()], self.image_dir)
        return np.argsort(ranks[places], kind="stable")

    def __getitem__(self, key: Key) -> Sample:
        """Make one crop."""
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
        """Make a batch of crops.

        Raises:
            IndexError: if an index is out of range.
            DataError: if an image is missing, broken or not of the size that the annotations state.
        """
        addresses = [self._address(key) for key in keys]
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

    def _address(self, key: Key) -> tuple[int, int]:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        if not -len(self) <= index < len(self):
            raise IndexError(f"Expected an index below {len(self)}, the number of persons, but got {index}.")
        return int(epoch), int(index) % len(self)

    def _augmented(self, crop: Crop, epoch: int, row: int) -> tuple[Crop, np.random.Generator]:
        rng = sample_generator(self.seed, epoch, row)
        keypoints, visibility = self.table.keypoints[row], self.table.visibility[row]
        for transform in self.augment:
            crop = transform(crop, keypoints, visibility, rng)
        return crop, rng

    def _place(
        self, addresses: Sequence[tuple[int, int]], rows: NDArray[np.int64]
    ) -> tuple[list[Crop], list[np.random.Generator], NDArray[np.float64]]:
        """Draw the crops; return them with their generators and input_from_image (B, 2, 3)."""
        crops, generators = [], []
        placed = crops_of_bboxes(self.table.bbox[rows], self.input_size, self.bbox_padding)
        for crop, (epoch, row) in zip(placed, addresses, strict=True):
            augmented, rng = self._augmented(crop, epoch, row)
            crops.append(augmented)
            generators.append(rng)
        return crops, generators, crop_matrices(crops, self.input_size, self.grid)

    def _warp(
        self,
        rows: NDArray[np.int64],
        matrices: NDArray[np.float64],
        inverses: NDArray[np.float64],
        pixels: NDArray[np.uint8],
    ) -> None:
        """Warp the images into place, those of one image after one decode and only as far down as they reach."""
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
        """Take the keypoints through the matrices (B, 2, 3) of their crops; a mirrored crop swaps left and right."""
        flipped = np.array([crop.flip for crop in crops])[:, None]
        order = np.where(flipped, self.skeleton.flip_permutation, np.arange(self.skeleton.num_keypoints))
        visibility = np.take_along_axis(self.table.visibility[rows], order, axis=1)
        keypoints = transform_points(np.take_along_axis(self.table.keypoints[rows], order[..., None], axis=1), matrices)
        return np.where(visibility[..., None] > 0, keypoints, 0).astype(np.float32), visibility

    def _image_of(self, index: int, num_rows: int) -> NDArray[np.uint8]:
        """Decode the first rows of an image, unless the batch before ended with them."""
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
    """Rank images by where they are stored: as they lie in archives, else by name."""
    inside = split_archive(image_dir)
    if inside is None:
        return np.argsort(np.argsort(np.array(names)))
    prefix = f"{inside[1]}/" if inside[1] else ""
    ranks: NDArray[np.int64] = open_archives(inside[0]).stored_order([prefix + name for name in names])
    return ranks


def keep_batch(batch: RawBatch) -> RawBatch:
    """Collate nothing: `PoseDataset.__getitems__` has made the batch."""
    return batch


def start_worker(worker_id: int) -> None:
    """Keep OpenCV in a loader's worker to one thread: the workers are the threads."""
    cv2.setNumThreads(0)


def shuffle_in_blocks(stored: NDArray[np.int64], block: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw an order of samples in which those that are stored together come at about the same time.

    The stored order is cut into runs, at places that are drawn. The runs are put in a random order, and then all samples in each
    block of it are shuffled, `RUNS_PER_BLOCK` runs with one another.

    Args:
        stored: (N,) the samples in the order in which they are stored.
        block: number of samples that are shuffled together.
        rng: of all draws.
    """
    count = len(stored)
    run = max(block // RUNS_PER_BLOCK, 1)
    runs = (np.arange(count) + rng.integers(run)) // run
    ranks = rng.permutation(int(runs[-1]) + 1 if count else 0)
    order = stored[np.argsort(ranks[runs], kind="stable")]
    return order[np.argsort(np.arange(count) // block + rng.random(count))]


class EpochSampler(DistributedSampler[Any]):
    """Yield (epoch, index) for every sample of this process.

    As torch's DistributedSampler it shares out every n-th sample of the common order, and repeats the first ones so that all
    processes get equally many.

    Args:
        dataset: what to sample from.
        shuffle: a new order in every epoch, or always that of the table.
        seed: of the order.
        num_replicas: processes; the default asks torch.distributed.
        rank: of this process; the default asks torch.distributed.
        block: number of samples that are shuffled together, see `shuffle_in_blocks`; None shuffles all. The dataset has a
            method `stored_order`.
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
        """Leave out the first `count` samples of the next pass."""
        self._skip = count

    def __iter__(self) -> Iterator[Any]:
        count = len(self.dataset)  # type: ignore[arg-type]
        if self.shuffle:
            rng = np.random.default_rng((self.seed, self.epoch))
            order = rng.permutation(count) if self.block is None else self._shuffle(self.block, rng)
        else:
            order = np.arange(count)
        own = np.resize(order, self.total_size)[self.rank : self.total_size : self.num_replicas]
        skip, self._skip = self._skip, 0
        return iter([(self.epoch, index) for index in own[skip:].tolist()])

    def _shuffle(self, block: int, rng: np.random.Generator) -> NDArray[np.int64]:
        if self._stored is None:
            self._stored = self.dataset.stored_order()  # type: ignore[attr-defined]  # of those that have blocks
        return shuffle_in_blocks(self._stored, block, rng)


class ResumableLoader(DataLoader[RawBatch]):
    """A DataLoader that goes on where it stopped.

    Its state counts the batches that were handed over, not those that workers have prepared. After `load_state_dict` the next
    pass over the same epoch leaves those out, and with an `EpochSampler` opens none of their images; passes over other epochs are
    whole. Iteration begins with the first `next`, so an epoch that is set between `iter` and `next` counts (Lightning does it in
    this order).
    """

    _epoch = 0
    _batches = 0
    _resume_epoch = -1
    _resume_batches = 0

    def __iter__(self) -> Iterator[RawBatch]:  # type: ignore[override]
        sampler = self.sampler
        self._epoch = int(getattr(sampler, "epoch", 0))
        self._batches = 0
        if self._epoch == self._resume_epoch:
            self._batches = self._resume_batches
        unwanted = self._batches
        if isinstance(sampler, EpochSampler):
            sampler.skip_next(self._batches * self._samples_per_batch)
            unwanted = 0
        self._resume_epoch = -1
        for batch in islice(super().__iter__(), unwanted, None):
            self._batches += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Return the number of batches handed over, and what the rest of the epoch depends on."""
        return {"epoch": self._epoch, "batches": self._batches, **self._order()}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on from where a pass had come.

        Raises:
            DataError: if a pass was interrupted with another batch size or number of processes, other data or another seed.
        """
        now = self._order()
        then = {key: state_dict.get(key, value) for key, value in now.items()}
        done = state_dict["batches"] * then["samples_per_batch"]
        differing = [key for key in now if now[key] != then[key]]
        if 0 < done < then["num_samples"] and differing:
            key = differing[0]
            raise DataError(
                f"Expected {_NAMES[key]} to be {then[key]}, as in the checkpoint, to go on within epoch {state_dict['epoch']}, "
                f"but got {now[key]}. Set it as before, or resume from a checkpoint of the end of an epoch."
            )
        self._resume_epoch = state_dict["epoch"]
        self._resume_batches = state_dict["batches"]
        self._epoch, self._batches = self._resume_epoch, self._resume_batches

    def _order(self) -> dict[str, int]:
        """Return what decides which samples a batch has."""
        return {
            "samples_per_batch": self._samples_per_batch * int(getattr(self.sampler, "num_replicas", 1)),
            "num_samples": len(self.dataset),  # type: ignore[arg-type]
            "seed": int(getattr(self.sampler, "seed", 0)),
            "shuffle_block": int(getattr(self.sampler, "block", None) or 0),
        }

    @property
    def _samples_per_batch(self) -> int:
        return int(self.batch_size or 1)
