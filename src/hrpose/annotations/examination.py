"""Run the checks of `hrpose doctor`: on each annotation file with its images, and on the two sets together."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from hrpose.annotations import checks, image_contents
from hrpose.annotations.checks import Finding, Inspected, RawFile, run_checks
from hrpose.annotations.coco_annotations import CocoAnnotations
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
            findings += [] if raw is None else run_checks(raw, checks.ROW_CHECKS, file)
        with _refused("file-refused", file, findings):
            annotations = files.read(file)
        if raw is not None and any(finding.check == "file-refused" for finding in findings):
            findings += run_checks(raw, checks.REFUSED_ROW_CHECKS, file)
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
    num_keypoints = annotations.visibility.shape[1]
    fits = skeleton is not None and skeleton.num_keypoints == num_keypoints
    inspected = Inspected(annotations, skeleton if fits else None)
    described = checks.Described(annotations.category, num_keypoints, skeleton)
    return [
        *run_checks(described, checks.SKELETON_CHECKS, split.file),
        *checks.check_annotations(annotations, checks.CHECKS),
        *run_checks(inspected, checks.KEYPOINT_CHECKS, split.file),
        *run_checks(inspected, checks.BOX_CHECKS, split.file),
        *run_checks(checks.Shapes(inspected, input_size, sizes), checks.SHAPE_CHECKS, split.file),
    ]


def examine_images(splits: Sequence[Split], reading: Reading, *, orientation_matters: bool, open_files: bool) -> list[Finding]:
    """Run the checks of the image folders, and of every image if files are opened; see `images.check_images` for the options."""
    findings: list[Finding] = []
    read = [(one, one.annotations, one.images) for one in splits if one.annotations is not None and one.images is not None]
    known: dict[str, set[str]] = {}
    for _, content, images in read:
        known.setdefault(os.path.realpath(images), set()).update(content.file_names.tolist())
    opened: dict[SplitName, image_contents.Contents] = {}
    by_file: dict[str, image_contents.Content] = {}
    for split, content, images in read:
        names = content.file_names.tolist()
        folder = image_contents.Folder(images, names, frozenset(known[os.path.realpath(images)]))
        # the images of a rejected annotation file are unknown, so images without entry cannot be found
        is_complete = len(read) == len(splits)
        findings += run_checks(folder, image_contents.FOLDER_CHECKS[: None if is_complete else 1], images)
        if open_files:
            title, sizes = f"Opening images of {split.name}", content.image_sizes
            contents = image_contents.open_images(names, sizes, images, title, upright=reading.upright, opened=by_file)
            opened[split.name] = contents
            findings += image_contents.check_contents(contents, images, reading, orientation_matters=orientation_matters)
    if len(opened) == 2:
        findings += image_contents.check_shared_contents(opened["train"], opened["val"], read[1][0].file)
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
    pair = checks.Pair(Inspected(one), Inspected(other), (train.images or Path(), val.images or Path()))
    compares_paths = bool(train.images and val.images)  # which only the first check does
    return findings + run_checks(pair, checks.SPLIT_CHECKS[0 if compares_paths else 1 :], val.file)


def sort_findings(findings: Sequence[Finding]) -> list[Finding]:
    """Sort findings by severity, errors first, and keep the order within a severity."""
    order = ("error", "warning", "note")
    return sorted(findings, key=lambda finding: order.index(finding.severity))


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
