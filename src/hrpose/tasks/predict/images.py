"""Images to poses: read ahead, estimate in batches within one chunk of images, draw in threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrpose.annotations.detections import PhotoBoxes
from hrpose.estimator import PoseEstimator
from hrpose.estimator.stream import work_ahead
from hrpose.media.load import load_image
from hrpose.media.source import Photos
from hrpose.metrics.functional import oks_nms
from hrpose.structures import Poses
from hrpose.tasks.predict.settings import Settings
from hrpose.visualize import save_image

Image = NDArray[np.uint8]
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
    """

    image: dict[str, Any]
    rows: list[dict[str, Any]]
    error: str | None = None


def list_tasks(photos: Photos, known: PhotoBoxes | None) -> list[ImageTask]:
    """Number the images as the annotations do, or from 1 in the order of their names.

    Raises:
        ValueError: if the annotations lack some of the images.
    """
    if known is None:
        return [ImageTask(photos.folder / name, name, number) for number, name in enumerate(photos.names, start=1)]
    missing = [name for name in photos.names if name not in known.image_ids]
    if missing:
        some = next(iter(known.image_ids), None)
        raise ValueError(
            f"Expected the annotations to name every photo of the source, but {len(missing)} of {len(photos)} are not among "
            f"their images: {', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}. Names are relative to the folder of "
            f"the source, as in {some!r}: choose the source so that they fit, or leave the others out."
        )
    tasks = []
    for name in photos.names:
        bbox, scores = known.boxes_of(known.image_ids[name]) or (None, None)
        tasks.append(ImageTask(photos.folder / name, name, known.image_ids[name], bbox, scores))
    return tasks


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
                f"Expected photos whose pictures have names of their own, but {other} and {task.name} would both be drawn into "
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
        under_way: deque[tuple[ImageTask, Image | str]] = deque()
        unusable: dict[int, str] = {}
        threads = self.estimator.num_threads
        with (
            ThreadPoolExecutor(threads, "hrpose-load") as readers,
            ThreadPoolExecutor(threads, "hrpose-draw") as painters,
        ):
            pictures: deque[Future[None]] = deque()
            items = self._items(readers, chunk, under_way)
            poses_of = self.estimator.stream(items, on_error=lambda place, error: unusable.update({place: str(error)}))
            for place, poses in enumerate(poses_of):
                yield from _failed(under_way)
                task, image = under_way.popleft()
                assert not isinstance(image, str)
                kept = self._without_duplicates(replace(poses, image_ids=np.full(len(poses), task.image_id)))
                if place not in unusable and self._settings.painter is not None:
                    pictures.append(painters.submit(self._draw, task, image, kept))
                while len(pictures) > 2 * threads:
                    pictures.popleft().result()
                yield self._result(task, image, kept, unusable.get(place))
            yield from _failed(under_way)
            for picture in pictures:
                picture.result()

    def _items(
        self, readers: ThreadPoolExecutor, chunk: Iterable[ImageTask], under_way: deque[tuple[ImageTask, Image | str]]
    ) -> Iterator[tuple[Image, Any, Any]]:
        """Read images ahead; note each as under way, and yield those that can be read."""
        for task, loaded in work_ahead(readers, self._load, chunk, self.estimator.num_threads):
            image = loaded.result()
            under_way.append((task, image))
            if not isinstance(image, str):
                yield image, task.bbox, task.bbox_scores

    def _load(self, task: ImageTask) -> Image | str:
        """Read an image, or return why it cannot be read."""
        try:
            return load_image(task.file, upright=self._reading.upright, bit_depth=self._reading.bit_depth)
        except ValueError as error:
            return str(error)

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
        assert self._settings.painter is not None
        picture = self._settings.painter(image, poses, self.estimator.skeleton)
        save_image(self._settings.picture_dir / _picture_name(task), picture)

    def _result(self, task: ImageTask, image: Image, poses: Poses, error: str | None) -> ImageResult:
        entry = {"id": task.image_id, "file_name": task.name, "width": image.shape[1], "height": image.shape[0]}
        return ImageResult(entry, poses.to_coco(self._settings.category_id), error)


def _failed(under_way: deque[tuple[ImageTask, Image | str]]) -> Iterator[ImageResult]:
    """Yield the results of the images at the head that could not be read."""
    while under_way and isinstance(under_way[0][1], str):
        task, error = under_way.popleft()
        yield ImageResult({"id": task.image_id, "file_name": task.name}, [], str(error))
