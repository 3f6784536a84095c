"""YOLO-pose. The structure of the files is that of Ultralytics' documentation.

docs.ultralytics.com/datasets/pose/: label lines, `kpt_shape`, `flip_idx`, `kpt_names`; tiger-pose.yaml and coco8-pose.yaml.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from grey_images import category, instances, write_images

from hrpose.annotations.converters import convert_labels, recognise
from hrpose.errors import DataError, MissingDataError

TIGER = """\
path: {path}
train: train/images
val: val/images
kpt_shape: [2, 2]
flip_idx: [0, 1]
names:
  0: tiger
"""
COCO8 = """\
path: .
train: images/train
val: images/val
kpt_shape: [3, 3]
flip_idx: [0, 2, 1]
names:
  0: person
  1: dog
kpt_names:
  0:
    - nose
    - left_eye
    - right_eye
  1: [nose, left_eye, right_eye]
"""


def write(folder: Path, yaml: str, labels: dict[str, str]) -> Path:
    """Write data.yaml, label files, and the image of each."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data.yaml").write_text(yaml)
    for name, text in labels.items():
        write_images(folder, f"{name}.png")
        file = folder / f"{name.replace('images', 'labels')}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


@pytest.fixture
def coco8(tmp_path: Path) -> Path:
    first = "0 0.5 0.5 0.5 0.5 0.25 0.25 2 0.5 0.75 1 0 0 0\n1 0.25 0.25 0.5 0.5 0.125 0.5 2 0 0 0 0 0 0"
    labels = {"images/train/a": first, "images/train/b": "", "images/val/c": "0 .5 .5 .2 .2 .5 .5 2 .5 .5 2 .5 .5 2"}
    return write(tmp_path / "coco8", COCO8, labels)


def test_values_splits_and_mirror_pairs_are_kept(coco8) -> None:
    conversion = convert_labels(coco8)
    found = instances(coco8)
    assert list(found) == ["images/train/a.png", "images/train/b.png"]
    person, dog = found["images/train/a.png"]
    assert person["keypoints"] == [40, 30, 2, 80, 90, 1, 0, 0, 0]
    assert (person["bbox"], person["num_keypoints"]) == ([40, 30, 80, 60], 2)
    assert (dog["bbox"], dog["category_id"]) == ([0, 0, 80, 60], 2)
    assert category(coco8)["flip_pairs"] == [["left_eye", "right_eye"]]
    assert list(instances(coco8, "val")) == ["images/val/c.png"]
    assert conversion.counts["train"] == {"images": 2, "instances": 2, "nose": 2, "left_eye": 1, "right_eye": 0}
    assert "data.category=all" in conversion.command


def test_the_folder_and_its_file_are_recognised(coco8) -> None:
    assert recognise(coco8) == recognise(coco8 / "data.yaml") == "yolo"
    assert recognise(coco8 / "images") is None


def test_names_are_required_and_two_zeros_are_unlabelled(tmp_path) -> None:
    folder = write(tmp_path, TIGER.format(path="../datasets/tiger"), {"train/images/a": "0 .5 .5 .5 .5 .25 .5 0 0"})
    write_images(folder, "val/images/b.png")
    with pytest.raises(DataError, match=r"2 keypoints.*names=\["):
        convert_labels(folder)
    convert_labels(folder, names=["nose", "tail"])
    (row,) = instances(folder)["train/images/a.png"]
    assert row["keypoints"] == [40, 60, 2, 0, 0, 0]
    assert category(folder)["flip_pairs"] == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("0 .5 .5 .5 .5 .25 .5 2 .5 .5 2", "11 numbers"),
        ("7 .5 .5 .5 .5 .25 .5 2 .5 .5 2 .5 .5 2", "7.0"),
        ("0 .5 .5 .5 .5 .25 .5 0.93 .5 .5 2 .5 .5 2", "0.93"),
        ("0 80 60 40 40 .25 .5 2 .5 .5 2 .5 .5 2", "80.0"),
        ("0 .5 .5 .5 .5 nose .5 2 .5 .5 2 .5 .5 2", "nose"),
    ],
)
def test_a_wrong_line_is_refused_with_its_file(tmp_path, line, found) -> None:
    folder = write(tmp_path, COCO8, {"images/train/a": line, "images/val/b": ""})
    with pytest.raises(DataError) as error:
        convert_labels(folder)
    assert found in str(error.value)
    assert "a.txt" in str(error.value)


