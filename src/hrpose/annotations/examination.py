"""Run the checks of `hrpose doctor`: on each annotation file with its images, and on the two sets together."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from hrpose.annotations.checks import (
    BOX_CHECKS,
    CHECKS,
    KEYPOINT_CHECKS,
    REFUSED_ROW_CHECKS,
    ROW_CHECKS,
    SHAPE_CHECKS,
    SKELETON_CHECKS,
    SPLIT_CHECKS,
    Described,
    Finding,
    Inspected,
    Pair,
    RawFile,
    Shapes,
    check_annotations,
    run_checks,
)
from hrpose.annotations.coco_annotations import CocoAnnotations
from hrpose.annotations.image_contents import (
    FOLDER_CHECKS,
    Content,
    Contents,
    Folder,
    check_contents,
    check_shared_contents,
    open_images,
)
from hrpose.annotations.images import complete_images
from hrpose.annotations.mpii import MpiiAnnotations
from hrpose.annotations.reader import InstanceFiles, is_mpii
from hrpose.errors import DataError, DataWarning
from hrpose.media.images import Reading
from hrpose.skeletons import Skeleton
from hrpose.structures import InstanceTable

SplitName: TypeAlias = Literal["train", "val"]


@dataclass(frozen=True, eq=False)
class Split:
    """One annotation file and its images, as far as they can be read.

    Attributes:
        name: "train" or "val".
        file: the annotation file.
        images: the image folder; None if none is given or file names are rejected.
        annotations: content of the file; None if it cannot be read.
        table: the instances for training or evaluation; None if there are none.
    """

    name: SplitName
    file: Path
    images: Path | None
    annotations: CocoAnnotations | MpiiAnnotations | None = None
    table: InstanceTable | None = None


def read_split(name: SplitName, file: Path, images: Path | None, files: InstanceFiles) -> tuple[Split, list[Finding]]:
    """Read the annotation file of "train" or "val" and check its rows. An error of the reader becomes a finding."""
    findings: list[Finding] = []
    annotations: CocoAnnotations | MpiiAnnotations | None = None
    table: InstanceTable | None = None
    with _noticed(file, findings):
        raw = None
        with suppress(DataError):  # `files.read` below raises it again
            raw = None if is_mpii(file) else RawFile.read(file, files.keypoint_fields)
            findings += [] if raw is None else run_checks(raw, ROW_CHECKS, file)
        with _refused("file-refused", file, findings):
            annotations = files.read(file)
        if raw is not None and any(finding.check == "file-refused" for finding in findings):
            findings += run_checks(raw, REFUSED_ROW_CHECKS, file)
        if isinstance(annotations, CocoAnnotations):
            if images is not None:
                folder, images = images, None  # rejected names may lead out of the folder: no image is opened
                with _refused("file-names-refused", file, findings):
                    annotations = complete_images(annotations, folder, upright=files.upright)
                    images = folder
            table = annotations.instances(files.bbox_rules)
            if not len(table):
                what = files.describe_empty(annotations)
                findings.append(Finding(check="nothing-to-use", file=str(file), what=what, severity="error"))
        elif annotations is not None:
            table = annotations.instances()
    return Split(name, file, images, annotations, table if table is not None and len(table) else None), findings


def examine_labels(
    split: Split, skeleton: Skeleton | None, input_size: tuple[int, int], sizes: Mapping[str, tuple[int, int]]
) -> list[Finding]:
    """Run the checks of the labels, boxes and keypoint names of one file.

    Args:
        split: the file.
        skeleton: of the keypoints; None if unknown.
        input_size: width and height of the crops.
        sizes: width and height of the crops for each option of the group `size`.
    """
    annotations = split.annotations
    if not isinstance(annotations, CocoAnnotations):
        return []
    inspected = Inspected(annotations, skeleton if _fits(skeleton, annotations) else None)
    described = Described(annotations.category, annotations.visibility.shape[1], skeleton)
    return [
        *run_checks(described, SKELETON_CHECKS, split.file),
        *check_annotations(annotations, CHECKS),
        *run_checks(inspected, KEYPOINT_CHECKS, split.file),
        *run_checks(inspected, BOX_CHECKS, split.file),
        *run_checks(Shapes(inspected, input_size, sizes), SHAPE_CHECKS, split.file),
    ]


def examine_images(splits: Sequence[Split], reading: Reading, *, orientation_matters: bool, open_files: bool) -> list[Finding]:
    """Run the checks of the image folders, and of every image if files are opened; see `images.check_images` for the options."""
    findings: list[Finding] = []
    known: dict[str, set[str]] = {}
    read = [split for split in splits if split.annotations is not None and split.images is not None]
    for split in read:
        known.setdefault(os.path.realpath(split.images or ""), set()).update(_file_names(split))
    opened: dict[SplitName, Contents] = {}
    by_file: dict[str, Content] = {}
    for split in read:
        assert split.annotations is not None
        assert split.images is not None
        names = _file_names(split)
        folder = Folder(split.images, names, frozenset(known[os.path.realpath(split.images)]))
        # the images of a rejected annotation file are unknown, so images without entry cannot be found
        checks = FOLDER_CHECKS if len(read) == len(splits) else FOLDER_CHECKS[:1]
        findings += run_checks(folder, checks, split.images)
        if open_files:
            stated = (
                split.annotations.image_sizes
                if isinstance(split.annotations, CocoAnnotations)
                else np.zeros((len(names), 2), np.int32)
            )
            title = f"Opening images of {split.name}"
            contents = open_images(names, stated, split.images, title, upright=reading.upright, opened=by_file)
            opened[split.name] = contents
            findings += check_contents(contents, split.images, reading, orientation_matters=orientation_matters)
    if len(opened) == 2:
        findings += check_shared_contents(opened["train"], opened["val"], read[1].file)
    return findings


def examine_pair(train: Split, val: Split, files: InstanceFiles) -> list[Finding]:
    """Run the checks that compare two files; the same file given twice is not checked."""
    one, other = train.annotations, val.annotations
    if not (isinstance(one, CocoAnnotations) and isinstance(other, CocoAnnotations)):
        return []
    if train.file.resolve() == val.file.resolve():
        return []
    findings: list[Finding] = []
    with _noticed(val.file, findings), _refused("keypoints-unlike", val.file, findings):
        files.check_alike(train.file, val.file)
    pair = Pair(Inspected(one), Inspected(other), (train.images or Path(), val.images or Path()))
    checks = SPLIT_CHECKS if train.images and val.images else SPLIT_CHECKS[1:]  # the first compares paths
    return findings + run_checks(pair, checks, val.file)


def sort_findings(findings: Sequence[Finding]) -> list[Finding]:
    """Sort findings by severity, errors first, and keep the order within a severity."""
    order = ("error", "warning", "note")
    return sorted(findings, key=lambda finding: order.index(finding.severity))


def _fits(skeleton: Skeleton | None, annotations: CocoAnnotations) -> bool:
    return skeleton is not None and skeleton.num_keypoints == annotations.visibility.shape[1]


def _file_names(split: Split) -> list[str]:
    return [] if split.annotations is None else split.annotations.file_names.tolist()


@contextmanager
def _refused(check: str, file: Path, findings: list[Finding]) -> Iterator[None]:
    """Turn a DataError into a finding."""
    try:
        yield
    except DataError as error:
        what = str(error).removeprefix(f"{file}: ")
        findings.append(Finding(check=check, file=str(file), what=what, severity="error"))


@contextmanager
def _noticed(file: Path, findings: list[Finding]) -> Iterator[None]:
    """Turn warnings of the readers into findings, apart from findings of checks, which are found again by name."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", DataWarning)
        yield
    for text in dict.fromkeys(str(warning.message) for warning in caught):
        if not text.endswith("]"):
            what = text.removeprefix(f"{file}: ")
            findings.append(Finding(check="assumed-on-reading", file=str(file), what=what, severity="note"))
