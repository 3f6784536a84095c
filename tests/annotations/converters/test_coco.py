"""COCO files as a source; folders are those of Roboflow's export "COCO", _annotations.coco.json beside the images of a split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from grey_images import instances, write_images

from hrpose.annotations.converters import convert_labels, recognise
from hrpose.errors import DataError


def write(folder: Path, count: int = 10, **image: Any) -> Path:
    names = [f"v{index // 5}/{index}.png" for index in range(count)]
    write_images(folder / "photos", *names)
    content = {
        "info": {"year": 2024},
        "licenses": [{"id": 4}],
        "images": [{"id": index, "file_name": name, **image} for index, name in enumerate(names)],
        "annotations": [
            {"id": 100 + index, "image_id": index, "category_id": 7, "keypoints": [1, 2, 2, 0, 0, 0], "segmentation": [[1, 2, 3]]}
            for index in range(count)
        ],
        "categories": [{"id": 7, "name": "fly", "keypoints": ["head", "tail"]}],
    }
    file = folder / "labels.json"
    file.write_text(json.dumps(content))
    return file


def test_images_are_divided_and_nothing_else_changes(tmp_path) -> None:
    file = write(tmp_path)
    assert recognise(file) == "coco"
    conversion = convert_labels(file, split=0.2, split_by="image")
    train, val = (json.loads(conversion.files[split].read_text()) for split in ("train", "val"))
    before = json.loads(file.read_text())
    assert (len(train["images"]), len(val["images"])) == (8, 2)
    assert sorted(train["images"] + val["images"], key=lambda row: row["id"]) == before["images"]
    assert sorted(train["annotations"] + val["annotations"], key=lambda row: row["id"]) == before["annotations"]
    assert val["licenses"] == before["licenses"]
    assert val["info"]["source_info"] == before["info"]
    assert conversion.images == tmp_path / "photos"
    assert conversion.counts["val"] == {"images": 2, "instances": 2, "head": 2, "tail": 0}


def test_folders_and_videos_stay_together(tmp_path) -> None:
    file = write(tmp_path)
    convert_labels(file)
    assert {name.partition("/")[0] for name in instances(tmp_path, "val")} != {
        name.partition("/")[0] for name in instances(tmp_path)
    }
    content = json.loads(file.read_text())
    for row in content["images"]:
        row["video_id"] = row["id"] % 2
    file.write_text(json.dumps(content))
    convert_labels(file, split_by="video")
    assert len({int(Path(name).stem) % 2 for name in instances(tmp_path, "val")}) == 1


def test_videos_must_be_stated(tmp_path) -> None:
    with pytest.raises(DataError, match="split_by"):
        convert_labels(write(tmp_path), split_by="video")


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"names": ["a"]}, r"skeleton\.names"),
        ({"category": "fly"}, r"data\.category"),
        ({"flip_pairs": []}, r"skeleton\.flip_pairs"),
        ({"bbox_margin": 0.2}, "bbox_margin"),
    ],
)
def test_options_that_would_have_no_effect_are_refused(tmp_path, options, key) -> None:
    with pytest.raises(DataError, match=key):
        convert_labels(write(tmp_path), **options)


def test_an_annotation_of_no_image_is_refused(tmp_path) -> None:
    file = write(tmp_path)
    file.write_text(file.read_text().replace('"image_id": 3', '"image_id": 33'))
    with pytest.raises(DataError, match=r"103.*33"):
        convert_labels(file)


def test_the_source_itself_is_never_replaced(tmp_path) -> None:
    file = write(tmp_path).rename(tmp_path / "train.json")
    with pytest.raises(DataError, match="out="):
        convert_labels(file)


def roboflow(folder: Path, *splits: str) -> Path:
    """Write an export: ids from 0 in each file, a first category without keypoints."""
    for split in splits:
        write_images(folder / split, "a_png.rf.0a1b.png", "b_png.rf.2c3d.png")
        rows = [{"id": n, "license": 1, "file_name": f"{n}_png.rf.png", "height": 120, "width": 160} for n in range(2)]
        content = {
            "info": {"description": "Exported from roboflow.com"},
            "licenses": [{"id": 1, "url": "", "name": "CC BY 4.0"}],
            "categories": [
                {"id": 0, "name": "flies", "supercategory": "none"},
                {"id": 1, "name": "fly", "supercategory": "flies", "keypoints": ["head", "tail"], "skeleton": [[1, 2]]},
            ],
            "images": rows,
            "annotations": [{"id": 0, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "keypoints": [1, 2, 2, 0, 0, 0]}],
        }
        (folder / split / "_annotations.coco.json").write_text(json.dumps(content))
    return folder


def test_the_splits_of_an_export_are_kept(tmp_path) -> None:
    folder = roboflow(tmp_path / "export", "train", "valid", "test")
    assert recognise(folder) == "coco"
    conversion = convert_labels(folder)
    assert set(conversion.files) == {"train", "val", "test"}
    assert instances(folder, "val")["valid/1_png.rf.png"][0]["keypoints"] == [1, 2, 2, 0, 0, 0]
    assert conversion.images == folder
    assert convert_labels(folder).files == conversion.files


def test_an_export_without_validation_is_divided(tmp_path) -> None:
    folder = roboflow(tmp_path / "export", "train", "test")
    assert set(convert_labels(folder, split=0.5).files) == {"train", "val", "test"}
    assert len(instances(folder)) == len(instances(folder, "val")) == 1
    with pytest.raises(DataError, match="train"):
        convert_labels(roboflow(tmp_path / "other", "test"))


def test_nan_is_read_as_null_and_an_invalid_value_is_one_error(tmp_path) -> None:
    file = write(tmp_path)
    text = file.read_text()
    file.write_text(text.replace("[1, 2, 2, 0, 0, 0]", "[1, 2, 2, NaN, NaN, 0]"))
    convert_labels(file, split=0)
    assert instances(tmp_path)["v0/0.png"][0]["keypoints"] == [1, 2, 2, None, None, 0]
    file.write_text(text.replace("[1, 2, 2, 0, 0, 0]", '{"head": [1, 2]}'))
    with pytest.raises(DataError, match=r"labels\.json.*write_coco"):
        convert_labels(file, split=0)
