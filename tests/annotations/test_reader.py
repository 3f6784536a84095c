"""Annotation files of COCO and of MPII are read by their form."""

from pathlib import Path
from typing import Any

import pytest
from tiny_coco import content, write_json

from hrpose.annotations.reader import InstanceFiles
from hrpose.errors import DataError, DataWarning


def named(file: Path, names: list[Any] | None) -> Path:
    document = content()
    if names is None:
        del document["categories"][0]["keypoints"]
    else:
        document["categories"] = [{**document["categories"][0], "keypoints": names}]
    return write_json(file, document)


NAMES = list(content()["categories"][0]["keypoints"])
SPELT = ["".join(word.title() for word in name.split("_")) for name in NAMES]


def test_files_with_different_keypoint_orders_are_refused(tmp_path: Path) -> None:
    one = named(tmp_path / "one.json", NAMES)
    other = named(tmp_path / "other.json", [*NAMES[:15], NAMES[16], NAMES[15]])
    with pytest.raises(DataError, match=r"'left_ankle'.*15.*16"):
        InstanceFiles().check_alike(one, other)


@pytest.mark.parametrize("names", [NAMES, SPELT, [f"point {k}" for k in range(17)], []])
def test_another_spelling_or_no_names_is_the_same_order(tmp_path: Path, names: list[Any]) -> None:
    one, other = named(tmp_path / "one.json", NAMES), named(tmp_path / "other.json", names)
    InstanceFiles().check_alike(one, other)
    InstanceFiles().check_alike(other, one)


def test_each_reason_to_leave_instances_out_is_counted(tmp_path: Path) -> None:
    labels = content(5)
    rows = labels["annotations"]
    rows[0]["iscrowd"] = 1
    rows[1]["keypoints"] = [0] * 51
    rows[2].update(area=0, bbox=[9, 9, 0, 20])
    rows[3].update(bbox=[300, 9, 20, 20])
    rows[4].update(bbox=[9, 300, 20, 20], iscrowd=1)
    file = write_json(tmp_path / "none.json", labels)
    reasons = "2 marked `iscrowd`, 1 without keypoints, 1 with an `area` of 0, 2 with a box "
    with pytest.warns(DataWarning) as caught, pytest.raises(DataError, match=f"found 5 annotations.*{reasons}"):
        InstanceFiles().annotated(file, file.parent, "train")
    text = "2 of 2 instances with keypoints are left out: 1 with an `area` of 0, 1 with a box "
    assert any(text in str(warning.message) for warning in caught)


def test_names_in_other_case_or_script_are_compared_in_order(tmp_path: Path) -> None:
    one = named(tmp_path / "one.json", ["a", "A", *NAMES[2:16], "鼻"])
    for names in (["A", "a", *NAMES[2:16], "鼻"], ["a", "鼻", *NAMES[2:16], "A"]):
        other = named(tmp_path / f"{names[0]}.json", names)
        with pytest.raises(DataError, match="same order"):
            InstanceFiles().check_alike(one, other)


def test_the_error_for_a_file_without_instances_counts_its_annotations(tmp_path: Path) -> None:
    document = content()
    for row in document["annotations"]:
        row["keypoints"] = [0] * 51
    file = write_json(tmp_path / "unlabelled.json", document)
    with pytest.raises(DataError, match="11 without keypoints"):
        InstanceFiles().annotated(file, file.parent, "train")
