"""hrpose predict with a bottom-up network: all instances of an image without boxes, and a video."""

import json

import numpy as np
import pytest
from small_network import write_bottom_up_checkpoint

from hrpose import PoseEstimator
from hrpose.config import compose
from hrpose.media.video import VideoWriter
from hrpose.synthetic import draw_walk, write_dataset
from hrpose.tasks import run


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_bottom_up_checkpoint(tmp_path_factory.mktemp("weights") / "small.ckpt")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people") / "data"
    write_dataset(folder, num_train=1, num_val=3, image_size=(128, 64))
    return folder / "val2017"


def predict(weights, folder, *overrides):
    given = [f"weights='{weights}'", "device=cpu", "num_threads=1", "draw=none", f"paths.run={folder}"]
    return run("predict", compose("predict", [*given, *overrides])).num_instances


def test_a_bottom_up_network_needs_no_boxes_and_gives_no_warning(weights, images, tmp_path, caplog):
    num_instances = predict(weights, tmp_path / "run", f"source={images}", "oks_nms_threshold=null")
    rows = json.loads((tmp_path / "run" / "poses.json").read_text())
    estimator = PoseEstimator.from_checkpoint(weights, device="cpu")
    expected = estimator(sorted(images.iterdir()))
    assert num_instances == len(rows) == sum(map(len, expected)) > 3
    assert [row["image_id"] for row in rows] == np.repeat([1, 2, 3], [len(poses) for poses in expected]).tolist()
    keypoints = np.array([row["keypoints"] for row in rows]).reshape(-1, 17, 3)
    np.testing.assert_allclose(keypoints[..., :2], np.concatenate([poses.keypoints for poses in expected]), atol=1e-3)
    assert "boxes" not in caplog.text


def test_boxes_are_refused_for_a_bottom_up_network(weights, images, tmp_path):
    boxes = images.parent / "annotations" / "person_keypoints_val2017.json"
    with pytest.raises(ValueError, match="boxes"):
        predict(weights, tmp_path / "run", f"source={images}", f"boxes={boxes}")


def test_a_video_is_tracked_without_boxes(weights, tmp_path, caplog):
    film = tmp_path / "walk.mp4"
    with VideoWriter(film, frame_rate=10) as writer:
        for frame in draw_walk(num_frames=2, image_size=(128, 64), frame_rate=10):
            writer.write(frame.image)
    predict(weights, tmp_path / "run", f"source='{film}'", "min_score=0")
    rows = json.loads((tmp_path / "run" / "poses.json").read_text())
    assert {row["image_id"] for row in rows} == {1, 2}
    assert all(row["track_id"] >= 1 for row in rows)
    assert "boxes" not in caplog.text
