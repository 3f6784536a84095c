"""Compare annotations with their image folder: file names, image sizes, EXIF orientations, bit depths.

File names may come from another system, with backslashes, another case or Unicode form, or as absolute paths. Orientations and
bit depths are checked on a sample: up to 256 headers are read, and up to 64 images that may have 16 bits are decoded.
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
from hrpose.media.folders import check_file_name, check_images_exist, is_image_file, is_image_folder, match_files
from hrpose.media.headers import HEADER, read_orientation
from hrpose.media.images import BIT_DEPTHS, Reading, bits_of, decode_pixels, read_bytes, read_size
from hrpose.structures import PackedStrings

logger = logging.getLogger(__name__)

_NUM_HEADERS, _NUM_DECODED, _NUM_IDS = 256, 64, 3
_ALWAYS_8_BITS = (b"\xff\xd8\xff", b"BM", b"GIF8", b"RIFF")  # JPEG, BMP, GIF, WebP
_PNG, _PNG_BIT_DEPTH = b"\x89PNG\r\n\x1a\n", 24  # offset of the byte in a PNG file
_WEBP_WITH_EXIF = 0x08  # flag in byte 20 of a WebP file


@dataclass(frozen=True)
class ImageSample:
    """EXIF orientations and bit depths of a sample of images.

    Attributes:
        folder: of the images.
        names: of the sample.
        turned: names of images whose EXIF orientation is not 1.
        decoded: names of images that were decoded, because they may have more than 8 bits per channel.
        deep: names of images with 16 bits per channel.
        bit_depth: number of bits that the highest value of the 16-bit images needs; None without such images.
    """

    folder: str
    names: tuple[str, ...]
    turned: tuple[str, ...]
    decoded: tuple[str, ...]
    deep: tuple[str, ...]
    bit_depth: int | None


def sample_images(file_names: Sequence[str], folder: str | Path) -> ImageSample:
    """Read a sample of the images of a folder, the same in every process. Unreadable images are ignored here."""
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
    """Warn of the findings of `check_images`; return the reading, with the bit depth of the sample if it had none."""
    warn_of(check_images(sample, reading, orientation_matters=orientation_matters, key="data.bit_depth"))
    if reading.bit_depth is not None or sample.bit_depth is None:
        return reading
    logger.info("%s: 16-bit images are read with data.bit_depth=%d", sample.folder, sample.bit_depth)
    return replace(reading, bit_depth=sample.bit_depth)


def check_images(sample: ImageSample, reading: Reading, *, orientation_matters: bool, key: str) -> list[Finding]:
    """Check whether the EXIF orientation and bit depth of a sample agree with how images are read.

    Args:
        sample: of the images.
        reading: how the images are read; without bit depth the sample's bit depth is used.
        orientation_matters: whether the images are annotated and the user has not set `upright`.
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
                ids=sample.turned[:_NUM_IDS],
                what="sampled images have an EXIF orientation, which is ignored",
                consequence="If they were annotated in a viewer that applies it, the keypoints are wrong.",
                fix="Set data.upright=true to apply it, or data.upright=false if they were annotated without it.",
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
                ids=sample.deep[:_NUM_IDS],
                what=f"sampled images have 16 bits per channel and use {used} of them",
                consequence=_consequence(used, depth),
                fix=f"If this is wrong, set {key} to the bit depth of the camera.",
            )
        )
    return findings


def _consequence(used: int, depth: int) -> str:
    if used == depth:
        return f"They are read with {depth} bits: {2**depth - 1} is white."
    what = "appear dark" if used < depth else "are rejected where they are brighter"
    return f"They are read with {depth} bits, the value of the training images or of the configuration, and {what}."


def _spread(names: Sequence[str], count: int) -> list[str]:
    """Select up to `count` evenly spaced names, including the first and the last."""
    places = np.unique(np.linspace(0, len(names) - 1, min(count, len(names))).round().astype(int))
    return [names[place] for place in places.tolist()]


def _read(file: Path) -> bytes:
    """Read the header of an image file, or all of a WebP file with EXIF tags, which are at its end; empty if unreadable."""
    try:
        header = read_bytes(file, HEADER)
        is_webp = header.startswith(b"RIFF") and header[8:12] == b"WEBP"
        return read_bytes(file) if is_webp and header[20:21] and header[20] & _WEBP_WITH_EXIF else header
    except DataError:
        return b""


def _may_be_deep(header: bytes) -> bool:
    """Check whether an image may have more than 8 bits per channel; True for unknown formats."""
    if header.startswith(_PNG):
        return header[_PNG_BIT_DEPTH : _PNG_BIT_DEPTH + 1] == b"\x10"
    return not header.startswith(_ALWAYS_8_BITS)


def _depth_of(file: Path) -> int:
    """Return the number of bits that a 16-bit image uses; 0 for 8-bit images and unreadable files."""
    try:
        pixels = decode_pixels(read_bytes(file), file)
    except DataError:
        return 0
    return 0 if pixels.dtype == np.uint8 else bits_of(pixels)


def complete_images(annotations: CocoAnnotations, folder: Path, *, upright: bool = False) -> CocoAnnotations:
    """Replace file names by those of existing files, and read missing image sizes from the image files, upright or as stored.

    Raises:
        MissingDataError: if an annotated image without size is missing.
        DataError: if an image has no file name, a file name leads out of the folder, two names match one file, or an image
            without size cannot be read.

    Warns:
        DataWarning: with the number of replaced names, by kind, and of sizes that are read.
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
        notes.append(f"{len(indices)} of {len(names)} file names {kind} ({examples}); the existing files are used")
    names = [changed.get(index, name) for index, name in enumerate(names)]
    for image_id, name in zip(annotations.image_ids.tolist(), names, strict=True):
        check_file_name(name, f"image {image_id} of {annotations.file}")
    sizes = annotations.image_sizes
    unknown = np.flatnonzero((sizes == 0).all(axis=1)).tolist()
    if unknown:
        check_images_exist([names[index] for index in unknown if index in places], folder)
        sizes = sizes.copy()
        for index in unknown:
            if is_image_file(folder / names[index]):
                sizes[index] = read_size(folder / names[index], upright=upright)
        notes.append(f"{len(unknown)} of {len(names)} images have no `width` and `height`; they are read from the image files")
    if notes:
        warnings.warn(f"{annotations.file}: {'; '.join(notes)}.", DataWarning, stacklevel=4)
    if not changed and not unknown:
        return annotations
    return replace(annotations, file_names=PackedStrings(names), image_sizes=sizes)
