"""labelme and X-AnyLabeling.

The structure is that of labelme's examples/tutorial/apc2016_obj3.json, and of X-AnyLabeling's docs for keypoint detection
(rectangles of four corners, `difficult`, `group_id`). Embedded images are as labelme 6.3.1 writes them, groups from 0 and
occluded points as `coco_to_custom` in label_converter.py of X-AnyLabeling. Values are made up.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from grey_images import category, instances, write_images

from hrpose.annotations.converters import convert_labels, recognise
from hrpose.errors import DataError


def shape(label: str, *points: tuple[float, float], group: int | None = None, kind: str = "point", **other: Any) -> dict:
    return {
        "label": label,
        "points": [list(point) for point in points],
        "group_id": group,
        "description": "",
        "shape_type": kind,
        "flags": {},
        "mask": None,
        **other,
    }


def write(folder: Path, shapes: list[dict], name: str = "a", image: str | None = None) -> Path:
    """Write the labels of an image."""
    content = {
        "version": "5.4.1",
        "flags": {},
        "shapes": shapes,
        "imagePath": image or f"{name}.png",
        "imageData": None,
        "imageHeight": 120,
        "imageWidth": 160,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


TWO = [
    shape("mouse", (10, 10), (60, 50), group=1, kind="rectangle"),
    shape("right_ear", (30.125, 22), group=1),
    shape("nose", (20, 21.5), group=1),
    shape("mouse", (70, 10), (100, 10), (100, 50), (70, 50), group=2, kind="rectangle"),
    shape("nose", (80, 20), group=2, difficult=True),
    shape("left_ear", (85, 25), group=2),
    shape("right_ear", (90, 30), group=2),
    shape("wall", (0, 0), (5, 0), (5, 5), kind="polygon"),
]


def test_groups_are_instances_with_their_rectangle(tmp_path) -> None:
    write_images(tmp_path, "a.png")
    write(tmp_path, TWO)
    assert recognise(tmp_path) == recognise(tmp_path / "a.json") == "labelme"
    convert_labels(tmp_path, split=0)
    first, second = instances(tmp_path)["a.png"]
    assert category(tmp_path)["name"] == "mouse"
    assert category(tmp_path)["keypoints"] == ["nose", "left_ear", "right_ear"]
    assert first["keypoints"] == [20, 21.5, 2, 0, 0, 0, 30.125, 22, 2]
    assert first["bbox"] == [10, 10, 50, 40]
    assert second["keypoints"] == [80, 20, 1, 85, 25, 2, 90, 30, 2]
    assert second["bbox"] == [70, 10, 30, 40]


def test_the_order_of_names_can_be_given(tmp_path) -> None:
    write_images(tmp_path, "a.png")
    write(tmp_path, TWO)
    convert_labels(tmp_path, names=["right_ear", "left_ear", "nose"], split=0)
    assert category(tmp_path)["keypoints"] == ["right_ear", "left_ear", "nose"]
    with pytest.raises(DataError, match="left_ear"):
        convert_labels(tmp_path, names=["right_ear", "nose"])


def test_points_without_groups_are_one_instance(tmp_path) -> None:
    write_images(tmp_path, "a.png")
    write(tmp_path, [shape("left", (10, 10)), shape("right", (20, 30))])
    convert_labels(tmp_path, bbox_margin=0.5, split=0)
    (row,) = instances(tmp_path)["a.png"]
    assert row["bbox"] == [0, 0, 30, 40]


@pytest.mark.parametrize(
    "shapes",
    [
        [shape("nose", (1, 1)), shape("nose", (2, 2))],
        [TWO[0], TWO[3] | {"group_id": 1}, TWO[1]],
        [shape("nose", (1, 1)), shape("ear", (2, 2), group=3)],
        [shape("nose", (1, 1), (2, 2))],
    ],
)
def test_points_of_unknown_instances_are_refused(tmp_path, shapes) -> None:
    write_images(tmp_path, "a.png")
    write(tmp_path, shapes)
    with pytest.raises(DataError, match=r"a\.json|category=ungrouped"):
        convert_labels(tmp_path, bbox_margin=0.1, flip_pairs=[])


def test_images_beside_the_folder_of_labels_are_found(tmp_path) -> None:
    write_images(tmp_path, "photos/a.png", "other/a.png")
    write(tmp_path / "labels", TWO, image="..\\photos\\a.png")
    convert_labels(tmp_path, split=0)
    assert list(instances(tmp_path)) == ["photos/a.png"]


def test_an_image_is_found_by_its_file_name_unless_ambiguous(tmp_path) -> None:
    write_images(tmp_path, "photos/a.png")
    write(tmp_path, TWO, image="C:\\Users\\me\\a.png")
    notes = convert_labels(tmp_path, split=0).notes
    assert any("found by file name" in note for note in notes)
    write_images(tmp_path, "more/a.png")
    with pytest.raises(DataError, match="images="):
        convert_labels(tmp_path)


def test_a_second_conversion_ignores_what_the_first_has_written(tmp_path) -> None:
    write_images(tmp_path, "zebra.png")
    write(tmp_path, TWO, "zebra")
    first = convert_labels(tmp_path, split=0)
    assert recognise(tmp_path) == "labelme"
    assert convert_labels(tmp_path, split=0) == first


def test_an_embedded_image_is_written_where_the_file_lacks(tmp_path) -> None:
    (image,) = write_images(tmp_path, "a.png")
    content = image.read_bytes()
    image.unlink()
    write(tmp_path, TWO, "a", r"..\photos\a.png")
    file = tmp_path / "a.json"
    labels = json.loads(file.read_text()) | {"imageData": base64.b64encode(content).decode()}
    file.write_text(json.dumps(labels))
    notes = convert_labels(tmp_path, split=0).notes
    assert list(instances(tmp_path)) == ["a.png"]
    assert image.read_bytes() == content
    assert any("1 embedded images" in note for note in notes)
    image.unlink()
    file.write_text(json.dumps(labels | {"imageData": "?"}))
    with pytest.raises(DataError, match="imageData"):
        convert_labels(tmp_path)


def test_coco_imported_by_x_anylabeling_is_converted_back(tmp_path) -> None:
    write_images(tmp_path, "a.png")
    extra = {"description": None, "attributes": {}}
    corners = (10, 10), (60, 10), (60, 50), (10, 50)
    shapes = [
        shape("person", *corners, group=0, kind="rectangle", difficult=False, **extra),
        shape("left_eye", (20, 21.5), group=0, difficult=True, **extra),
        shape("right_eye", (30, 21.5), group=0, difficult=False, **extra),
        shape("person", *corners, group=1, kind="rectangle", difficult=False, **extra),
    ]
    convert_labels(write(tmp_path, shapes), split=0)
    first, second = instances(tmp_path)["a.png"]
    assert (first["keypoints"], first["bbox"]) == ([20, 21.5, 1, 30, 21.5, 2], [10, 10, 50, 40])
    assert (second["num_keypoints"], second["bbox"]) == (0, [10, 10, 50, 40])
