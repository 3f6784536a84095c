"""Photos to poses: read ahead, estimate in batches that do not depend on who computes them, draw on threads of their own."""

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
from hrpose.skeletons import Skeleton
from hrpose.structures import Poses
from hrpose.tasks.predict.settings import Settings
from hrpose.visualize import save_image

Image = NDArray[np.uint8]
_PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True, eq=False)
class PhotoTask:
    """A photo to look at.

    Attributes:
        file: where it is.
        name: relative to the folder of all photos, with forward slashes.
        image_id: its number in the result file.
        bbox: (N, 4) x, y, width, height in pixels; None leaves it to the detector.
        bbox_scores: (N,).
    """

    file: Path
    name: str
    image_id: int
    bbox: NDArray[np.float64] | None = None
    bbox_scores: NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False)
class PhotoResult:
    """What became of a photo.

    Attributes:
        image: its entry of `images`.
        rows: the people, as `Poses.to_coco` gives them.
        error: why it could not be used; None if it could.
    """

    image: dict[str, Any]
    rows: list[dict[str, Any]]
    error: str | None = None


def list_tasks(photos: Photos, known: PhotoBoxes | None) -> list[PhotoTask]:
    """Number the photos: as the annotations do, or from 1 in the order of their names.

    Raises:
        ValueError: if the annotations do not know some of the photos.
    """
    if known is None:
        return [PhotoTask(photos.folder / name, name, number) for number, name in enumerate(photos.names, start=1)]
    strange = [name for name in photos.names if name not in known.image_ids]
    if strange:
        some = next(iter(known.image_ids), None)
        raise ValueError(
            f"Expected the annotations to name every photo of the source, but {len(strange)} of {len(photos)} are not among "
            f"their images: {', '.join(strange[:3])}{', ...' if len(strange) > 3 else ''}. Names are relative to the folder of "
            f"the source, as in {some!r}: choose the source so that they fit, or leave the others out."
        )
    tasks = []
    for name in photos.names:
        boxes = known.boxes_of(known.image_ids[name])
        bbox, scores = boxes if boxes is not None else (None, None)
        tasks.append(PhotoTask(photos.folder / name, name, known.image_ids[name], bbox, scores))
    return tasks


def check_pictures(tasks: Iterable[PhotoTask]) -> None:
    """Make sure that no two photos are drawn into one file.

    Raises:
        ValueError: for the first two that would be.
    """
    drawn: dict[str, str] = {}
    for task in tasks:
        other = drawn.setdefault(_picture_name(task), task.name)
        if other != task.name:
            raise ValueError(
                f"Expected photos whose pictures have names of their own, but {other} and {task.name} would both be drawn into "
                f"pictures/{_picture_name(task)}. Rename one, or draw nothing: draw=none."
            )


def _picture_name(task: PhotoTask) -> str:
    return task.name if task.name.lower().endswith(_PICTURE_SUFFIXES) else f"{task.name}.jpg"


class PhotoWorker:
    """Estimates poses in photos, chunk by chunk.

    Args:
        settings: of the network and of what is wanted.
        category_id: of the people.
        picture_dir: where annotated pictures go; None makes none.
    """

    def __init__(self, settings: Settings, *, category_id: int, picture_dir: Path | None) -> None:
        self._settings = settings
        self._estimator: PoseEstimator = settings.build_estimator(settings.build_detector())
        self._reading = settings.reading_of(self._estimator)
        self._category_id = category_id
        self._picture_dir = picture_dir if settings.painter is not None else None

    @property
    def estimator(self) -> PoseEstimator:
        """What finds the poses."""
        return self._estimator

    @property
    def skeleton(self) -> Skeleton:
        """The keypoints that come out."""
        return self._estimator.skeleton

    def __call__(self, chunk: Sequence[PhotoTask]) -> Iterator[PhotoResult]:
        """Look at the photos of one chunk. No batch goes beyond it, so its results depend on nothing else.

        Yields:
            The results, in order.
        """
        under_way: deque[tuple[PhotoTask, Image | str]] = deque()
        unusable: dict[int, str] = {}
        threads = self._estimator.num_threads
        with (
            ThreadPoolExecutor(threads, "hrpose-load") as readers,
            ThreadPoolExecutor(threads, "hrpose-draw") as painters,
        ):
            pictures: deque[Future[None]] = deque()
            items = self._items(readers, chunk, under_way)
            poses_of = self._estimator.stream(items, on_error=lambda place, error: unusable.update({place: str(error)}))
            for place, poses in enumerate(poses_of):
                yield from _failed(under_way)
                task, image = under_way.popleft()
                assert not isinstance(image, str)
                people = self._once(replace(poses, image_ids=np.full(len(poses), task.image_id)))
                if place not in unusable and self._picture_dir is not None:
                    pictures.append(painters.submit(self._draw, task, image, people))
                while len(pictures) > 2 * threads:
                    pictures.popleft().result()
                yield self._result(task, image, people, unusable.get(place))
            yield from _failed(under_way)
            for picture in pictures:
                picture.result()

    def _items(
        self, readers: ThreadPoolExecutor, chunk: Iterable[PhotoTask], under_way: deque[tuple[PhotoTask, Image | str]]
    ) -> Iterator[tuple[Image, Any, Any]]:
        """Read photos ahead; note each one as under way, and pass on those that can be read."""
        for task, loaded in work_ahead(readers, self._load, chunk, self._estimator.num_threads):
            image = loaded.result()
            under_way.append((task, image))
            if not isinstance(image, str):
                yield image, task.bbox, task.bbox_scores

    def _load(self, task: PhotoTask) -> Image | str:
        """Read an image, or return why it cannot be read."""
        try:
            return load_image(task.file, upright=self._reading.upright, bit_depth=self._reading.bit_depth)
        except ValueError as error:
            return str(error)

    def _once(self, poses: Poses) -> Poses:
        """Leave out poses that repeat a better one; the others stay in their order."""
        if self._settings.oks_nms_threshold is None:
            return poses
        kept = oks_nms(
            *(poses.keypoints, poses.scores, poses.area, poses.image_ids, self.skeleton.sigmas),
            threshold=self._settings.oks_nms_threshold,
        )
        return poses[np.sort(kept)]

    def _draw(self, task: PhotoTask, image: Image, poses: Poses) -> None:
        assert self._settings.painter is not None
        assert self._picture_dir is not None
        picture = self._settings.painter(image, poses, self.skeleton)
        save_image(self._picture_dir / _picture_name(task), picture)

    def _result(self, task: PhotoTask, image: Image, poses: Poses, error: str | None) -> PhotoResult:
        entry = {"id": task.image_id, "file_name": task.name, "width": image.shape[1], "height": image.shape[0]}
        return PhotoResult(entry, poses.to_coco(self._category_id), error)


def _failed(under_way: deque[tuple[PhotoTask, Image | str]]) -> Iterator[PhotoResult]:
    """Give the results of the photos at the head that could not be read."""
    while under_way and isinstance(under_way[0][1], str):
        task, error = under_way.popleft()
        yield PhotoResult({"id": task.image_id, "file_name": task.name}, [], str(error))
