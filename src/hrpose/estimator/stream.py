"""Estimate many images with one engine: crops of several images share a batch, and threads read images ahead.

    requests -> threads: load, crop -> (detector) -> full batches -> one thread: engine -> poses, image by image

The images of the threads, the crops of two batches and the poses of unfinished images are in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeAlias, TypeVar

import numpy as np
import torch

from hrpose.estimator.boxes import Floats
from hrpose.estimator.crops import Cutter, ImageCrops, Request, join, take_rows
from hrpose.estimator.engine import Engine
from hrpose.inference import NonFinitePosesError, check_finite, collect_poses
from hrpose.skeletons import Skeleton
from hrpose.structures import CropBatch, Poses, WholeImageBatch

Item = TypeVar("Item")
Result = TypeVar("Result")
OnError: TypeAlias = Callable[[int, ValueError], None]
_NO_BOXES: Floats = np.zeros((0, 4))
_BATCHES_AHEAD = 2  # one in the engine, one ready for it


def estimate_stream(
    engine: Engine,
    cutter: Cutter,
    requests: Iterable[Request],
    *,
    batch_size: int,
    num_threads: int,
    on_error: OnError | None = None,
) -> Iterator[Poses]:
    """Estimate the poses of images, which are read when needed, and yield those of each image in their order.

    `on_error` is called with the `image_id` and the error of an unusable image, which then has no poses; None raises the error.
    """
    queue = _Queue(engine.skeleton, batch_size)
    readers, runner = ThreadPoolExecutor(num_threads, "hrpose-read"), ThreadPoolExecutor(1, "hrpose-engine")
    running: deque[Future[Poses]] = deque()
    try:
        for request, prepared in work_ahead(readers, cutter.prepare, requests, 2 * num_threads):
            crops = None
            with _report_unusable(request, on_error):
                crops = cutter.detect(prepared.result(), request)  # the detector runs in this thread
            queue.add(crops)
            running.extend(runner.submit(engine, batch) for batch in queue.batches(batch_size))
            while running and (len(running) > _BATCHES_AHEAD or running[0].done()):
                queue.add_poses(running.popleft().result())
            yield from queue.finished()
        running.extend(runner.submit(engine, batch) for batch in queue.batches(1))
        while running:
            queue.add_poses(running.popleft().result())
            yield from queue.finished()
    finally:
        readers.shutdown(cancel_futures=True)
        runner.shutdown(cancel_futures=True)


def estimate_one(engine: Engine, cutter: Cutter, request: Request, *, batch_size: int) -> Poses:
    """Estimate the poses of one image in the calling thread."""
    queue = _Queue(engine.skeleton, batch_size)
    queue.add(cutter.detect(cutter.prepare(request), request))
    for batch in queue.batches(1):
        queue.add_poses(engine(batch))
    return next(queue.finished())


def estimate_whole_images(
    engine: Engine,
    fit: Callable[[Request], WholeImageBatch],
    requests: Iterable[Request],
    *,
    num_threads: int,
    on_error: OnError | None = None,
) -> Iterator[Poses]:
    """Estimate the poses in images as `estimate_stream`, with a bottom-up engine; `instance_ids` count those of all images."""
    count, none = 0, _no_poses(engine.skeleton)
    with ThreadPoolExecutor(num_threads, "hrpose-read") as readers:
        for request, fitted in work_ahead(readers, fit, requests, 2 * num_threads):
            poses = none
            with _report_unusable(request, on_error):
                poses = replace(engine(fitted.result()), skeleton=engine.skeleton)
            yield replace(poses, instance_ids=np.arange(count, count + len(poses)))
            count += len(poses)


def work_ahead(
    pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item], depth: int
) -> Iterator[tuple[Item, Future[Result]]]:
    """Submit up to `depth` items ahead to a pool; yield each item with its future, in their order."""
    pending: deque[tuple[Item, Future[Result]]] = deque()
    for item in items:
        pending.append((item, pool.submit(function, item)))
        if len(pending) > depth:
            yield pending.popleft()
    while pending:
        yield pending.popleft()


@contextmanager
def _report_unusable(request: Request, on_error: OnError | None) -> Iterator[None]:
    """Pass the error of an unusable image to `on_error`."""
    try:
        yield
    except NonFinitePosesError:
        raise
    except ValueError as error:
        if on_error is None:
            raise
        on_error(request.image_id, error)


class _Queue:
    """Images in their order: crops that wait for a batch, and poses that wait for others of their image."""

    def __init__(self, skeleton: Skeleton, batch_size: int) -> None:
        self._skeleton, self._batch_size = skeleton, batch_size
        self._crops: list[CropBatch] = []
        self._num_waiting = self._num_taken = 0
        self._images: deque[Floats] = deque()  # boxes of each image that is not finished
        self._poses = replace(_no_poses(skeleton), bbox=None)

    def add(self, crops: ImageCrops | None) -> None:
        """Add the crops of the next image; None if it is unusable."""
        self._images.append(_NO_BOXES if crops is None else crops.bbox)
        if crops is not None and len(crops.bbox):
            self._crops.append(crops.batch)
            self._num_waiting += len(crops.bbox)

    def batches(self, least: int) -> Iterator[CropBatch]:
        """Take batches while this number of crops waits, with `instance_ids` that count all crops."""
        while self._num_waiting >= least:
            joined = join(self._crops)
            taken = take_rows(joined, slice(None, self._batch_size))
            count = len(taken["images"])
            self._num_waiting -= count
            self._crops = [take_rows(joined, slice(count, None))] if self._num_waiting else []
            taken["instance_ids"] = torch.arange(self._num_taken, self._num_taken + count)
            self._num_taken += count
            yield taken

    def add_poses(self, poses: Poses) -> None:
        """Add the poses of a batch."""
        check_finite(poses.keypoints, poses.keypoint_scores)  # a custom engine may not check
        self._poses = Poses.concatenate([self._poses, replace(poses, bbox=None, skeleton=self._skeleton)])

    def finished(self) -> Iterator[Poses]:
        """Yield the poses of the images that are complete."""
        while self._images and len(self._images[0]) <= len(self._poses):
            bbox = self._images.popleft()
            yield replace(self._poses[: len(bbox)], bbox=bbox)
            self._poses = self._poses[len(bbox) :]


def _no_poses(skeleton: Skeleton) -> Poses:
    """Return the poses of an image without instances."""
    columns = {"center": (0, 2), "scale": (0, 2), "bbox_scores": (0,), "image_ids": (0,), "instance_ids": (0,)}
    batch = {name: torch.zeros(shape) for name, shape in columns.items()}
    count = skeleton.num_keypoints
    poses = collect_poses(np.zeros((0, count, 2)), np.zeros((0, count), np.float32), batch)
    return replace(poses, bbox=_NO_BOXES, skeleton=skeleton)
