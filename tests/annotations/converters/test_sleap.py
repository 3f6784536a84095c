"""SLEAP. The files are written by sleap-io."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from grey_images import category, instances, write_images

from hrpose.annotations.converters import convert_labels, recognise
from hrpose.errors import DataError
from hrpose.media.images import read_image
from hrpose.media.video import VideoWriter

sio = pytest.importorskip("sleap_io", reason="needs hrpose[sleap]")


def save(file: Path, images: list[Path] | str, *, embed: Any = False) -> Path:
    """Write labels of the second image: an instance with a track, one without, and a predicted one."""
    skeleton = sio.Skeleton(
        nodes=["head", "wingL", "wingR"], edges=[("head", "wingL")], symmetries=[("wingL", "wingR")], name="fly"
    )
    video = sio.Video.from_filename(images if isinstance(images, str) else [str(image) for image in images])
    track = sio.Track("female")
    found = [
        sio.Instance.from_numpy(np.array([[10.25, 20], [30, 40], [np.nan, np.nan]]), skeleton=skeleton, track=track),
        sio.Instance.from_numpy(np.array([[50, 60], [70.5, 80], [90, 100.125]]), skeleton=skeleton),
        sio.PredictedInstance.from_numpy(np.array([[1.0, 2], [3, 4], [5, 6]]), skeleton=skeleton, score=0.9),
    ]
    frame = sio.LabeledFrame(video=video, frame_idx=1, instances=found)
    labels = sio.Labels(labeled_frames=[frame], videos=[video], skeletons=[skeleton], tracks=[track])
    sio.save_slp(labels, str(file), embed=embed, verbose=False)
    return file


def test_images_edges_symmetries_and_tracks_are_kept(tmp_path) -> None:
    file = save(tmp_path / "labels.slp", write_images(tmp_path, "v/0.png", "v/1.png"))
    assert recognise(file) == recognise(tmp_path) == "sleap"
    notes = convert_labels(file, bbox_margin=0.25, split=0).notes
    first, second = instances(tmp_path)["v/1.png"]
    assert (first["keypoints"], first["track_id"]) == ([10.25, 20, 2, 30, 40, 2, 0, 0, 0], 1)
    assert second["keypoints"] == [50, 60, 2, 70.5, 80, 2, 90, 100.125, 2]
    assert "track_id" not in second
    assert category(tmp_path)["skeleton"] == [[1, 2]]
    assert category(tmp_path)["flip_pairs"] == [["wingL", "wingR"]]
    assert any("1 predicted instances" in note for note in notes)


def test_embedded_images_are_written(tmp_path) -> None:
    images = write_images(tmp_path / "elsewhere", "0.png", "1.png")
    file = save(tmp_path / "labels.pkg.slp", images, embed="all")
    before = images[1].read_bytes()
    for image in images:
        image.unlink()
    convert_labels(file, bbox_margin=0.25, split=0)
    assert list(instances(tmp_path)) == ["labels_frames/video0_000001.png"]
    assert before.startswith(b"\x89PNG")


def test_labels_of_a_video_need_their_images(tmp_path) -> None:
    file = save(tmp_path / "labels.slp", "walk.mp4")
    with pytest.raises(DataError, match=r"walk\.mp4.*pkg\.slp"):
        convert_labels(file, bbox_margin=0.25)


def test_another_file_is_not_recognised(tmp_path) -> None:
    (tmp_path / "a.slp").write_bytes(b"pickle")
    assert recognise(tmp_path / "a.slp") is None


def test_labelled_frames_of_a_video_are_written(tmp_path) -> None:
    with VideoWriter(tmp_path / "walk.mp4", frame_rate=10) as writer:
        for level in (20, 120, 220):
            writer.write(np.full((64, 96, 3), level, np.uint8))
    file = save(tmp_path / "labels.slp", str(tmp_path / "walk.mp4"))
    convert_labels(file, bbox_margin=0.25, split=0)
    assert list(instances(tmp_path)) == ["labels_frames/walk_000001.png"]
    assert abs(read_image(tmp_path / "labels_frames/walk_000001.png").mean() - 120) < 5
