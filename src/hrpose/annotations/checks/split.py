"""The checks of the training set against the validation set."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from hrpose.annotations.checks.table import Check, Finding, Floats, Found, Inspected, run_checks
from hrpose.annotations.coco_annotations import CocoAnnotations
from hrpose.media.folders import file_size, is_same_file, real_file
from hrpose.media.images import read_bytes

_MOST_COMPARED = 5000  # images of both sets whose sizes are looked up before a training
_NUM_BYTES = 4096  # that are compared before whole files are
_ENOUGH = 20  # labels from which on a share is trusted
# What tools append to the names of what they derive of an image: Roboflow, augmentation scripts.
_TAG = re.compile(r"(\.rf\.[0-9a-f]{16,}|[_-](aug|flip|hflip|vflip|flipped|mirror|mirrored|rot|rotated)[_-]?\d*)$")
# What file managers append to a copy beside the original; they number whole folders so too, without an original.
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
        """Annotated files of both sets."""
        return _annotated_files(self.train.annotations), _annotated_files(self.val.annotations)


def check_split(
    train: CocoAnnotations, val: CocoAnnotations, train_images: str | Path, val_images: str | Path
) -> list[Finding]:
    """Check whether annotated images of the validation set are also trained on: the same file, or a copy of it.

    Copies are looked for in up to 5,000 images, which takes a fraction of a second: only files of equal size are read.

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
    return Found(_texts(val), np.array([f"{other}/{name}" in known for name in val], bool), _file_of(pair))


def _copied_files(pair: Pair) -> Found:
    """Find files with the bytes of a training image in another place."""
    train, val = pair.files
    if len(train) + len(val) > _MOST_COMPARED:
        return Found(_texts(val), np.zeros(len(val), bool))
    ours, theirs = (
        {name: file_size(folder / name) for name in names}
        for names, folder in ((train, pair.train_images), (val, pair.val_images))
    )
    shared = {size for size in ours.values() if size} & set(theirs.values())
    owners: dict[tuple[int, bytes], Path] = {}
    for name, size in ours.items():
        if size in shared:
            owners.setdefault((size, _middle(pair.train_images / name, size)), pair.train_images / name)
    faulty = []
    for name, size in theirs.items():
        file = pair.val_images / name
        owner = owners.get((size, _middle(file, size))) if size in shared else None
        is_other = owner is not None and not is_same_file(owner, file)
        faulty.append(is_other and owner is not None and read_bytes(owner) == read_bytes(file))
    return Found(_texts(val), np.array(faulty, bool), _file_of(pair))


def _middle(file: Path, size: int) -> bytes:
    """Return bytes from the middle of a file, where images differ."""
    return read_bytes(file)[size // 2 :][:_NUM_BYTES]


def _copies_of_training(pair: Pair) -> Found:
    """Find names that are those of a training image but for what tools append to copies."""
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
    return Found(_texts(val), np.array(faulty, bool), _file_of(pair))


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
    train, val = (float(np.median(_box_sides(one))) for one in (pair.train, pair.val))
    unlike = not 1 / 3 <= (train + 1e-9) / (val + 1e-9) <= 3
    details = {"train": f"{train:.0f}", "val": f"{val:.0f}"}
    return Found(pair.val.ids, np.full(len(pair.val.ids), unlike), details)


def _box_sides(inspected: Inspected) -> Floats:
    sides: Floats = np.sqrt(inspected.size.prod(axis=1))
    return sides


def _share_visible(inspected: Inspected) -> float:
    visibility = inspected.annotations.visibility[inspected.rows]
    return float((visibility == 2).sum() / (visibility > 0).sum())


def _stem(name: str) -> str:
    return os.path.splitext(name.lower())[0]  # noqa: PTH122 - a suffix of text


def _file_of(pair: Pair) -> dict[str, str]:
    return {"file": str(pair.train.annotations.file)}


def _texts(values: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    texts = np.empty(len(values), object)
    texts[:] = list(values)
    return texts


def _nothing(pair: Pair) -> Found:
    return Found(pair.val.ids, np.zeros(len(pair.val.ids), bool))


COPIED_FILES = Check[Pair](
    name="image-contents-in-validation",
    what="images with annotations have the content of a training image in another place, in {file}",
    consequence="AP is measured on images that the network has seen, so it says too much.",
    fix="Remove the copies from one of the two sets.",
    find=_copied_files,
)
"""What `PersonFiles.check_apart` warns of, beside the first of `SPLIT_CHECKS`; `hrpose doctor` compares pixels instead."""

SPLIT_CHECKS: tuple[Check[Pair], ...] = (
    Check(
        name="train-images-in-validation",
        what="images with annotations are also training images, in {file}",
        consequence="AP is measured on images that the network has seen, so it says too much.",
        fix="Split the data by image, or by video or animal where images are alike.",
        find=_images_of_training,
    ),
    Check(
        name="copies-of-training-images",
        what="images have the name of a training image but for what tools append to copies, in {file}",
        consequence="AP is measured on copies of images that the network has seen, so it says too much.",
        fix="Split the original images, and augment the training set only.",
        find=_copies_of_training,
    ),
    Check(
        name="keypoints-never-trained",
        what="keypoints are labelled in the validation set, but in no training instance",
        consequence="The network does not learn them, and AP punishes it.",
        fix="Label them in the training set, or split the data anew.",
        find=_never_trained,
    ),
    Check(
        name="keypoints-never-validated",
        what="keypoints are labelled in the training set, but in no validation instance",
        consequence="AP says nothing of them.",
        fix="Label them in the validation set, or split the data anew.",
        find=_never_validated,
    ),
    Check(
        name="keypoints-labelled-unlike",
        what="keypoints are labelled in shares of the two sets that differ by more than half",
        consequence="The two sets were labelled by different rules: AP measures the difference too.",
        fix="Split the data anew, at random by image, folder or video.",
        find=_unlike_shares,
    ),
    Check(
        name="visibility-unlike",
        what="instances belong to a set in which {val} of the labelled keypoints are visible (2), against {train} in training",
        consequence="Training and AP only ask whether a keypoint is labelled; reports by visibility do not.",
        fix="If 1 means visible in one of the files, set `data.visibility_map`, or correct that file.",
        find=_unlike_visibility,
        severity="note",
    ),
    Check(
        name="box-sizes-unlike",
        what="instances belong to a set with a median box side of {val} pixels, against {train} in training",
        consequence="The network sees instances in validation in another detail than it was trained on.",
        fix="Check whether the images of one set were scaled.",
        find=_unlike_boxes,
        severity="note",
    ),
)
"""The checks of two sets; `PersonFiles.check_apart` warns of the first."""
