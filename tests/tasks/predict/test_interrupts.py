"""Ctrl-C ends a video with status 130 and a camera normally; the files are complete in both cases."""

import json
from pathlib import Path

import numpy as np
import pytest

from hrpose.config import compose
from hrpose.media.video import VideoFrame, VideoReader
from hrpose.skeletons import COCO
from hrpose.structures import Poses
from hrpose.tasks import predict
from hrpose.tasks.predict.settings import Settings
from hrpose.visualize import PosePainter


class Interrupted:
    """A video with three frames, followed by Ctrl-C."""

    frame_rate, num_frames = 10.0, None

    def __init__(self, source, max_frames):
        self.source = source

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def __iter__(self):
        for index in range(3):
            yield VideoFrame(np.full((48, 64, 3), 90, np.uint8), index, index / 10)
        raise KeyboardInterrupt


class Somebody:
    """An estimator that returns the same instance for every frame."""

    skeleton = COCO
    is_bottom_up = False

    def __call__(self, image, *, bbox=None, bbox_xyxy=None, bbox_scores=None):
        keypoints = np.random.default_rng(0).uniform(5, 45, (1, 17, 2))
        one = np.ones(1)
        return Poses(
            keypoints=keypoints,
            keypoint_scores=np.ones((1, 17), np.float32),
            scores=one,
            bbox_scores=one,
            center=keypoints.mean(axis=1),
            scale=np.full((1, 2), 40.0),
            image_ids=one.astype(np.int64),
            instance_ids=one.astype(np.int64),
        )


@pytest.fixture
def follow(tmp_path, monkeypatch):
    monkeypatch.setattr(predict, "VideoReader", Interrupted)
    monkeypatch.setattr(Settings, "build_estimator", lambda self, detector: Somebody())
    settings = Settings(Path("x"), "cpu", {}, {}, None, PosePainter(), 0.9, True)
    cfg = compose("predict", ["source=camera", "csv=true", "smoothing=none", f"paths.run={tmp_path}"])
    return lambda source: predict.predict_video(cfg, source, settings)


def check_files(folder, name):
    assert len(json.loads((folder / "images.json").read_text())["images"]) == 3
    assert [row["track_id"] for row in json.loads((folder / "poses.json").read_text())] == [1, 1, 1]
    assert len((folder / "poses.csv").read_text().splitlines()) == 4
    with VideoReader(folder / name) as reader:
        assert len(list(reader)) == 3


def test_a_camera_is_ended_by_an_interrupt(follow, tmp_path):
    assert follow(0)[1:] == (3, 1)
    check_files(tmp_path, "camera.mp4")


def test_an_interrupted_video_is_complete_up_to_the_interrupt(follow, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        follow(Path("a film.mov"))
    check_files(tmp_path, "a film.mp4")
