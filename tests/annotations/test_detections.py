"""Detector boxes are selected as in the official code, and invalid files are refused."""

import json
import logging
import math
from pathlib import Path

import numpy as np
import pytest
from tiny_coco import content, write_json

from hrpose.annotations.coco import read_annotations
from hrpose.annotations.detections import read_detections, read_image_boxes
from hrpose.errors import DataError, DataWarning, MissingDataError
from hrpose.geometry import center_scale_from_bbox

IMAGES = [{"id": 7, "file_name": "a.jpg"}, {"id": 3, "file_name": "in/b.jpg"}]
PERSON = {"id": 1, "name": "person", "keypoints": ["nose"]}


@pytest.fixture
def annotations(tmp_path: Path):
    return read_annotations(write_json(tmp_path / "persons.json", content()))


@pytest.mark.filterwarnings("ignore:.*no `area`:hrpose.errors.DataWarning")  # three persons of the file have area 0
@pytest.mark.parametrize("min_score", [0.0, 0.1, 0.5])
def test_detections_equal_the_official_ones(golden_dir: Path, tmp_path: Path, min_score: float) -> None:
    golden = np.load(golden_dir / "coco_db.npz")
    annotations = read_annotations(write_json(tmp_path / "a.json", json.loads(golden["source"].tobytes())))
    file = write_json(tmp_path / "d.json", json.loads(golden["detections"].tobytes()))
    table = read_detections(file, annotations, min_score=min_score)
    center, scale = center_scale_from_bbox(table.bbox, 192 / 256)
    assert table.image_ids[table.image_index].tolist() == golden[f"det:{min_score}:image_id"].tolist()
    np.testing.assert_allclose(center, golden[f"det:{min_score}:center"], rtol=1e-6)
    np.testing.assert_allclose(scale / 200, golden[f"det:{min_score}:scale"], rtol=1e-6)
    np.testing.assert_allclose(table.bbox_scores, golden[f"det:{min_score}:score"], rtol=1e-6)
    assert table.keypoints.shape == (len(table), 17, 2)
    assert (table.visibility == 1).all()


def test_boxes_are_not_clipped_and_ids_are_rows(annotations, tmp_path: Path) -> None:
    rows = [row(score=0.2), row(bbox=[-20, -9.5, 300, 400]), row(category_id=4)]
    table = read_detections(write_json(tmp_path / "d.json", rows), annotations, min_score=0.5)
    assert table.bbox.tolist() == [[-20, -9.5, 300, 400]]
    assert table.instance_ids.tolist() == [1]


def test_detections_of_unknown_images_are_left_out_and_counted(annotations, tmp_path: Path) -> None:
    rows = [row(), row(image_id=50), row(image_id=51), row()]
    with pytest.warns(DataWarning, match=r"2 detections.*`image_id`.*rows 1, 2"):
        table = read_detections(write_json(tmp_path / "d.json", rows), annotations)
    assert table.instance_ids.tolist() == [0, 3]


def test_boxes_without_size_are_left_out_and_counted(annotations, tmp_path: Path) -> None:
    with pytest.warns(DataWarning, match=r"1 detections.*rows 1"):
        table = read_detections(write_json(tmp_path / "d.json", [row(), row(bbox=[3, 4, 0, 0])]), annotations)
    assert len(table) == 1


def row(**changes):
    return {"image_id": 2, "category_id": 1, "bbox": [1, 2, 30, 40], "score": 0.9, **changes}


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ([], "expected detections, but the list is empty"),
        ({"images": []}, "expected a list of detections.*object.*images"),
        ([3], "entry 0 of the detections to be a JSON object"),
        ([row(image_id=50)], r"images of .*persons\.json.*image ids 50"),
        ([row(category_id=3)], "category 1, but there are only categories 3"),
        ([row(score=-0.5)], r"a score of at least 0, .*scores up to -0\.5"),
        ([row(), {k: v for k, v in row().items() if k != "score"}], "`score` of detection number 1 .*missing"),
        ([row(score=math.nan)], "`score` of detection number 0 .*nan"),
        ([row(score="high")], "`score` of detection number 0 .*'high'"),
        ([row(bbox=None)], "`bbox` of detection number 0 .*None"),
        ([row(bbox=[1, 2, math.inf, 4])], "`bbox` of detection number 0 .*finite"),
        ([row(image_id="x")], "`image_id` of detection number 0 .*integer, but got 'x'"),
        ([{"image_id": 2, "bbox": [1, 2, 3, 4], "score": 1}], "`category_id` of detection number 0 .*missing"),
    ],
)
def test_an_invalid_file_is_refused_with_one_message(annotations, tmp_path: Path, what, message: str) -> None:
    with pytest.raises(DataError, match=rf"d\.json: .*{message}"):
        read_detections(write_json(tmp_path / "d.json", what), annotations)


def test_missing_and_damaged_files_are_refused(annotations, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"d\.json"):
        read_detections(tmp_path / "d.json", annotations)
    (tmp_path / "d.json").write_text("[{")
    with pytest.raises(DataError, match=r"d\.json: expected JSON"):
        read_detections(tmp_path / "d.json", annotations)


