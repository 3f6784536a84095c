"""Run a function in several gloo processes that share only a file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def run_processes(number: int, work: Callable[[int, int], Any], folder: Path) -> list[Any]:
    """Fork `number` processes, call work(rank, number) in each, and return their results."""
    mp.start_processes(_enter, args=(number, work, folder), nprocs=number, start_method="fork")
    return [torch.load(folder / f"{number}_{rank}.pt", weights_only=False) for rank in range(number)]


def _enter(rank: int, number: int, work: Callable[[int, int], Any], folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store_{number}", rank=rank, world_size=number)
    try:
        torch.save(work(rank, number), folder / f"{number}_{rank}.pt")
    finally:
        dist.destroy_process_group()
