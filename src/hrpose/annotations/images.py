"""Compare annotations with their image folder: names and sizes of the files, EXIF orientations, bit depths.

Names may have been written on another system: with backslashes, in another case or Unicode form, as absolute paths. For
orientations and bit depths the headers of up to 256 images, spread evenly, are read, and up to 64 that may have 16 bits are
decoded.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hrpose.annotations.checks import Finding, warn_of
from hrpose.annotations.coco_annotations import CocoAnnotations
from hrpose.annotations.coco_rows import list_first
from hrpose.errors import DataError, DataWarning
from hrpose.media.file_names import match_files
from hrpose.media.folders import check_file_name, check_photos, is_image_file, is_image_folder
from hrpose.media.headers import HEADER, read_orientation
from hrpose.media.images import (
    BIT_DEPTHS,
    Reading,
    bits_of,
    decode_pixels,
    read_bytes,
    read_size,
)
from hrpose.structures import PackedStrings

logger = logging.getLogger(__name__)

_NUM_HEADERS, _NUM_DECODED, _NUM_SHOWN = 256, 64, 3
_ALWAYS_8_BITS = (b"\xff\xd8\xff", b"BM", b"GIF8", b"RIFF")  # JPEG, BMP, GIF, WebP
_PNG, _PNG_BIT_DEPTH = b"\x89PNG\r\n\x1a\n", 24  # the place of the byte in a PNG file
_WEBP_WITH_EXIF = 0x08  # flag in byte 20 of a WebP file


@dataclass(frozen=True)
class ImageSample:
    """What a sample of images shows.

    Attributes:
        folder: of the images.
        names: of the sample.
        turned: names of those with an EXIF orientation other than upright.
        decoded: names of those that were decoded, because they may have more than 8 bits per channel.
        deep: names of those that have 16 bits per channel.
        bit_depth: the bits that these use, by the highest value of all of them; None where there are none.
    """

    folder: str
    names: tuple[str, ...]
    turned: tuple[str, ...]
    decoded: tuple[str, ...]
    deep: tuple[str, ...]
    bit_depth: int | None


def sample_images(file_names: Sequence[str], folder: str | Path) -> ImageSample:
    """Look at a sample of images; the same files give the same sample in every process.

    Images that cannot be read are left out: reading them for use raises the error.

    Args:
        file_names: relative to the folder.
        folder: of the images.
    """
    names = _spread(file_names, _NUM_HEADERS)
    turned, maybe_deep = [], []
    for name in names:
        header = _read(Path(folder, name))
        if read_orientation(header) != 1:
            turned.append(name)
        if header and _may_be_deep(header):
            maybe_deep.append(name)
    decoded = _spread(maybe_deep, _NUM_DECODED)
    depths = {name: depth for name in decoded if (depth := _depth_of(Path(folder, name)))}
    return ImageSample(
        folder=str(folder),
        names=tuple(names),
        turned=tuple(turned),
        decoded=tuple(decoded),
        deep=tuple(depths),
        bit_depth=max(depths.values(), default=None),
    )


def settle_reading(sample: ImageSample, reading: Reading, *, orientation_matters: bool) -> Reading:
    """Check a sample of the images of a data set, warn of what is found, and complete how the images are read.

    Args:
        sample: of the images.
        reading: how they are to be read.
        orientation_matters: as of `check_images`.

    Returns:
        The reading, with the bit depth of the sample where it has none.
    """
    warn_of(check_images(sample, reading, orientation_matters=orientation_matters, key="data.bit_depth"))
    if reading.bit_depth is not None or sample.bit_depth is None:
        return reading
    logger.info("%s: 16-bit images are read with data.bit_depth=%d", sample.folder, sample.bit_depth)
    return replace(reading, bit_depth=sample.bit_depth)


def check_images(sample: ImageSample, reading: Reading, *, orientation_matters: bool, key: str) -> list[Finding]:
    """Check a sample of images against the way in which they are read.

    Args:
        sample: of the images.
        reading: how the images are read; a missing bit depth is measured on the sample.
        orientation_matters: whether the images have annotated keypoints or boxes and `upright` is not set.
        key: of the bit depth in the configuration.
    """
    findings = []
    if sample.turned and orientation_matters:
        findings.append(
            Finding(
                check="exif-orientation",
                file=sample.folder,
                count=len(sample.turned),
                total=len(sample.names),
                ids=sample.turned[:_NUM_SHOWN],
                what="sampled images have an EXIF orientation, which is ignored",
                consequence="If they were annotated as viewers show them, keypoints lie on the wrong side of these images.",
                fix="Set data.upright=true to apply it, or data.upright=false if they were annotated as they are stored.",
            )
        )
    used = sample.bit_depth
    depth = reading.bit_depth or used
    if used and depth and (used != depth or (reading.bit_depth is None and used < BIT_DEPTHS[-1])):
        findings.append(
            Finding(
                check="bit-depth",
                file=sample.folder,
                count=len(sample.deep),
                total=len(sample.decoded),
                ids=sample.deep[:_NUM_SHOWN],
                what=f"sampled images have 16 bits per channel and use {used} of them",
                consequence=_consequence(used, depth),
                fix=f"Set {key} to the bits of the camera if that is wrong.",
            )
        )
    return findings


def _consequence(used: int, depth: int) -> str:
    if used == depth:
        return f"They are read with {depth} bits: {2**depth - 1} becomes white."
    what = "look dark" if used < depth else "are refused where they are brighter"
    return f"They are read with {depth} bits, as the training images were or as was set, and {what}."


def _spread(names: Sequence[str], count: int) -> list[str]:
    """Select up to so many names, spread evenly, the first and the last among them."""
    places = np.unique(np.linspace(0, len(names) - 1, min(count, len(names))).round().astype(int))
    return [names[place] for place in places.tolist()]


def _read(file: Path) -> bytes:
    """Read the beginning of a file, or all of a WebP file with EXIF tags, which stand at its end; nothing of a missing one."""
    try:
        header = read_bytes(file, HEADER)
        is_webp = header.startswith(b"RIFF") and header[8:12] == b"WEBP"
        return read_bytes(file) if is_webp and header[20:21] and header[20] & _WEBP_WITH_EXIF else header
    except DataError:
        return b""


def _may_be_deep(header: bytes) -> bool:
    """Check whether an image may have more than 8 bits per channel; formats that are not known here are decoded to see."""
    if header.startswith(_PNG):
        return header[_PNG_BIT_DEPTH : _PNG_BIT_DEPTH + 1] == b"\x10"
    return not header.startswith(_ALWAYS_8_BITS)


def _depth_of(file: Path) -> int:
    """Return the bits that an image of 16 bits uses; 0 for one of 8 bits, or one that cannot be read."""
    try:
        pixels = decode_pixels(read_bytes(file), file)
    except DataError:
        return 0
    return 0 if pixels.dtype == np.uint8 else bits_of(pixels)


def complete_images(annotations: CocoAnnotations, folder: Path, *, upright: bool = False) -> CocoAnnotations:
    """Return the annotations with the names of existing files, and with sizes from the headers of images that state none.

    Args:
        annotations: as the file states them.
        folder: of the images.
        upright: sizes are those of the images with their EXIF orientation applied.

    Raises:
        MissingDataError: if an annotated image without size is missing.
        DataError: if an image has no file name, a file name leads out of the folder, two names stand for one file, or an image
            without size is broken.

    Warns:
        DataWarning: with the number of names, by what differs, and of sizes that are read.
    """
    names = annotations.file_names.tolist()
    unnamed = [image_id for image_id, name in zip(annotations.image_ids.tolist(), names, strict=True) if not name]
    if unnamed:
        raise DataError(
            f"{annotations.file}: expected every image to have a `file_name`, but {len(unnamed)} of {len(names)} have none (ids "
            f"{list_first(unnamed)}). Add the names, or remove these images."
        )
    changed, kinds = match_files(names, folder) if is_image_folder(folder) else ({}, {})
    places = set(np.unique(annotations.image_index).tolist())
    notes = []
    for kind, indices in kinds.items():
        examples = list_first([f"{names[index]!r} is {changed[index]!r}" for index in indices], 2)
        notes.append(f"{len(indices)} of {len(names)} file names {kind} ({examples}); the files that exist are taken")
    for index, name in changed.items():
        names[index] = name
    for image_id, name in zip(annotations.image_ids.tolist(), names, strict=True):
        check_file_name(name, f"image {image_id} of {annotations.file}")
    sizes = annotations.image_sizes
    unknown = np.flatnonzero((sizes == 0).all(axis=1)).tolist()
    if unknown:
        check_photos([names[index] for index in unknown if index in places], folder)
        files = {index: folder / names[index] for index in unknown}
        sizes = sizes.copy()
        for index, file in files.items():
            if is_image_file(file):
                sizes[index] = read_size(file, upright=upright)
        notes.append(
            f"{len(unknown)} of {len(names)} images have no `width` and `height`, which are read from the image files"
        )
    if notes:
        warnings.warn(f"{annotations.file}: {'; '.join(notes)}.", DataWarning, stacklevel=4)
    if not changed and not unknown:
        return annotations
    return replace(annotations, file_names=PackedStrings(names), image_sizes=sizes)