@pytest.fixture
def write(tmp_path):
    def call(content, name="file.json"):
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
        return tmp_path / name

    return call


def test_without_files_the_result_is_none():
    assert read_image_boxes(None, None) is None


def test_image_ids_are_read_by_file_name(write):
    known = read_image_boxes(write({"images": IMAGES}), None)
    assert known.image_ids == {"a.jpg": 7, "in/b.jpg": 3}
    assert known.category_id == 1
    assert known.boxes_of(7) is None


def test_detections_are_grouped_by_image_and_filtered_by_score(write, caplog):
    rows = [
        {"image_id": 3, "category_id": 1, "bbox": [0, 0, 5, 6], "score": 0.9},
        {"image_id": 3, "category_id": 1, "bbox": [1, 1, 5, 6], "score": 0.1},
        {"image_id": 3, "category_id": 2, "bbox": [2, 2, 5, 6], "score": 0.9},
        {"image_id": 9, "category_id": 1, "bbox": [3, 3, 5, 6], "score": 0.9},
        {"image_id": 7, "category_id": 1, "bbox": [4, 4, 0, 6], "score": 0.9},
        {"image_id": 3, "category_id": 1, "bbox": [5, 5, 5, 6], "score": 0.5},
    ]
    annotations = write({"images": IMAGES, "categories": [PERSON, {"id": 2, "name": "dog"}]}, "gt.json")
    with caplog.at_level(logging.WARNING):
        known = read_image_boxes(annotations, write(rows), min_score=0.3)
    bbox, scores = known.boxes_of(3)
    np.testing.assert_array_equal(bbox, [[0, 0, 5, 6], [5, 5, 5, 6]])
    np.testing.assert_array_equal(scores, [0.9, 0.5])
    assert [len(part) for part in known.boxes_of(7)] == [0, 0]  # an image without boxes
    assert "1 of 6 boxes" in caplog.text
    assert "`images`" in caplog.text
    assert "1 of 6 boxes have no size" in caplog.text


def test_annotated_boxes_need_no_second_file(write):
    rows = [
        {"id": 1, "image_id": 7, "category_id": 5, "bbox": [0, 0, 5, 6], "iscrowd": 0},
        {"id": 2, "image_id": 7, "category_id": 5, "bbox": [0, 0, 90, 90], "iscrowd": 1},
    ]
    known = read_image_boxes(None, write({"images": IMAGES, "annotations": rows, "categories": [{**PERSON, "id": 5}]}))
    bbox, scores = known.boxes_of(7)
    np.testing.assert_array_equal(bbox, [[0, 0, 5, 6]])
    assert scores.tolist() == [1.0]
    assert known.category_id == 5


def test_annotated_boxes_are_clipped_to_images_of_known_size(write):
    """As in `COCODataset` of the official code, where a box of width w inside the image becomes w - 1 wide."""
    images = [{**IMAGES[0], "width": 40, "height": 30}, IMAGES[1]]
    boxes = {1: (7, [-5, 10, 20, 40]), 2: (7, [3, 4, 10, 10]), 3: (3, [-5, 10, 20, 40]), 4: (7, [50, 5, 9, 9])}
    rows = [{"id": row, "image_id": image_id, "category_id": 1, "bbox": bbox} for row, (image_id, bbox) in boxes.items()]
    known = read_image_boxes(None, write({"images": images, "annotations": rows, "categories": [PERSON]}))
    assert known.boxes_of(7)[0].tolist() == [[0, 10, 19, 19], [3, 4, 9, 9], [50, 5, 9, 9]]  # the last one is outside
    assert known.boxes_of(3)[0].tolist() == [[-5, 10, 20, 40]]


@pytest.mark.parametrize(
    ("annotations", "boxes", "message"),
    [
        (None, [{"image_id": 1}], r"annotations=<file with images>"),
        ([], None, r"COCO.*`images`.*JSON"),
        ({}, None, "NoneType"),
        ({"images": [{"id": "x"}]}, None, "expected `id` of image"),
        ({"images": [{"id": 1}]}, None, r"`file_name`.*1"),
        ({"images": [{"id": 1, "file_name": "a"}, {"id": 2, "file_name": "a"}]}, None, "but these repeat: a"),
        ({"images": [*IMAGES, IMAGES[0]]}, None, "`id`"),
        ({"images": IMAGES}, [{"image_id": 7, "bbox": [0, 0, 1, 1]}], r"`score`.*0"),
        ({"images": IMAGES}, [{"image_id": 7, "score": 1.0}], r"`bbox`.*0"),
        ({"images": IMAGES}, [{"score": 1.0}], r"`image_id`.*0"),
        ({"images": IMAGES}, "[", "expected JSON"),
        (
            {"images": IMAGES},
            {"images": [7], "annotations": [{"id": 1, "image_id": 7, "category_id": 1, "bbox": [0, 0, 9, 9]}]},
            "entry 0 of images to be a JSON object",
        ),
    ],
)
def test_shapes_that_do_not_match_are_refused(write, annotations, boxes, message):
    files = [None if content is None else write(content, f"{place}.json") for place, content in enumerate((annotations, boxes))]
    with pytest.raises(DataError, match=message):
        read_image_boxes(*files)
