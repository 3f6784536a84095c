"""Chunks of photos spread over processes, and their results in the order of the photos.

The chunks are the same for any number of processes, and no batch goes beyond a chunk, so every crop is computed in the same batch
wherever it is computed: two processes give the file that one gives.
"""

from __future__ import annotations

import os
import queue
import signal
import traceback
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from hrpose.tasks.predict.images import PhotoResult, PhotoTask, PhotoWorker
from hrpose.tasks.predict.settings import Settings

_PATIENCE = 1.0  # seconds between two looks at whether all processes are alive


@dataclass(frozen=True)
class Job:
    """What a process needs to know.

    Attributes:
        settings: for its device.
        category_id: of the people.
        picture_dir: where annotated pictures go; None makes none.
        num_threads: of torch; None leaves them.
    """

    settings: Settings
    category_id: int
    picture_dir: Path | None
    num_threads: int | None = None

    def build(self) -> PhotoWorker:
        """Build the worker, in the process that is to work."""
        if self.num_threads is not None:
            torch.set_num_threads(self.num_threads)
        return PhotoWorker(self.settings, category_id=self.category_id, picture_dir=self.picture_dir)


def cut_chunks(tasks: Sequence[PhotoTask], size: int) -> list[Sequence[PhotoTask]]:
    """Cut the photos into chunks of one size, the last one perhaps smaller.

    Raises:
        ValueError: if the size is not positive.
    """
    if size < 1:
        raise ValueError(f"Expected `chunk_size` to be at least 1, but got {size}.")
    return [tasks[start : start + size] for start in range(0, len(tasks), size)]


def predict_spread(jobs: Sequence[Job], chunks: Sequence[Sequence[PhotoTask]]) -> Generator[PhotoResult, None, None]:
    """Look at the chunks in one process for each job, which take turns; give the results in the order of the photos.

    Raises:
        ValueError: what this library has to say to the user, from a process.
        RuntimeError: if a process fails otherwise, with its trace, or is killed.
    """
    context = get_context("spawn")  # a forked process cannot use CUDA
    results: Any = context.Queue()
    firsts = [0, *accumulate(map(len, chunks))]
    processes = []
    for rank, job in enumerate(jobs):
        mine = [(firsts[number], chunks[number]) for number in range(rank, len(chunks), len(jobs))]
        processes.append(context.Process(target=_work, args=(job, mine, results), daemon=True))
    try:
        for process in processes:
            process.start()
        yield from _in_order(results, processes, firsts[-1])
        for process in processes:
            process.join()
    finally:
        for process in processes:
            process.kill()


def jobs_of(settings: Settings, *, devices: int, category_id: int, picture_dir: Path | None) -> list[Job]:
    """Give each process its device.

    Raises:
        ValueError: if there are not so many devices, or none is asked for.
    """
    if devices < 1:
        raise ValueError(f"Expected `devices` to be at least 1, but got {devices}.")
    if devices == 1:
        return [Job(settings, category_id, picture_dir)]
    kind = settings.device
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    if kind not in ("cuda", "cpu"):
        raise ValueError(
            f"Expected `device` auto, cuda or cpu for {devices} devices, but got {kind!r}. Leave its number out."
        )
    if kind == "cuda" and torch.cuda.device_count() < devices:
        raise ValueError(f"Expected {devices} devices, but torch finds {torch.cuda.device_count()} GPUs here.")
    names = [f"cuda:{rank}" if kind == "cuda" else "cpu" for rank in range(devices)]
    threads = max(1, (os.cpu_count() or 1) // devices) if kind == "cpu" else None
    return [Job(settings.on_device(name), category_id, picture_dir, threads) for name in names]


def _work(job: Job, chunks: Sequence[tuple[int, Sequence[PhotoTask]]], results: Any) -> None:
    """Look at some chunks and send what comes out: (place among all photos, result), or ("error", kind, text)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the first process's to deal with; it ends the others
    try:
        worker = job.build()
        for first, chunk in chunks:
            for place, result in enumerate(worker(chunk), start=first):
                results.put((place, result))
    except (ValueError, OSError) as error:
        results.put(("error", "user", str(error)))
    except Exception:
        results.put(("error", "trace", traceback.format_exc()))


def _in_order(results: Any, processes: Sequence[BaseProcess], total: int) -> Iterator[PhotoResult]:
    """Put what comes from several processes in order; what is ahead of its turn waits."""
    early: dict[int, PhotoResult] = {}
    for turn in range(total):
        while turn not in early:
            place, result = _next(results, processes)
            early[place] = result
        yield early.pop(turn)


def _next(results: Any, processes: Sequence[BaseProcess]) -> tuple[int, PhotoResult]:
    """Wait for a message; notice a process that fails or is killed."""
    while True:
        try:
            message = results.get(timeout=_PATIENCE)
        except queue.Empty:
            dead = [process.exitcode for process in processes if process.exitcode not in (None, 0)]
            if dead:
                raise RuntimeError(
                    f"A process of the prediction has ended with status {dead[0]}; was it killed for its memory?"
                ) from None
            continue
        if message[0] == "error":
            raise (ValueError if message[1] == "user" else RuntimeError)(message[2])
        return message  # type: ignore[no-any-return]
