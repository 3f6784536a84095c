"""Videos are read frame by frame with their times and written; unusable ones are refused."""

import logging
from unittest.mock import patch

import cv2
import numpy as np
import pytest

from hrpose.errors import DataError, MissingDataError
from hrpose.media.images import quiet_decoders, read_image
from hrpose.media.source import Stream
from hrpose.media.video import VideoReader, VideoWriter, extract_frames
from hrpose.synthetic import draw_walk


@pytest.fixture(scope="module")
def film():
    return list(draw_walk(num_frames=8, image_size=(160, 120), frame_rate=12.5))


@pytest.fixture
def video(film, tmp_path):
    file = tmp_path / "a folder" / "walk [1].mp4"
    with VideoWriter(file, frame_rate=12.5) as writer:
        for frame in film:
            writer.write(frame.image)
    return file


def test_frames_are_read_in_order_with_their_times_and_colours(video, film):
    with VideoReader(video) as reader:
        assert (reader.frame_rate, reader.num_frames) == (12.5, 8)
        frames = list(reader)
    assert [frame.index for frame in frames] == list(range(8))
    np.testing.assert_allclose([frame.time for frame in frames], [frame.time for frame in film], atol=1e-3)
    for read, drawn in zip(frames, film, strict=True):
        assert read.image.shape == (120, 160, 3)
        assert read.image.dtype == np.uint8
        # by compression; swapped red and blue channels differ far more
        assert np.abs(read.image.astype(int) - drawn.image).mean() < 6
        assert np.abs(read.image[..., ::-1].astype(int) - drawn.image).mean() > 20


def test_frames_are_read_one_at_a_time(video):
    with VideoReader(video) as reader, patch.object(reader, "_capture", wraps=reader._capture) as capture:
        frames = iter(reader)
        next(frames)
        next(frames)
        assert capture.read.call_count == 2


def test_no_more_than_max_frames_are_read(video):
    with VideoReader(video, max_frames=3) as reader:
        assert reader.num_frames == 3
        assert len(list(reader)) == 3
    with pytest.raises(ValueError, match=r"1.*0"):
        VideoReader(video, max_frames=0)


def test_frames_are_extracted_by_their_index(video, tmp_path):
    extract_frames(video, {2, 5}, tmp_path / "frames")
    with VideoReader(video) as reader:
        images = [frame.image for frame in reader]
    names = sorted(file.name for file in (tmp_path / "frames").iterdir())
    assert names == ["walk [1]_000002.png", "walk [1]_000005.png"]
    for name, index in zip(names, (2, 5), strict=True):
        np.testing.assert_array_equal(read_image(tmp_path / "frames" / name), images[index])


