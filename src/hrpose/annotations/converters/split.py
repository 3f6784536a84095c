"""Divide images into training and validation: as the source says, else by folder, else by image."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from hrpose.errors import DataError

SPLIT_NAMES = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""Splits by the names that tools give their folders or subsets."""
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
    """Assign each image to "train", "val" or a split of the source.

    Args:
        names: of the N images, with forward slashes.
        own: split of each that the source states; None where it states none.
        share: of the images that validate; 0 trains on all.
        by: "folder" or "video" keeps the images of one together; None does so if there are several.
        seed: of the random choice.
        videos: of each image, where the source states them.

    Returns:
        N splits, and a sentence that says how they were chosen.

    Raises:
        DataError: if the images cannot be divided in this way.
    """
    if by is None and "val" in own:
        return [split or "train" for split in own], "Split: as the source states."
    kept = [split if split == "test" else "train" for split in own]
    free = [index for index, split in enumerate(kept) if split == "train"]
    if by == "video" and videos is None:
        raise DataError(
            "Expected the source to state videos for split_by=video, but it does not. Use split_by=folder or image."
        )
    use_videos = videos is not None and by in ("video", None) and len(set(videos)) > 1
    members: dict[str, list[int]] = {}
    for index in free:
        group = (
            videos[index] if videos is not None and (use_videos or by == "video") else names[index].rpartition("/")[0]
        )
        members.setdefault(group, []).append(index)
    what = "video" if use_videos or by == "video" else "folder"
    if by in ("folder", "video") and len(members) < 2:
        raise DataError(
            f"Expected images in several {what}s for split_by={by}, but found {len(members)}. Use split_by=image."
        )
    if share == 0 or len(free) < 2:
        return kept, "Split: all images train, none validates."
    if by != "image" and len(members) > 1:
        held = _choose_groups(members, share * len(free), seed)
        chosen = {index for group in held for index in members[group]}
        listing = ", ".join(group or "." for group in held[:3]) + (", ..." if len(held) > 3 else "")
        how = f"Split by {what}, because images of a {what} are alike: {listing} validates (split_by=image divides by image)."
    else:
        count = min(max(round(share * len(free)), 1), len(free) - 1)
        chosen = set(random.Random(seed).sample(free, count))
        how = f"Split by image: {count} of {len(free)} validate, drawn with seed {seed}."
    return ["val" if index in chosen else split for index, split in enumerate(kept)], how


def _choose_groups(members: Mapping[str, Sequence[int]], most: float, seed: int) -> list[str]:
    """Take groups in random order while they fit; if none fits, the smallest."""
    order = random.Random(seed).sample(sorted(members), len(members))
    chosen: list[str] = []
    for group in order:
        if sum(len(members[name]) for name in (*chosen, group)) <= most:
            chosen.append(group)
    return sorted(chosen) or [min(order, key=lambda group: len(members[group]))]