def test_left_out_boxes_are_counted(coco8) -> None:
    (coco8 / "labels/train/gone.txt").write_text("0 .5 .5 .2 .2 .5 .5 2 .5 .5 2 .5 .5 2")
    (coco8 / "labels/val/c.txt").write_text("0 .5 .5 .2 .2 .5 .5 2 .5 .5 2 .5 .5 2\n" * 2)
    notes = " ".join(convert_labels(coco8).notes)
    assert "1 label files have no image" in notes
    assert "gone.txt" in notes
    assert "1 lines repeat" in notes
    assert len(instances(coco8, "val")["images/val/c.png"]) == 1


@pytest.mark.parametrize("path", ["../..", "/"])
def test_nothing_outside_of_the_folder_is_read(tmp_path, path) -> None:
    folder = write(tmp_path / "in", COCO8.replace("path: .", f"path: {path}").replace("images/train", "x"), {})
    with pytest.raises(DataError, match="images="):
        convert_labels(folder)


def test_a_missing_folder_of_images_is_named(tmp_path) -> None:
    folder = write(tmp_path, COCO8, {"images/val/b": ""})
    with pytest.raises(MissingDataError, match="images/train"):
        convert_labels(folder)


def test_an_export_of_roboflow_is_read_from_its_own_folder(tmp_path) -> None:
    yaml = (
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nkpt_shape: [2, 3]\nflip_idx: [1, 0]\n\n"
        "nc: 1\nnames: ['fly']\n\nroboflow:\n  workspace: me\n  version: 1\n"
    )
    labels = {"train/images/a_png.rf.0a1b": "0 .5 .5 .5 .5 .25 .5 2 .5 .5 1", "valid/images/b_png.rf.2c3d": ""}
    folder = write(tmp_path / "export", yaml, labels)
    notes = convert_labels(folder, names=["x", "y"]).notes
    (row,) = instances(folder)["train/images/a_png.rf.0a1b.png"]
    assert row["keypoints"] == [40, 60, 2, 80, 60, 1]
    assert category(folder)["flip_pairs"] == [["x", "y"]]
    assert list(instances(folder, "val")) == ["valid/images/b_png.rf.2c3d.png"]
    assert any("no test set" in note for note in notes)


def test_lists_of_images_are_read(tmp_path) -> None:
    yaml = COCO8.replace("images/train", "train.txt").replace("images/val", "val.txt")
    labels = {"images/a": "0 .5 .5 .5 .5 .25 .25 2 0 0 0 0 0 0", "images/b": ""}
    folder = write(tmp_path, yaml, labels)
    for split, name in (("train", "a"), ("val", "b")):
        (folder / f"{split}.txt").write_text(f"./images/{name}.png\n")
    convert_labels(folder)
    assert list(instances(folder)) == ["images/a.png"]
    (folder / "val.txt").write_text("/etc/b.png\n")
    (folder / "train.txt").write_text("/home/other/data/images/a.png\n")
    notes = convert_labels(folder).notes
    assert list(instances(folder)) == ["images/a.png"]
    assert any("WARNING: 1 of 2" in note and str(folder / "b.png") in note for note in notes)


def test_absolute_paths_of_another_machine_lead_into_the_folder(tmp_path) -> None:
    """As write_dataset_yaml of public scripts: `path` is where the data set was made, entries are absolute or below it."""
    yaml = COCO8.replace("path: .", "path: C:\\work\\darts").replace("images/train", "/content/darts/images/train")
    folder = write(tmp_path / "in", yaml, {"images/train/a": "0 .5 .5 .5 .5 .25 .25 2 0 0 0 0 0 0", "images/val/b": ""})
    convert_labels(folder)
    assert list(instances(folder)) == ["images/train/a.png"]
    assert list(instances(folder, "val")) == ["images/val/b.png"]


def test_pairs_in_the_names_beside_flip_idx_without_any_are_warned_of(tmp_path) -> None:
    yaml = "train: images\nval: images\nkpt_shape: [3, 3]\nflip_idx: [0, 1, 2]\nnames: [fly]\n"
    folder = write(tmp_path, yaml, {"images/a": "0 .5 .5 .5 .5 .25 .25 2 0 0 0 0 0 0"})
    notes = convert_labels(folder, names=["nose", "left_wing", "right_wing"]).notes
    assert any("WARNING" in note and "flip_pairs=[[1,2]]" in note for note in notes)
    notes = convert_labels(folder, names=["nose", "left_wing", "right_wing"], flip_pairs=[]).notes
    assert not any("WARNING" in note for note in notes)
