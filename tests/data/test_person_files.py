"""Annotation files of either form; what a data module makes of them is tested with it."""

from pathlib import Path
from typing import Any

import pytest
from tiny_coco import content, write_json

from hrpose.data.errors import DataError
from hrpose.data.person_files import PersonFiles


def named(file: Path, names: list[Any] | None) -> Path:
    told = content()
    if names is None:
        del told["categories"][0]["keypoints"]
    else:
        told["categories"] = [{**told["categories"][0], "keypoints": names}]
    return write_json(file, told)


NAMES = list(content()["categories"][0]["keypoints"])
SPELT = ["".join(word.title() for word in name.split("_")) for name in NAMES]


def test_files_that_name_their_keypoints_in_another_order_do_not_go_together(tmp_path: Path) -> None:
    one = named(tmp_path / "one.json", NAMES)
    other = named(tmp_path / "other.json", [*NAMES[:15], NAMES[16], NAMES[15]])
    with pytest.raises(
        DataError, match=r"same order, but 'left_ankle' is keypoint 15 \(counted from 0\) .* and 16 of the other"
    ):
        PersonFiles().check_alike(one, other)


@pytest.mark.parametrize("names", [NAMES, SPELT, [f"point {k}" for k in range(17)], []])
def test_another_spelling_or_no_names_are_no_other_order(tmp_path: Path, names: list[Any]) -> None:
    one, other = named(tmp_path / "one.json", NAMES), named(tmp_path / "other.json", names)
    PersonFiles().check_alike(one, other)
    PersonFiles().check_alike(other, one)


def test_names_that_differ_in_case_or_are_of_any_script_have_an_order_too(tmp_path: Path) -> None:
    one = named(tmp_path / "one.json", ["a", "A", *NAMES[2:16], "鼻"])
    for names in (["A", "a", *NAMES[2:16], "鼻"], ["a", "鼻", *NAMES[2:16], "A"]):
        other = named(tmp_path / f"{names[0]}.json", names)
        with pytest.raises(DataError, match="same order"):
            PersonFiles().check_alike(one, other)


def test_a_file_without_anybody_says_how_many_annotations_it_has(tmp_path: Path) -> None:
    told = content()
    for row in told["annotations"]:
        row["keypoints"] = [0] * 51
    file = write_json(tmp_path / "unlabelled.json", told)
    with pytest.raises(DataError, match=r"expected persons to train on, but none of its 11 annotations has labelled"):
        PersonFiles().annotated(file, "train")
