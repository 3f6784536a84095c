"""AnimalPose.

The structure of the XML files is that which MMPose's tools/dataset_converters/parse_animalpose_dataset.py reads, with the name of
the top of a box that the second part has wrong; keypoints.json is as the authors' page describes it. Values are made up.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from grey_images import category, instances, write_images

from hrpose.annotations.converters import convert_labels, recognise
from hrpose.errors import DataError

FIRST = """\
<annotation>
  <image>2007_000063</image>
  <category>dog</category>
  <subcategory/>
  <voc_id>1</voc_id>
  <visible_bounds height="50.5" width="60" xmin="12" ymin="13"/>
  <keypoints>
    <keypoint name="R_Eye" visible="1" x="40.25" y="30" z="0"/>
    <keypoint name="L_Eye" visible="0" x="0" y="0" z="0"/>
    <keypoint name="L_EarBase" visible="1" x="50" y="20" z="0"/>
  </keypoints>
</annotation>
"""
SECOND = """\
<annotation><image>ca137.jpeg</image><category>cat</category>
<visible_bounds height="20" width="30" xmin="2" xmax="3"/>
<keypoints><keypoint name="L_ear" visible="1" x="5" y="6"/><keypoint name="withers" visible="1" x="7" y="8"/></keypoints>
</annotation>
"""


def write(folder: Path, *texts: str) -> Path:
    write_images(folder, "VOC2012/JPEGImages/2007_000063.jpg", "animalpose_image_part2/cat/ca137.jpeg")
    for number, text in enumerate(texts):
        file = folder / "annotations" / f"{number}.xml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    return folder


def test_both_parts_have_the_same_keypoints(tmp_path) -> None:
    write(tmp_path, FIRST, SECOND)
    assert recognise(tmp_path) == "animalpose"
    notes = convert_labels(tmp_path, split=0).notes
    (dog,) = instances(tmp_path)["VOC2012/JPEGImages/2007_000063.jpg"]
    (cat,) = instances(tmp_path)["animalpose_image_part2/cat/ca137.jpeg"]
    assert dog["keypoints"][:9] == [0, 0, 0, 40.25, 30, 2, 50, 20, 2]
    assert dog["bbox"] == [12, 13, 60, 50.5]
    assert cat["bbox"] == [2, 3, 30, 20]
    assert (cat["keypoints"][6:9], cat["keypoints"][21:24]) == ([5, 6, 2], [7, 8, 2])
    assert category(tmp_path)["skeleton"][:3] == [[1, 2], [1, 3], [2, 4]]
    assert len(category(tmp_path)["flip_pairs"]) == 8
    assert any("xmax" in note for note in notes)


def test_the_json_form_has_corners_and_nested_keypoints(tmp_path) -> None:
    write_images(tmp_path, "images/a.jpg")
    names = ["left_eye", "right_eye", "nose"]
    content = {
        "images": {"1": "a.jpg"},
        "annotations": [
            {
                "image_id": 1,
                "bbox": [10, 20, 40, 60],
                "keypoints": [[15, 25, 1], [0, 0, 0], [20.5, 30, 1]],
                "num_keypoints": 2,
                "category_id": 3,
            }
        ],
        "categories": [{"supercategory": "animal", "id": 3, "name": "dog", "keypoints": names, "skeleton": [[0, 1], [0, 2]]}],
    }
    file = tmp_path / "keypoints.json"
    file.write_text(json.dumps(content))
    assert recognise(file) == "animalpose"
    convert_labels(file, split=0)
    (row,) = instances(tmp_path)["images/a.jpg"]
    assert row["keypoints"] == [15, 25, 2, 0, 0, 0, 20.5, 30, 2]
    assert row["bbox"] == [10, 20, 30, 40]
    assert category(tmp_path)["skeleton"] == [[1, 2], [1, 3]]


@pytest.mark.parametrize(("old", "new"), [('ymin="13"', ""), ('name="R_Eye"', 'name="Antler"'), ('x="40.25"', 'x="?"')])
def test_other_content_is_refused(tmp_path, old, new) -> None:
    with pytest.raises(DataError, match=r"0\.xml"):
        convert_labels(write(tmp_path, FIRST.replace(old, new)))
