"""hrpose predict: estimate poses in images, in a video, from a camera or a stream."""

import json
import logging
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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
from hrpose.media.source import ImageFiles, VideoSource, find_media
from hrpose.media.video import VideoReader, VideoWriter
from hrpose.progress import show_progress
from hrpose.report.table import say
from hrpose.skeletons import Skeleton
from hrpose.structures import Poses
from hrpose.tasks.predict.files import PredictionFiles, read_earlier
from hrpose.tasks.predict.images import ImageResult, ImageWorker, Tally, check_pictures, list_tasks, remove_complete
from hrpose.tasks.predict.settings import Settings, read_settings
from hrpose.tasks.predict.workers import cut_chunks, predict_chunks, settings_of_processes

logger = logging.getLogger(__name__)

_NO_BOXES = (
    "Without boxes and a detector, each %s is taken as one instance. Set boxes=<file>, detector=auto (an RT-DETR on this "
    "machine), or detector=onnx detector.file=<YOLOX or RT-DETR>."
)
_MAX_REASONS = 5  # unusable images on the screen; unusable.txt lists all


class UnusableImagesError(DataError):
    """Some images could not be used; the others have results."""

    exit_status = 3


@dataclass(frozen=True)
class PredictResult:
    """The result of `hrpose predict`. The poses are in files, because there may be millions.

    Attributes:
        run_dir: folder of the run, with `pictures/` or the annotated video.
        num_instances: instances found; in a video the number of tracks.
        skeleton: of the poses.
        poses_file: COCO keypoint results.
        images_file: the images of the results, as a COCO annotation file without annotations.
    """

    run_dir: Path
    num_instances: int
    skeleton: Skeleton
    poses_file: Path
    images_file: Path

    def read_poses(self) -> dict[str, Poses]:
        """Read the poses of each image or frame.

        Returns:
            The poses by file name, in the order of the images. An image without instances has a record with no rows.
            `bbox_scores` are NaN, because the file lacks them. `instance_ids` are track ids in a video, otherwise rows from 0.
        """
        images = json.loads(self.images_file.read_text(encoding="utf-8"))["images"]
        rows: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in images}
        for row in json.loads(self.poses_file.read_text(encoding="utf-8")):
            rows[row["image_id"]].append(row)
        return {image["file_name"]: _poses_of(rows[image["id"]], self.skeleton) for image in images}


def predict(cfg: DictConfig) -> PredictResult:
    """Estimate poses and write pictures, result files and optionally a table to the folder of the run.

    Raises:
        UnusableImagesError: after the other images, if images cannot be read or their boxes are invalid.
    """
    source, folder = find_media(cfg.source), Path(cfg.paths.run)
    settings, unusable = read_settings(cfg), list[ImageResult]()
    start = time.perf_counter()
    with quiet_decoders():
        if isinstance(source, ImageFiles):
            unit, count = "photos", len(source)
            skeleton, num_instances, unusable = predict_images(cfg, source, settings)
        else:
            unit = "frames"
            skeleton, count, num_instances = predict_video(cfg, source, settings)
    rate = count / (time.perf_counter() - start)
    found = "people" if skeleton.name in ("coco", "person") else "instances"
    # scripts read this line, so its words stay
    say(Console(), f"{count} {unit}, {num_instances} {found}, {rate:.1f} {unit}/s, in {folder}")
    if unusable:
        reasons = [f"{result.image['file_name']}: {result.error}\n" for result in unusable]
        with write_atomically(folder / "unusable.txt") as file:
            file.write_text("".join(reasons), encoding="utf-8")
        shown = "".join(f"\n  {reason.rstrip()}" for reason in reasons[:_MAX_REASONS])
        more = len(reasons) - _MAX_REASONS
        shown += f"\n  and {more} more, see unusable.txt" if more > 0 else ""
        raise UnusableImagesError(f"{len(reasons)} of {count} images could not be used:{shown}")
    return PredictResult(folder, num_instances, skeleton, folder / "poses.json", folder / "images.json")


