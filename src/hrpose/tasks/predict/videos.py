"""A video or a camera to poses, frame by frame: an annotated video and the rows of everybody in it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hrpose.estimator.video import TrackedFrame, track_poses
from hrpose.media.source import Camera, Video
from hrpose.media.video import VideoReader, VideoWriter
from hrpose.progress import show_progress
from hrpose.tasks.predict.files import PredictionFiles
from hrpose.tasks.predict.settings import Settings
from hrpose.tracking import OksTracker, PoseSmoother

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class VideoOptions:
    """What is wanted of a video.

    Attributes:
        max_frames: after how many frames to stop; None goes on to the end.
        detect_every: ask the detector in every n-th frame.
        min_score: people with a lower instance score are not followed.
        tracking: makes the tracker of the `sigmas` of the skeleton.
        smoother: steadies the keypoints; None leaves them.
        table: whether to write `poses.csv`.
    """

    max_frames: int | None
    detect_every: int
    min_score: float
    tracking: Callable[..., OksTracker]
    smoother: PoseSmoother | None
    table: bool


def predict_video(source: Video | Camera, folder: Path, settings: Settings, options: VideoOptions) -> tuple[int, int]:
    """Follow people through a video and leave the files in the folder.

    An interrupt (Ctrl-C) ends the video there; of a camera it is the usual end.

    Returns:
        The number of frames, and of people.
    """
    detector = settings.build_detector()
    estimator = settings.build_estimator(None)
    tracker = options.tracking(sigmas=estimator.skeleton.sigmas)
    name = source.file.name if isinstance(source, Video) else f"camera {source.number}"
    taken = source.file if isinstance(source, Video) else source.number
    num_frames = 0
    with (
        VideoReader(taken, max_frames=options.max_frames) as reader,
        PredictionFiles(folder, estimator.skeleton, table=options.table) as files,
        VideoWriter(folder / _video_name(source), frame_rate=reader.frame_rate) as writer,
        show_progress(name, reader.num_frames, "frames") as advance,
    ):
        followed = track_poses(
            estimator,
            reader,
            detector=detector,
            detect_every=options.detect_every,
            tracker=tracker,
            smoother=options.smoother,
            min_score=options.min_score,
            oks_nms_threshold=1.0 if settings.oks_nms_threshold is None else settings.oks_nms_threshold,
        )
        try:
            for frame in followed:
                _note(files, name, frame)
                if settings.painter is not None:
                    writer.write(settings.painter(frame.image, frame.poses, estimator.skeleton, numbered=True))
                num_frames += 1
                advance()
        except KeyboardInterrupt:
            if isinstance(source, Video):
                raise
            logger.info("Stopped after %d frames.", num_frames)
    return num_frames, tracker.num_people


def _note(files: PredictionFiles, name: str, frame: TrackedFrame) -> None:
    """Write down a frame; frames are numbered from 1 in the files, as photos are."""
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


def _video_name(source: Video | Camera) -> str:
    return f"{source.file.stem}.mp4" if isinstance(source, Video) else "camera.mp4"
