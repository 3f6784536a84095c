"""V7 Darwin JSON 2.0. The structure is that of docs.v7labs.com/reference/darwin-json and of `make_skeleton` in darwin-py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from photos import category, instances, write_photos

from hrpose.annotations.converters import convert_labels, recognise
from hrpose.errors import DataError

SKELETON = {
    "id": "00000000-0000-0000-0000-000000000001",
    "name": "mouse",
    "slot_names": ["0"],
    "skeleton": {
        "nodes": [
            {"name": "left_ear", "occluded": False, "x": 58.18, "y": 71.78},
            {"name": "right_ear", "occluded": True, "x": 68.2, "y": 57.8},
        ]
    },
}


def write(folder: Path, *annotations: dict[str, Any], path: str = "/") -> Path:
    slot = {"type": "image", "slot_name": "0", "width": 160, "height": 120, "source_files": [{"file_name": "a.png"}]}
    content = {
        "version": "2.0",
        "item": {"name": "a.png", "path": path, "slots": [slot]},
        "annotations": list(annotations),
    }
    (folder / "a.json").write_text(json.dumps(content))
    return folder


def test_nodes_boxes_and_occlusion_are_kept(tmp_path) -> None:
    write_photos(tmp_path, "a.png")
    tag = {"id": "2", "name": "good", "slot_names": ["0"], "tag": {}}
    write(tmp_path, SKELETON | {"bounding_box": {"x": 50, "y": 40.5, "w": 30, "h": 40}}, tag)
    assert recognise(tmp_path) == recognise(tmp_path / "a.json") == "darwin"
    convert_labels(tmp_path, split=0)
    (row,) = instances(tmp_path)["a.png"]
    assert row["keypoints"] == [58.18, 71.78, 2, 68.2, 57.8, 1]
    assert row["bbox"] == [50, 40.5, 30, 40]
    assert category(tmp_path)["name"] == "mouse"


def test_folders_of_the_data_set_are_kept(tmp_path) -> None:
    write_photos(tmp_path, "images/day1/a.png", "images/day2/a.png")
    write(tmp_path, SKELETON, path="/day2")
    convert_labels(tmp_path, images=tmp_path / "images", bbox_margin=0.2, split=0)
    assert list(instances(tmp_path / "images")) == ["day2/a.png"]


@pytest.mark.parametrize(
    "annotation",
    [
        SKELETON | {"skeleton": {"nodes": [{"name": "nose", "x": 1}]}},
        SKELETON | {"skeleton": {"nodes": SKELETON["skeleton"]["nodes"] * 2}},
        {"id": "3", "name": "mouse", "frames": {"0": {}}},
    ],
)
def test_other_annotations_are_refused(tmp_path, annotation) -> None:
    write_photos(tmp_path, "a.png")
    with pytest.raises(DataError, match=r"a\.json"):
        convert_labels(write(tmp_path, annotation), bbox_margin=0.1)
