"""Images to poses: read ahead, estimate in batches within one chunk of images, draw in threads."""

from __future__ import annotations

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

from hrpose.annotations.detections import ImageBoxes
from hrpose.errors import DataError
from hrpose.estimator import PoseEstimator
from hrpose.estimator.boxes import touching
from hrpose.estimator.stream import work_ahead
from hrpose.media.headers import has_more_pages
from hrpose.media.images import decode_image, read_bytes
from hrpose.media.source import ImageFiles
from hrpose.metrics.functional import oks_nms
from hrpose.structures import Poses
from hrpose.tasks.predict.settings import Settings
from hrpose.visualize import save_image
from hrpose.visualize.pictures import MAX_JPEG_SIDE

logger = logging.getLogger(__name__)

Image = NDArray[np.uint8]
Row = Mapping[str, Any]
_SHOWN = 3  # names in a message
_PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")  # of drawn pictures; others get .jpg added


@dataclass(frozen=True, eq=False)
class ImageTask:
    """An image to estimate poses in.

    Attributes:
        file: its path.
        name: relative to the folder of all images, with forward slashes.
        image_id: its number in the result file.
        bbox: (N, 4) x, y, width, height in pixels; None asks the detector.
        bbox_scores: (N,).
    """

    file: Path
    name: str
    image_id: int
    bbox: NDArray[np.float64] | None = None
    bbox_scores: NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False)
class ImageResult:
    """The result of one image.

    Attributes:
        image: its entry in `images`.
        rows: the poses, as `Poses.to_coco` returns them.
        error: why it could not be used; None if it could.
        num_outside: its boxes that lie outside of it, and were left out.
        has_pages: whether its file has several pages or frames, and the first was used.
    """

    image: dict[str, Any]
    rows: list[dict[str, Any]]
    error: str | None = None
    num_outside: int = 0
    has_pages: bool = False


@dataclass(frozen=True, eq=False)
class _Loaded:
    """An image with its boxes inside it; or why it cannot be read."""

    task: ImageTask
    pixels: Image | None = None
    error: str = ""
    num_outside: int = 0
    has_pages: bool = False


@dataclass
class Tally:
    """What the results of a run add up to.

    Attributes:
        num_instances: in them.
        unusable: results of images that could not be used.
    """

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
        self._outside += [result] if result.num_outside else []
        self._pages += [result] if result.has_pages else []

    def report(self) -> None:
        """Log what was left out.

        Raises:
            DataError: if nobody was found because all boxes lie outside of their images.
        """
        count = sum(result.num_outside for result in self._outside)
        if count and not self.num_instances:
            raise DataError(
                f"Expected boxes in the images, but all {count} lie outside: {_name_first(self._outside)}. Were they made on "
                "images of another size, or turned by EXIF (upright=)?"
            )
        if count:
            logger.warning(
                "%d boxes lie outside of their images and are left out: %s.", count, _name_first(self._outside)
            )
        if self._pages:
            shown = _name_first(self._pages)
            logger.warning("%d images have several pages or frames; the first was used: %s.", len(self._pages), shown)


def _name_first(results: Sequence[ImageResult]) -> str:
    names = [str(result.image["file_name"]) for result in results[:_SHOWN]]
    return ", ".join(names) + (", ..." if len(results) > _SHOWN else "")


def list_tasks(images: ImageFiles, known: ImageBoxes | None) -> list[ImageTask]:
    """Number the images as the annotations do, or from 1 in the order of their names.

    Raises:
        ValueError: if the annotations lack some of the images.
    """
    if known is None:
        return [ImageTask(images.folder / name, name, number) for number, name in enumerate(images.names, start=1)]
    missing = [name for name in images.names if name not in known.image_ids]
    if missing:
        some = next(iter(known.image_ids), None)
        raise ValueError(
            f"Expected the annotations to name every image of the source, but {len(missing)} of {len(images)} are not among "
            f"their images: {', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}. Names are relative to the folder of "
            f"the source, as in {some!r}: choose the source so that they fit, or leave the others out."
        )
    tasks = []
    for name in images.names:
        bbox, scores = known.boxes_of(known.image_ids[name]) or (None, None)
        tasks.append(ImageTask(images.folder / name, name, known.image_ids[name], bbox, scores))
    return tasks