def predict_images(cfg: DictConfig, source: ImageFiles, settings: Settings) -> tuple[Skeleton, int, list[ImageResult]]:
    """Write the poses in images; return the skeleton, the number of instances, and the unusable images."""
    known = read_image_boxes(cfg.annotations, cfg.boxes, min_score=cfg.min_bbox_score)
    tasks, folder = list_tasks(source, known), Path(cfg.paths.run)
    if settings.painter is not None:
        check_pictures(tasks)
    earlier = read_earlier(folder, settings.described) if cfg.resume else None
    sample = sample_images(source.names, source.folder)
    category_id = 1 if known is None else known.category_id
    settings = replace(settings, measured_depth=sample.bit_depth, category_id=category_id)
    processes = settings_of_processes(settings, cfg.devices)
    chunks = cut_chunks(tasks, cfg.chunk_size)
    if earlier is not None:
        earlier, chunks = remove_complete(chunks, earlier, folder)
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
        show_progress(source.folder.name, sum(map(len, chunks)), "images") as advance,
        closing(results),
    ):
        for result in results:
            if result.error is None:
                files.add(result.image, result.rows)
            tally.add(result)
            advance()
    tally.report()
    return estimator.skeleton, tally.num_instances, tally.unusable


def predict_video(cfg: DictConfig, source: VideoSource, settings: Settings) -> tuple[Skeleton, int, int]:
    """Write the poses of the tracks in a video; return the skeleton, and the numbers of frames and tracks."""
    detector = settings.build_detector()
    estimator = settings.build_estimator(None)
    _warn_of_no_boxes(settings, estimator, "frame without a track")
    tracker = build(cfg.tracking, sigmas=estimator.skeleton.sigmas)
    smoother = build(cfg.smoothing)
    folder, num_frames = Path(cfg.paths.run), 0
    name, film = _names_of(source)
    with (
        VideoReader(source, max_frames=cfg.max_frames) as reader,
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
        except KeyboardInterrupt:  # the usual end of a camera or a stream
            if isinstance(source, Path):
                raise
            logger.info("Stopped after %d frames.", num_frames)
    return estimator.skeleton, num_frames, tracker.num_instances


def _warn_of_no_boxes(settings: Settings, estimator: PoseEstimator, unit: str) -> None:
    if settings.detector is None and not estimator.is_bottom_up:
        logger.warning(_NO_BOXES, unit)


def _names_of(source: VideoSource) -> tuple[str, str]:
    """Return the name in images.json, and the name of the annotated video."""
    if isinstance(source, Path):
        return source.name, f"{source.stem}.mp4"
    return (f"camera {source}", "camera.mp4") if isinstance(source, int) else (str(source), "stream.mp4")


def _add_frame(files: PredictionFiles, name: str, frame: TrackedFrame) -> None:
    """Write the rows of a frame, numbered from 1 like images."""
    number = frame.index + 1
    height, width = frame.image.shape[:2]
    entry = {"id": number, "file_name": f"{name}/{number:06d}", "width": width, "height": height, "time": round(frame.time, 6)}
    numbered = replace(frame.poses, image_ids=np.full(len(frame.poses), number, np.int64))
    tracks = frame.poses.instance_ids.tolist()
    files.add(entry, [{**row, "track_id": track} for row, track in zip(numbered.to_coco(), tracks, strict=True)])


def _poses_of(rows: list[dict[str, Any]], skeleton: Skeleton) -> Poses:
    triplets = np.array([row["keypoints"] for row in rows], np.float64).reshape(len(rows), skeleton.num_keypoints, 3)
    return Poses(
        keypoints=triplets[..., :2],
        keypoint_scores=triplets[..., 2].astype(np.float32),
        scores=np.array([row["score"] for row in rows], np.float64),
        bbox_scores=np.full(len(rows), np.nan),
        center=np.array([row["center"] for row in rows], np.float64).reshape(-1, 2),
        scale=np.array([row["scale"] for row in rows], np.float64).reshape(-1, 2),
        image_ids=np.array([row["image_id"] for row in rows], np.int64),
        instance_ids=np.array([row.get("track_id", index) for index, row in enumerate(rows)], np.int64),
        skeleton=skeleton,
    )
