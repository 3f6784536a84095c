"""Resolve a `source`: images, a video, a camera or a stream. Files are listed, not opened, except the index of archives."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TypeAlias

from hrpose.files import shorten
from hrpose.media.archives import split_archive
from hrpose.media.folders import is_image_folder, list_images
from hrpose.media.headers import IMAGE_SUFFIXES

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")
STREAM_SCHEMES = ("http", "https", "rtmp", "rtsp", "rtsps")
_CAMERA = "camera"
_APPLE_DOUBLE = "._"  # prefix of files that macOS adds on file systems of other kinds


@dataclass(frozen=True)
class ImageFiles:
    """Images of one folder or of archives."""

    folder: Path  # the folder, or the path or pattern of the archives
    names: tuple[str, ...]  # paths relative to it with forward slashes, sorted, as in COCO files

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Stream:
    """A video at an address, such as a network camera."""

    address: str

    def __str__(self) -> str:
        """Return the address without user name and password."""
        scheme, _, rest = self.address.partition("://")
        host, slash, path = rest.partition("/")
        return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


VideoSource: TypeAlias = Path | int | Stream
"""A video file, the number of a camera, or a stream."""


def find_media(source: str | int) -> ImageFiles | VideoSource:
    """Resolve a source.

    Args:
        source: the number of a camera, or "camera" for the first; the address of a stream; an image or a video; a folder with
            images, without its subfolders; or a pattern with `*`, `?` and `[...]`, where `**` matches any folders. A file or
            folder of exactly this name has precedence over a pattern.

    Returns:
        At least one image; or the path of a video, the number of a camera or a stream.

    Raises:
        ValueError: if nothing is found, the scheme of an address is not supported, or a pattern matches more than one video, or
            images and a video.
    """
    if isinstance(source, int) or source.isdecimal() or source == _CAMERA:
        return 0 if source == _CAMERA else int(source)
    if "://" in source:
        stream = Stream(source)
        if source.partition("://")[0].lower() not in STREAM_SCHEMES:
            raise ValueError(
                f"expected an address of {', '.join(STREAM_SCHEMES)}, but got {stream}. Download it and pass the file."
            )
        return stream
    try:
        return _find(source, Path(source).expanduser())
    except RuntimeError as error:  # `~name` of an unknown user
        raise ValueError(f"there is no home folder for {shorten(source)}.") from error
    except OSError as error:  # a name that is too long, a folder without permission
        raise ValueError(f"expected a file or folder, but {shorten(source)} cannot be read: {error.strerror}.") from error


def _find(source: str, path: Path) -> ImageFiles | Path:
    """Resolve a path or pattern."""
    if split_archive(path) is not None and is_image_folder(path):
        return ImageFiles(path, tuple(list_images(path)))
    if path.is_dir():
        names = [entry.name for entry in path.iterdir() if is_image(entry)]
        if not names:
            raise ValueError(f"there are no images in the folder {source}.{_what_there_is(path)}")
        return ImageFiles(path, tuple(sorted(names)))
    if path.is_file():
        return path if path.suffix.lower() in VIDEO_SUFFIXES else ImageFiles(path.parent, (path.name,))
    if glob.has_magic(source):
        return _match(source, path)
    if path.exists():
        raise ValueError(f"expected a file or folder, but {source} is a pipe, a device or a socket.")
    raise ValueError(f"there is no file or folder {shorten(source)}.{_nearest(path)}")


def is_image(path: Path) -> bool:
    """Check whether a file is an image by its suffix; a file that cannot be read counts, and its reader reports it."""
    return _is(path, IMAGE_SUFFIXES)


def _match(source: str, pattern: Path) -> ImageFiles | Path:
    """Return the images, or the only video, of a pattern."""
    start, rest = _split(pattern)
    found = [start / name for name in glob.glob(str(rest), root_dir=start, recursive=True)]  # noqa: PTH207 - takes `..` too
    images = [path for path in found if is_image(path)]
    videos = [path for path in found if _is(path, VIDEO_SUFFIXES)]
    if not images and not videos:
        others = f" {len(found)} other files and folders do." if found else "" if start.is_dir() else _nearest(start)
        raise ValueError(f"no image or video matches {shorten(source)}.{others}")
    if videos and len(videos) + len(images) > 1:
        raise ValueError(
            f"expected images, or one video, but {source} matches {len(images)} images and {len(videos)} videos. "
            "Pass the videos one by one, or all with -m."
        )
    if videos:
        return videos[0]
    folder = Path(os.path.commonpath([path.parent for path in images] + [start]))
    names = {os.path.relpath(path, folder).replace(os.sep, "/") for path in images}
    return ImageFiles(folder, tuple(sorted(names)))


def _split(pattern: Path) -> tuple[Path, Path]:
    """Split off the folders before the first wildcard of a pattern; the name of an existing folder is no pattern."""
    start, rest = Path(pattern.anchor), pattern.parts[1:] if pattern.anchor else pattern.parts
    while len(rest) > 1 and (not glob.has_magic(rest[0]) or (start / rest[0]).is_dir()):
        start, rest = start / rest[0], rest[1:]
    return start, Path(*rest)


def _is(path: Path, suffixes: tuple[str, ...]) -> bool:
    return path.suffix.lower() in suffixes and not path.name.startswith(_APPLE_DOUBLE) and not path.is_dir()


def _what_there_is(folder: Path) -> str:
    """Describe the contents of a folder without images."""
    entries = sorted(folder.iterdir())
    below = [entry.name for entry in entries if entry.is_dir()]
    if below:
        return f" For images in its subfolders, use {folder}/**/*.jpg or the like."
    suffixes = sorted({entry.suffix for entry in entries})
    return f" It has {', '.join(suffixes)}." if suffixes else " It is empty."


def _nearest(path: Path) -> str:
    """Name the first missing folder, or a file with a similar name."""
    missing = next((folder for folder in reversed(path.parents) if not folder.is_dir()), None)
    if missing is not None:
        return f" There is no folder {missing}."
    beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    close = get_close_matches(path.name, beside, n=1)
    return f" Did you mean {path.parent / close[0]}?" if close else ""
