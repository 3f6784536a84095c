"""hrpose predict: estimate poses in images, in a video, from a camera or a stream."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
from omegaconf import DictConfig
from rich.console import Console

from hrpose.annotations.checks import warn_of
from hrpose.annotations.detections import read_image_boxes
from hrpose.annotations.images import check_images, sample_images
from hrpose.config import build
from hrpose.errors import DataError
from hrpose.estimator import PoseEstimator
from hrpose.estimator.video import TrackedFrame, track_poses
from hrpose.files import write_atomically
from hrpose.media.images import quiet_decoders
from hrpose.media.source import Camera, ImageFiles, Stream, Video, find_media
from hrpose.media.video import VideoReader, VideoWriter
from hrpose.progress import show_progress
from hrpose.report.table import say
from hrpose.skeletons import Skeleton
from hrpose.tasks.predict.files import PredictionFiles, read_earlier
from hrpose.tasks.predict.images import ImageResult, ImageWorker, Tally, check_pictures, leave_out, list_tasks
from hrpose.tasks.predict.settings import Settings, read_settings
from hrpose.tasks.predict.workers import cut_chunks, predict_chunks, settings_of_processes
from hrpose.tasks.results import PredictResult

logger = logging.getLogger(__name__)

_NO_BOXES = (
    "There are no boxes and no detector: each %s is taken as one instance. Give boxes=<file>, detector=auto (an RT-DETR on "
    "this machine), or detector=onnx detector.file=<YOLOX or RT-DETR>."
)
_SHOWN = 5  # unusable images named on the screen; unusable.txt lists all


class UnusableImagesError(DataError):
    """Some images could not be used; the others have their results."""

    exit_status = 3


def predict(cfg: DictConfig) -> PredictResult:
    """Estimate poses and write pictures, result files and optionally a table to the run's folder.

    Args:
        cfg: a composed and validated configuration of the verb `predict`.

    Returns:
        The number of instances found, in a video of different ones; and the files.

    Raises:
        UnusableImagesError: after all others are done, if images could not be read or their boxes do not fit.
    """
    source, folder = find_media(cfg.source), Path(cfg.paths.run)
    settings, unusable = read_settings(cfg), list[ImageResult]()
    start = time.perf_counter()
    with quiet_decoders():
        if isinstance(source, ImageFiles):
            unit, count = "images", len(source)
            skeleton, num_instances, unusable = predict_images(cfg, source, settings)
        else:
            unit = "frames"
            skeleton, count, num_instances = predict_video(cfg, source, settings)
    rate = count / (time.perf_counter() - start)
    say(Console(), f"{count} {unit}, {num_instances} instances, {rate:.1f} {unit}/s, in {folder}")
    if unusable:
        reasons = [f"{result.image['file_name']}: {result.error}\n" for result in unusable]
        with write_atomically(folder / "unusable.txt") as file:
            file.write_text("".join(reasons), encoding="utf-8")
        raise UnusableImagesError(_explain(reasons, count))
    return PredictResult(folder, num_instances, skeleton, folder / "poses.json", folder / "images.json")


def predict_images(cfg: DictConfig, images: ImageFiles, settings: Settings) -> tuple[Skeleton, int, list[ImageResult]]:
    """Estimate poses in images and write the files.

    Returns:
        The skeleton, the number of instances, and the results of images that could not be used.
    """
    known = read_image_boxes(cfg.annotations, cfg.boxes, min_score=cfg.min_bbox_score)
    tasks, folder = list_tasks(images, known), Path(cfg.paths.run)
    if settings.painter is not None:
        check_pictures(tasks)
    earlier = read_earlier(folder, settings.described) if cfg.resume else None
    sample = sample_images(images.names, images.folder)
    category_id = 1 if known is None else known.category_id
    settings = replace(settings, measured_depth=sample.bit_depth, category_id=category_id)
    processes = settings_of_processes(settings, cfg.devices)
    chunks = cut_chunks(tasks, cfg.chunk_size)
    if earlier is not None:
        earlier, chunks = leave_out(chunks, earlier, folder)
    if len(processes) == 1:
        worker = ImageWorker(settings)
        estimator, results = worker.estimator, (result for chunk in chunks for result in worker(chunk))
    else:
        estimator = replace(settings, device="cpu").build_estimator(None)
        results = predict_chunks(processes, chunks)
    if cfg.boxes is None:
        _warn_of_no_boxes(settings, estimator, "image")
    warn_of(check_images(sample, estimator.reading, orientation_matters=False, key="bit_depth"))
    tally = Tally(sum(len(rows) for _, rows in earlier or ()))
    options = {"category_id": category_id, "table": cfg.csv, "settings": settings.described}
    with (
        PredictionFiles(folder, estimator.skeleton, **options, earlier=earlier) as files,
        show_progress(images.folder.name, sum(map(len, chunks)), "images") as advance,
        closing(results),
    ):
        for result in results:
            if result.error is None:
                files.add(result.image, result.rows)
            tally.add(result)
            advance()
    tally.report()
    return estimator.skeleton, tally.num_instances, tally.unusable


def predict_video(cfg: DictConfig, source: Video | Camera | Stream, settings: Settings) -> tuple[Skeleton, int, int]:
    """Track instances through a video and write the files.

    An interrupt (Ctrl-C) ends the video there; for a camera or a stream it is the usual end.

    Returns:
        The skeleton, the numbers of frames and of instances.
    """
    detector = settings.build_detector()
    estimator = settings.build_estimator(None)
    _warn_of_no_boxes(settings, estimator, "frame in which nobody is tracked")
    tracker = build(cfg.tracking, sigmas=estimator.skeleton.sigmas)
    smoother = build(cfg.smoothing)
    is_file, folder, num_frames = isinstance(source, Video), Path(cfg.paths.run), 0
    opened, name, film = _names_of(source)
    with (
        VideoReader(opened, max_frames=cfg.max_frames) as reader,
        PredictionFiles(folder, estimator.skeleton, table=cfg.csv) as files,
        VideoWriter(folder / film, frame_rate=reader.frame_rate) as writer,
        show_progress(name, reader.num_frames, "frames") as advance,
    ):
        tracked = track_poses(
            estimator,
            reader,
            detector=detector,
            detect_every=cfg.detect_every,
            tracker=tracker,
            smoother=smoother,
            min_score=cfg.min_score,
            oks_nms_threshold=1.0 if settings.oks_nms_threshold is None else settings.oks_nms_threshold,
        )
        try:
            for frame in tracked:
                _add_frame(files, name, frame)
                if settings.painter is not None:
                    writer.write(settings.painter(frame.image, frame.poses, estimator.skeleton, numbered=True))
                num_frames += 1
                advance()
        except KeyboardInterrupt:
            if is_file:
                raise
            logger.info("Stopped after %d frames.", num_frames)
    return estimator.skeleton, num_frames, tracker.num_instances


def _warn_of_no_boxes(settings: Settings, estimator: PoseEstimator, unit: str) -> None:
    if settings.detector is None and not estimator.is_bottom_up:
        logger.warning(_NO_BOXES, unit)


def _names_of(source: Video | Camera | Stream) -> tuple[Path | int | Stream, str, str]:
    """Return what is opened, its name in images.json, and the name of the annotated video."""
    if isinstance(source, Video):
        return source.file, source.file.name, f"{source.file.stem}.mp4"
    if isinstance(source, Camera):
        return source.number, f"camera {source.number}", "camera.mp4"
    return source, str(source), "stream.mp4"


def _add_frame(files: PredictionFiles, name: str, frame: TrackedFrame) -> None:
    """Write the rows of a frame; frames are numbered from 1 in the files, as images are."""
    number = frame.index + 1
    entry = {
        "id": number,
        "file_name": f"{name}/{number:06d}",
        "width": frame.image.shape[1],
        "height": frame.image.shape[0],
        "time": round(frame.time, 6),
    }
    numbered = replace(frame.poses, image_ids=np.full(len(frame.poses), number, np.int64))
    tracks = frame.poses.instance_ids.tolist()
    files.add(entry, [{**row, "track_id": track} for row, track in zip(numbered.to_coco(), tracks, strict=True)])


def _explain(reasons: Sequence[str], num_images: int) -> str:
    """Name the first images that could not be used, and count the others."""
    lines = [f"  {reason.rstrip()}" for reason in reasons[:_SHOWN]]
    if len(reasons) > _SHOWN:
        lines.append(f"  and {len(reasons) - _SHOWN} more, which unusable.txt lists")
    return "\n".join([f"{len(reasons)} of {num_images} images could not be used:", *lines])
