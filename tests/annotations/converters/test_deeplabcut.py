"""DeepLabCut and Lightning Pose.

The headers are those that pandas writes for the columns of deeplabcut/generate_training_dataset (scorer, individuals, bodyparts,
coords), config.yaml is the template of deeplabcut/utils/auxiliaryfunctions.py; the file of Lightning Pose is as its
data/mirror-mouse-example/CollectedData.csv, the project of several animals as tests/data/dlc/dlc_test_project of
talmolab/sleap-io. Values are made up.
"""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest
from grey_images import category, instances, write_images

from hrpose.annotations.converters import convert_labels, recognise
from hrpose.errors import DataError

CONFIG = """\
Task: reach
scorer: me
multianimalproject: false
bodyparts:
- snout
- leftear
- rightear
skeleton:
- - snout
  - leftear
"""
IMAGE = "labeled-data/clip/img001.png"


def collected(index: list, columns: list[tuple], names: list[str], rows: list[list]) -> str:
    """Return the CSV that pandas makes of a table of labels."""
    frame = pd.DataFrame(rows, columns=pd.MultiIndex.from_tuples(columns, names=names))
    frame.index = pd.MultiIndex.from_tuples(index) if isinstance(index[0], tuple) else pd.Index(index)
    stream = io.StringIO()
    frame.to_csv(stream)
    return stream.getvalue()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_images(tmp_path, IMAGE, IMAGE.replace("001", "002"))
    (tmp_path / "config.yaml").write_text(CONFIG)
    columns = [("me", part, axis) for part in ("snout", "leftear", "rightear") for axis in "xy"]
    rows = [[10.125, 20, 30, 40.5, None, None], [None] * 6]
    index = [IMAGE, IMAGE.replace("001", "002").replace("/", "\\")]
    text = collected(index, columns, ["scorer", "bodyparts", "coords"], rows)
    (tmp_path / "labeled-data/clip/CollectedData_me.csv").write_text(text)
    return tmp_path


def test_a_project_is_read_with_its_edges(project) -> None:
    convert_labels(project, bbox_margin=0.25, split=0)
    found = instances(project)
    assert list(found) == [IMAGE, IMAGE.replace("001", "002")]
    assert [row["keypoints"] for row in found[IMAGE]] == [[10.125, 20, 2, 30, 40.5, 2, 0, 0, 0]]
    assert found[IMAGE.replace("001", "002")] == []
    assert category(project)["skeleton"] == [[1, 2]]
    assert category(project)["flip_pairs"] == [["leftear", "rightear"]]


@pytest.mark.parametrize("part", [".", "labeled-data", "labeled-data/clip", "labeled-data/clip/CollectedData_me.csv"])
def test_every_part_of_a_project_is_recognised(project, part) -> None:
    assert recognise(project / part) == "deeplabcut"
    assert convert_labels(project / part, bbox_margin=0.1, split=0).images == project


def test_copies_for_training_are_not_read_twice(project) -> None:
    copy = project / "training-datasets/iteration-0/CollectedData_me.csv"
    copy.parent.mkdir(parents=True)
    copy.write_bytes((project / "labeled-data/clip/CollectedData_me.csv").read_bytes())
    assert convert_labels(project, bbox_margin=0.1, split=0).counts["train"]["instances"] == 1


def test_individuals_are_instances_with_tracks(tmp_path) -> None:
    write_images(tmp_path, IMAGE)
    parts = [(animal, part) for animal in ("m1", "m2") for part in ("left_ear", "right_ear")]
    columns = [("me", animal, part, axis) for animal, part in parts for axis in "xy"]
    columns += [("me", "single", "corner", axis) for axis in "xy"]
    names = ["scorer", "individuals", "bodyparts", "coords"]
    rows = [[1, 2, 3, 4, 50, 60, None, None, 7, 8]]
    text = collected([tuple(IMAGE.split("/"))], columns, names, rows)
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DataError, match="category=animal"):
        convert_labels(tmp_path / "labels.csv", bbox_margin=0.5)
    convert_labels(tmp_path / "labels.csv", bbox_margin=0.5, category="animal", split=0)
    first, second = instances(tmp_path)[IMAGE]
    assert (first["keypoints"], first["track_id"]) == ([1, 2, 2, 3, 4, 2], 1)
    assert (second["keypoints"], second["track_id"]) == ([50, 60, 2, 0, 0, 0], 2)


