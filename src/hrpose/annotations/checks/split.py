"""Checks that compare the training set with the validation set."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hrpose.annotations.checks.table import Check, Faulty, Finding, Found, Inspected, Mask, note, run_checks
from hrpose.annotations.coco_annotations import CocoAnnotations
from hrpose.media.folders import file_size, is_same_file, real_file
from hrpose.media.images import read_bytes

_MOST_COMPARED = 5000  # images of both sets; more are not compared before training
_NUM_BYTES = 4096  # compared before whole files are
_ENOUGH = 20  # smallest number of labels for a reliable share
# What Roboflow and augmentation scripts append to the names of derived images.
_TAG = re.compile(r"(\.rf\.[0-9a-f]{16,}|[_-](aug|flip|hflip|vflip|flipped|mirror|mirrored|rot|rotated)[_-]?\d*)$")
# What file managers append to the name of a copy. They also number whole folders this way, so an original must exist.
_COPY = re.compile(r"([ _-]*\(\d+\)|[ _-]+copy( ?\d+)?)$")


@dataclass(frozen=True, eq=False)
class Pair:
    """The annotated images of the training and the validation set, their instances and their folders."""

    train: Inspected
    val: Inspected
    folders: tuple[Path, Path]

    @property
    def ids(self) -> NDArray[np.int64]:
        """Return the annotation ids of the validation set."""
        return self.val.ids

    @cached_property
    def files(self) -> tuple[list[str], list[str]]:
        """Return the names of the annotated images of both sets."""
        return _annotated_files(self.train.annotations), _annotated_files(self.val.annotations)

    @cached_property
    def counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return how often each keypoint is labelled in both sets; nothing if they have different numbers of keypoints."""
        train, val = (one.labelled.sum(axis=0) for one in (self.train, self.val))
        return (train, val) if len(train) == len(val) else (train[:0], val[:0])

    @property
    def is_large(self) -> bool:
        """Whether both sets have enough instances for reliable statistics."""
        return min(len(self.train.rows), len(self.val.rows)) >= _ENOUGH

    def names(self, faulty: Mask) -> Found:
        """Return which keypoints are faulty."""
        return Found(self.val.names[: len(faulty)], faulty)

    def of_files(self, faulty: Faulty) -> Found:
        """Return which annotated validation images are faulty."""
        return Found(self.files[1], faulty, {"file": str(self.train.annotations.file)})


def check_split(train: CocoAnnotations, val: CocoAnnotations, train_images: str | Path, val_images: str | Path) -> list[Finding]:
    """Find annotated validation images that are also training images: the same file, or a copy of it.

    Copies are searched only if the two sets have at most 5,000 images together. Only files of equal size are read, so this
    takes a fraction of a second.
    """
    pair = Pair(Inspected(train), Inspected(val), (Path(train_images), Path(val_images)))
    return run_checks(pair, [*SPLIT_CHECKS[:1], COPIED_FILES], val.file)


def _annotated_files(annotations: CocoAnnotations) -> list[str]:
    names = annotations.file_names.tolist()
    return [names[index] for index in np.unique(annotations.image_index).tolist()]


def _images_of_training(pair: Pair) -> Found:
    home, other = map(real_file, pair.folders)
    train, val = pair.files
    known = {f"{home}/{name}" for name in train}
    return pair.of_files([f"{other}/{name}" in known for name in val])


def _copied_files(pair: Pair) -> Found:
    """Find validation images that are byte-identical copies of a training image."""
    if sum(map(len, pair.files)) > _MOST_COMPARED:
        return pair.of_files(False)
    train, val = ([folder / name for name in names] for names, folder in zip(pair.files, pair.folders, strict=True))
    train_sizes, val_sizes = ({file: file_size(file) for file in files} for files in (train, val))
    shared = {size for size in train_sizes.values() if size} & set(val_sizes.values())
    owners: dict[tuple[int, bytes], Path] = {}
    for file, size in train_sizes.items():
        if size in shared:
            owners.setdefault((size, _middle(file, size)), file)
    faulty = []
    for file, size in val_sizes.items():
        owner = owners.get((size, _middle(file, size))) if size in shared else None
        faulty.append(owner is not None and not is_same_file(owner, file) and read_bytes(owner) == read_bytes(file))
    return pair.of_files(faulty)


