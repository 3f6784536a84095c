"""hrpose predict: poses in photos, in a video or from a camera."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from hrpose.annotations.checks import warn_of
from hrpose.annotations.detections import read_photo_boxes
from hrpose.annotations.image_checks import check_images, sample_images
from hrpose.config import build
from hrpose.errors import DataError
from hrpose.files import write_atomically
from hrpose.media.source import Photos, find_media
from hrpose.progress import show_progress
from hrpose.report.table import say
from hrpose.tasks.predict.files import PredictionFiles
from hrpose.tasks.predict.images import PhotoResult, PhotoTask, PhotoWorker, check_pictures, list_tasks
from hrpose.tasks.predict.settings import Settings, read_settings
from hrpose.tasks.predict.videos import VideoOptions, predict_video
from hrpose.tasks.predict.workers import cut_chunks, jobs_of, predict_spread

_SHOWN = 5  # unusable photos that are named on the screen; unusable.txt has all


class UnusablePhotosError(DataError):
    """Some photos could not be used; the others have their results."""

    exit_status = 3


def predict(cfg: DictConfig) -> int:
    """Estimate poses and leave pictures, result files and, on demand, a table in the run's folder.

    Args:
        cfg: a composed and validated configuration of the verb `predict`.

    Returns:
        The number of people found; in a video that of different people.

    Raises:
        UnusablePhotosError: after all others are done, if photos could not be read or their boxes do not fit.
    """
    source, folder = find_media(cfg.source), Path(cfg.paths.run)
    settings = read_settings(cfg)
    start = time.perf_counter()
    if isinstance(source, Photos):
        num_photos, num_people, unusable = _predict_photos(cfg, source, folder, settings)
        _say_rate(num_photos, "photos", num_people, time.perf_counter() - start, folder)
        if unusable:
            reasons = [f"{result.image['file_name']}: {result.error}\n" for result in unusable]
            with write_atomically(folder / "unusable.txt") as file:
                file.write_text("".join(reasons), encoding="utf-8")
            raise UnusablePhotosError(_explain(reasons, num_photos))
        return num_people
    num_frames, num_people = predict_video(source, folder, settings, _video_options(cfg))
    _say_rate(num_frames, "frames", num_people, time.perf_counter() - start, folder)
    return num_people


def _predict_photos(
    cfg: DictConfig, photos: Photos, folder: Path, settings: Settings
) -> tuple[int, int, list[PhotoResult]]:
    """Give the number of photos, that of people, and the results of photos that could not be used."""
    known = read_photo_boxes(cfg.annotations, cfg.boxes, min_score=cfg.min_bbox_score)
    tasks = list_tasks(photos, known)
    category_id = 1 if known is None else known.category_id
    pictures = folder / "pictures" if settings.painter is not None else None
    if pictures is not None:
        check_pictures(tasks)
    sample = sample_images(photos.names, photos.folder)
    settings = replace(settings, measured_depth=sample.bit_depth)
    jobs = jobs_of(settings, devices=cfg.devices, category_id=category_id, picture_dir=pictures)
    chunks = cut_chunks(tasks, cfg.chunk_size)
    if len(jobs) == 1:
        worker = jobs[0].build()
        estimator, results = worker.estimator, _all(worker, chunks)
    else:
        estimator, results = settings.on_device("cpu").build_estimator(None), predict_spread(jobs, chunks)
    warn_of(check_images(sample, estimator.reading, orientation_matters=False, key="bit_depth"))
    num_people, unusable = 0, []
    with (
        PredictionFiles(folder, estimator.skeleton, category_id=category_id, table=cfg.csv) as files,
        show_progress(photos.folder.name, len(tasks), "photos") as advance,
        closing(results),
    ):
        for result in results:
            if result.error is None:
                files.add(result.image, result.rows)
                num_people += len(result.rows)
            else:
                unusable.append(result)
            advance()
    return len(tasks), num_people, unusable


def _all(worker: PhotoWorker, chunks: Sequence[Sequence[PhotoTask]]) -> Generator[PhotoResult, None, None]:
    for chunk in chunks:
        yield from worker(chunk)


def _video_options(cfg: DictConfig) -> VideoOptions:
    return VideoOptions(
        max_frames=cfg.max_frames,
        detect_every=cfg.detect_every,
        min_score=cfg.min_score,
        tracking=partial(build, cfg.tracking),
        smoother=None if cfg.smoothing is None else build(cfg.smoothing),
        table=cfg.csv,
    )


def _explain(reasons: Sequence[str], num_photos: int) -> str:
    """Name the first photos that could not be used, and count the others."""
    lines = [f"  {reason.rstrip()}" for reason in reasons[:_SHOWN]]
    if len(reasons) > _SHOWN:
        lines.append(f"  and {len(reasons) - _SHOWN} more, which unusable.txt lists")
    return "\n".join([f"{len(reasons)} of {num_photos} photos could not be used:", *lines])


def _say_rate(count: int, unit: str, num_people: int, seconds: float, folder: Path) -> None:
    say(Console(), f"{count} {unit}, {num_people} people, {count / seconds:.1f} {unit}/s, in {folder}")
