"""Split images into training and validation: from the source, by video or folder, or by image."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from hrpose.errors import DataError

SPLIT_NAMES = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""The split for each name of folders and subsets that tools use."""
SplitBy: TypeAlias = Literal["folder", "video", "image"]


def split_images(
    names: Sequence[str],
    own: Sequence[str | None],
    *,
    share: float,
    by: SplitBy | None,
    seed: int,
    videos: Sequence[str] | None = None,
) -> tuple[list[str], str]:
    """Assign each of N images to "train", "val" or a split of the source.

    Args:
        names: with forward slashes.
        own: split of each image in the source; None where it has none.
        share: of validation images; 0 for none.
        by: "folder" or "video" assigns all images of one to the same split; None does so if there are several.
        seed: of the random choice.
        videos: of each image; None if the source has none.

    Returns:
        N splits, and a sentence on how they were chosen.

    Raises:
        DataError: if the source has no videos, or only one group.
    """
    if by is None and "val" in own:
        return [split or "train" for split in own], "Split: from the source."
    kept = [split if split == "test" else "train" for split in own]
    free = [index for index, split in enumerate(kept) if split == "train"]
    if by == "video" and videos is None:
        raise DataError(
            "Expected videos in the source for split_by=video, but it has none. Use split_by=folder or split_by=image."
        )
    by_video = videos is not None and (by == "video" or (by is None and len(set(videos)) > 1))
    groups = videos if by_video and videos is not None else [name.rpartition("/")[0] for name in names]
    members: dict[str, list[int]] = {}
    for index in free:
        members.setdefault(groups[index], []).append(index)
    what = "video" if by_video else "folder"
    if by in ("folder", "video") and len(members) < 2:
        raise DataError(f"Expected images in several {what}s for split_by={by}, but found {len(members)}. Use split_by=image.")
    if share == 0 or len(free) < 2:
        return kept, "Split: all images are for training."
    if by != "image" and len(members) > 1:
        held = _choose_groups(members, share * len(free), seed)
        chosen = {index for group in held for index in members[group]}
        listing = ", ".join(group or "." for group in held[:3]) + (", ..." if len(held) > 3 else "")
        how = f"Split by {what}, because images of a {what} are similar: {listing} for validation (see split_by=image)."
    else:
        count = min(max(round(share * len(free)), 1), len(free) - 1)
        chosen = set(random.Random(seed).sample(free, count))
        how = f"Split by image: {count} of {len(free)} for validation, drawn with seed {seed}."
    return ["val" if index in chosen else split for index, split in enumerate(kept)], how


def _choose_groups(members: Mapping[str, Sequence[int]], most: float, seed: int) -> list[str]:
    """Choose groups in random order while they have at most `most` images; the smallest group if none fits."""
    order = random.Random(seed).sample(sorted(members), len(members))
    chosen: list[str] = []
    for group in order:
        if sum(len(members[name]) for name in (*chosen, group)) <= most:
            chosen.append(group)
    return sorted(chosen) or [min(order, key=lambda group: len(members[group]))]
