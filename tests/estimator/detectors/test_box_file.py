import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from exif_photo import jpeg
from fake_engine import CenterEngine

import hrpose
from hrpose.errors import DataError

IMAGES = [
    {"id": 7, "file_name": "a/photo.jpg", "width": 80, "height": 60},
    {"id": 8, "file_name": "b/photo.jpg", "width": 80, "height": 60},
    {"id": 9, "file_name": "other.jpg", "width": 80, "height": 60},
]
FOUND = [
    {"image_id": 8, "category_id": 1, "bbox": [10, 20, 30, 40], "score": 0.9},
    {"image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.8},
    {"image_id": 8, "category_id": 1, "bbox": [5, 5, 5, 5], "score": 0.1},
    {"image_id": 8, "category_id": 1, "bbox": [90, 5, 5, 5], "score": 0.7},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for image in IMAGES:
        file = tmp_path / "photos" / image["file_name"]
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), np.zeros((60, 80, 3), np.uint8))
    (tmp_path / "images.json").write_text(json.dumps({"images": IMAGES}))
    (tmp_path / "found.json").write_text(json.dumps(FOUND))
    drawn = [{"id": i, **{key: row[key] for key in ("image_id", "category_id", "bbox")}} for i, row in enumerate(FOUND)]
    categories = [{"id": 1, "name": "person"}]
    truth = {"images": IMAGES, "annotations": drawn, "categories": categories}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    return tmp_path


def test_an_estimator_looks_boxes_up_by_the_path_of_the_photo(folder: Path) -> None:
    boxes = hrpose.BoxFile(folder / "found.json", folder / "images.json", min_score=0.5)
    estimator = hrpose.PoseEstimator.from_engine(CenterEngine(), detector=boxes)
    files = [folder / "photos" / image["file_name"] for image in IMAGES]
    found = estimator(files)
    assert [poses.bbox.tolist() for poses in found] == [[[1, 2, 3, 4]], [[10, 20, 30, 40]], []]  # one lies outside
    assert found[1].scores == pytest.approx([0.9])
    assert [boxes.image_id(file) for file in files] == [7, 8, 9]


def test_annotated_boxes_need_no_other_file(folder: Path) -> None:
    bbox, scores = hrpose.BoxFile(folder / "truth.json").of("b/photo.jpg")
    assert bbox.tolist() == [[10, 20, 29, 39], [5, 5, 4, 4], [90, 5, 5, 5]]  # clipped by the official rules
    assert scores.tolist() == [1, 1, 1]


def test_pixels_are_taken_as_the_boxes_were_made_on_them(folder: Path) -> None:
    (folder / "photos" / "other.jpg").write_bytes(jpeg(orientation=6))
    truth = json.loads((folder / "truth.json").read_text())
    truth["annotations"][0].update(image_id=9, bbox=[70, 0, 10, 60])  # outside, if the photo is turned
    (folder / "truth.json").write_text(json.dumps(truth))
    options = {"detector": hrpose.BoxFile(folder / "truth.json")}
    photo = folder / "photos" / "other.jpg"
    assert len(hrpose.PoseEstimator.from_engine(CenterEngine(), **options)(photo)) == 1
    assert len(hrpose.PoseEstimator.from_engine(CenterEngine(), **options, upright=True)(photo)) == 0


def test_boxes_that_are_given_go_before_the_file(folder: Path) -> None:
    estimator = hrpose.PoseEstimator.from_engine(CenterEngine(), detector=hrpose.BoxFile(folder / "truth.json"))
    poses = estimator(folder / "photos" / "other.jpg", bbox=[[2, 2, 2, 2]])
    assert poses.bbox.tolist() == [[2, 2, 2, 2]]


def test_a_photo_that_the_file_does_not_name_is_refused(folder: Path) -> None:
    boxes = hrpose.BoxFile(folder / "truth.json")
    for photo in ("photo.jpg", "c/photo.jpg", "xother.jpg"):
        with pytest.raises(DataError, match=f"Expected {photo} to be one of the 3 photos of .*truth.json"):
            boxes.of(photo)
    with pytest.raises(DataError, match=r"images as paths.* but got ndarray"):
        boxes.of(np.zeros((60, 80, 3), np.uint8))
    with pytest.raises(DataError, match="image_id"):
        hrpose.BoxFile(folder / "found.json")
