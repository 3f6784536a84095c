"""Categories are selected by name, several with the same keypoints are joined, and an ambiguous choice is refused."""

from pathlib import Path
from typing import Any

import pytest
from tiny_coco import CATEGORY, content, write_json

from hrpose.annotations.coco import forget_annotations, read_annotations, read_detections, read_skeleton
from hrpose.errors import DataError


@pytest.fixture(autouse=True)
def fresh_cache():
    forget_annotations()


def animals(**changes: Any) -> dict[str, Any]:
    """Six instances: sheep, goat, pole, sheep, goat, pole; poles have other keypoints."""
    document = content(6)
    document["categories"] = [
        {**CATEGORY, "id": 3, "name": "sheep"},
        {**CATEGORY, "id": 5, "name": "goat"},
        {"id": 9, "name": "ski pole", "keypoints": ["tip", "grip"]},
    ]
    for number, row in enumerate(document["annotations"]):
        row["category_id"] = (3, 5, 9)[number % 3]
        if row["category_id"] == 9:
            row["keypoints"] = row["keypoints"][:6]
    return {**document, **changes}


def test_several_categories_are_read_as_one(tmp_path: Path) -> None:
    file = write_json(tmp_path / "a.json", animals())
    annotations = read_annotations(file, category=["sheep", "goat"])
    assert sorted(annotations.instance_ids.tolist()) == [100, 101, 103, 104]
    assert annotations.own_category_ids == (3, 5)
    assert set(annotations.ground_truth().category_ids.tolist()) == {3}
    assert annotations.category["name"] == "sheep, goat"
    assert read_skeleton(file, category=("sheep", "goat")).num_keypoints == 17
    detections = [{"image_id": 1, "category_id": category, "bbox": [1, 2, 30, 40], "score": 0.5} for category in (3, 5, 9)]
    table = read_detections(write_json(tmp_path / "d.json", detections), annotations)
    assert table.instance_ids.tolist() == [0, 1]


def test_category_all_reads_the_categories_with_keypoints(tmp_path: Path) -> None:
    document = animals()
    document["categories"][2] = {"id": 9, "name": "ski pole"}
    file = write_json(tmp_path / "a.json", document)
    assert read_annotations(file, category="all").own_category_ids == (3, 5)
    document["categories"][1]["name"] = "all"
    assert read_annotations(write_json(tmp_path / "b.json", document), category="all").own_category_ids == (5,)


@pytest.mark.parametrize("category", [None, "all", ["sheep", "ski pole"], "horse", ["sheep", "horse"], []])
def test_the_error_for_an_ambiguous_category_lists_all(category, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_annotations(write_json(tmp_path / "a.json", animals()), category=category)
    for line in (
        "'sheep': 17 keypoints, 2 instances with keypoints: data.category=sheep",
        "'goat': 17 keypoints, 2 instances with keypoints: data.category=goat",
        "'ski pole': 2 keypoints, 2 instances with keypoints: 'data.category=\"ski pole\"'",
    ):
        assert line in str(caught.value)
    assert "=all" not in str(caught.value)


def test_a_file_of_single_points_is_not_recognised_as_skeletons(tmp_path: Path) -> None:
    document = content(0)
    document["categories"] = [{"id": k, "name": name} for k, name in enumerate(["nose", "tail"])]
    with pytest.raises(DataError, match=r"(?s)'nose': 0 keypoints, 0 instances.*no annotations"):
        read_annotations(write_json(tmp_path / "a.json", document))
    document["annotations"] = [{"id": 1, "image_id": 1, "category_id": 0, "bbox": [1, 1, 2, 2]}]
    with pytest.raises(DataError, match=r"(?s)'nose': 0 keypoints.*No annotation has keypoints"):
        read_annotations(write_json(tmp_path / "b.json", document))