def leave_out(
    chunks: Sequence[Sequence[ImageTask]], earlier: Sequence[tuple[Row, list[Row]]], folder: Path
) -> tuple[list[tuple[Row, list[Row]]], list[Sequence[ImageTask]]]:
    """Leave out the images that a stopped run has done, without those of a chunk that it has not completed.

    The results are then those of a run that was not stopped: no batch crosses the end of a chunk.

    Returns:
        The results that stay, and the chunks without their images.

    Raises:
        DataError: if an image that was done is not among the tasks.
    """
    names = {task.image_id: task.name for chunk in chunks for task in chunk}
    foreign = [image for image, _ in earlier if names.get(image["id"]) != image.get("file_name")]
    if foreign:
        raise DataError(
            f"Expected the stopped run in {folder} to be of these images, but {len(foreign)} of its {len(earlier)} are others: "
            f"{foreign[0].get('file_name')!r}. Give the same source and annotations."
        )
    done = {image["id"] for image, _ in earlier}
    begun = [chunk for chunk in chunks if any(task.image_id in done for task in chunk)]
    if begun and not all(task.image_id in done for task in begun[-1]):
        done -= {task.image_id for task in begun[-1]}
    rest = [[task for task in chunk if task.image_id not in done] for chunk in chunks]
    return [result for result in earlier if result[0]["id"] in done], [chunk for chunk in rest if chunk]


def check_pictures(tasks: Iterable[ImageTask]) -> None:
    """Check that no two images are drawn into one file.

    Raises:
        ValueError: naming the first two that would be.
    """
    drawn: dict[str, str] = {}
    for task in tasks:
        other = drawn.setdefault(_picture_name(task), task.name)
        if other != task.name:
            raise ValueError(
                f"Expected images whose pictures have names of their own, but {other} and {task.name} would both be drawn into "
                f"pictures/{_picture_name(task)}. Rename one, or draw nothing: draw=none."
            )


def _picture_name(task: ImageTask) -> str:
    return task.name if task.name.lower().endswith(_PICTURE_SUFFIXES) else f"{task.name}.jpg"


