"""The order of the samples: a function of (seed, epoch) alone, shared out to processes, resumable after any batch.

`EpochSampler` tells the dataset which epoch a sample is drawn for; `ResumableLoader` remembers how many batches of the epoch
it has handed over. Lightning calls `set_epoch` of the one and saves and restores the other.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch.distributed as dist
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

from hrpose.data.errors import DataError
from hrpose.structures import RawBatch


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
    pass over the same epoch leaves those out, without opening a photo; passes over other epochs are whole. Iteration begins
    with the first `next`, so an epoch that is set between `iter` and `next` counts (Lightning does it in this order).
    """

    _epoch = 0
    _batches = 0
    _resume_epoch = -1
    _resume_batches = 0

    def __iter__(self) -> Iterator[RawBatch]:  # type: ignore[override]
        sampler = self.sampler
        self._epoch = int(getattr(sampler, "epoch", 0))
        self._batches = 0
        if self._epoch == self._resume_epoch and isinstance(sampler, EpochSampler):
            self._batches = self._resume_batches
            sampler.skip_next(self._resume_batches * self._samples_per_batch)
        self._resume_epoch = -1
        for batch in super().__iter__():
            self._batches += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Say how far the pass has come."""
        return {"epoch": self._epoch, "batches": self._batches, "samples_per_batch": self._samples_in_step}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on from where a pass had come.

        Raises:
            DataError: if a pass was interrupted with another batch size or number of processes.
        """
        came = state_dict["samples_per_batch"]
        if 0 < state_dict["batches"] < len(self) and came != self._samples_in_step:
            raise DataError(
                f"Expected to go on in the midst of epoch {state_dict['epoch']} with {came} samples in a step (batch size x "
                f"processes), as before, but there are {self._samples_in_step} now. Keep their product, or resume from a "
                "checkpoint of the end of an epoch."
            )
        self._resume_epoch = state_dict["epoch"]
        self._resume_batches = state_dict["batches"]
        self._epoch, self._batches = self._resume_epoch, self._resume_batches

    @property
    def _samples_per_batch(self) -> int:
        return int(self.batch_size or 1)

    @property
    def _samples_in_step(self) -> int:
        return self._samples_per_batch * int(getattr(self.sampler, "num_replicas", 1))