def _middle(file: Path, size: int) -> bytes:
    """Return bytes from the middle of a file, where the headers of images are over."""
    return read_bytes(file)[size // 2 :][:_NUM_BYTES]


def _copies_of_training(pair: Pair) -> Found:
    """Find names that equal the name of a training image without the suffix that tools append to copies."""
    # a string is no path: only the suffix is cut
    train, val = ([os.path.splitext(name.lower())[0] for name in names] for names in pair.files)  # noqa: PTH122
    stems, sources = set(train), {_TAG.sub("", stem) for stem in train}
    derived = {source for stem in stems if (source := _TAG.sub("", stem)) != stem}
    copied = {source for stem in stems if (source := _COPY.sub("", stem)) != stem}
    faulty = []
    for stem in val:
        source, original = _TAG.sub("", stem), _COPY.sub("", stem)
        is_derived = source in derived or (source != stem and source in sources)
        faulty.append(is_derived or stem in copied or (original != stem and original in stems))
    return pair.of_files(faulty)


def _unlike_shares(pair: Pair) -> Found | bool:
    """Find keypoints that are labelled in most instances of one set and in few of the other."""
    if not pair.is_large:
        return False
    train, val = (count / len(one.rows) for count, one in zip(pair.counts, (pair.train, pair.val), strict=True))
    return pair.names(np.abs(train - val) > 0.5)


def _unlike_visibility(pair: Pair) -> Found | bool:
    if not pair.is_large:
        return False
    train, val = (_share_visible(one) for one in (pair.train, pair.val))
    return Found(pair.ids, abs(train - val) > 0.5, {"train": f"{100 * train:.0f} %", "val": f"{100 * val:.0f} %"})


def _unlike_boxes(pair: Pair) -> Found | bool:
    if not pair.is_large:
        return False
    train, val = (float(np.median(np.sqrt(one.size.prod(axis=1)))) for one in (pair.train, pair.val))
    unlike = not 1 / 3 <= (train + 1e-9) / (val + 1e-9) <= 3
    return Found(pair.ids, unlike, {"train": f"{train:.0f}", "val": f"{val:.0f}"})


def _share_visible(inspected: Inspected) -> float:
    visibility = inspected.annotations.visibility[inspected.rows]
    return float((visibility == 2).sum() / (visibility > 0).sum())


COPIED_FILES = Check[Pair](
    name="image-contents-in-validation",
    what="images with annotations are copies of a training image, in {file}",
    consequence="AP is measured on training images, so it is too high.",
    fix="Remove the copies from one of the two sets.",
    find=_copied_files,
)
"""Used by `InstanceFiles.check_apart`, with the first of `SPLIT_CHECKS`; `hrpose doctor` compares pixels instead."""

SPLIT_CHECKS: tuple[Check[Pair], ...] = (
    Check(
        name="train-images-in-validation",
        what="images with annotations are also training images, in {file}",
        consequence="AP is measured on training images, so it is too high.",
        fix="Split the data by image, or by video or animal if images are similar.",
        find=_images_of_training,
    ),
    Check(
        name="copies-of-training-images",
        what="images have the name of a training image, apart from a suffix of copies, in {file}",
        consequence="AP is measured on copies of training images, so it is too high.",
        fix="Split the original images, and augment the training set only.",
        find=_copies_of_training,
    ),
    Check(
        name="keypoints-never-trained",
        what="keypoints are labelled in the validation set, but in no training instance",
        consequence="The network does not learn them, which lowers AP.",
        fix="Label them in the training set, or split the data again.",
        find=lambda pair: pair.names((pair.counts[0] == 0) & (pair.counts[1] > 0)),
    ),
    Check(
        name="keypoints-never-validated",
        what="keypoints are labelled in the training set, but in no validation instance",
        consequence="AP does not measure them.",
        fix="Label them in the validation set, or split the data again.",
        find=lambda pair: pair.names((pair.counts[0] >= _ENOUGH) & (pair.counts[1] == 0)),
    ),
    Check(
        name="keypoints-labelled-unlike",
        what="keypoints are labelled much more often in one set than in the other (by more than 50 % of the instances)",
        consequence="The two sets were labelled by different rules, which lowers AP.",
        fix="Split the data again, at random by image, folder or video.",
        find=_unlike_shares,
    ),
    note(
        name="visibility-unlike",
        what="instances belong to a set with {val} of the labelled keypoints visible (2), against {train} in training",
        consequence="Training and AP do not change; reports by visibility do.",
        fix="If 1 means visible in one of the files, set `data.visibility_map`, or correct that file.",
        find=_unlike_visibility,
    ),
    note(
        name="box-sizes-unlike",
        what="instances belong to a set with a median box side of {val} pixels, against {train} in training",
        consequence="Validation crops have another level of detail than training crops.",
        fix="Check whether the images of one set were scaled.",
        find=_unlike_boxes,
    ),
)
"""Checks of two sets; `InstanceFiles.check_apart` uses the first."""
