"""The checks of two splits against each other."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from hrpose.annotations.checks.findings import NUM_IDS, Finding
from hrpose.annotations.coco_annotations import CocoAnnotations


def check_split(
    train: CocoAnnotations, val: CocoAnnotations, train_images: str | Path, val_images: str | Path
) -> list[Finding]:
    """Check whether annotated images of the validation set are also trained on: the same file in the same folder.

    Args:
        train: the training annotations.
        val: the validation annotations.
        train_images: image folder of the training set.
        val_images: image folder of the validation set.
    """
    home, other = os.path.realpath(train_images), os.path.realpath(val_images)
    known = {f"{home}/{name}" for name in _annotated_files(train)}
    files = _annotated_files(val)
    shared = [name for name in files if f"{other}/{name}" in known]
    if not shared:
        return []
    return [
        Finding(
            check="train-images-in-validation",
            file=str(val.file),
            count=len(shared),
            total=len(files),
            ids=tuple(shared[:NUM_IDS]),
            what=f"images with annotations are also training images, in {train.file}",
            consequence="AP is measured on images that the network has seen, so it says too much.",
            fix="Split the data by image, or by video or animal where images are alike.",
        )
    ]


def _annotated_files(annotations: CocoAnnotations) -> list[str]:
    names = annotations.file_names.tolist()
    return [names[index] for index in np.unique(annotations.image_index).tolist()]
