"""Label Studio JSON.

The structure is that of labelstud.io/guide/task_format and labelstud.io/tags/keypointlabels; `parentID` is what the editor writes
for regions that are children, and what label-studio-converter reads for YOLO keypoints. Individuals as classes beside points
without a rectangle are as in tests/data/labelstudio/multi_animal_from_dlc.json of talmolab/sleap-io, JSON-MIN is as
`convert_to_json_min` of label-studio-sdk 2.1.2 writes it. Values are made up.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from grey_images import category, instances, write_images

from hrpose.annotations.converters import convert_labels, recognise
from hrpose.errors import DataError


def region(id_: str, kind: str, label: str, x: float, y: float, **other: Any) -> dict[str, Any]:
    size = {"width": 0.5} if kind == "keypointlabels" else {"width": 50, "height": 25, "rotation": 0}
    return {
        "id": id_,
        "type": kind,
        "from_name": "tag",
        "to_name": "img",
        "source": "$image",
        "original_width": 160,
        "original_height": 120,
        "image_rotation": 0,
        "value": {"x": x, "y": y, **size, kind: [label]},
        **other,
    }


def task(result: list[dict], name: str = "/data/upload/1/0a1b2c3d-a.png", **other: Any) -> dict[str, Any]:
    annotation = {"id": 1001, "result": result, "was_cancelled": False, "ground_truth": False}
    return {"id": 1, "data": {"image": name}, "annotations": [annotation], "predictions": [], "project": 83, **other}


def write(folder: Path, *tasks: dict) -> Path:
    write_images(folder, "a.png")
    file = folder / "project-1-at-2024-01-01.json"
    file.write_text(json.dumps(tasks))
    return file


CHILDREN = [
    region("box1", "rectanglelabels", "dog", 25, 50),
    region("k1", "keypointlabels", "nose", 12.5, 10, parentID="box1"),
    region("k2", "keypointlabels", "tail", 33.125, 20, parentID="box1"),
    region("box2", "rectanglelabels", "dog", 0, 0),
    region("k3", "keypointlabels", "tail", 5, 5),
    {"from_id": "k3", "to_id": "box2", "type": "relation", "direction": "right"},
]


def test_children_and_relations_join_points_to_boxes(tmp_path) -> None:
    file = write(tmp_path, task(CHILDREN))
    assert recognise(file) == recognise(tmp_path) == "label_studio"
    convert_labels(file, flip_pairs=[], split=0)
    first, second = instances(tmp_path)["a.png"]
    assert first["keypoints"] == [20, 12, 2, 53, 24, 2]
    assert first["bbox"] == [40, 60, 80, 30]
    assert second["keypoints"] == [0, 0, 0, 8, 6, 2]
    assert category(tmp_path)["name"] == "dog"


def test_points_of_one_box_need_no_relation(tmp_path) -> None:
    convert_labels(write(tmp_path, task([CHILDREN[0], CHILDREN[4]])), flip_pairs=[], split=0)
    assert [row["num_keypoints"] for row in instances(tmp_path)["a.png"]] == [1]


def test_the_last_annotation_that_was_not_cancelled_counts(tmp_path) -> None:
    entry = task(CHILDREN)
    first = entry["annotations"][0]
    entry["annotations"] = [first, {**first, "result": CHILDREN[:3]}, {**first, "result": [], "was_cancelled": True}]
    notes = convert_labels(write(tmp_path, entry), flip_pairs=[], split=0).notes
    assert len(instances(tmp_path)["a.png"]) == 1
    assert any("1 tasks have several annotations" in note for note in notes)


@pytest.mark.parametrize(
    "name", ["a.png", "/data/local-files/?d=photos/a.png", "https://host/x/a.png?token=1", "s3://bucket/a.png"]
)
def test_images_are_found_wherever_they_were(tmp_path, name) -> None:
    convert_labels(write(tmp_path, task(CHILDREN, name)), flip_pairs=[], split=0)
    assert list(instances(tmp_path)) == ["a.png"]


@pytest.mark.parametrize(
    "result",
    [
        [CHILDREN[0], CHILDREN[3], CHILDREN[4]],
        [CHILDREN[1], CHILDREN[1] | {"id": "k9"}],
        [CHILDREN[1] | {"image_rotation": 90}],
        [CHILDREN[1] | {"original_width": None}],
    ],
)
def test_points_of_unknown_instances_or_places_are_refused(tmp_path, result) -> None:
    with pytest.raises(DataError, match="task 1"):
        convert_labels(write(tmp_path, task(result)), bbox_margin=0.1)


def test_points_of_other_names_without_a_rectangle_are_a_category_of_their_own(tmp_path) -> None:
    result = [
        region("n", "keypointlabels", "nest", 50, 50),
        region("pup1", "rectanglelabels", "pup1", 25, 50),
        region("m", "keypointlabels", "pup_snout", 30, 60),
        region("pup2", "rectanglelabels", "pup2", 0, 0),
        region("u", "keypointlabels", "pup_neck", 10, 10),
        region("v", "keypointlabels", "pup_snout", 12, 10),
        *({"from_id": one, "to_id": box, "type": "relation"} for one, box in (("m", "pup1"), ("u", "pup2"), ("v", "pup2"))),
    ]
    file = write(tmp_path, task(result))
    with pytest.raises(DataError, match=r"pup1 \(K=2, 1.*ungrouped \(K=1.*category="):
        convert_labels(file, flip_pairs=[])
    convert_labels(file, flip_pairs=[], category=["pup1", "pup2"], split=0)
    assert [row["category_id"] for row in instances(tmp_path)["a.png"]] == [1, 2]
    file = write(tmp_path, task(result), task([region("n", "keypointlabels", "pup_neck", 1, 1), *result[1:]], "b.png"))
    with pytest.raises(DataError, match="task 1"):
        convert_labels(file, flip_pairs=[])


def minimal(*points: tuple[str, float], boxes: int) -> dict[str, Any]:
    size = {"original_width": 160, "original_height": 120}
    rectangle = {"x": 25, "y": 50, "width": 50, "height": 25, "rotation": 0, "rectanglelabels": ["dog"], **size}
    return {
        "image": "/data/upload/1/0a1b2c3d-a.png",
        "id": 5,
        "box": [rectangle] * boxes,
        "kp": [{"x": x, "y": 50, "width": 0.5, "keypointlabels": [name], **size} for name, x in points],
        **{"annotator": 1, "annotation_id": 9, "created_at": "2026-01-01T00:00:00.000000Z", "lead_time": 1.5},
    }


def test_json_min_has_no_relations(tmp_path) -> None:
    file = write(tmp_path, minimal(("nose", 25), ("tail", 50), boxes=1))
    assert recognise(file) == "label_studio"
    convert_labels(file, flip_pairs=[], split=0)
    (row,) = instances(tmp_path)["a.png"]
    assert (row["keypoints"], row["bbox"]) == ([40, 60, 2, 80, 60, 2], [40, 60, 80, 30])
    with pytest.raises(DataError, match="JSON-MIN"):
        convert_labels(write(tmp_path, minimal(("nose", 25), boxes=2)))
