"""Read videos, cameras and streams frame by frame, as RGB with the time of each frame; write videos."""

from __future__ import annotations

import logging
import time as clock
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hrpose.errors import DataError, MissingDataError
from hrpose.files import partial_path, replace_file, write_atomically
from hrpose.media.source import Stream, VideoSource

logger = logging.getLogger(__name__)

_USUAL_RATE = 25.0  # frames per second, if a file or a camera does not state it
_HIGHEST_RATE = 1000.0  # higher values are errors of the file
_LARGEST_PART = 65535  # numerator or denominator of the rate in MPEG-4
_LOWEST_RATE = 0.002  # of the fractions that OpenCV writes
_CODEC = "mp4v"  # MPEG-4 part 2, which every build of OpenCV can write


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """One frame of a video."""

    image: NDArray[np.uint8]  # (H, W, 3) RGB
    index: int  # from 0
    time: float  # seconds since the first frame


class VideoReader:
    """Read a video file, a camera or a stream frame by frame. Iterate once, in a `with` block or to the end.

    Videos of a rotated camera are rotated upright. Times are those of the file, which may be irregular; for a camera or a stream
    the times of reading.

    Args:
        source: a video file, the number of a camera, or a stream.
        max_frames: largest number of frames to read; None reads to the end.

    Attributes:
        frame_rate: frames per second; 25 if unknown.
        num_frames: number that the file states, at most `max_frames`; None if unknown.

    Raises:
        MissingDataError: if the file, camera or stream does not exist.
        DataError: if OpenCV cannot decode the file.
        ValueError: if `max_frames` is not positive.
    """

    def __init__(self, source: str | VideoSource, *, max_frames: int | None = None) -> None:
        if max_frames is not None and max_frames < 1:
            raise ValueError(f"Expected `max_frames` to be at least 1, but got {max_frames}.")
        if isinstance(source, str | Path) and not Path(source).is_file():
            raise MissingDataError(f"Expected a video at {source}, but the file does not exist.")
        self._source, self._is_live = source, isinstance(source, int | Stream)
        self._max_frames = max_frames
        self._capture = _open(source)
        self.frame_rate = _frame_rate(self._capture, source)
        count = 0 if self._is_live else int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        known = [number for number in (count, max_frames) if number is not None and number > 0]
        self.num_frames = min(known) if known else None

    def __iter__(self) -> Iterator[VideoFrame]:
        """Yield the frames; raise DataError if none can be read."""
        index, last, start = 0, -1.0 / self.frame_rate, clock.monotonic()
        while self._max_frames is None or index < self._max_frames:
            read, picture = self._capture.read()
            if not read:
                break
            stamp = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            time = clock.monotonic() - start if self._is_live else stamp
            if not time > last:  # some files have no times, or repeated ones
                time = last + 1.0 / self.frame_rate
            yield VideoFrame(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False), index, time)
            index, last = index + 1, time
        if index == 0:
            raise DataError(f"Expected frames in {_name(self._source)}, but none could be read.")
        if not self._is_live and self.num_frames is not None and index < 0.9 * self.num_frames:
            logger.warning(
                "%s states %d frames, but ends after %d. The file may be cut off.", self._source, self.num_frames, index
            )

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the file or the camera."""
        self._capture.release()


def extract_frames(file: Path, indices: Collection[int], folder: Path) -> None:
    """Write frames of a video, by their indices from 0, as `<name of the video>_<index with six digits>.png` to a folder.

    All frames before the last one are decoded, because a seek is not exact. Errors are those of `VideoReader`.
    """
    with VideoReader(file, max_frames=max(indices) + 1) as reader:
        for frame in reader:
            if frame.index in indices:
                content = cv2.imencode(".png", cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))[1].tobytes()
                with write_atomically(folder / f"{file.stem}_{frame.index:06d}.png", durable=False) as partial:
                    partial.write_bytes(content)


class VideoWriter:
    """Write an MP4 video without sound frame by frame, in a `with` block; the file is complete even after an error in the block.

    MPEG-4 needs even sizes: the last row or column of an odd size is dropped.

    Args:
        file: path that ends in .mp4; its folder is created.
        frame_rate: frames per second; rounded to the nearest rate that MPEG-4 can state.

    Raises:
        ValueError: if the file does not end in .mp4, or the rate is out of range.
        FileExistsError: if the file exists.
    """

    def __init__(self, file: str | Path, *, frame_rate: float) -> None:
        self.file = Path(file)
        if self.file.suffix.lower() != ".mp4":
            raise ValueError(f"Expected a video file that ends in .mp4, but got {file}.")
        if not 0 < frame_rate <= _HIGHEST_RATE:
            raise ValueError(f"Expected `frame_rate` from above 0 to {_HIGHEST_RATE:g}, but got {frame_rate}.")
        if self.file.exists():
            raise FileExistsError(f"{self.file} exists already. Choose another name, or remove it.")
        self._frame_rate = _expressible(frame_rate)
        self._writer: cv2.VideoWriter | None = None
        self._partial = partial_path(self.file, ".part.mp4")  # OpenCV chooses the format by the suffix
        self._size = (0, 0)

    def write(self, image: NDArray[np.uint8]) -> None:
        """Add a frame (H, W, 3) uint8 RGB; the first one sets the size of the video.

        Raises:
            ValueError: if the frame is not uint8 RGB, or its size differs from the first.
            OSError: if OpenCV cannot write the file.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"Expected a frame (H, W, 3) of uint8 RGB, but got {image.dtype} of the shape {image.shape}.")
        size = (image.shape[1], image.shape[0])
        if self._writer is None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self._size = size
            writer = cv2.VideoWriter(str(self._partial), cv2.VideoWriter.fourcc(*_CODEC), self._frame_rate, size)
            if not writer.isOpened():
                raise OSError(f"Expected to write {self.file} as {_CODEC}, but this build of OpenCV cannot.")
            self._writer = writer
        if size != self._size:
            raise ValueError(
                f"Expected frames of {self._size[0]} x {self._size[1]} pixels as before, but got {size[0]} x {size[1]}."
            )
        self._writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None
            replace_file(self._partial, self.file)


def _open(source: str | VideoSource) -> cv2.VideoCapture:
    address = source.address if isinstance(source, Stream) else source if isinstance(source, int) else str(source)
    capture = cv2.VideoCapture(address)
    if capture.isOpened():
        return capture
    if isinstance(source, int):
        raise MissingDataError(
            f"Expected a camera number {source}, but it cannot be opened. Is it connected, and not in use by another program?"
        )
    if isinstance(source, Stream):
        raise MissingDataError(f"Expected a stream at {source}, but OpenCV cannot open it. Does it open in a video player?")
    raise DataError(
        f"Expected a video at {source}, but OpenCV cannot decode it. Convert it: ffmpeg -i {Path(source).name} video.mp4."
    )


def _frame_rate(capture: cv2.VideoCapture, source: str | VideoSource) -> float:
    rate = float(capture.get(cv2.CAP_PROP_FPS))
    if 0 < rate <= _HIGHEST_RATE:
        return rate
    logger.warning("%s does not state its frame rate: %g frames per second are assumed.", _name(source), _USUAL_RATE)
    return _USUAL_RATE


def _expressible(rate: float) -> float:
    """Return the nearest rate that MPEG-4 can state: OpenCV writes a fraction of at most three decimals."""
    places = next(places for places in (3, 2, 1, 0) if round(rate, places) * 10**places <= _LARGEST_PART)
    return max(round(rate, places), _LOWEST_RATE)


def _name(source: str | VideoSource) -> str:
    return f"camera {source}" if isinstance(source, int) else str(source)
