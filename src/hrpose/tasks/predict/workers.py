"""Distribute chunks of images over processes, and return the results in the order of the images.

The chunks are the same for any number of processes, and no batch crosses the end of a chunk. So every crop is computed in the
same batch in any process: two processes write the file that one writes.
"""

from __future__ import annotations

import os
import queue
import signal
import traceback
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from hrpose.media.images import quiet_decoders
from hrpose.tasks.predict.images import ImageResult, ImageTask, ImageWorker
from hrpose.tasks.predict.settings import Settings

_PATIENCE = 1.0  # seconds between two looks at whether all processes are alive


def cut_chunks(tasks: Sequence[ImageTask], size: int) -> list[Sequence[ImageTask]]:
    """Cut the images into chunks of one size; the last may be smaller.

    Raises:
        ValueError: if the size is not positive.
    """
    if size < 1:
        raise ValueError(f"Expected `chunk_size` to be at least 1, but got {size}.")
    return [tasks[start : start + size] for start in range(0, len(tasks), size)]


def predict_chunks(
    settings: Sequence[Settings], chunks: Sequence[Sequence[ImageTask]]
) -> Generator[ImageResult, None, None]:
    """Estimate the poses of chunks in one process per settings; the processes take turns.

    Yields:
        The results in the order of the images.

    Raises:
        ValueError: a message for the user, from a process.
        RuntimeError: if a process fails otherwise, with its traceback, or is killed.
    """
    context = get_context("spawn")  # a forked process cannot use CUDA
    results: Any = context.Queue()
    firsts = [0, *accumulate(map(len, chunks))]
    processes = []
    for rank, own in enumerate(settings):
        mine = [(firsts[number], chunks[number]) for number in range(rank, len(chunks), len(settings))]
        processes.append(context.Process(target=_work, args=(own, mine, results), daemon=True))
    try:
        for process in processes:
            process.start()
        yield from _in_order(results, processes, firsts[-1])
        for process in processes:
            process.join()
    finally:
        for process in processes:
            process.kill()


def settings_of_processes(settings: Settings, num_devices: int) -> list[Settings]:
    """Give each process its device.

    Raises:
        ValueError: if there are fewer devices, or none is asked for.
    """
    if num_devices < 1:
        raise ValueError(f"Expected `devices` to be at least 1, but got {num_devices}.")
    if num_devices == 1:
        return [settings]
    kind = settings.device
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    if kind not in ("cuda", "cpu"):
        raise ValueError(
            f"Expected `device` auto, cuda or cpu for {num_devices} devices, but got {kind!r}. Leave its number out."
        )
    if kind == "cuda" and torch.cuda.device_count() < num_devices:
        raise ValueError(f"Expected {num_devices} devices, but torch finds {torch.cuda.device_count()} GPUs here.")
    names = [f"cuda:{rank}" if kind == "cuda" else "cpu" for rank in range(num_devices)]
    threads = max(1, (os.cpu_count() or 1) // num_devices) if kind == "cpu" else None
    return [replace(settings, device=name, torch_threads=threads) for name in names]


def _work(settings: Settings, chunks: Sequence[tuple[int, Sequence[ImageTask]]], results: Any) -> None:
    """Send (place among all images, result) for each image of some chunks, or ("error", kind, text)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process handles Ctrl-C and ends the others
    if settings.torch_threads is not None:
        torch.set_num_threads(settings.torch_threads)
    try:
        with quiet_decoders():
            worker = ImageWorker(settings)
            for first, chunk in chunks:
                for place, result in enumerate(worker(chunk), start=first):
                    results.put((place, result))
    except (ValueError, OSError) as error:
        results.put(("error", "user", str(error)))
    except Exception:
        results.put(("error", "trace", traceback.format_exc()))


def _in_order(results: Any, processes: Sequence[BaseProcess], total: int) -> Iterator[ImageResult]:
    """Yield the results of several processes in order; early ones wait."""
    early: dict[int, ImageResult] = {}
    for turn in range(total):
        while turn not in early:
            place, result = _next(results, processes)
            early[place] = result
        yield early.pop(turn)


def _next(results: Any, processes: Sequence[BaseProcess]) -> tuple[int, ImageResult]:
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