def test_an_odd_row_and_column_are_dropped(tmp_path):
    picture = np.random.default_rng(0).integers(60, 200, (9, 13, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)[:71, :101]
    with VideoWriter(tmp_path / "odd.mp4", frame_rate=25) as writer:
        writer.write(picture)
    with VideoReader(tmp_path / "odd.mp4") as reader:
        (frame,) = reader
    assert frame.image.shape == (70, 100, 3)
    assert np.abs(frame.image.astype(int) - picture[:70, :100]).mean() < 12


def test_a_video_is_complete_after_an_error(film, tmp_path):
    def interrupted():
        with VideoWriter(tmp_path / "cut.mp4", frame_rate=25) as writer:
            for frame in film[:5]:
                writer.write(frame.image)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with VideoReader(tmp_path / "cut.mp4") as reader:
        assert len(list(reader)) == 5


class Capture:
    """A fake camera or file with unusual properties."""

    def __init__(self, stamps, rate=0.0, count=0):
        self.stamps, self.values = list(stamps), {cv2.CAP_PROP_FPS: rate, cv2.CAP_PROP_FRAME_COUNT: count}

    def isOpened(self):
        return True

    def get(self, key):
        return self.values.get(key, 0.0)

    def read(self):
        if not self.stamps:
            return False, None
        self.values[cv2.CAP_PROP_POS_MSEC] = self.stamps.pop(0)
        return True, np.zeros((4, 4, 3), np.uint8)

    def release(self):
        pass


@pytest.mark.parametrize("rate", [0.0, float("nan"), -1.0, 90000.0])
def test_an_unknown_frame_rate_is_25_with_a_warning(rate, tmp_path, caplog):
    file = tmp_path / "x.avi"
    file.touch()
    with patch("cv2.VideoCapture", return_value=Capture([0], rate)), caplog.at_level(logging.WARNING):
        assert VideoReader(file).frame_rate == 25.0
    assert "25" in caplog.text


def test_times_always_increase(tmp_path):
    file = tmp_path / "x.avi"
    file.touch()
    with patch("cv2.VideoCapture", return_value=Capture([0, 40, 40, 130, 0], 25.0)):
        times = [frame.time for frame in VideoReader(file)]
    np.testing.assert_allclose(times, [0.0, 0.04, 0.08, 0.13, 0.17])


def test_frames_of_a_camera_have_the_time_of_reading():
    with (
        patch("cv2.VideoCapture", return_value=Capture([0] * 3, 30.0)),
        patch("time.monotonic", side_effect=[5.0, 5.1, 5.3, 5.35]),
    ):
        reader = VideoReader(0)
        assert reader.num_frames is None
        np.testing.assert_allclose([frame.time for frame in reader], [0.1, 0.3, 0.35])


def test_a_truncated_video_is_reported_and_an_empty_one_refused(tmp_path, caplog):
    file = tmp_path / "x.avi"
    file.touch()
    with patch("cv2.VideoCapture", return_value=Capture([0, 40], 25.0, 100)), caplog.at_level(logging.WARNING):
        assert len(list(VideoReader(file))) == 2
    assert "100 frames" in caplog.text
    with patch("cv2.VideoCapture", return_value=Capture([], 25.0)), pytest.raises(DataError, match="none could be read"):
        list(VideoReader(file))


def test_a_missing_or_unreadable_video_is_refused(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(DataError, match=r"text\.mp4"):
        VideoReader(tmp_path / "text.mp4")
    with pytest.raises(MissingDataError, match=r"none\.mp4"):
        VideoReader(tmp_path / "none.mp4")
    with pytest.raises(MissingDataError, match="99"):
        VideoReader(99)


def test_files_are_not_overwritten_and_frames_have_one_size(video, film, tmp_path):
    with pytest.raises(FileExistsError, match="exists already"):
        VideoWriter(video, frame_rate=25)
    with pytest.raises(ValueError, match=r"x.avi"):
        VideoWriter("x.avi", frame_rate=25)
    with pytest.raises(ValueError, match="`frame_rate` from above 0"):
        VideoWriter(tmp_path / "x.mp4", frame_rate=0)
    with VideoWriter(tmp_path / "y.mp4", frame_rate=25) as writer:
        writer.write(film[0].image)
        with pytest.raises(ValueError, match=r"160 x 120.*80 x 120"):
            writer.write(film[0].image[:, :80])
        with pytest.raises(ValueError, match="uint8 RGB, but got float64"):
            writer.write(film[0].image / 255)


@pytest.mark.parametrize("rate", [119.193, 24000 / 1001, 30000 / 1001, 65.5354, 239.76, 655.36, 999.99, 1 / 3])
def test_a_frame_rate_is_rounded_to_one_that_mpeg4_can_state(tmp_path, rate):
    with VideoWriter(tmp_path / "a.mp4", frame_rate=rate) as writer:
        for grey in range(3):
            writer.write(np.full((16, 16, 3), 40 * grey, np.uint8))
    with VideoReader(tmp_path / "a.mp4") as reader:
        assert reader.frame_rate == pytest.approx(rate, rel=1e-4 if rate > 10 else 1e-2)


def test_an_unreachable_stream_is_named_without_its_password():
    with quiet_decoders(), pytest.raises(MissingDataError, match=r"rtsp://127\.0\.0\.1:9/a") as error:
        VideoReader(Stream("rtsp://me:secret@127.0.0.1:9/a"))
    assert "secret" not in str(error.value)


def test_a_stream_is_read(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", frame_rate=5) as writer:
        for grey in range(3):
            writer.write(np.full((16, 16, 3), 40 * grey, np.uint8))
    with VideoReader(Stream(f"file:{tmp_path}/a.mp4")) as reader:  # OpenCV opens it as an address
        assert reader.num_frames is None
        assert [frame.index for frame in reader] == [0, 1, 2]
