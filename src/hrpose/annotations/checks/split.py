"""Checks that compare the training set with the validation set."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from hrpose.annotations.checks.table import Check, Finding, Found, Inspected, run_checks
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
    """The annotated images of two sets, and their instances.

    Attributes:
        train: the training set.
        val: the validation set.
        train_images: image folder of the training set.
        val_images: image folder of the validation set.
    """

    train: Inspected
    val: Inspected
    train_images: Path
    val_images: Path

    @cached_property
    def files(self) -> tuple[list[str], list[str]]:
        """Return the names of the annotated images of both sets."""
        return _annotated_files(self.train.annotations), _annotated_files(self.val.annotations)


def check_split(train: CocoAnnotations, val: CocoAnnotations, train_images: str | Path, val_images: str | Path) -> list[Finding]:
    """Find annotated validation images that are also training images: the same file, or a copy of it.

    Copies are searched only if the two sets have at most 5,000 images together. Only files of equal size are read, so this
    takes a fraction of a second.

    Args:
        train: the training annotations.
        val: the validation annotations.
        train_images: image folder of the training set.
        val_images: image folder of the validation set.
    """
    pair = Pair(Inspected(train), Inspected(val), Path(train_images), Path(val_images))
    return run_checks(pair, [*SPLIT_CHECKS[:1], COPIED_FILES], val.file)


def _annotated_files(annotations: CocoAnnotations) -> list[str]:
    names = annotations.file_names.tolist()
    return [names[index] for index in np.unique(annotations.image_index).tolist()]


def _images_of_training(pair: Pair) -> Found:
    home, other = real_file(pair.train_images), real_file(pair.val_images)
    train, val = pair.files
    known = {f"{home}/{name}" for name in train}
    return Found(np.array(val, object), np.array([f"{other}/{name}" in known for name in val], bool), _file_of(pair))


def _copied_files(pair: Pair) -> Found:
    """Find validation images that are byte-identical copies of a training image."""
    train, val = pair.files
    if len(train) + len(val) > _MOST_COMPARED:
        return Found(np.array(val, object), np.zeros(len(val), bool))
    train_sizes, val_sizes = (
        {name: file_size(folder / name) for name in names}
        for names, folder in ((train, pair.train_images), (val, pair.val_images))
    )
    shared = {size for size in train_sizes.values() if size} & set(val_sizes.values())
    owners: dict[tuple[int, bytes], Path] = {}
    for name, size in train_sizes.items():
        if size in shared:
            owners.setdefault((size, _middle(pair.train_images / name, size)), pair.train_images / name)
    faulty = []
    for name, size in val_sizes.items():
        file = pair.val_images / name
        owner = owners.get((size, _middle(file, size))) if size in shared else None
        is_other = owner is not None and not is_same_file(owner, file)
        faulty.append(is_other and owner is not None and read_bytes(owner) == read_bytes(file))
    return Found(np.array(val, object), np.array(faulty, bool), _file_of(pair))


def _middle(file: Path, size: int) -> bytes:
    """Return bytes from the middle of a file, where the headers of images are over."""
    return read_bytes(file)[size // 2 :][:_NUM_BYTES]


def _copies_of_training(pair: Pair) -> Found:
    """Find names that equal the name of a training image without the suffix that tools append to copies."""
    train, val = pair.files
    stems = {_stem(name) for name in train}
    sources = {_TAG.sub("", stem) for stem in stems}
    derived = {source for stem in stems if (source := _TAG.sub("", stem)) != stem}
    copied = {source for stem in stems if (source := _COPY.sub("", stem)) != stem}
    faulty = []
    for name in val:
        stem = _stem(name)
        source, original = _TAG.sub("", stem), _COPY.sub("", stem)
        is_derived = source in derived or (source != stem and source in sources)
        faulty.append(is_derived or stem in copied or (original != stem and original in stems))
    return Found(np.array(val, object), np.array(faulty, bool), _file_of(pair))


def _never_trained(pair: Pair) -> Found:
    train, val = pair.train.labelled.sum(axis=0), pair.val.labelled.sum(axis=0)
    return Found(pair.val.names, (train == 0) & (val > 0)) if len(train) == len(val) else _nothing(pair)


def _never_validated(pair: Pair) -> Found:
    train, val = pair.train.labelled.sum(axis=0), pair.val.labelled.sum(axis=0)
    return Found(pair.val.names, (train >= _ENOUGH) & (val == 0)) if len(train) == len(val) else _nothing(pair)


def _unlike_shares(pair: Pair) -> Found:
    """Find keypoints that are labelled in most instances of one set and in few of the other."""
    sets = pair.train, pair.val
    if len({one.labelled.shape[1] for one in sets}) > 1 or min(len(one.rows) for one in sets) < _ENOUGH:
        return _nothing(pair)
    train, val = (one.labelled.mean(axis=0) for one in sets)
    return Found(pair.val.names, np.abs(train - val) > 0.5)


def _unlike_visibility(pair: Pair) -> Found:
    if min(len(one.rows) for one in (pair.train, pair.val)) < _ENOUGH:
        return _nothing(pair)
    train, val = _share_visible(pair.train), _share_visible(pair.val)
    details = {"train": f"{100 * train:.0f} %", "val": f"{100 * val:.0f} %"}
    return Found(pair.val.ids, np.full(len(pair.val.ids), abs(train - val) > 0.5), details)


def _unlike_boxes(pair: Pair) -> Found:
    if min(len(one.rows) for one in (pair.train, pair.val)) < _ENOUGH:
        return _nothing(pair)
    train, val = (float(np.median(np.sqrt(one.size.prod(axis=1)))) for one in (pair.train, pair.val))
    unlike = not 1 / 3 <= (train + 1e-9) / (val + 1e-9) <= 3
    details = {"train": f"{train:.0f}", "val": f"{val:.0f}"}
    return Found(pair.val.ids, np.full(len(pair.val.ids), unlike), details)


def _share_visible(inspected: Inspected) -> float:
    visibility = inspected.annotations.visibility[inspected.rows]
    return float((visibility == 2).sum() / (visibility > 0).sum())


def _stem(name: str) -> str:
    return os.path.splitext(name.lower())[0]  # noqa: PTH122 - a string, not a path


def _file_of(pair: Pair) -> dict[str, str]:
    return {"file": str(pair.train.annotations.file)}


def _nothing(pair: Pair) -> Found:
    return Found(pair.val.ids, np.zeros(len(pair.val.ids), bool))


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
        find=_never_trained,
    ),
    Check(
        name="keypoints-never-validated",
        what="keypoints are labelled in the training set, but in no validation instance",
        consequence="AP does not measure them.",
        fix="Label them in the validation set, or split the data again.",
        find=_never_validated,
    ),
    Check(
        name="keypoints-labelled-unlike",
        what="keypoints are labelled much more often in one set than in the other (by more than 50 % of the instances)",
        consequence="The two sets were labelled by different rules, which lowers AP.",
        fix="Split the data again, at random by image, folder or video.",
        find=_unlike_shares,
    ),
    Check(
        name="visibility-unlike",
        what="instances belong to a set with {val} of the labelled keypoints visible (2), against {train} in training",
        consequence="Training and AP do not change; reports by visibility do.",
        fix="If 1 means visible in one of the files, set `data.visibility_map`, or correct that file.",
        find=_unlike_visibility,
        severity="note",
    ),
    Check(
        name="box-sizes-unlike",
        what="instances belong to a set with a median box side of {val} pixels, against {train} in training",
        consequence="Validation crops have another level of detail than training crops.",
        fix="Check whether the images of one set were scaled.",
        find=_unlike_boxes,
        severity="note",
    ),
)
"""Checks of two sets; `InstanceFiles.check_apart` uses the first."""
