"""Checks of an image folder and of the images in it. Each image is opened and decoded once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from itertools import compress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hrpose.annotations.checks import Check, Faulty, Finding, Found, error, note, run_checks
from hrpose.annotations.images import ImageSample, check_images
from hrpose.errors import DataError, MissingDataError
from hrpose.media.folders import find_whereabouts, is_image_file, list_images, real_file
from hrpose.media.headers import JPEG_START, PNG_START, read_orientation
from hrpose.media.images import Reading, bits_of, decode_pixels, is_truncated, read_bytes
from hrpose.progress import show_progress

_PNG_END = b"IEND"
_PNG_COLOUR = 25  # offset of the colour type: 0 grey, 2 RGB, 3 palette, 4 grey + alpha, 6 RGB + alpha
_MISSING, _UNREADABLE, _TRUNCATED, _OUTSIDE = "missing", "unreadable", "truncated", "outside"


@dataclass(frozen=True, eq=False)
class Folder:
    """An image folder, the I file names of an annotation file, and those of all annotation files that use the folder."""

    root: Path
    ids: Sequence[str]
    known: frozenset[str]

    @cached_property
    def files(self) -> list[str]:
        """Return the image files in the folder and its subfolders, relative to it."""
        return list_images(self.root)


@dataclass(frozen=True)
class Content:
    """Properties of one image file.

    Attributes:
        size: stored width and height; 0 if the file cannot be read.
        orientation: EXIF orientation, 1 to 8.
        channels: "RGB", "grey", "alpha" or "CMYK".
        bits: 8, or the number of bits that a 16-bit file uses.
        deep: whether it has 16 bits per channel.
        flat: whether all pixels are equal.
        digest: hash of the pixels; empty if they cannot be read.
        fault: "", "missing", "unreadable", "truncated" or "outside".
    """

    size: tuple[int, int] = (0, 0)
    orientation: int = 1
    channels: str = "RGB"
    bits: int = 8
    deep: bool = False
    flat: bool = False
    digest: bytes = b""
    fault: str = ""


@dataclass(frozen=True, eq=False)
class Contents:
    """Properties of the images of an annotation file.

    Attributes:
        ids: I file names.
        files: I real paths.
        stated: (I, 2) width and height in the annotation file; 0 where missing.
        images: I properties.
        upright: whether training applies the EXIF orientation.
    """

    ids: Sequence[str]
    files: Sequence[str]
    stated: NDArray[np.int32]
    images: Sequence[Content]
    upright: bool

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Return the (I, 2) width and height that training uses; 0 where the image cannot be read."""
        sizes = [one.size[::-1] if self.upright and one.orientation > 4 else one.size for one in self.images]
        return np.array(sizes, np.int64).reshape(-1, 2)

    def where(self, test: Callable[[Content], bool]) -> list[str]:
        """Return the names of the images with a property."""
        return [name for name, content in zip(self.ids, self.images, strict=True) if test(content)]


def open_images(
    names: Sequence[str], stated: NDArray[np.int32], folder: Path, title: str, *, upright: bool, opened: dict[str, Content]
) -> Contents:
    """Open every image of a folder once, with a progress bar on a terminal.

    Sizes (I, 2) are those of the annotation file. New properties are added to `opened`, by real path. Training applies the EXIF
    orientation if `upright`.
    """
    files = [real_file(folder / name) for name in names]
    home = real_file(folder).rstrip(os.sep) + os.sep
    new = [file for file in dict.fromkeys(files) if file not in opened and file.startswith(home)]
    with ThreadPoolExecutor(os.cpu_count()) as pool, show_progress(title, len(new), "images", delay=1) as advance:
        for file, content in zip(new, pool.map(_open, new), strict=True):
            opened[file] = content
            advance()
    contents = [opened[file] if file.startswith(home) else Content(fault=_OUTSIDE) for file in files]
    return Contents(names, files, stated, contents, upright)


