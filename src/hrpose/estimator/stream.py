"""Estimate many images with one engine: crops of several images share a batch, and threads read images ahead.

    requests -> threads: load, crop -> (detector) -> full batches -> one thread: engine -> poses, image by image

The images of the threads, the crops of two batches and the poses of unfinished images are in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TypeAlias, TypeVar

import numpy as np
import torch

from hrpose.estimator.boxes import Floats
from hrpose.estimator.crops import Cutter, Fitter, ImageCrops, Request, join, take_rows
from hrpose.estimator.detectors.boxes import Image
from hrpose.estimator.engine import Engine
from hrpose.inference import NonFinitePosesError, check_finite, collect_poses
from hrpose.skeletons import Skeleton
from hrpose.structures import CropBatch, Poses

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
    """Estimate the poses of images, in their order.

    Args:
        engine: estimates the poses of a batch.
        cutter: cuts the crops of images.
        requests: the images, read when needed.
        batch_size: crops in a batch of the engine.
        num_threads: threads that load and crop.
        on_error: called with the `image_id` and the error of an unusable image, which then has no poses; None raises the error.

    Yields:
        The poses of each image.
    """
    waiting = _Waiting(batch_size)
    results = _Results(engine.skeleton)
    readers, runner = ThreadPoolExecutor(num_threads, "hrpose-read"), ThreadPoolExecutor(1, "hrpose-engine")
    running: deque[Future[Poses]] = deque()
    try:
        for request, prepared in work_ahead(readers, cutter.prepare, requests, 2 * num_threads):
            crops = _finish(cutter, request, prepared, on_error)
            if crops is not None:
                waiting.add(crops)
            results.expect(_NO_BOXES if crops is None else crops.bbox)
            while waiting.is_full:
                running.append(runner.submit(engine, waiting.take()))
            while running and (len(running) > _BATCHES_AHEAD or running[0].done()):
                results.add(running.popleft().result())
            yield from results.finished()
        if len(waiting):
            running.append(runner.submit(engine, waiting.take()))
        while running:
            results.add(running.popleft().result())
            yield from results.finished()
        yield from results.finished()
    finally:
        readers.shutdown(cancel_futures=True)
        runner.shutdown(cancel_futures=True)


def estimate_one(engine: Engine, cutter: Cutter, request: Request, *, batch_size: int) -> Poses:
    """Estimate the poses of one image in the calling thread."""
    prepared = cutter.prepare(request)
    crops = prepared if isinstance(prepared, ImageCrops) else cutter.detect(prepared, request.image_id)
    waiting, results = _Waiting(batch_size), _Results(engine.skeleton)
    waiting.add(crops)
    results.expect(crops.bbox)
    while len(waiting):
        results.add(engine(waiting.take()))
    return next(results.finished())


def estimate_whole_images(
    engine: Engine, fitter: Fitter, requests: Iterable[Request], *, num_threads: int, on_error: OnError | None = None
) -> Iterator[Poses]:
    """Estimate the poses in images with a bottom-up engine, one image at a time; arguments are as for `estimate_stream`.

    Yields:
        The poses of each image; `instance_ids` count the instances of all images.
    """
    count = 0
    with ThreadPoolExecutor(num_threads, "hrpose-read") as readers:
        for request, prepared in work_ahead(readers, fitter.prepare, requests, 2 * num_threads):
            try:
                poses = replace(engine(prepared.result()), skeleton=engine.skeleton)
            except NonFinitePosesError:
                raise
            except ValueError as error:
                if on_error is None:
                    raise
                on_error(request.image_id, error)
                poses = _no_poses(engine.skeleton)
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


def _finish(
    cutter: Cutter, request: Request, prepared: Future[ImageCrops | Image], on_error: OnError | None
) -> ImageCrops | None:
    """Return the crops of an image, None if it is unusable; the detector runs in the calling thread."""
    try:
        found = prepared.result()
        return found if isinstance(found, ImageCrops) else cutter.detect(found, request.image_id)
    except ValueError as error:
        if on_error is None:
            raise
        on_error(request.image_id, error)
        return None


class _Waiting:
    """Collects the crops of several images into full batches."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self._parts: list[CropBatch] = []
        self._count = self._num_taken = 0

    def __len__(self) -> int:
        return self._count

    @property
    def is_full(self) -> bool:
        return self._count >= self.batch_size

    def add(self, crops: ImageCrops) -> None:
        if len(crops.bbox):
            self._parts.append(crops.batch)
            self._count += len(crops.bbox)

    def take(self) -> CropBatch:
        """Return the oldest crops, at most a batch, with `instance_ids` that count all crops."""
        joined = join(self._parts)
        taken = take_rows(joined, slice(None, self.batch_size))
        rest = self._count - len(taken["images"])
        self._parts = [take_rows(joined, slice(self.batch_size, None))] if rest else []
        self._count = rest
        first, self._num_taken = self._num_taken, self._num_taken + len(taken["images"])
        taken["instance_ids"] = torch.arange(first, self._num_taken)
        return taken


class _Results:
    """Collects the poses of batches and returns them image by image."""

    def __init__(self, skeleton: Skeleton) -> None:
        self._skeleton = skeleton
        self._expected: deque[Floats] = deque()
        self._poses = replace(_no_poses(skeleton), bbox=None)

    def expect(self, bbox: Floats) -> None:
        """Expect one pose per box (N, 4) of the next image."""
        self._expected.append(bbox)

    def add(self, poses: Poses) -> None:
        check_finite(poses.keypoints, poses.keypoint_scores)  # a custom engine may not check
        self._poses = Poses.concatenate([self._poses, replace(poses, bbox=None, skeleton=self._skeleton)])

    def finished(self) -> Iterator[Poses]:
        """Yield the poses of the images that are complete."""
        while self._expected and len(self._expected[0]) <= len(self._poses):
            bbox = self._expected.popleft()
            yield replace(self._poses[: len(bbox)], bbox=bbox)
            self._poses = self._poses[len(bbox) :]


def _no_poses(skeleton: Skeleton) -> Poses:
    """Return the poses of an image without instances."""
    columns = {"center": (0, 2), "scale": (0, 2), "bbox_scores": (0,), "image_ids": (0,), "instance_ids": (0,)}
    batch = {name: torch.zeros(shape) for name, shape in columns.items()}
    count = skeleton.num_keypoints
    poses = collect_poses(np.zeros((0, count, 2)), np.zeros((0, count), np.float32), batch)
    return replace(poses, bbox=_NO_BOXES, skeleton=skeleton)
