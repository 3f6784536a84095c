"""Divide images into training and validation: as the source says, else by folder, else by image."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal, TypeAlias

from hrpose.errors import DataError

SplitBy: TypeAlias = Literal["folder", "image"]


def split_images(
    names: Sequence[str], own: Sequence[str | None], *, share: float, by: SplitBy | None, seed: int
) -> tuple[list[str], str]:
    """Assign each image to "train", "val" or a split of the source.

    Args:
        names: of the N images, with forward slashes.
        own: split of each that the source states; None where it states none.
        share: of the images that validate; 0 trains on all.
        by: "folder" keeps the images of a folder (a video) together; None does so if there are several folders.
        seed: of the random choice.

    Returns:
        N splits, and a sentence that says how they were chosen.

    Raises:
        DataError: if the images cannot be divided in this way.
    """
    if by is None and "val" in own:
        return [split or "train" for split in own], "Split: as the source states."
    kept = [split if split == "test" else "train" for split in own]
    free = [index for index, split in enumerate(kept) if split == "train"]
    folders = sorted({_folder(names[index]) for index in free})
    chosen_by = by or ("folder" if len(folders) > 1 else "image")
    if chosen_by == "folder" and len(folders) < 2:
        raise DataError(
            f"Expected images in several folders for split_by=folder, but found {len(folders)}. Use split_by=image."
        )
    if share == 0 or len(free) < 2:
        return kept, "Split: all images train, none validates."
    if chosen_by == "folder":
        chosen = _choose_folders(names, free, folders, share, seed)
        held = ", ".join(sorted({_folder(names[index]) or "." for index in chosen})[:3])
        how = (
            f"Split by folder, because images of a video are alike: {held} validates (split_by=image divides by image)."
        )
    else:
        count = min(max(round(share * len(free)), 1), len(free) - 1)
        chosen = set(random.Random(seed).sample(free, count))
        how = f"Split by image: {count} of {len(free)} validate, drawn with seed {seed}."
    return ["val" if index in chosen else split for index, split in enumerate(kept)], how


def _choose_folders(
    names: Sequence[str], free: Sequence[int], folders: Sequence[str], share: float, seed: int
) -> set[int]:
    """Take folders in random order while they fit; if none fits, the smallest."""
    members = {folder: [index for index in free if _folder(names[index]) == folder] for folder in folders}
    order = random.Random(seed).sample(folders, len(folders))
    chosen: set[int] = set()
    for folder in order:
        if len(chosen) + len(members[folder]) <= share * len(free):
            chosen.update(members[folder])
    return chosen or set(members[min(order, key=lambda folder: len(members[folder]))])


def _folder(name: str) -> str:
    return name.rpartition("/")[0]