def test_a_file_of_lightning_pose_is_read(tmp_path) -> None:
    write_images(tmp_path, "labeled-data/180607_004/img0.png")
    text = (
        "scorer,rick,rick,rick,rick\nbodyparts,paw1LH_top,paw1LH_top,paw2LF_top,paw2LF_top\ncoords,x,y,x,y\n"
        "labeled-data/180607_004/img0.png,10.5,20.25,30.75,40\n"
    )
    (tmp_path / "CollectedData.csv").write_text(text)
    convert_labels(tmp_path / "CollectedData.csv", bbox_margin=0.2, flip_pairs=[], split=0)
    (row,) = instances(tmp_path)["labeled-data/180607_004/img0.png"]
    assert row["keypoints"] == [10.5, 20.25, 2, 30.75, 40, 2]
    assert category(tmp_path)["keypoints"] == ["paw1LH_top", "paw2LF_top"]


def test_missing_boxes_are_refused_without_margin(project) -> None:
    with pytest.raises(DataError, match="bbox_margin"):
        convert_labels(project)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [("40.5", "forty", "forty"), (",40.5", ",", "leftear"), ("coords,x,y,x,y,x,y", "coords,x,y,x,y,x,likelihood", "likelihood")],
)
def test_a_wrong_cell_is_refused(project, old, new, found) -> None:
    file = project / "labeled-data/clip/CollectedData_me.csv"
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(DataError, match=found):
        convert_labels(project, bbox_margin=0.1)


def test_a_project_of_several_animals_has_a_category_for_single_points(tmp_path) -> None:
    names = [f"labeled-data/PrL-3_09072020/img0042{n}.png" for n in range(2)]
    write_images(tmp_path, *names)
    (tmp_path / "config.yaml").write_text(
        "    # Project definitions (do not edit)\nTask: t\nmultianimalproject: true\nindividuals:\n- pup1\n- pup2\n"
        "uniquebodyparts: [nest, moth_nose]\nmultianimalbodyparts:\n- pup_snout\n- pup_neck\nbodyparts: MULTI!\n"
    )
    rows = [
        "scorer,,," + ",".join(["JohnDoe"] * 12),
        "individuals,,,pup1,pup1,pup1,pup1,pup2,pup2,pup2,pup2,single,single,single,single",
        "bodyparts,,," + ",".join(["pup_snout,pup_snout,pup_neck,pup_neck"] * 2) + ",nest,nest,moth_nose,moth_nose",
        "coords,,," + ",".join(["x,y"] * 6),
        "labeled-data,PrL-3_09072020,img00420.png,30.9066667,21.5,28,19.9146919,,,,,85.6266667,24.97,,",
        "labeled-data,PrL-3_09072020,img00421.png,,,,,40,41,42.5,43,,,,",
    ]
    folder = tmp_path / "labeled-data/PrL-3_09072020"
    (folder / "CollectedData_JohnDoe.csv").write_text("\n".join(rows) + "\n")
    (folder / "CollectedData_JohnDoe.h5").write_bytes(b"")
    (folder / "machinelabels-iter0.csv").write_text("scorer,n,n,n\nbodyparts,a,a,a\ncoords,x,y,likelihood\n0,1,2,.5\n")
    with pytest.raises(DataError, match=r"animal \(K=2, 2.*single \(K=2, 1.*category=animal"):
        convert_labels(tmp_path, bbox_margin=0.25)
    convert_labels(tmp_path, bbox_margin=0.25, category="animal", flip_pairs=[], split=0)
    found = instances(tmp_path)
    assert found[names[0]][0]["keypoints"] == [30.9066667, 21.5, 2, 28, 19.9146919, 2]
    assert found[names[1]][0]["track_id"] == 2


def test_the_error_for_hdf5_files_says_how_to_write_csv(tmp_path) -> None:
    (tmp_path / "CollectedData_me.h5").write_bytes(b"")
    assert recognise(tmp_path) == recognise(tmp_path / "CollectedData_me.h5") == "deeplabcut"
    with pytest.raises(DataError, match=r"CollectedData_me\.h5.*to_csv"):
        convert_labels(tmp_path)
