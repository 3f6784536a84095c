"""V7 Darwin JSON 2.0.

The structure is that of docs.v7labs.com/reference/darwin-json and of `make_skeleton` in darwin-py; and of
e2e_tests/data/import/image_annotations_split_in_two_files in v7labs/darwin-py. Values are made up.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from grey_images import category, instances, write_images

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
    content = {"version": "2.0", "item": {"name": "a.png", "path": path, "slots": [slot]}, "annotations": list(annotations)}
    (folder / "a.json").write_text(json.dumps(content))
    return folder


def test_nodes_boxes_and_occlusion_are_kept(tmp_path) -> None:
    write_images(tmp_path, "a.png")
    tag = {"id": "2", "name": "good", "slot_names": ["0"], "tag": {}}
    write(tmp_path, SKELETON | {"bounding_box": {"x": 50, "y": 40.5, "w": 30, "h": 40}}, tag)
    assert recognise(tmp_path) == recognise(tmp_path / "a.json") == "darwin"
    convert_labels(tmp_path, split=0)
    (row,) = instances(tmp_path)["a.png"]
    assert row["keypoints"] == [58.18, 71.78, 2, 68.2, 57.8, 1]
    assert row["bbox"] == [50, 40.5, 30, 40]
    assert category(tmp_path)["name"] == "mouse"


def test_folders_of_the_data_set_are_kept(tmp_path) -> None:
    write_images(tmp_path, "images/day1/a.png", "images/day2/a.png")
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
    write_images(tmp_path, "a.png")
    with pytest.raises(DataError, match=r"a\.json"):
        convert_labels(write(tmp_path, annotation), bbox_margin=0.1)


def test_an_item_without_a_suffix_is_found_and_other_annotations_are_counted(tmp_path) -> None:
    write_images(tmp_path, "image_1.png")
    source = {"item_id": "0192", "dataset": {"name": "d", "slug": "d"}, "team": {"name": "t", "slug": "t"}}
    files = [{"file_name": "image_1", "storage_key": "images/image_1.jpg", "url": "https://host/1"}]
    slot = {"type": "image", "slot_name": "0", "width": 160, "height": 120, "source_files": files}
    other = {"properties": [], "slot_names": ["0"]}
    layer = {"dense_rle": [0, 3], "mask_annotation_ids_mapping": {"3": 1}, "total_pixels": 3}
    content = {
        "version": "2.0",
        "schema_ref": "https://darwin-public.s3.eu-west-1.amazonaws.com/darwin_json/2.0/schema.json",
        "item": {"name": "image_1", "path": "/", "source_info": source, "slots": [slot]},
        "annotations": [
            {"id": "1", "line": {"path": [{"x": 1, "y": 2}, {"x": 3, "y": 4}]}, "name": "l", **other},
            SKELETON | other,
            {"id": "3", "mask": {}, "name": "m", **other},
            {"id": "4", "name": "__raster_layer__", "raster_layer": layer, **other},
        ],
        "properties": [],
    }
    (tmp_path / "image_1.json").write_text(json.dumps(content))
    notes = convert_labels(tmp_path, bbox_margin=0.5, split=0).notes
    assert len(instances(tmp_path)["image_1.png"]) == 1
    assert any("3 annotations" in note for note in notes)
