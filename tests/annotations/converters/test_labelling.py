"""Poses are converted to labels of a tool and read back with the same values."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from grey_images import category, instances, write_images

from hrpose.annotations.converters import convert_labels, write_labels
from hrpose.errors import DataError

NAMES = ["nose", "left_ear", "right_ear"]


@pytest.fixture
def poses(tmp_path: Path) -> Path:
    """Write poses.json and images.json as `hrpose predict` does."""
    write_images(tmp_path / "images", "day/a.png", "b.png")
    images = [
        {"id": 5, "file_name": "day/a.png", "width": 160, "height": 120},
        {"id": 6, "file_name": "b.png", "width": 160, "height": 120},
    ]
    content = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "mouse", "keypoints": NAMES}]}
    (tmp_path / "images.json").write_text(json.dumps(content))
    rows = [
        {"image_id": 5, "category_id": 1, "keypoints": [40, 30, 0.9, 80, 60.5, 0.8, 1, 1, 0.1], "score": 0.9},
        {
            "image_id": 5,
            "category_id": 1,
            "keypoints": [20, 30, 1, 20, 40, 0.8, 10, 45, 0.7],
            "score": 0.8,
            "bbox": [4, 6, 40, 60],
        },
    ]
    (tmp_path / "poses.json").write_text(json.dumps(rows))
    return tmp_path / "poses.json"


def test_labelme_files_are_read_back(poses) -> None:
    folder = poses.parent
    write_labels(poses, "labelme", images=folder / "images", bbox_margin=0.25)
    written = json.loads((folder / "labelme/day/a.json").read_text())
    assert written["imagePath"] == "../../images/day/a.png"
    assert {shape["group_id"] for shape in written["shapes"]} == {1, 2}
    assert not (folder / "labelme/b.json").exists()
    convert_labels(folder / "labelme", images=folder / "images", split=0)
    first, second = instances(folder / "images")["day/a.png"]
    assert first["keypoints"] == [40, 30, 2, 80, 60.5, 2, 0, 0, 0]
    assert first["bbox"] == [30, 20, 60, 50.5]
    assert second["bbox"] == [4, 6, 40, 60]


def test_yolo_files_are_read_back(poses) -> None:
    folder = poses.parent
    said = write_labels(poses, "yolo", images=folder / "images", out=folder / "yolo", bbox_margin=0.25)
    assert "2 poses of 2 images" in said
    data = yaml.safe_load((folder / "yolo/data.yaml").read_text())
    assert (data["kpt_shape"], data["flip_idx"], data["kpt_names"]) == ([3, 3], [0, 2, 1], {0: NAMES})
    first = (folder / "yolo/labels/day/a.txt").read_text().splitlines()[0].split()
    assert first[5:8] == ["0.250000", "0.250000", "2"]
    assert first[-3:] == ["0.000000", "0.000000", "0"]
    (folder / "images").rename(folder / "yolo/images")
    convert_labels(folder / "yolo", split=0, split_by="image")
    found = instances(folder / "yolo")["images/day/a.png"][1]
    assert found["keypoints"] == pytest.approx([20, 30, 2, 20, 40, 2, 10, 45, 2], abs=1e-4)
    assert category(folder / "yolo")["flip_pairs"] == [["left_ear", "right_ear"]]


def test_annotations_keep_their_visibility(poses) -> None:
    content = json.loads((poses.parent / "images.json").read_text())
    row = {"id": 1, "image_id": 6, "category_id": 1, "keypoints": [4, 3, 1, 8, 6, 2, 0, 0, 0], "bbox": [1, 2, 30, 40]}
    file = poses.parent / "labels.json"
    file.write_text(json.dumps({**content, "annotations": [row]}))
    write_labels(file, "labelme", images=poses.parent / "images")
    shapes = json.loads((poses.parent / "labelme/b.json").read_text())["shapes"]
    assert [(shape["label"], shape.get("difficult", False)) for shape in shapes[1:]] == [("nose", True), ("left_ear", False)]


def test_labels_are_not_replaced(poses) -> None:
    write_labels(poses, "labelme", images=poses.parent, bbox_margin=0.25)
    with pytest.raises(DataError, match="out="):
        write_labels(poses, "labelme", images=poses.parent, bbox_margin=0.25)


def test_a_missing_box_needs_a_margin(poses) -> None:
    with pytest.raises(DataError, match="bbox_margin"):
        write_labels(poses, "yolo", images=poses.parent)


@pytest.mark.parametrize("name", ["../a.png", "/etc/a.png"])
def test_nothing_is_written_outside_of_the_folder(poses, name) -> None:
    file = poses.parent / "images.json"
    file.write_text(file.read_text().replace("day/a.png", name))
    with pytest.raises(DataError, match=r"a\.png"):
        write_labels(poses, "labelme", images=poses.parent, bbox_margin=0.25)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"keypoints": [1, 2, "3"] * 3}, "entry 0 .*9 finite numbers"),
        ({"keypoints": [1, 2, float("nan")] * 3}, "entry 0 .*9 finite numbers"),
        ({"bbox": [1, 2, 3]}, "entry 0 .*x, y, width and height"),
        (None, "entry 0 .*a JSON object"),
    ],
)
def test_a_row_that_is_no_pose_is_refused(poses, entry, message) -> None:
    rows = json.loads(poses.read_text())
    rows[0] = {**rows[0], **entry} if entry else 7
    poses.write_text(json.dumps(rows))
    with pytest.raises(DataError, match=message):
        write_labels(poses, "yolo", images=poses.parent, bbox_margin=0.25)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"name": "mouse", ', "", "id, name and the names"),
        ('"width": 160', '"width": 0', "positive width"),
        ('"b.png"', '"."', "below the image folder"),
        ('"left_ear"', '"nose"', "more than once"),
    ],
)
def test_images_or_a_category_that_cannot_be_written_are_refused(poses, old, new, message) -> None:
    file = poses.parent / "images.json"
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(DataError, match=message):
        write_labels(poses, "yolo", images=poses.parent, bbox_margin=0.25)
