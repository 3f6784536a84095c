"""The dataset on disk has COCO's layout, depends on the arguments alone, and does not replace other files."""

import json
import os
from collections import Counter

import cv2
import numpy as np
import pytest

from hrpose.annotations.coco import read_annotations
from hrpose.skeletons import COCO
from hrpose.synthetic import write_dataset, writing
from hrpose.synthetic.writing import detect_people

FILES = {
    "drawn_by_hrpose.json",
    "annotations/person_keypoints_train2017.json",
    "annotations/person_keypoints_val2017.json",
    "person_detection_results/COCO_val2017_detections_AP_H_56_person.json",
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("synthetic") / "people", num_train=100, num_val=40, image_size=(160, 120))


def load(folder, split="train"):
    return json.loads((folder / "annotations" / f"person_keypoints_{split}2017.json").read_text())


def snapshot(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_layout_is_that_of_coco(dataset):
    files = snapshot(dataset)
    images = {f"train2017/{i:012d}.jpg" for i in range(1, 101)} | {f"val2017/{i:012d}.jpg" for i in range(100_001, 100_041)}
    assert set(files) == FILES | images


@pytest.mark.parametrize(("split", "count"), [("train", 100), ("val", 40)])
def test_annotations_describe_the_images(dataset, split, count):
    content = load(dataset, split)
    assert len(content["images"]) == count
    assert content["categories"][0]["keypoints"] == list(COCO.keypoint_names)
    sizes = set()
    for image in content["images"]:
        pixels = cv2.imread(str(dataset / f"{split}2017" / image["file_name"]))
        assert pixels.shape == (image["height"], image["width"], 3)
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
            assert ("segmentation" in row) == (row["num_keypoints"] == 0)  # what a loss on whole images leaves out


def test_ids_are_unique_over_both_splits(dataset):
    images = [image["id"] for split in ("train", "val") for image in load(dataset, split)["images"]]
    rows = [row["id"] for split in ("train", "val") for row in load(dataset, split)["annotations"]]
    assert len(set(images)) == len(images)
    assert len(set(rows)) == len(rows)


def test_hard_cases_occur(dataset):
    content = load(dataset)
    rows = content["annotations"]
    people = Counter(row["image_id"] for row in rows)
    assert any(image["id"] not in people for image in content["images"]), "images without people"
    assert max(people.values()) >= 4
    assert any(row["iscrowd"] for row in rows)
    assert any(row["num_keypoints"] == 0 and not row["iscrowd"] for row in rows)
    assert all(row["num_keypoints"] == 0 for row in rows if row["iscrowd"])


def test_hrpose_reads_the_dataset(dataset):
    annotations = read_annotations(dataset / "annotations" / "person_keypoints_val2017.json")
    assert annotations.skeleton().keypoint_names == COCO.keypoint_names


def test_pixels_depend_on_the_arguments_alone(tmp_path, monkeypatch):
    arguments = {"num_train": 5, "num_val": 3, "image_size": (96, 80)}
    alone = snapshot(write_dataset(tmp_path / "alone", **arguments))
    other = snapshot(write_dataset(tmp_path / "other", seed=1, **arguments))
    monkeypatch.setattr(writing, "_MIN_POOL_IMAGES", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    pooled = snapshot(write_dataset(tmp_path / "pooled", **arguments))
    assert alone == pooled
    image = "train2017/000000000001.jpg"
    assert alone[image] != other[image]


def test_images_do_not_depend_on_the_number_of_images(tmp_path):
    few = snapshot(write_dataset(tmp_path / "few", num_train=2, num_val=1, image_size=(96, 80)))
    more = snapshot(write_dataset(tmp_path / "more", num_train=4, num_val=2, image_size=(96, 80)))
    assert all(more[name] == content for name, content in few.items() if name.endswith(".jpg"))


class TestRewriting:
    ARGUMENTS = {"num_train": 2, "num_val": 1, "image_size": (96, 80)}  # noqa: RUF012

    def test_the_same_arguments_change_no_file(self, tmp_path, monkeypatch):
        folder = write_dataset(tmp_path / "people", **self.ARGUMENTS)
        monkeypatch.setattr(writing, "draw_scene", None)
        assert write_dataset(folder, **self.ARGUMENTS) == folder

    def test_other_arguments_replace_the_whole_dataset(self, tmp_path):
        folder = write_dataset(tmp_path / "people", **self.ARGUMENTS)
        write_dataset(folder, **{**self.ARGUMENTS, "num_train": 3})
        assert len(load(folder)["images"]) == 3
        assert [path.name for path in tmp_path.iterdir()] == ["people"]

    @pytest.mark.parametrize(
        "victim", ["train2017/000000000002.jpg", "annotations/person_keypoints_val2017.json", sorted(FILES)[-1]]
    )
    def test_a_damaged_dataset_is_replaced(self, tmp_path, victim, caplog):
        folder = write_dataset(tmp_path / "people", **self.ARGUMENTS)
        whole = snapshot(folder)
        (folder / victim).unlink()
        write_dataset(folder, **self.ARGUMENTS)
        assert snapshot(folder) == whole
        assert str(folder) in caplog.text

    def test_an_error_while_drawing_keeps_the_old_dataset(self, tmp_path, monkeypatch):
        folder = write_dataset(tmp_path / "people", **self.ARGUMENTS)
        whole = snapshot(folder)

        def fail(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(writing, "draw_scene", fail)
        with pytest.raises(KeyboardInterrupt):
            write_dataset(folder, **{**self.ARGUMENTS, "seed": 7})
        assert snapshot(folder) == whole
        assert [path.name for path in tmp_path.iterdir()] == ["people"]

    def test_another_folder_is_refused_and_unchanged(self, tmp_path):
        (tmp_path / "photos").mkdir()
        (tmp_path / "photos" / "holiday.jpg").write_bytes(b"dear")
        with pytest.raises(FileExistsError, match=r"drawn_by_hrpose\.json"):
            write_dataset(tmp_path / "photos", **self.ARGUMENTS)
        assert snapshot(tmp_path / "photos") == {"holiday.jpg": b"dear"}

    def test_a_file_of_this_name_is_refused(self, tmp_path):
        (tmp_path / "people").write_text("a file")
        with pytest.raises(FileExistsError, match=r"drawn_by_hrpose\.json"):
            write_dataset(tmp_path / "people", **self.ARGUMENTS)

    def test_an_empty_folder_is_filled(self, tmp_path):
        (tmp_path / "people").mkdir()
        assert len(load(write_dataset(tmp_path / "people", **self.ARGUMENTS))["images"]) == 2


@pytest.mark.parametrize("arguments", [{"num_train": 0}, {"num_val": 100_000}, {"image_size": (20, 100)}])
def test_arguments_out_of_range_are_refused(tmp_path, arguments):
    with pytest.raises(ValueError, match=f"`{next(iter(arguments))}`"):
        write_dataset(tmp_path / "people", **arguments)


def make_images(count):
    images = [{"id": i, "width": 320, "height": 240} for i in range(count)]
    annotations = [
        {"image_id": i, "bbox": [40 + 100 * n, 30, 60, 150], "num_keypoints": 17 if n else 3, "iscrowd": 0}
        for i in range(count - 5)
        for n in range(2)
    ]
    return images, annotations


@pytest.fixture(scope="module")
def found():
    """Return score and best IoU with a person of the image for each row, and the share of people with a box."""
    images, annotations = make_images(300)
    rows = detect_people(images, annotations, seed=0)
    truth = {image["id"]: np.array([a["bbox"] for a in annotations if a["image_id"] == image["id"]]) for image in images}
    overlaps = [iou(np.array(row["bbox"]), truth[row["image_id"]]) for row in rows]
    return rows, np.array([overlap.max(initial=0) for overlap in overlaps]), overlaps


def iou(box, others):
    if not len(others):
        return np.zeros(0)
    common = np.minimum(box[:2] + box[2:], others[:, :2] + others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = np.clip(common, 0, None).prod(1)
    return shared / (box[2:].prod() + others[:, 2:].prod(1) - shared)


def test_rows_are_coco_detections(found):
    for row in found[0]:
        assert set(row) == {"image_id", "category_id", "bbox", "score"}
        assert 0 < row["score"] <= 1
        left, top, width, height = row["bbox"]
        assert min(left, top) >= 0
        assert min(width, height) >= 2
        assert left + width <= 320.01
        assert top + height <= 240.01


def test_better_boxes_score_higher(found):
    rows, best, _ = found
    scores = np.array([row["score"] for row in rows])
    assert best[scores > 0.8].mean() > 0.8
    assert np.corrcoef(scores, best)[0, 1] > 0.6


def test_most_people_are_found_and_some_are_missed(found):
    rows, _, overlaps = found
    hits = np.zeros((300, 2), bool)
    for row, overlap in zip(rows, overlaps, strict=True):
        if len(overlap):
            hits[row["image_id"]] |= overlap > 0.5
    hard, easy = hits[:295].mean(0)
    assert 0.93 < easy < 1
    assert 0.5 < hard < 0.9


def test_false_positives_and_duplicates_occur(found):
    rows, best, _ = found
    assert (best < 0.1).sum() > 50
    assert any(row["image_id"] >= 295 for row in rows), "also in images without people"
    assert (best > 0.5).sum() > 520


def test_the_boxes_of_an_image_do_not_depend_on_other_images():
    images, annotations = make_images(8)
    everything = detect_people(images, annotations, seed=3)
    one = detect_people(images[2:3], [row for row in annotations if row["image_id"] == 2], seed=3)
    assert one == [row for row in everything if row["image_id"] == 2]
    assert everything != detect_people(images, annotations, seed=4)


def test_crowds_are_not_detected_as_one_person():
    images = [{"id": 1, "width": 320, "height": 240}]
    crowd = {"image_id": 1, "bbox": [5, 5, 300, 40], "num_keypoints": 0, "iscrowd": 1}
    assert detect_people(images, [crowd], seed=0) == detect_people(images, [], seed=0)
