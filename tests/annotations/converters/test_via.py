"""VGG Image Annotator.

The structure is that of `via_export_project` in via.js, as its user guide describes it, and for version 3 of projects in
NoelShin/PixelPick (via/via_debug_project.js) and of public copies of via_control_panel.js. Values are made up.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from grey_images import category, instances, write_images

from hrpose.annotations.converters import convert_labels, recognise
from hrpose.errors import DataError


def point(x: float, y: float, **attributes: str) -> dict[str, Any]:
    return {"shape_attributes": {"name": "point", "cx": x, "cy": y}, "region_attributes": attributes}


def rect(x: float, y: float, width: float, height: float, **attributes: str) -> dict[str, Any]:
    shape = {"name": "rect", "x": x, "y": y, "width": width, "height": height}
    return {"shape_attributes": shape, "region_attributes": attributes}


def write(folder: Path, regions: Any, *, project: bool = True) -> Path:
    write_images(folder, "a.png")
    images = {"a.png1234": {"filename": "a.png", "size": 1234, "regions": regions, "file_attributes": {}}}
    content = {"_via_settings": {}, "_via_img_metadata": images, "_via_attributes": {}} if project else images
    (folder / "via.json").write_text(json.dumps(content))
    return folder


TWO = [
    point(11, 12, keypoint="left", id="1"),
    point(21, 22, keypoint="right", id="1"),
    rect(5, 6, 30, 40, keypoint="", id="1"),
    point(31, 32, keypoint="right", id="2"),
    rect(25, 26, 30, 40, keypoint="", id="2"),
]


@pytest.mark.parametrize("project", [True, False])
def test_points_and_rectangles_of_an_instance_are_joined(tmp_path, project) -> None:
    write(tmp_path, TWO, project=project)
    assert recognise(tmp_path / "via.json") == "via"
    convert_labels(tmp_path / "via.json", split=0)
    first, second = instances(tmp_path)["a.png"]
    assert (first["keypoints"], first["bbox"]) == ([11, 12, 2, 21, 22, 2], [5, 6, 30, 40])
    assert (second["keypoints"], second["bbox"]) == ([0, 0, 0, 31, 32, 2], [25, 26, 30, 40])
    assert category(tmp_path)["keypoints"] == ["left", "right"]


def test_version_1_has_regions_by_number(tmp_path) -> None:
    write(tmp_path, {"0": point(1, 2, point_name="left"), "1": point(3, 4, point_name="right")})
    convert_labels(tmp_path, bbox_margin=0.5, split=0)
    assert instances(tmp_path)["a.png"][0]["keypoints"] == [1, 2, 2, 3, 4, 2]


@pytest.mark.parametrize(
    "regions",
    [
        [point(1, 2, keypoint="left"), point(3, 4, keypoint="left")],
        [point(1, 2, keypoint="left"), rect(1, 2, 3, 4), rect(5, 6, 7, 8)],
        [point(1, 2, colour="red", size="big")],
        [point(1, 2)],
        [{"shape_attributes": {"name": "point"}, "region_attributes": {"keypoint": "left"}}],
        ["region"],
    ],
)
def test_regions_of_unknown_instances_or_names_are_refused(tmp_path, regions) -> None:
    with pytest.raises(DataError, match=r"a\.png"):
        convert_labels(write(tmp_path, regions), bbox_margin=0.1)


def test_a_project_of_version_3_is_read(tmp_path) -> None:
    def row(xy: list[float], **values: str) -> dict[str, Any]:
        return {"vid": "1", "flg": 0, "z": [], "xy": xy, "av": values}

    attribute = {"anchor_id": "FILE1_Z0_XY1", "type": 3, "desc": "", "default_option_id": ""}
    project = {
        "project": {"pid": "__VIA_PROJECT_ID__", "pname": "screws", "data_format_version": "3.1.1", "vid_list": ["1", "2"]},
        "config": {"file": {"loc_prefix": {"1": "", "2": ""}}, "ui": {"file_content_align": "center"}},
        "attribute": {
            "1": {"aname": "part", **attribute, "options": {"0": "left", "1": "right"}},
            "2": {"aname": "id", **attribute, "type": 1, "options": {}},
        },
        "file": {
            "1": {"fid": "1", "fname": "a.png", "type": 2, "loc": 2, "src": "https://host/a.png"},
            "2": {"fid": "2", "fname": "b.png", "type": 2, "loc": 1, "src": ""},
        },
        "metadata": {
            "1_yL69hM3y": row([1, 11.25, 12], **{"1": "0", "2": "7"}),
            "1_iIESeUQH": row([1, 21, 22], **{"1": "1", "2": "7"}),
            "1_qLcXrEX8": row([2, 5, 6, 30, 40], **{"2": "7"}),
            "1_aaaaaaaa": row([3, 5, 6, 30], **{"1": "0"}),
        },
        "view": {"1": {"fid_list": ["1"]}, "2": {"fid_list": ["2"]}},
    }
    write_images(tmp_path, "a.png", "b.png")
    (tmp_path / "via.json").write_text(json.dumps(project))
    assert recognise(tmp_path) == "via"
    convert_labels(tmp_path, split=0)
    found = instances(tmp_path)
    ((row_,), none) = found["a.png"], found["b.png"]
    assert (row_["keypoints"], row_["bbox"], none) == ([11.25, 12, 2, 21, 22, 2], [5, 6, 30, 40], [])
    project["file"]["2"]["type"] = 4
    (tmp_path / "via.json").write_text(json.dumps(project))
    with pytest.raises(DataError, match="view 2"):
        convert_labels(tmp_path)
