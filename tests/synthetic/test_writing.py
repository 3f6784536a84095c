"""The dataset on disk: COCO's layout, the same for the same arguments, never at the cost of somebody else's files."""

import json
import os
from collections import Counter

import cv2
import numpy as np
import pytest

from hrpose.annotations.coco import read_annotations
from hrpose.skeletons import COCO
from hrpose.synthetic import write_dataset, writing

FILES = {
    "drawn_by_hrpose.json",
    "annotations/person_keypoints_train2017.json",
    "annotations/person_keypoints_val2017.json",
    "person_detection_results/COCO_val2017_detections_AP_H_56_person.json",
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(
        tmp_path_factory.mktemp("synthetic") / "people", num_train=100, num_val=40, image_size=(160, 120)
    )


def load(folder, split="train"):
    return json.loads((folder / "annotations" / f"person_keypoints_{split}2017.json").read_text())


def snapshot(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_layout_is_that_of_coco(dataset):
    files = snapshot(dataset)
    photos = {f"train2017/{i:012d}.jpg" for i in range(1, 101)} | {
        f"val2017/{i:012d}.jpg" for i in range(100_001, 100_041)
    }
    assert set(files) == FILES | photos


@pytest.mark.parametrize(("split", "count"), [("train", 100), ("val", 40)])
def test_annotations_describe_the_photos(dataset, split, count):
    content = load(dataset, split)
    assert len(content["images"]) == count
    assert content["categories"][0]["keypoints"] == list(COCO.keypoint_names)
    sizes = set()
    for image in content["images"]:
        photo = cv2.imread(str(dataset / f"{split}2017" / image["file_name"]))
        assert photo.shape == (image["height"], image["width"], 3)
        sizes.add((image["width"], image["height"]))
    assert sizes == {(160, 120), (120, 160)}


def test_rows_are_consistent(dataset):
    for split in ("train", "val"):
        content = load(dataset, split)
        sizes = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
        for row in content["annotations"]:
            visibility = np.array(row["keypoints"]).reshape(17, 3)[:, 2]
            assert row["num_keypoints"] == (visibility > 0).sum()
            left, top, width, height = row["bbox"]
            assert min(left, top) >= 0
            assert left + width <= sizes[row["image_id"]][0]
            assert top + height <= sizes[row["image_id"]][1]
            assert 0 < row["area"] <= width * height


def test_ids_are_unique_over_both_splits(dataset):
    images = [image["id"] for split in ("train", "val") for image in load(dataset, split)["images"]]
    rows = [row["id"] for split in ("train", "val") for row in load(dataset, split)["annotations"]]
    assert len(set(images)) == len(images)
    assert len(set(rows)) == len(rows)


def test_hard_cases_occur(dataset):
    content = load(dataset)
    rows = content["annotations"]
    people = Counter(row["image_id"] for row in rows)
    assert any(image["id"] not in people for image in content["images"]), "photos of nobody"
    assert max(people.values()) >= 4
    assert any(row["iscrowd"] for row in rows)
    assert any(row["num_keypoints"] == 0 and not row["iscrowd"] for row in rows)
    assert all(row["num_keypoints"] == 0 for row in rows if row["iscrowd"])


def test_hrpose_reads_what_it_wrote(dataset):
    annotations = read_annotations(dataset / "annotations" / "person_keypoints_val2017.json")
    assert annotations.skeleton().keypoint_names == COCO.keypoint_names


def test_pixels_depend_on_the_arguments_alone(tmp_path, monkeypatch):
    arguments = {"num_train": 5, "num_val": 3, "image_size": (96, 80)}
    alone = snapshot(write_dataset(tmp_path / "alone", **arguments))
    other = snapshot(write_dataset(tmp_path / "other", seed=1, **arguments))
    monkeypatch.setattr(writing, "_POOL_FROM", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    pooled = snapshot(write_dataset(tmp_path / "pooled", **arguments))
    assert alone == pooled
    photo = "train2017/000000000001.jpg"
    assert alone[photo] != other[photo]


def test_photos_do_not_change_with_their_number(tmp_path):
    few = snapshot(write_dataset(tmp_path / "few", num_train=2, num_val=1, image_size=(96, 80)))
    more = snapshot(write_dataset(tmp_path / "more", num_train=4, num_val=2, image_size=(96, 80)))
    assert all(more[name] == content for name, content in few.items() if name.endswith(".jpg"))


class TestRewriting:
    ARGUMENTS = {"num_train": 2, "num_val": 1, "image_size": (96, 80)}  # noqa: RUF012

    def test_the_same_arguments_touch_nothing(self, tmp_path, monkeypatch):
        folder = write_dataset(tmp_path / "people", **self.ARGUMENTS)
        monkeypatch.setattr(writing, "draw_scene", None)
        assert write_dataset(folder, **self.ARGUMENTS) == folder

    def test_other_arguments_draw_anew_and_leave_nothing_behind(self, tmp_path):
        folder = write_dataset(tmp_path / "people", **self.ARGUMENTS)
        write_dataset(folder, **{**self.ARGUMENTS, "num_train": 3})
        assert len(load(folder)["images"]) == 3
        assert [path.name for path in tmp_path.iterdir()] == ["people"]

    @pytest.mark.parametrize(
        "victim", ["train2017/000000000002.jpg", "annotations/person_keypoints_val2017.json", sorted(FILES)[-1]]
    )
    def test_a_damaged_dataset_is_drawn_anew(self, tmp_path, victim, caplog):
        folder = write_dataset(tmp_path / "people", **self.ARGUMENTS)
        whole = snapshot(folder)
        (folder / victim).unlink()
        write_dataset(folder, **self.ARGUMENTS)
        assert snapshot(folder) == whole
        assert "anew" in caplog.text

    def test_a_broken_drawing_leaves_the_old_dataset_alone(self, tmp_path, monkeypatch):
        folder = write_dataset(tmp_path / "people", **self.ARGUMENTS)
        whole = snapshot(folder)

        def fail(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(writing, "draw_scene", fail)
        with pytest.raises(KeyboardInterrupt):
            write_dataset(folder, **{**self.ARGUMENTS, "seed": 7})
        assert snapshot(folder) == whole
        assert [path.name for path in tmp_path.iterdir()] == ["people"]

    def test_a_foreign_folder_is_refused_and_left_alone(self, tmp_path):
        (tmp_path / "photos").mkdir()
        (tmp_path / "photos" / "holiday.jpg").write_bytes(b"dear")
        with pytest.raises(FileExistsError, match="left alone"):
            write_dataset(tmp_path / "photos", **self.ARGUMENTS)
        assert snapshot(tmp_path / "photos") == {"holiday.jpg": b"dear"}

    def test_a_file_in_the_way_is_refused(self, tmp_path):
        (tmp_path / "people").write_text("a file")
        with pytest.raises(FileExistsError, match="left alone"):
            write_dataset(tmp_path / "people", **self.ARGUMENTS)

    def test_an_empty_folder_is_filled(self, tmp_path):
        (tmp_path / "people").mkdir()
        assert len(load(write_dataset(tmp_path / "people", **self.ARGUMENTS))["images"]) == 2


@pytest.mark.parametrize("arguments", [{"num_train": 0}, {"num_val": 100_000}, {"image_size": (20, 100)}])
def test_arguments_out_of_range_are_named(tmp_path, arguments):
    with pytest.raises(ValueError, match=f"`{next(iter(arguments))}`"):
        write_dataset(tmp_path / "people", **arguments)