def check_contents(contents: Contents, folder: Path, reading: Reading, *, orientation_matters: bool) -> list[Finding]:
    """Run the checks of opened images, with those of `images.check_images`."""
    sample = ImageSample(
        folder=str(folder),
        names=tuple(contents.ids),
        turned=tuple(contents.where(lambda image: image.orientation != 1)),
        decoded=tuple(contents.ids),
        deep=tuple(contents.where(lambda image: image.deep)),
        bit_depth=max((content.bits for content in contents.images if content.deep), default=None),
    )
    of_reading = check_images(sample, reading, orientation_matters=orientation_matters, key="data.bit_depth")
    return [*run_checks(contents, CONTENT_CHECKS, folder), *of_reading]


def check_shared_contents(train: Contents, val: Contents, file: Path) -> list[Finding]:
    """Find validation images, of an annotation file, with the same pixels as a training image in another file."""
    digests = {content.digest for content in train.images} - {b""}
    own = set(train.files)  # another check compares the paths
    copied = [one.digest in digests and file not in own for file, one in zip(val.files, val.images, strict=True)]
    check = Check[Contents](
        name="image-contents-in-validation",
        what="validation images have the pixels of a training image",
        consequence="AP is measured on training images, so it is too high.",
        fix="Remove the copies from one of the two sets.",
        find=lambda _: copied,
    )
    return run_checks(val, [check], file)


def _open(file: str) -> Content:
    try:
        content = read_bytes(file)
    except MissingDataError:
        return Content(fault=_MISSING)
    except DataError:
        return Content(fault=_UNREADABLE)
    try:
        pixels = decode_pixels(content, file)
    except DataError:
        return Content(fault=_TRUNCATED if _breaks_off(content) else _UNREADABLE)
    first = pixels[0, 0]
    return Content(
        size=(pixels.shape[1], pixels.shape[0]),
        orientation=read_orientation(content),
        channels=_channels(content),
        bits=8 if pixels.dtype == np.uint8 else bits_of(pixels),
        deep=pixels.dtype != np.uint8,
        flat=bool((pixels[::7, ::7] == first).all() and (pixels == first).all()),
        digest=blake2b(np.ascontiguousarray(pixels).data, digest_size=16, key=str(pixels.shape).encode()).digest(),
        fault=_TRUNCATED if _breaks_off(content) else "",
    )


def _breaks_off(content: bytes) -> bool:
    if content.startswith(JPEG_START):
        return is_truncated(content)
    return content.startswith(PNG_START) and _PNG_END not in content[-64:]


def _channels(content: bytes) -> str:
    """Return the colour type in the header of a PNG or JPEG; "RGB" for other formats."""
    if content.startswith(PNG_START):
        return {0: "grey", 4: "alpha", 6: "alpha"}.get(content[_PNG_COLOUR], "RGB")
    return {1: "grey", 4: "CMYK"}.get(_jpeg_components(content), "RGB") if content.startswith(JPEG_START) else "RGB"


