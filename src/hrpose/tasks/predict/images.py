"""Estimate poses in chunks of images: read ahead in threads, estimate in batches, draw in threads."""

import errno
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrpose.annotations.coco_rows import list_first
from hrpose.annotations.detections import ImageBoxes
from hrpose.errors import DataError
from hrpose.estimator import PoseEstimator
from hrpose.estimator.boxes import touching
from hrpose.estimator.stream import work_ahead
from hrpose.media.headers import has_more_pages
from hrpose.media.images import Reading, decode_image, read_bytes
from hrpose.media.source import ImageFiles
from hrpose.metrics.functional import oks_nms
from hrpose.structures import Poses
from hrpose.tasks.predict.settings import Settings
from hrpose.visualize import save_image
from hrpose.visualize.pictures import MAX_JPEG_SIDE

logger = logging.getLogger(__name__)

Image = NDArray[np.uint8]
Row = Mapping[str, Any]
_PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")  # of annotated pictures; .jpg is added to other names


@dataclass(frozen=True, eq=False)
class ImageTask:
    """An image to estimate poses in."""

    file: Path
    name: str  # relative to the folder of all images, with forward slashes
    image_id: int  # in the result file
    bbox: NDArray[np.float64] | None = None  # (N, 4) x, y, width, height in pixels; None uses the detector
    bbox_scores: NDArray[np.float64] | None = None  # (N,)


@dataclass(frozen=True, eq=False)
class ImageResult:
    """The result of one image."""

    image: dict[str, Any]  # its entry in `images`
    rows: list[dict[str, Any]]  # the poses, as `Poses.to_coco` returns them
    error: str | None = None  # why it could not be used
    num_outside: int = 0  # boxes that were dropped because they are outside the image
    has_pages: bool = False  # the file has several pages or frames; the first is used


_Drawn = tuple[Future[None] | None, ImageResult]  # a result waits for its picture


@dataclass(frozen=True, eq=False)
class _Loaded:
    """An image with its boxes, or the error that prevents reading it."""

    task: ImageTask
    pixels: Image | None = None
    error: str = ""
    num_outside: int = 0
    has_pages: bool = False


@dataclass
class Tally:
    """Counts over the results of a run."""

    num_instances: int = 0
    unusable: list[ImageResult] = field(default_factory=list)
    _outside: list[ImageResult] = field(default_factory=list)
    _pages: list[ImageResult] = field(default_factory=list)

    def add(self, result: ImageResult) -> None:
        """Count a result."""
        if result.error is not None:
            self.unusable.append(result)
            return
        self.num_instances += len(result.rows)
        if result.num_outside:
            self._outside.append(result)
        if result.has_pages:
            self._pages.append(result)

    def report(self) -> None:
        """Log boxes outside their images and files with several pages; raise DataError if all boxes are outside."""
        count = sum(result.num_outside for result in self._outside)
        if count and not self.num_instances:
            raise DataError(
                f"Expected boxes inside the images, but all {count} are outside: {_file_names(self._outside)}. Check that they "
                "are in pixels of these images, and whether EXIF rotates the images (upright=)."
            )
        if count:
            logger.warning("Dropped boxes outside their images: %d (%s).", count, _file_names(self._outside))
        if self._pages:
            text = "Files with several pages or frames: %d (%s). The first of each is used."
            logger.warning(text, len(self._pages), _file_names(self._pages))


def _file_names(results: Sequence[ImageResult]) -> str:
    return list_first(result.image["file_name"] for result in results)


def list_tasks(source: ImageFiles, known: ImageBoxes | None) -> list[ImageTask]:
    """Number the images as in the annotations, which must have all of them, or from 1 in the order of their names."""
    if known is None:
        return [ImageTask(source.folder / name, name, number) for number, name in enumerate(source.names, start=1)]
    missing = [name for name in source.names if name not in known.image_ids]
    if missing:
        example = next(iter(known.image_ids), None)
        raise ValueError(
            f"Expected all images of the source in the annotations, but they lack {len(missing)} of {len(source)}: "
            f"{list_first(missing)}. Names in the annotations, such as {example!r}, are relative to the folder of the source. "
            "Choose a source that matches them, or remove the other images from it."
        )
    tasks = []
    for name in source.names:
        bbox, scores = known.boxes_of(known.image_ids[name]) or (None, None)
        tasks.append(ImageTask(source.folder / name, name, known.image_ids[name], bbox, scores))
    return tasks


def remove_complete(
    chunks: Sequence[Sequence[ImageTask]], earlier: Sequence[tuple[Row, list[Row]]], folder: Path
) -> tuple[list[tuple[Row, list[Row]]], list[Sequence[ImageTask]]]:
    """Remove the images of complete chunks of a stopped run.

    An incomplete chunk is estimated again as a whole. Batches do not cross chunks, so the results equal those of an
    uninterrupted run. Return the results that are kept, and the chunks without their images.
    """
    names = {task.image_id: task.name for chunk in chunks for task in chunk}
    foreign = [image for image, _ in earlier if names.get(image["id"]) != image.get("file_name")]
    if foreign:
        raise DataError(
            f"Expected the images of the stopped run in {folder}, but {len(foreign)} of its {len(earlier)} are not in the "
            f"source: {foreign[0].get('file_name')!r}. Use the same source and annotations."
        )
    done = {image["id"] for image, _ in earlier}
    started = [chunk for chunk in chunks if any(task.image_id in done for task in chunk)]
    if started and not all(task.image_id in done for task in started[-1]):
        done -= {task.image_id for task in started[-1]}
    rest = [[task for task in chunk if task.image_id not in done] for chunk in chunks]
    return [result for result in earlier if result[0]["id"] in done], [chunk for chunk in rest if chunk]


