"""Boxes around keypoints where a file has none."""

from pathlib import Path

import numpy as np
import pytest
from tiny_coco import content, write_json

from hrpose.annotations.coco import forget_annotations, read_annotations, read_skeleton
from hrpose.errors import DataError, DataWarning

pytestmark = pytest.mark.filterwarnings("ignore:.*`area`:hrpose.errors.DataWarning")


@pytest.fixture(autouse=True)
def fresh_cache():
    forget_annotations()


def points(*labelled: tuple[float, float]) -> list[float]:
    rest = 17 - len(labelled)
    return [value for x, y in labelled for value in (x, y, 2)] + [0] * 3 * rest


def test_missing_boxes_enclose_the_labelled_keypoints(tmp_path: Path) -> None:
    document = content(4)
    document["annotations"][0].update(keypoints=points((10, 20), (30, 60)), bbox=None, area=None)
    document["annotations"][1].update(keypoints=points((10, 20), (10, 40)), bbox=[10, 20, 0, 20])
    document["annotations"][2].update(keypoints=points((40, 30)), bbox=[40, 30, 0, 0])
    file = write_json(tmp_path / "a.json", document)
    annotations = read_annotations(file, bbox_from_keypoints=0.25)
    assert annotations.bbox.tolist() == [
        [0, 10, 40, 60],  # 20 x 40, and 10 on each side
        [5, 15, 10, 30],  # a line of 20, and 5 on each side
        [40 - 22.5, 30 - 22.5, 45, 45],  # a point in an image of 90 x 70
        [4, 6, 53, 57],  # the file's
    ]
    assert annotations.has_bbox.tolist() == [False, False, False, True]
    assert annotations.area[0] == 40 * 60
    assert len(annotations.instances()) == 4
    assert read_skeleton(file, bbox_from_keypoints=0.25).num_keypoints == 17


def test_a_missing_box_is_refused_with_the_key(tmp_path: Path) -> None:
    document = content(3)
    del document["annotations"][1]["bbox"]
    document["annotations"][2]["bbox"] = []
    with pytest.raises(DataError, match=r"`bbox` of annotation 101.*2 of 3.*data\.bbox_from_keypoints=0\.25"):
        read_annotations(write_json(tmp_path / "a.json", document))


def test_a_box_without_size_gives_a_warning_with_the_key(tmp_path: Path) -> None:
    document = content(2)
    document["annotations"][0]["bbox"] = [30, 30, 0, 0]
    annotations = read_annotations(write_json(tmp_path / "a.json", document))
    with pytest.warns(DataWarning, match=r"1 of 2 instances.*data\.bbox_from_keypoints=0\.25"):
        annotations.instances()


def test_instances_without_box_and_keypoints_are_left_out(tmp_path: Path) -> None:
    document = content(2)
    document["annotations"][0].update(bbox=None, keypoints=[0] * 51)
    annotations = read_annotations(write_json(tmp_path / "a.json", document), bbox_from_keypoints=0.25)
    assert annotations.bbox[0].tolist() == [0, 0, 0, 0]
    assert annotations.instances().instance_ids.tolist() == [101]


def test_a_single_keypoint_needs_the_size_of_its_image(tmp_path: Path) -> None:
    document = content(1)
    document["annotations"][0].update(keypoints=points((40, 30)), bbox=None)
    for row in document["images"]:
        del row["width"], row["height"]
    with pytest.raises(DataError, match=r"`width` and `height`.*100"):
        read_annotations(write_json(tmp_path / "a.json", document), bbox_from_keypoints=0.25)


@pytest.mark.parametrize("margin", [-0.1, np.inf, np.nan, True])
def test_a_negative_margin_is_refused(margin, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bbox_from_keypoints"):
        read_annotations(write_json(tmp_path / "a.json", content(1)), bbox_from_keypoints=margin)
