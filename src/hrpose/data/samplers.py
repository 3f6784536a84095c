"""The order of the samples: a function of (seed, epoch) alone, shared out to processes, resumable after any batch.

`EpochSampler` tells the dataset which epoch a sample is drawn for; `ResumableLoader` remembers how many batches of the epoch
it has handed over. Lightning calls `set_epoch` of the one and saves and restores the other.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch.distributed as dist
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

from hrpose.errors import DataError
from hrpose.structures import RawBatch

_NAMES = {
    "samples_per_batch": "the samples in a step (batch size x processes)",
    "num_samples": "the number of training samples",
    "seed": "the seed",
}


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
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        *,
        shuffle: bool,
        seed: int = 0,
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
        self._skip = 0

    def skip_next(self, count: int) -> None:
        """Leave out the first `count` samples of the next pass."""
        self._skip = count

    def __iter__(self) -> Iterator[Any]:
        count = len(self.dataset)  # type: ignore[arg-type]
        if self.shuffle:
            order = np.random.default_rng((self.seed, self.epoch)).permutation(count)
        else:
            order = np.arange(count)
        own = np.resize(order, self.total_size)[self.rank : self.total_size : self.num_replicas]
        skip, self._skip = self._skip, 0
        return iter([(self.epoch, index) for index in own[skip:].tolist()])


class ResumableLoader(DataLoader[RawBatch]):
    """A DataLoader that goes on where it stopped.

    Its state counts the batches that were handed over, not those that workers have prepared. After `load_state_dict` the next
    pass over the same epoch leaves those out, and with an `EpochSampler` opens none of their photos; passes over other epochs are
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
        }

    @property
    def _samples_per_batch(self) -> int:
        return int(self.batch_size or 1)