def _jpeg_components(content: bytes) -> int:
    """Return the number of components in the frame header of a JPEG (ITU-T T.81, B.2.2); 0 if there is none."""
    place = 2
    while place + 9 < len(content) and content[place] == 0xFF:
        marker = content[place + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return content[place + 9]
        place += 2 + int.from_bytes(content[place + 2 : place + 4], "big")
    return 0


def _images_missing(folder: Folder) -> Found:
    listed = set(folder.files)  # lacks linked folders, and files with other suffixes
    faulty = [name not in listed and not is_image_file(folder.root / name) for name in folder.ids]
    first = next(compress(folder.ids, faulty), None)
    return Found(folder.ids, faulty, {"advice": find_whereabouts(folder.root, first) if first else ""})


def _where(test: Callable[[Content], bool]) -> Callable[[Contents], list[bool]]:
    return lambda contents: list(map(test, contents.images))


def _sizes_swapped(contents: Contents) -> Faulty:
    sizes, stated = contents.sizes, contents.stated
    swapped = (sizes[:, ::-1] == stated).all(axis=1) & (sizes != stated).any(axis=1)
    return swapped & (sizes > 0).all(axis=1)


def _sizes_unequal(contents: Contents) -> Found:
    sizes, stated = contents.sizes, contents.stated
    known = (sizes > 0).all(axis=1) & (stated > 0).all(axis=1)
    unequal = known & (sizes != stated).any(axis=1) & ~_sizes_swapped(contents)
    first = [" x ".join(map(str, each[unequal][0].tolist())) for each in (sizes, stated)] if unequal.any() else []
    return Found(contents.ids, unequal, {"example": " and not ".join(first)})


def _identical(contents: Contents) -> list[bool]:
    """Find images with the same pixels as an earlier one under another name."""
    owners: dict[bytes, str] = {}
    pairs = zip(contents.files, contents.images, strict=True)
    return [bool(content.digest) and owners.setdefault(content.digest, file) != file for file, content in pairs]


FOLDER_CHECKS: tuple[Check[Folder], ...] = (
    error(
        name="images-missing",
        what="images of the annotations are not in the folder",
        consequence="Training stops with an error if instances are annotated in them.",
        fix="{advice}",
        find=_images_missing,
    ),
    note(
        name="files-without-entry",
        what="image files of the folder are not listed in `images`",
        consequence="They are not used.",
        fix="Nothing, if they belong to other annotation files.",
        find=lambda folder: Found(folder.files, [name not in folder.known for name in folder.files]),
    ),
)
"""Checks of a folder that only list its files."""

CONTENT_CHECKS: tuple[Check[Contents], ...] = (
    error(
        name="images-outside-folder",
        what="image files are links to files outside the folder",
        consequence="Training stops with an error.",
        fix="Copy or hard-link the files, or make the image folder itself the link.",
        find=_where(lambda content: content.fault == _OUTSIDE),
    ),
    error(
        name="images-unreadable",
        what="image files cannot be decoded",
        consequence="Training stops at the first of them.",
        fix="Copy or download them again, or convert them to JPEG or PNG.",
        find=_where(lambda content: content.fault == _UNREADABLE),
    ),
    error(
        name="images-truncated",
        what="image files are truncated",
        consequence="Training stops at them, or their missing part is grey.",
        fix="Copy or download them again.",
        find=_where(lambda content: content.fault == _TRUNCATED),
    ),
    error(
        name="image-sizes-swapped",
        what="images have width and height swapped compared with the annotations",
        consequence="Training stops with an error: the images were rotated after labelling, or the two numbers are swapped.",
        fix="Swap `width` and `height` if the keypoints fit the image; otherwise set data.upright=true, or rotate the images.",
        find=_sizes_swapped,
    ),
    error(
        name="image-sizes-unequal",
        what="images have another size than in the annotations; the first is {example}",
        consequence="Training stops with an error: the labels do not fit the images.",
        fix="Use the images that were labelled, or scale the labels.",
        find=_sizes_unequal,
    ),
    Check(
        name="images-identical",
        what="images have the same pixels as an earlier one under another name",
        consequence="They are trained on twice, perhaps with different labels.",
        fix="Remove the copies, or merge their labels.",
        find=_identical,
    ),
    Check(
        name="images-of-one-colour",
        what="images have a single colour",
        consequence="They show nothing.",
        fix="Open these files: an export may have failed.",
        find=_where(lambda content: content.flat),
    ),
    note(
        name="images-grey",
        what="images are greyscale",
        consequence="The grey channel is copied to red, green and blue.",
        fix="Nothing; colour augmentation has little effect on them.",
        find=_where(lambda content: content.channels == "grey"),
    ),
    note(
        name="images-with-alpha",
        what="images have an alpha channel",
        consequence="It is dropped: transparent pixels show their stored colour.",
        fix="Nothing, if the images are opaque.",
        find=_where(lambda content: content.channels == "alpha"),
    ),
    note(
        name="images-cmyk",
        what="images are CMYK JPEG files",
        consequence="Their colours are converted to RGB; other tools convert them differently.",
        fix="Convert them to RGB.",
        find=_where(lambda content: content.channels == "CMYK"),
    ),
)
"""Checks of opened images."""
