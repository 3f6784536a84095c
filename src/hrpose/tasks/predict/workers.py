"""Distribute chunks of images over processes, and return the results in the order of the images.

The chunks do not depend on the number of processes, and no batch crosses chunks, so any number of processes writes the same file.
"""

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

_POLL_SECONDS = 1.0  # between two checks of whether all processes are alive


def cut_chunks(tasks: Sequence[ImageTask], size: int) -> list[Sequence[ImageTask]]:
    """Divide the images into chunks of a size; raise ValueError unless it is positive."""
    if size < 1:
        raise ValueError(f"Expected `chunk_size` to be at least 1, but got {size}.")
    return [tasks[start : start + size] for start in range(0, len(tasks), size)]


def predict_chunks(settings: Sequence[Settings], chunks: Sequence[Sequence[ImageTask]]) -> Generator[ImageResult, None, None]:
    """Estimate the poses of chunks in one process per settings, and yield the results in the order of the images.

    Raise ValueError if a process finds invalid input, and RuntimeError if it fails otherwise, with its traceback, or is killed.
    """
    context = get_context("spawn")  # a forked process cannot use CUDA
    results: Any = context.Queue()
    firsts = [0, *accumulate(map(len, chunks))]
    processes = []
    for rank, of_process in enumerate(settings):
        assigned = [(firsts[number], chunks[number]) for number in range(rank, len(chunks), len(settings))]
        processes.append(context.Process(target=_work, args=(of_process, assigned, results), daemon=True))
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
    """Return the settings of each process, with its device."""
    if num_devices < 1:
        raise ValueError(f"Expected `devices` to be at least 1, but got {num_devices}.")
    if num_devices == 1:
        return [settings]
    available = "cuda" if torch.cuda.is_available() else "cpu"
    kind = available if settings.device == "auto" else settings.device
    if kind not in ("cuda", "cpu"):
        raise ValueError(
            f"Expected `device` to be auto, cuda or cpu for {num_devices} devices, but got {kind!r}. Remove its number."
        )
    if kind == "cuda" and torch.cuda.device_count() < num_devices:
        raise ValueError(f"Expected {num_devices} devices, but torch finds {torch.cuda.device_count()} GPUs.")
    names = [f"cuda:{rank}" if kind == "cuda" else "cpu" for rank in range(num_devices)]
    threads = max(1, (os.cpu_count() or 1) // num_devices) if kind == "cpu" else None
    return [replace(settings, device=name, torch_threads=threads) for name in names]


def _work(settings: Settings, chunks: Sequence[tuple[int, Sequence[ImageTask]]], results: Any) -> None:
    """Send (index among all images, result) for each image of some chunks, or ("error", kind, text)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process handles Ctrl-C and ends the others
    if settings.torch_threads is not None:
        torch.set_num_threads(settings.torch_threads)
    try:
        with quiet_decoders():
            worker = ImageWorker(settings)
            for first, chunk in chunks:
                for index, result in enumerate(worker(chunk), start=first):
                    results.put((index, result))
    except (ValueError, OSError) as error:
        results.put(("error", "user", str(error)))
    except Exception:
        results.put(("error", "trace", traceback.format_exc()))


def _in_order(results: Any, processes: Sequence[BaseProcess], total: int) -> Iterator[ImageResult]:
    """Yield the results of several processes in order."""
    early: dict[int, ImageResult] = {}
    for index in range(total):
        while index not in early:
            found, result = _next(results, processes)
            early[found] = result
        yield early.pop(index)


def _next(results: Any, processes: Sequence[BaseProcess]) -> tuple[int, ImageResult]:
    """Wait for a message; raise an error if a process fails or is killed."""
    while True:
        try:
            message = results.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            dead = [process.exitcode for process in processes if process.exitcode not in (None, 0)]
            if dead:
                raise RuntimeError(
                    f"A process of the prediction ended with status {dead[0]}, possibly because memory ran out."
                ) from None
            continue
        if message[0] == "error":
            raise (ValueError if message[1] == "user" else RuntimeError)(message[2])
        return message  # type: ignore[no-any-return]
