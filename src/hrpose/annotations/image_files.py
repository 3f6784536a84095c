"""What the image folder adds to annotations: sizes that the file does not state, and the names of the files."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

from hrpose.annotations.coco_annotations import CocoAnnotations
from hrpose.annotations.coco_rows import list_first
from hrpose.errors import DataError, DataWarning
from hrpose.media.file_names import match_files
from hrpose.media.images import check_file_name, check_photos, read_size
from hrpose.structures import PackedStrings


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
    changed, kinds = match_files(names, folder) if folder.is_dir() else ({}, {})
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
            if file.is_file():
                sizes[index] = read_size(file, upright=upright)
        notes.append(
            f"{len(unknown)} of {len(names)} images have no `width` and `height`, which are read from the image files"
        )
    if notes:
        warnings.warn(f"{annotations.file}: {'; '.join(notes)}.", DataWarning, stacklevel=4)
    if not changed and not unknown:
        return annotations
    return replace(annotations, file_names=PackedStrings(names), image_sizes=sizes)