def check_pictures(tasks: Iterable[ImageTask]) -> None:
    """Raise ValueError if two images have the same name of their annotated pictures."""
    drawn: dict[str, str] = {}
    for task in tasks:
        other = drawn.setdefault(_picture_name(task), task.name)
        if other != task.name:
            raise ValueError(
                f"Expected images with different names of pictures, but {other} and {task.name} would both be "
                f"pictures/{_picture_name(task)}. Rename one, or draw no pictures: draw=none."
            )


def _picture_name(task: ImageTask) -> str:
    return task.name if task.name.lower().endswith(_PICTURE_SUFFIXES) else f"{task.name}.jpg"


class ImageWorker:
    """Estimate poses in images, chunk by chunk."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.estimator: PoseEstimator = settings.build_estimator(settings.build_detector())
        upright = self.estimator.upright  # as configured, otherwise as in training
        upright = not settings.boxes_from_file if upright is None else upright
        self._reading = Reading(upright, self.estimator.reading.bit_depth or settings.measured_depth)

    def __call__(self, chunk: Sequence[ImageTask]) -> Iterator[ImageResult]:
        """Estimate the poses of one chunk and yield the results in order. They do not depend on other chunks."""
        pending: deque[_Loaded] = deque()
        unusable: dict[int, str] = {}
        threads = self.estimator.num_threads
        with ThreadPoolExecutor(threads, "hrpose-load") as readers, ThreadPoolExecutor(threads, "hrpose-draw") as painters:
            drawn: deque[_Drawn] = deque()
            items = self._items(readers, chunk, pending)
            poses_of = self.estimator.stream(items, on_error=lambda place, error: unusable.update({place: str(error)}))
            for place, poses in enumerate(poses_of):
                drawn.extend(_failed(pending))
                drawn.append(self._finish(painters, pending.popleft(), poses, unusable.get(place)))
                while drawn and (drawn[0][0] is None or drawn[0][0].done() or len(drawn) > 2 * threads):
                    yield _wait_for_picture(*drawn.popleft())
            drawn.extend(_failed(pending))
            while drawn:
                yield _wait_for_picture(*drawn.popleft())

    def _items(
        self, readers: ThreadPoolExecutor, chunk: Iterable[ImageTask], pending: deque[_Loaded]
    ) -> Iterator[tuple[Image, Any, Any]]:
        """Read images ahead, append each to `pending`, and yield those that can be read."""
        for _, future in work_ahead(readers, self._load, chunk, self.estimator.num_threads):
            loaded = future.result()
            pending.append(loaded)
            if loaded.pixels is not None:
                yield loaded.pixels, loaded.task.bbox, loaded.task.bbox_scores

    def _load(self, task: ImageTask) -> _Loaded:
        """Read an image and drop boxes outside it; return the error if it cannot be read."""
        try:
            content = read_bytes(task.file)
            pixels = decode_image(content, task.file, self._reading)
        except ValueError as error:
            return _Loaded(task, error=str(error))
        num_outside = 0
        if task.bbox is not None and task.bbox_scores is not None:
            inside = touching(task.bbox, (pixels.shape[1], pixels.shape[0]))
            task = replace(task, bbox=task.bbox[inside], bbox_scores=task.bbox_scores[inside])
            num_outside = int((~inside).sum())
        return _Loaded(task, pixels, num_outside=num_outside, has_pages=has_more_pages(content))

    def _finish(self, painters: ThreadPoolExecutor, loaded: _Loaded, poses: Poses, error: str | None) -> _Drawn:
        """Make the result of an image, and start to draw its picture."""
        task, pixels = loaded.task, loaded.pixels
        assert pixels is not None
        kept = replace(poses, image_ids=np.full(len(poses), task.image_id))
        if (threshold := self._settings.oks_nms_threshold) is not None:
            sigmas = self.estimator.skeleton.sigmas
            kept = kept[np.sort(oks_nms(kept.keypoints, kept.scores, kept.area, kept.image_ids, sigmas, threshold=threshold))]
        draws = error is None and self._settings.painter is not None
        picture = painters.submit(self._draw, task, pixels, kept) if draws else None
        entry = {"id": task.image_id, "file_name": task.name, "width": pixels.shape[1], "height": pixels.shape[0]}
        rows = kept.to_coco(self._settings.category_id)
        return picture, ImageResult(entry, rows, error, loaded.num_outside, loaded.has_pages)

    def _draw(self, task: ImageTask, image: Image, poses: Poses) -> None:
        """Draw the poses; warn if the name of the picture is too long."""
        assert self._settings.painter is not None
        picture = self._settings.painter(image, poses, self.estimator.skeleton)
        name = _picture_name(task)
        if max(picture.shape[:2]) > MAX_JPEG_SIDE and not name.lower().endswith(".png"):
            name = f"{task.name}.png"
            logger.warning("%s: the image is too large for JPEG, so its picture is %s.", task.name, name)
        try:
            save_image(self._settings.picture_dir / name, picture)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            logger.warning("%s: no picture was written, because its name is too long.", task.name)


def _wait_for_picture(picture: Future[None] | None, result: ImageResult) -> ImageResult:
    if picture is not None:
        picture.result()
    return result


def _failed(pending: deque[_Loaded]) -> Iterator[_Drawn]:
    """Yield the results of unreadable images at the head of the queue."""
    while pending and pending[0].pixels is None:
        loaded = pending.popleft()
        yield None, ImageResult({"id": loaded.task.image_id, "file_name": loaded.task.name}, [], loaded.error)
