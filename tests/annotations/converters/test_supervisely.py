"""Supervisely.

The structure is that of docs.supervisely.com (annotation format: objects, keypoint structure), nodes are as its SDK
writes them (geometry/graph.py); the second project is as its `ProjectMeta.to_json` and `Annotation.to_json` 6.74.51 write it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from grey_images import category, instances, write_images

from hrpose.annotations.converters import convert_labels, recognise
from hrpose.errors import DataError

NODES = {
    "8e20c830": {"label": "nose", "loc": [10, 20], "color": "#ff0000"},
    "bf89e248": {"label": "left_ear", "loc": [30, 20], "color": "#ff0000"},
    "66502c5b": {"label": "right_ear", "loc": [20, 40], "color": "#ff0000"},
}
META = {
    "classes": [
        {
            "title": "mouse",
            "shape": "graph",
            "color": "#12b3e5",
            "geometry_config": {"nodes": NODES, "edges": [{"src": "8e20c830", "dst": "66502c5b", "color": "#00ff00"}]},
            "id": 1693357,
        },
        {"title": "cage", "shape": "rectangle", "color": "#0f8a7b", "geometry_config": {}},
    ],
    "tags": [],
    "projectType": "images",
}
GRAPH = {
    "id": 503055304,
    "classId": 1693357,
    "description": "",
    "geometryType": "graph",
    "tags": [],
    "classTitle": "mouse",
    "nodes": {"66502c5b": {"loc": [101.5, 55]}, "8e20c830": {"loc": [102, 39]}, "bf89e248": {"loc": [10, 10], "disabled": True}},
}
BOX = {"classTitle": "cage", "geometryType": "rectangle", "points": {"exterior": [[0, 0], [9, 9]], "interior": []}}


def write(folder: Path, *objects: dict[str, Any], dataset: str = "ds0") -> Path:
    write_images(folder, f"{dataset}/img/a.png")
    (folder / "meta.json").write_text(json.dumps(META))
    content = {"description": "", "tags": [], "size": {"height": 120, "width": 160}, "objects": list(objects)}
    file = folder / dataset / "ann" / "a.png.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(content))
    return folder


def test_order_edges_and_disabled_nodes_are_those_of_the_project(tmp_path) -> None:
    write(tmp_path, GRAPH, BOX)
    assert recognise(tmp_path) == "supervisely"
    notes = convert_labels(tmp_path, bbox_margin=0.25, split=0).notes
    (row,) = instances(tmp_path)["ds0/img/a.png"]
    assert row["keypoints"] == [102, 39, 2, 0, 0, 0, 101.5, 55, 2]
    assert category(tmp_path)["keypoints"] == ["nose", "left_ear", "right_ear"]
    assert category(tmp_path)["skeleton"] == [[1, 3]]
    assert any(note.startswith("1 objects") for note in notes)
    assert any("graphs" in note for note in notes)


def test_datasets_named_after_splits_are_the_split(tmp_path) -> None:
    write(tmp_path, GRAPH, dataset="train")
    write(tmp_path, GRAPH, dataset="val")
    assert set(convert_labels(tmp_path, bbox_margin=0.25).files) == {"train", "val"}
    assert list(instances(tmp_path, "val")) == ["val/img/a.png"]


@pytest.mark.parametrize("nodes", [{"unknown": {"loc": [1, 2]}}, {"8e20c830": {}}, {"8e20c830": {"loc": [1]}}, None])
def test_other_nodes_are_refused(tmp_path, nodes) -> None:
    with pytest.raises(DataError, match="503055304"):
        convert_labels(write(tmp_path, GRAPH | {"nodes": nodes}), bbox_margin=0.1)


def test_a_project_of_the_sdk_numbers_nodes_by_their_label(tmp_path) -> None:
    node = {"loc": [0, 0], "color": "#0000FF"}
    graph = {
        "nodes": {name: {"label": name, **node} for name in ("nose", "left ear", "right ear")},
        "edges": [{"src": "nose", "dst": "left ear", "color": "#00FF00"}],
    }
    entry = {"title": "mouse", "description": "", "shape": "graph", "color": "#0F8A60", "geometry_config": graph, "hotkey": ""}
    row = {
        **{"classTitle": "mouse", "description": "", "tags": [], "geometryType": "graph", "shape": "graph"},
        "nodes": {"left ear": {"loc": [40, 30], "disabled": True}, "nose": {"loc": [20, 10]}},
        **{"nnCreated": False, "nnUpdated": False},
    }
    write(tmp_path, row)
    (tmp_path / "meta.json").write_text(json.dumps({"classes": [entry], "tags": [], "projectSettings": {"multiView": {}}}))
    with pytest.raises(DataError, match="box"):
        convert_labels(tmp_path)
    row["nodes"]["right ear"] = {"loc": [50, 31.5]}
    (tmp_path / "ds0/ann/a.png.json").write_text(json.dumps({"size": {"height": 120, "width": 160}, "objects": [row]}))
    convert_labels(tmp_path, bbox_margin=0.25, split=0)
    assert instances(tmp_path)["ds0/img/a.png"][0]["keypoints"] == [20, 10, 2, 0, 0, 0, 50, 31.5, 2]
    assert category(tmp_path)["flip_pairs"] == [["left ear", "right ear"]]
