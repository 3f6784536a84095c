"""Detector boxes: the official selection, and one clear message for whatever is wrong."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from tiny_coco import content, write_json

from hrpose.annotations.coco import read_annotations
from hrpose.annotations.detections import read_detections
from hrpose.errors import DataError, DataWarning, MissingDataError
from hrpose.geometry import center_scale_from_bbox


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


def test_boxes_are_used_as_they_are_and_ids_are_rows(annotations, tmp_path: Path) -> None:
    rows = [row(score=0.2), row(bbox=[-20, -9.5, 300, 400]), row(category_id=4)]
    table = read_detections(write_json(tmp_path / "d.json", rows), annotations, min_score=0.5)
    assert table.bbox.tolist() == [[-20, -9.5, 300, 400]]
    assert table.instance_ids.tolist() == [1]


def test_detections_of_unknown_photos_are_dropped_and_counted(annotations, tmp_path: Path) -> None:
    rows = [row(), row(image_id=50), row(image_id=51), row()]
    with pytest.warns(DataWarning, match=r"2 detections are left out.*`image_id` is not in .*rows 1, 2"):
        table = read_detections(write_json(tmp_path / "d.json", rows), annotations)
    assert table.instance_ids.tolist() == [0, 3]


def test_boxes_of_no_size_are_dropped_and_counted(annotations, tmp_path: Path) -> None:
    with pytest.warns(DataWarning, match=r"1 detections are left out, because their boxes have no size \(rows 1\)"):
        table = read_detections(write_json(tmp_path / "d.json", [row(), row(bbox=[3, 4, 0, 0])]), annotations)
    assert len(table) == 1


def row(**changes):
    return {"image_id": 2, "category_id": 1, "bbox": [1, 2, 30, 40], "score": 0.9, **changes}


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ([], "expected detections, but the list is empty"),
        ({"images": []}, "expected a list of detections.*annotation file is no detection file"),
        ([3], "entry 0 of the detections to be a JSON object"),
        ([row(image_id=50)], r"photos of .*persons\.json.*image ids 50"),
        ([row(category_id=3)], "category 1, but there are only categories 3"),
        ([row(score=-0.5)], r"a score of at least 0, .*scores up to -0\.5"),
        ([row(), {k: v for k, v in row().items() if k != "score"}], "`score` of detection number 1 .*there is none"),
        ([row(score=math.nan)], "`score` of detection number 0 .*nan"),
        ([row(score="high")], "`score` of detection number 0 .*'high'"),
        ([row(bbox=None)], "`bbox` of detection number 0 .*None"),
        ([row(bbox=[1, 2, math.inf, 4])], "`bbox` of detection number 0 .*finite"),
        ([row(image_id="2")], "`image_id` of detection number 0 .*integer, but got '2'"),
        ([{"image_id": 2, "bbox": [1, 2, 3, 4], "score": 1}], "`category_id` of detection number 0 .*there is none"),
    ],
)
def test_bad_file_is_refused_with_one_clear_message(annotations, tmp_path: Path, what, message: str) -> None:
    with pytest.raises(DataError, match=rf"d\.json: .*{message}"):
        read_detections(write_json(tmp_path / "d.json", what), annotations)


def test_missing_and_broken_files_are_named(annotations, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"d\.json"):
        read_detections(tmp_path / "d.json", annotations)
    (tmp_path / "d.json").write_text("[{")
    with pytest.raises(DataError, match=r"d\.json: expected JSON"):
        read_detections(tmp_path / "d.json", annotations)
