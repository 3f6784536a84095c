"""Images are divided as in the source, otherwise by folder or by image."""

from __future__ import annotations

import pytest

from hrpose.annotations.converters.split import split_images
from hrpose.errors import DataError

VIDEOS = [f"{video}/{frame}.png" for video in "abcdefghij" for frame in range(5)]
FLAT = [f"{index}.png" for index in range(20)]


def divide(names, own=None, *, share=0.1, by=None, seed=0):
    return split_images(names, own or [None] * len(names), share=share, by=by, seed=seed)


def test_a_split_of_the_source_is_kept() -> None:
    splits, how = divide(FLAT[:3], ["train", "val", "test"])
    assert splits == ["train", "val", "test"]
    assert "source" in how


def test_images_of_a_folder_are_in_one_split() -> None:
    splits, how = divide(VIDEOS)
    held = {name[0] for name, split in zip(VIDEOS, splits, strict=True) if split == "val"}
    assert splits.count("val") == 5
    assert len(held) == 1
    assert held.pop() in how


def test_the_smallest_folder_is_chosen_if_none_fits() -> None:
    assert divide(["a/1", "a/2", "a/3", "b/1", "b/2"])[0] == ["train"] * 3 + ["val"] * 2


def test_images_are_drawn_with_a_seed() -> None:
    splits = divide(FLAT, share=0.2)[0]
    assert splits.count("val") == 4
    assert splits == divide(FLAT, share=0.2)[0] != divide(FLAT, share=0.2, seed=1)[0]
    assert divide(FLAT[:2], share=0.01)[0].count("val") == 1


def test_test_images_are_not_divided() -> None:
    assert divide(FLAT[:4], ["test", None, None, None])[0].count("test") == 1


@pytest.mark.parametrize("names", [FLAT[:1], FLAT])
def test_a_split_of_0_gives_no_validation_images(names) -> None:
    assert set(divide(names, share=0 if len(names) > 1 else 0.1)[0]) == {"train"}


def test_one_folder_cannot_be_divided_by_folder() -> None:
    with pytest.raises(DataError, match="split_by=image"):
        divide(FLAT, by="folder")