class ImageWorker:
    """Estimate poses in images, chunk by chunk.

    Args:
        settings: of the prediction.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.estimator: PoseEstimator = settings.build_estimator(settings.build_detector())
        self._reading = settings.reading_of(self.estimator)

    def __call__(self, chunk: Sequence[ImageTask]) -> Iterator[ImageResult]:
        """Estimate the poses of one chunk. No batch crosses its end, so its results depend on nothing else.

        Yields:
            The results, in order.
        """
        under_way: deque[_Loaded] = deque()
        unusable: dict[int, str] = {}
        threads = self.estimator.num_threads
        with (
            ThreadPoolExecutor(threads, "hrpose-load") as readers,
            ThreadPoolExecutor(threads, "hrpose-draw") as painters,
        ):
            drawn: deque[tuple[Future[None], ImageResult]] = deque()  # a result waits for its picture
            items = self._items(readers, chunk, under_way)
            poses_of = self.estimator.stream(items, on_error=lambda place, error: unusable.update({place: str(error)}))
            for place, poses in enumerate(poses_of):
                drawn.extend(_failed(under_way))
                drawn.append(self._finish(painters, under_way.popleft(), poses, unusable.get(place)))
                while drawn and (drawn[0][0].done() or len(drawn) > 2 * threads):
                    yield _settled(*drawn.popleft())
            drawn.extend(_failed(under_way))
            while drawn:
                yield _settled(*drawn.popleft())

    def _items(
        self, readers: ThreadPoolExecutor, chunk: Iterable[ImageTask], under_way: deque[_Loaded]
    ) -> Iterator[tuple[Image, Any, Any]]:
        """Read images ahead; note each as under way, and yield those that can be read."""
        for _, future in work_ahead(readers, self._load, chunk, self.estimator.num_threads):
            loaded = future.result()
            under_way.append(loaded)
            if loaded.pixels is not None:
                yield loaded.pixels, loaded.task.bbox, loaded.task.bbox_scores

    def _load(self, task: ImageTask) -> _Loaded:
        """Read an image and leave out the boxes outside of it, or note why it cannot be read."""
        try:
            content = read_bytes(task.file)
            pixels = decode_image(content, task.file, self._reading)
        except ValueError as error:
            return _Loaded(task, error=str(error))
        if task.bbox is None or task.bbox_scores is None:
            return _Loaded(task, pixels, has_pages=has_more_pages(content))
        inside = touching(task.bbox, (pixels.shape[1], pixels.shape[0]))
        kept = replace(task, bbox=task.bbox[inside], bbox_scores=task.bbox_scores[inside])
        return _Loaded(kept, pixels, num_outside=int((~inside).sum()), has_pages=has_more_pages(content))

    def _finish(
        self, painters: ThreadPoolExecutor, loaded: _Loaded, poses: Poses, error: str | None
    ) -> tuple[Future[None], ImageResult]:
        """Make the result of an image, and begin its picture."""
        task, pixels = loaded.task, loaded.pixels
        assert pixels is not None
        kept = self._without_duplicates(replace(poses, image_ids=np.full(len(poses), task.image_id)))
        draws = error is None and self._settings.painter is not None
        picture = painters.submit(self._draw, task, pixels, kept) if draws else _done()
        entry = {"id": task.image_id, "file_name": task.name, "width": pixels.shape[1], "height": pixels.shape[0]}
        rows = kept.to_coco(self._settings.category_id)
        return picture, ImageResult(entry, rows, error, loaded.num_outside, loaded.has_pages)

    def _without_duplicates(self, poses: Poses) -> Poses:
        """Leave out poses that repeat a better one; the others stay in their order."""
        if self._settings.oks_nms_threshold is None:
            return poses
        kept = oks_nms(
            *(poses.keypoints, poses.scores, poses.area, poses.image_ids, self.estimator.skeleton.sigmas),
            threshold=self._settings.oks_nms_threshold,
        )
        return poses[np.sort(kept)]

    def _draw(self, task: ImageTask, image: Image, poses: Poses) -> None:
        """Draw the poses; a picture that cannot be written is reported, and no reason to stop."""
        assert self._settings.painter is not None
        picture = self._settings.painter(image, poses, self.estimator.skeleton)
        name = _picture_name(task)
        if max(picture.shape[:2]) > MAX_JPEG_SIDE and not name.lower().endswith(".png"):
            name = f"{task.name}.png"
            logger.warning("%s: it is too large for JPEG, so its picture is %s.", task.name, name)
        try:
            save_image(self._settings.picture_dir / name, picture)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            logger.warning("%s: no picture was written, because its name would be too long.", task.name)


def _done() -> Future[None]:
    future: Future[None] = Future()
    future.set_result(None)
    return future


def _settled(picture: Future[None], result: ImageResult) -> ImageResult:
    """Return a result when its picture is on the disk."""
    picture.result()
    return result


def _failed(under_way: deque[_Loaded]) -> Iterator[tuple[Future[None], ImageResult]]:
    """Yield the results of the images at the head that could not be read."""
    while under_way and under_way[0].pixels is None:
        loaded = under_way.popleft()
        yield _done(), ImageResult({"id": loaded.task.image_id, "file_name": loaded.task.name}, [], loaded.error)
