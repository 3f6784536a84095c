"""Keypoints of several fields: COCO-WholeBody's five, the first 26 of Halpe's 136."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_coco import CATEGORY, content, write_json
from whole_body import FIELDS, whole_body_content

from hrpose.annotations.coco import CocoAnnotations, forget_annotations, read_annotations, read_skeleton
from hrpose.errors import DataError, DataWarning
from hrpose.skeletons import COCO


@pytest.fixture(autouse=True)
def fresh_cache():
    forget_annotations()


def read(tmp_path: Path, document: dict[str, Any], fields: dict[str, int] | None = None) -> CocoAnnotations:
    return read_annotations(write_json(tmp_path / "whole.json", document), keypoint_fields=fields or FIELDS)


def test_five_fields_make_133_keypoints_in_their_order(tmp_path: Path) -> None:
    document = whole_body_content(3)
    annotations = read(tmp_path, document)
    assert annotations.visibility.shape == (3, 133)
    rows = {row["id"]: row for row in document["annotations"]}
    truth = annotations.ground_truth()
    for place, instance_id in enumerate(truth.instance_ids.tolist()):
        joined = [value for field in FIELDS for value in rows[instance_id][field]]
        triplets = np.reshape(joined, (133, 3))
        labelled = triplets[:, 2] > 0
        assert truth.keypoints[place][labelled].tolist() == triplets[labelled, :2].tolist()
        assert truth.visibility[place].tolist() == triplets[:, 2].tolist()


def test_keypoints_are_unlabelled_where_the_valid_flag_is_false(tmp_path: Path) -> None:
    document = whole_body_content(2)
    document["annotations"][0]["face_valid"] = False
    with pytest.warns(DataWarning, match=r"1 parts have labelled keypoints.*`foot_valid`.*100"):
        visibility = read(tmp_path, document).visibility
    assert (visibility[0, 23:91] == 0).all()
    assert visibility[0, :23].any()
    assert visibility[0, 91:].any()
    assert visibility[1, 23:91].any()


def test_an_instance_with_only_a_labelled_hand_is_trained_on(tmp_path: Path) -> None:
    document = whole_body_content(1)
    for field, count in FIELDS.items():
        if field != "lefthand_kpts":
            document["annotations"][0][field] = [0] * 3 * count
    table = read(tmp_path, document).instances()
    assert np.flatnonzero(table.visibility[0]).tolist() == list(range(91, 112))


def test_fractional_visibilities_are_labelled(tmp_path: Path) -> None:
    document = whole_body_content(1)
    document["annotations"][0]["face_kpts"][2::3] = [0.3, 1.0, 1.4, 2.0, *[0.0] * 64]
    assert read(tmp_path, document).visibility[0, 23:28].tolist() == [1, 1, 2, 2, 0]


def test_the_first_keypoints_of_a_longer_field_can_be_taken(tmp_path: Path) -> None:
    document = content(3)
    document["categories"] = [{"id": 1, "name": "person", "keypoints": [], "skeleton": []}]  # as in Halpe's files
    for row in document["annotations"]:
        row["keypoints"] = [float(value) for value in np.random.default_rng(row["id"]).integers(1, 3, 408)]
    assert read(tmp_path, document, {"keypoints": 136}).visibility.shape == (3, 136)
    first = read(tmp_path, document, {"keypoints": 26}).visibility
    assert first.tolist() == read_annotations(tmp_path / "whole.json").visibility[:, :26].tolist()


def test_the_cache_depends_on_the_options(tmp_path: Path) -> None:
    document = whole_body_content(2)
    assert read(tmp_path, document).visibility.shape[1] == 133
    plain = read_annotations(tmp_path / "whole.json")
    assert plain.visibility.shape[1] == 17
    assert plain.skeleton().keypoint_names == COCO.keypoint_names


def test_a_skeleton_of_17_names_does_not_fit_133_keypoints(tmp_path: Path) -> None:
    file = write_json(tmp_path / "whole.json", whole_body_content(2))
    assert read_skeleton(file).num_keypoints == 17
    with pytest.raises(DataError, match=r"133 keypoints.*17.*skeleton=wholebody"):
        read_skeleton(file, keypoint_fields=FIELDS)


def test_a_file_without_wholebody_fields_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"6 keypoints in `foot_kpts`"):
        read(tmp_path, content(3))


def test_fields_that_some_annotations_lack_are_unlabelled_and_counted(tmp_path: Path) -> None:
    document = whole_body_content(4)
    del document["annotations"][1]["righthand_kpts"]
    document["annotations"][2]["foot_kpts"] = []
    with pytest.warns(DataWarning, match=r"2 of 4 annotations.*foot_kpts.*\(ids 101, 102\)"):
        annotations = read(tmp_path, document)
    order = annotations.instance_ids.tolist()
    assert not annotations.visibility[order.index(101), 112:].any()
    assert not annotations.visibility[order.index(102), 17:23].any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"foot_kpts": [1, 2, 2]}, r"`foot_kpts`.*100.*18 numbers.*3"),
        ({"foot_kpts": [1, 2] * 10}, r"`foot_kpts`.*100.*18 numbers.*20"),
        ({"face_kpts": [[1, 2, 2]] * 67}, r"`face_kpts`.*100.*204 numbers"),
        ({"face_valid": "yes"}, r"`face_valid`.*100.*'yes'"),
        ({"foot_kpts": [1, 2, 7] * 6}, r"6 of 266.*7 \(6 times\).*keypoint 17.*100"),
        ({"foot_kpts": [float("nan"), 2, 2] * 6}, r"17.*100"),
    ],
)
def test_an_invalid_value_is_one_error_with_field_and_id(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    document = whole_body_content(2)
    document["annotations"][0].update(change)
    with pytest.raises(DataError, match=message):
        read(tmp_path, document)


@pytest.mark.parametrize(
    "change", [{"keypoint_fields": {"keypoints": 0}}, {"area_from_bbox": 0.0}, {"area_from_bbox": -1.0}, {"area_from_bbox": True}]
)
def test_numbers_that_are_not_positive_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    file = write_json(tmp_path / "a.json", content(1))
    with pytest.raises(ValueError, match=r"`area_from_bbox`.*`keypoint_fields`"):
        read_annotations(file, **change)


def test_a_share_of_the_box_replaces_a_missing_area(tmp_path: Path) -> None:
    document = content(2)
    del document["annotations"][0]["area"]
    with pytest.warns(DataWarning, match=r"1 of 2 annotations.*`area`.*0\.53"):
        annotations = read_annotations(write_json(tmp_path / "a.json", document), area_from_bbox=0.53)
    assert annotations.area.tolist() == [50 * 60 * 0.53, 1200.5]
    assert annotations.has_area.tolist() == [False, True]


def test_stated_crowd_indices_come_with_the_ground_truth(tmp_path: Path) -> None:
    document = content(2)
    assert read_annotations(write_json(tmp_path / "a.json", document)).ground_truth().crowd_index is None
    for image, value in zip(document["images"], (0, 0.25, 0.8, 1), strict=True):
        image["crowdIndex"] = value
    truth = read_annotations(write_json(tmp_path / "b.json", document)).ground_truth()
    assert truth.crowd_index is not None
    assert truth.crowd_index.tolist() == [0, 0.25, 0.8, 1]
    document["images"][2]["crowdIndex"] = 1.5
    with pytest.raises(DataError, match=r"`crowdIndex`.*3.*1.*1\.5"):
        read_annotations(write_json(tmp_path / "c.json", document))


def test_the_category_of_the_samples_is_that_of_wholebodys_files() -> None:
    assert whole_body_content(1)["categories"] == [CATEGORY]


NAN = float("nan")


def test_other_forms_of_keypoints_give_the_same_record(tmp_path: Path) -> None:
    plain = content(3)
    expected = read_annotations(write_json(tmp_path / "plain.json", plain))
    forms = {
        "nested": lambda values: np.reshape(values, (-1, 3)).tolist(),
        "text": lambda values: [str(value) for value in values],
        "null": lambda values: [v if values[i // 3 * 3 + 2] or i % 3 == 2 else None for i, v in enumerate(values)],
        "all null": lambda values: [v if values[i // 3 * 3 + 2] else None for i, v in enumerate(values)],
        "nan": lambda values: [v if values[i // 3 * 3 + 2] or i % 3 == 2 else NAN for i, v in enumerate(values)],
    }
    for name, form in forms.items():
        document = content(3)
        for row in document["annotations"]:
            row["keypoints"] = form(row["keypoints"])
        found = read_annotations(write_json(tmp_path / f"{name}.json", document))
        assert found.keypoints.tolist() == expected.keypoints.tolist(), name
        assert found.visibility.tolist() == expected.visibility.tolist(), name


def test_visibilities_are_mapped_all_at_once(tmp_path: Path) -> None:
    document = content(1)
    document["annotations"][0]["keypoints"] = [value for v in (-1, 3, 2, 1, 0, *[2] * 12) for value in (20, 30, v)]
    file = write_json(tmp_path / "a.json", document)
    with pytest.raises(DataError, match=r"2 of 17.*-1 \(1 times\), 3 \(1 times\).*100.*\{-1: 0, 3: 2\}"):
        read_annotations(file)
    found = read_annotations(file, visibility_map={-1: 0, 3: 2, 2: 1, 1: 2})
    assert found.visibility[0].tolist() == [0, 2, 1, 2, 0, *[1] * 12]
    assert found.keypoints[0, 0].tolist() == [0, 0]
    assert read_skeleton(file, visibility_map={-1: 0, 3: 2}).num_keypoints == 17
    with pytest.raises(ValueError, match="`visibility_map`"):
        read_annotations(file, visibility_map={-1: 3})


def test_visibilities_that_are_scores_are_not_mapped(tmp_path: Path) -> None:
    document = content(1)
    document["annotations"][0]["keypoints"][2::3] = [0.01 * k for k in range(17)]
    with pytest.raises(DataError, match=r"16 of 17") as caught:
        read_annotations(write_json(tmp_path / "a.json", document))
    assert "visibility_map" not in str(caught.value)
