import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from exif_image import jpeg
from fake_engine import CenterEngine

import hrpose
from hrpose import FunctionDetector
from hrpose.errors import DataError
from hrpose.estimator.detectors.boxes import BoxFilter, xywh_from_cxcywh, xywh_from_xyxy

IMAGE = np.zeros((60, 80, 3), np.uint8)
BOXES = np.array([[0.0, 0, 10, 10], [1, 0, 10, 10], [50, 50, 10, 10], [0, 0, 9, 9]])
SCORES = np.array([0.5, 0.9, 0.4, 0.1])
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


def test_the_best_of_overlapping_boxes_is_kept() -> None:
    boxes, scores = BoxFilter(0.3, 0.65, 100)(BOXES, SCORES)
    np.testing.assert_array_equal(boxes, BOXES[[1, 2]])
    assert scores == pytest.approx([0.9, 0.4])


@pytest.mark.parametrize(
    ("options", "rows"),
    [((0.0, None, 100), [1, 0, 2, 3]), ((0.45, None, 100), [1, 0]), ((0.0, None, 2), [1, 0]), ((0.0, 0.85, 100), [1, 0, 2, 3])],
)
def test_every_threshold_can_be_set(options, rows) -> None:
    np.testing.assert_array_equal(BoxFilter(*options)(BOXES, SCORES)[0], BOXES[rows])


def test_unusable_boxes_are_dropped() -> None:
    boxes = np.array([[0, 0, 0, 5], [0, 0, 5, -1], [np.nan, 0, 5, 5], [0, 0, 5, 5]])
    assert len(BoxFilter(0.0, 0.5, 100)(boxes, np.ones(4))[0]) == 1
    assert BoxFilter(0.0, 0.5, 100)([], [])[0].shape == (0, 4)


def test_thousands_of_candidates_are_selected_fast() -> None:
    rng = np.random.default_rng(0)
    boxes = np.concatenate([rng.random((20_000, 2)) * 500, rng.random((20_000, 2)) * 50 + 1], axis=1)
    scores = rng.random(20_000)
    kept, kept_scores = BoxFilter(0.0, 0.5, 50)(boxes, scores)
    assert len(kept) == 50
    np.testing.assert_array_equal(kept[0], boxes[scores.argmax()])
    assert (np.diff(kept_scores) <= 0).all()


def test_boxes_are_converted_from_corners_and_from_centers() -> None:
    np.testing.assert_array_equal(xywh_from_xyxy([[10, 20, 40, 60]]), [[10, 20, 30, 40]])
    np.testing.assert_array_equal(xywh_from_cxcywh([[25, 40, 30, 40]]), [[10, 20, 30, 40]])


@pytest.mark.parametrize("options", [(-0.1, None, 1), (0.3, 1.5, 1), (0.3, None, 0)])
def test_thresholds_out_of_range_are_refused(options) -> None:
    with pytest.raises(ValueError, match=r"Expected `(score_threshold|nms_threshold|max_boxes)`"):
        BoxFilter(*options)


@pytest.mark.parametrize(("box_format", "box"), [("xyxy", [10, 20, 40, 60]), ("xywh", [10, 20, 30, 40])])
def test_boxes_of_a_function_are_converted_by_their_format(box_format, box) -> None:
    boxes, scores = FunctionDetector(lambda image: ([box, [1, 1, 5, 5]], [0.9, 0.1]), box_format=box_format)(IMAGE)
    np.testing.assert_array_equal(boxes, [[10, 20, 30, 40]])  # the other one scores too low
    assert scores == pytest.approx([0.9])


def test_the_function_receives_the_image() -> None:
    inputs = []
    detector = FunctionDetector(lambda image: (inputs.append(image), ([], []))[1], box_format="xywh")
    assert len(detector(IMAGE)[0]) == 0
    assert inputs[0] is IMAGE


def test_invalid_boxes_of_a_function_are_refused() -> None:
    with pytest.raises(ValueError, match="right > left"):
        FunctionDetector(lambda image: ([[10, 20, 5, 5]], [1]), box_format="xyxy")(IMAGE)
    with pytest.raises(ValueError, match="got None"):
        FunctionDetector(lambda image: (None, None), box_format="xyxy")(IMAGE)
    for found in (None, 7, ([], [], [])):
        with pytest.raises(ValueError, match="to return a pair"):
            FunctionDetector(lambda image, found=found: found, box_format="xywh")(IMAGE)
    with pytest.raises(ValueError, match="`box_format`"):
        FunctionDetector(lambda image: None, box_format="cxcywh")


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


def test_an_estimator_looks_boxes_up_by_the_path_of_the_image(folder: Path) -> None:
    boxes = hrpose.BoxFile(folder / "found.json", folder / "images.json", min_score=0.5)
    estimator = hrpose.PoseEstimator(CenterEngine(), detector=boxes)
    files = [folder / "photos" / image["file_name"] for image in IMAGES]
    found = estimator(files)
    assert [poses.bbox.tolist() for poses in found] == [[[1, 2, 3, 4]], [[10, 20, 30, 40]], []]  # one is outside
    assert found[1].scores == pytest.approx([0.9])
    assert [boxes.image_id(file) for file in files] == [7, 8, 9]


def test_annotated_boxes_need_no_second_file(folder: Path) -> None:
    bbox, scores = hrpose.BoxFile(folder / "truth.json").of("b/photo.jpg")
    assert bbox.tolist() == [[10, 20, 29, 39], [5, 5, 4, 4], [90, 5, 5, 5]]  # clipped by the official rules
    assert scores.tolist() == [1, 1, 1]


def test_images_with_boxes_of_a_file_are_read_as_stored(folder: Path) -> None:
    (folder / "photos" / "other.jpg").write_bytes(jpeg(orientation=6))
    truth = json.loads((folder / "truth.json").read_text())
    truth["annotations"][0].update(image_id=9, bbox=[70, 0, 10, 60])  # outside, if the image is turned
    (folder / "truth.json").write_text(json.dumps(truth))
    options = {"detector": hrpose.BoxFile(folder / "truth.json")}
    image = folder / "photos" / "other.jpg"
    assert len(hrpose.PoseEstimator(CenterEngine(), **options)(image)) == 1
    assert len(hrpose.PoseEstimator(CenterEngine(), **options, upright=True)(image)) == 0


def test_given_boxes_have_precedence_over_the_file(folder: Path) -> None:
    estimator = hrpose.PoseEstimator(CenterEngine(), detector=hrpose.BoxFile(folder / "truth.json"))
    poses = estimator(folder / "photos" / "other.jpg", bbox=[[2, 2, 2, 2]])
    assert poses.bbox.tolist() == [[2, 2, 2, 2]]


def test_an_image_that_the_file_does_not_name_is_refused(folder: Path) -> None:
    boxes = hrpose.BoxFile(folder / "truth.json")
    for image in ("photo.jpg", "c/photo.jpg", "xother.jpg"):
        with pytest.raises(DataError, match=f"Expected {image} to be one of the 3 images of .*truth.json"):
            boxes.of(image)
    with pytest.raises(DataError, match=r"images as paths.* but got ndarray"):
        boxes.of(np.zeros((60, 80, 3), np.uint8))
    with pytest.raises(DataError, match="image_id"):
        hrpose.BoxFile(folder / "found.json")
