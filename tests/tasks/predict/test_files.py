"""The result files of hrpose predict: COCO format, valid at any time, never overwriting others."""

import csv
import itertools
import json
from contextlib import suppress

import pytest
from pycocotools.coco import COCO as CocoFile

from hrpose.skeletons import Skeleton
from hrpose.tasks.predict import files
from hrpose.tasks.predict.files import PredictionFiles

EYES = Skeleton.from_names(["left_eye", "right_eye"], name="eyes", edges=[(0, 1)])
ROW = {"image_id": 1, "category_id": 1, "keypoints": [1.5, 2.0, 0.9, 3.0, 4.0, 0.1], "score": 0.75}


def test_pycocotools_reads_them(tmp_path, capsys):
    with PredictionFiles(tmp_path / "run", EYES, category_id=1) as files:
        files.add({"id": 1, "file_name": "a.jpg", "width": 10, "height": 20}, [ROW, {**ROW, "score": 0.5}])
        files.add({"id": 2, "file_name": "b, ü.jpg", "width": 10, "height": 20}, [])
    images = CocoFile(tmp_path / "run" / "images.json")
    results = images.loadRes(str(tmp_path / "run" / "poses.json"))
    assert [results.anns[number]["score"] for number in results.getAnnIds(imgIds=[1])] == [0.75, 0.5]
    assert images.loadImgs([2])[0]["file_name"] == "b, ü.jpg"
    assert Skeleton.from_category(images.cats[1]).edges == ((0, 1),)
    assert json.loads((tmp_path / "run" / "poses.json").read_text())[0] == ROW
    assert not (tmp_path / "run" / "poses.csv").exists()


def test_the_table_has_one_row_per_instance(tmp_path):
    with PredictionFiles(tmp_path, EYES, table=True) as files:
        files.add({"id": 1, "file_name": "a, b.jpg"}, [ROW])
        files.add({"id": 2, "file_name": "film/000002", "time": 0.04}, [{**ROW, "track_id": 3}])
    with (tmp_path / "poses.csv").open(newline="") as stream:
        header, first, second = csv.reader(stream)
    assert header[:5] == ["image_id", "file_name", "time", "track_id", "score"]
    assert header[5:] == [f"{side}_eye_{part}" for side in ("left", "right") for part in ("x", "y", "score")]
    assert first == ["1", "a, b.jpg", "", "", "0.75", "1.5", "2.0", "0.9", "3.0", "4.0", "0.1"]
    assert second[:4] == ["2", "film/000002", "0.04", "3"]


def test_an_interrupted_run_writes_valid_files(tmp_path):
    def interrupted():
        with PredictionFiles(tmp_path, EYES) as files:
            files.add({"id": 1, "file_name": "a.jpg"}, [ROW])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(json.loads((tmp_path / "poses.json").read_text())) == 1
    assert len(json.loads((tmp_path / "images.json").read_text())["images"]) == 1


def test_a_run_without_images_writes_valid_files(tmp_path):
    with PredictionFiles(tmp_path, EYES):
        pass
    assert json.loads((tmp_path / "poses.json").read_text()) == []
    assert json.loads((tmp_path / "images.json").read_text())["images"] == []


@pytest.mark.parametrize("name", ["poses.json", "images.json", "poses.csv"])
def test_files_of_another_run_are_not_overwritten(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(FileExistsError, match="exists already, from another run"):
        PredictionFiles(tmp_path, EYES, table=True)
    assert (tmp_path / name).read_text() == "mine"


def test_no_cell_begins_a_formula(tmp_path):
    eyes = Skeleton.from_names(["=eye", "eye"], name="eyes")
    with PredictionFiles(tmp_path, eyes, table=True) as written:
        for number, name in enumerate(["=1+1.jpg", "+a.jpg", "-b.jpg", "@c.jpg", "d=.jpg"], start=1):
            written.add({"id": number, "file_name": name}, [{**ROW, "keypoints": [-1.5, -2.0, 0.9, 3.0, 4.0, 0.1]}])
    with (tmp_path / "poses.csv").open(newline="") as stream:
        header, *rows = csv.reader(stream)
    assert header[5] == "'=eye_x"
    assert [row[1] for row in rows] == ["'=1+1.jpg", "'+a.jpg", "'-b.jpg", "'@c.jpg", "d=.jpg"]
    assert rows[0][5:7] == ["-1.5", "-2.0"]  # numbers are numbers


def test_an_image_is_written_with_all_its_instances_or_not_at_all(tmp_path, monkeypatch):
    """At every position of the interrupt."""
    lengths: list[int] = []
    for number in range(8):
        writes = itertools.count()

        def write(self, text, number=number, writes=writes, plain=files._File.write):
            plain(self, text)
            if next(writes) == 4 + number:
                raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(files._File, "write", write)
            with suppress(KeyboardInterrupt), PredictionFiles(tmp_path / str(number), EYES, table=True) as written:
                for image_id in range(1, 10):
                    written.add({"id": image_id, "file_name": "a.jpg"}, [{**ROW, "image_id": image_id}] * 2)
        images = json.loads((tmp_path / str(number) / "images.json").read_text())["images"]
        poses = json.loads((tmp_path / str(number) / "poses.json").read_text())
        assert len(images) < 3
        assert [row["image_id"] for row in poses] == [image["id"] for image in images for _ in range(2)]
        lengths.append(len(images))
        assert len((tmp_path / str(number) / "poses.csv").read_text().splitlines()) == 1 + len(poses)
    assert lengths == [0, 0, 0, 1, 1, 1, 1, 2]
