"""The order of the samples, and resuming within an epoch."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from hrpose.data.dataset import RUNS_PER_BLOCK, EpochSampler, ResumableLoader, shuffle_in_blocks
from hrpose.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")


class Addresses(Dataset[Any]):
    """Returns and records the requested keys."""

    def __init__(self, count: int = 11) -> None:
        self.count = count
        self.requested: list[Any] = []

    def __len__(self) -> int:
        return self.count

    def stored_order(self) -> Any:
        return np.random.default_rng(9).permutation(self.count)

    def __getitem__(self, key: Any) -> Any:
        self.requested.append(key)
        return key


def loader(num_workers: int = 0, *, count: int = 11, batch_size: int = 2, **sampling: Any) -> ResumableLoader:
    dataset = Addresses(count)
    return ResumableLoader(
        dataset,
        batch_size=batch_size,
        sampler=EpochSampler(dataset, shuffle=True, seed=3, **sampling),
        collate_fn=list,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        multiprocessing_context="fork" if num_workers else None,
    )


def take(batches: Iterator[Any], count: int) -> list[Any]:
    return list(itertools.islice(batches, count))


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[Any]:
        sampler = EpochSampler(Addresses(50), shuffle=True, seed=seed)
        sampler.set_epoch(epoch)
        return [index for _, index in sampler]

    assert order(0, 0) == order(0, 0)
    assert sorted(order(0, 0)) == list(range(50))
    orders = [tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1, 2)]
    assert len(set(orders)) == 6


def test_without_shuffling_the_order_is_that_of_the_table() -> None:
    sampler = EpochSampler(Addresses(4), shuffle=False)
    sampler.set_epoch(5)
    assert list(sampler) == [(5, 0), (5, 1), (5, 2), (5, 3)]


@pytest.mark.parametrize("replicas", [1, 2, 3, 16])
def test_replicas_divide_the_samples_and_repeat_the_first(replicas: int) -> None:
    alone = list(EpochSampler(Addresses(11), shuffle=True, seed=1))
    shares = [
        list(EpochSampler(Addresses(11), shuffle=True, seed=1, num_replicas=replicas, rank=rank)) for rank in range(replicas)
    ]
    assert {len(share) for share in shares} == {-(-11 // replicas)}
    together = [key for step in zip(*shares, strict=True) for key in step]
    assert together[:11] == alone
    assert together[11:] == alone[: len(together) - 11]


def test_the_length_is_that_of_a_complete_pass() -> None:
    resumed = loader()
    resumed.load_state_dict({"epoch": 0, "batches": 4, "samples_per_batch": 2})
    assert len(resumed) == 6
    assert len(list(resumed)) == 2
    assert len(list(resumed)) == 6


@pytest.mark.parametrize("num_workers", [0, 1, 4])
@pytest.mark.parametrize("batches", [0, 1, 4, 5, 6])
def test_an_interrupted_pass_continues_with_the_remaining_samples(num_workers: int, batches: int) -> None:
    whole = loader()
    whole.sampler.set_epoch(2)
    expected = list(whole)

    interrupted = loader(num_workers)
    interrupted.sampler.set_epoch(2)
    pass_ = iter(interrupted)
    assert take(pass_, batches) == expected[:batches]
    state = interrupted.state_dict()
    del pass_, interrupted

    resumed = loader(num_workers)
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state or batches == 0
    pass_ = iter(resumed)  # Lightning sets the epoch after it has made the iterator
    resumed.sampler.set_epoch(2)
    assert list(pass_) == expected[batches:]
    resumed.sampler.set_epoch(3)
    following = list(resumed)
    assert len(following) == 6
    assert {epoch for batch in following for epoch, _ in batch} == {3}


def test_samples_before_the_interruption_are_not_read() -> None:
    resumed = loader()
    resumed.load_state_dict({"epoch": 0, "batches": 4, "samples_per_batch": 2})
    rest = list(resumed)
    assert resumed.dataset.requested == [key for batch in rest for key in batch]


def test_the_state_counts_returned_batches_and_not_prepared_ones() -> None:
    busy = loader(num_workers=2)
    pass_ = iter(busy)
    take(pass_, 1)
    state = busy.state_dict()
    assert (state["epoch"], state["batches"], state["samples_per_batch"]) == (0, 1, 2)


def test_another_epoch_is_complete_after_loading_a_state() -> None:
    resumed = loader()
    resumed.load_state_dict({"epoch": 0, "batches": 6, "samples_per_batch": 2})
    resumed.sampler.set_epoch(1)
    assert len(list(resumed)) == 6


def test_a_pass_can_be_interrupted_twice() -> None:
    expected = list(loader())
    first = loader()
    take(iter(first), 1)
    second = loader()
    second.load_state_dict(first.state_dict())
    take(iter(second), 2)
    third = loader()
    third.load_state_dict(second.state_dict())
    assert list(third) == expected[3:]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_pass_with_another_sampler_continues_too(num_workers: int) -> None:
    def plain() -> ResumableLoader:
        return ResumableLoader(Addresses(), batch_size=2, collate_fn=list, num_workers=num_workers)

    interrupted = plain()
    pass_ = iter(interrupted)
    take(pass_, 2)
    resumed = plain()
    resumed.load_state_dict(interrupted.state_dict())
    assert list(resumed) == list(plain())[2:]
    assert list(resumed) == list(plain())


@pytest.mark.parametrize("batch_size", [1, 3, 8, 11])
def test_another_batch_size_is_refused_within_an_epoch_only(batch_size: int) -> None:
    other = loader(batch_size=batch_size)
    state = {"epoch": 0, "samples_per_batch": 2}
    with pytest.raises(DataError, match=rf"samples.* 2\b.* {batch_size}\b"):
        other.load_state_dict({**state, "batches": 5})
    other.load_state_dict({**state, "batches": 6})
    other.sampler.set_epoch(1)
    assert len(list(other)) == -(-11 // batch_size)


def test_other_data_or_another_seed_is_refused_within_an_epoch() -> None:
    interrupted = loader()
    pass_ = iter(interrupted)
    take(pass_, 2)
    state = interrupted.state_dict()
    with pytest.raises(DataError, match=r"11.*12"):
        loader(count=12).load_state_dict(state)
    with pytest.raises(DataError, match=r"seed.* 4\b.* 3\b"):
        loader().load_state_dict({**state, "seed": 4})
    loader(count=12).load_state_dict({**state, "batches": 6})


def test_replicas_continue_with_their_own_samples() -> None:
    for rank in range(2):
        expected = list(loader(num_replicas=2, rank=rank))
        resumed = loader(num_replicas=2, rank=rank)
        resumed.load_state_dict({"epoch": 0, "batches": 1, "samples_per_batch": 4})
        assert list(resumed) == expected[1:]


def _rank_and_world(rank: int, port: int, answers: Any) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    sampler = EpochSampler(Addresses(4), shuffle=False)
    answers.put((sampler.rank, list(sampler)))
    torch.distributed.destroy_process_group()


def test_the_number_of_processes_is_that_of_torch_distributed() -> None:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = torch.multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    processes = [context.Process(target=_rank_and_world, args=(rank, port, answers)) for rank in range(2)]
    for process in processes:
        process.start()
    found = dict(answers.get() for _ in processes)
    for process in processes:
        process.join()
    assert found == {0: [(0, 0), (0, 2)], 1: [(0, 1), (0, 3)]}


@pytest.mark.parametrize("count", [0, 1, 63, 1000, 1003])
@pytest.mark.parametrize("block", [1, 5, 64, 100, 5000])
def test_a_block_shuffle_is_a_permutation(count: int, block: int) -> None:
    stored = np.random.default_rng(1).permutation(count)
    order = shuffle_in_blocks(stored, block, np.random.default_rng(0))
    assert sorted(order.tolist()) == list(range(count))


def test_a_block_has_runs_of_adjacent_samples_and_a_batch_has_many_of_them() -> None:
    block, run = 64 * RUNS_PER_BLOCK, 64
    stored = np.random.default_rng(1).permutation(10 * block)
    order = shuffle_in_blocks(stored, block, np.random.default_rng(0))
    place = np.argsort(stored)[order]  # the place of each sample
    for start in range(0, len(order), block):
        gaps = np.diff(np.sort(place[start : start + block]))
        assert (gaps > 1).sum() <= RUNS_PER_BLOCK + 2
    batches = place[: len(place) // 32 * 32].reshape(-1, 32) // run
    assert np.mean([len(set(batch.tolist())) for batch in batches]) > 20  # 25.3 of 64 runs are expected in 32 draws


def test_a_block_shuffle_depends_on_seed_and_epoch_and_is_divided_among_replicas() -> None:
    def order(seed: int, epoch: int, ranks: int = 1) -> list[Any]:
        shares = []
        for rank in range(ranks):
            sampler = EpochSampler(Addresses(500), shuffle=True, seed=seed, block=128, num_replicas=ranks, rank=rank)
            sampler.set_epoch(epoch)
            shares.append([index for _, index in sampler])
        return [index for step in zip(*shares, strict=True) for index in step]

    assert order(0, 0) == order(0, 0) == order(0, 0, ranks=2) == order(0, 0, ranks=5)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


def test_a_block_shuffle_is_the_same_for_any_number_of_workers_and_after_a_resume() -> None:
    def batches(num_workers: int) -> list[Any]:
        return list(loader(num_workers, count=60, block=16))

    whole = batches(0)
    assert batches(2) == whole
    stopped, resumed = (loader(workers, count=60, block=16) for workers in (0, 2))
    assert take(iter(stopped), 7) == whole[:7]
    resumed.load_state_dict(stopped.state_dict())
    assert list(resumed) == whole[7:]


def test_resuming_with_another_block_is_refused() -> None:
    stopped, other = loader(count=60, block=16), loader(count=60)
    take(iter(stopped), 7)
    with pytest.raises(DataError, match="shuffle_block"):
        other.load_state_dict(stopped.state_dict())
    state = {name: value for name, value in stopped.state_dict().items() if name != "shuffle_block"}
    loader(count=60).load_state_dict(state)  # of a version that had no blocks
