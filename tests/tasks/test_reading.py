"""Annotations and results of any tool: what does not fit is refused with the ids at fault and the way to mend it."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_case import annotation_content, mixture, result_rows

from hrpose.skeletons import COCO
from hrpose.tasks.reading import read_evaluated


@pytest.fixture
def annotations() -> dict[str, Any]:
    return annotation_content(mixture()[0])


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    return result_rows(mixture()[1])


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Any]:
    def read(annotations: Any, rows: Any, **options: Any) -> Any:
        (tmp_path / "gt.json").write_text(json.dumps(annotations))
        (tmp_path / "res.json").write_text(json.dumps(rows))
        return read_evaluated(tmp_path / "gt.json", tmp_path / "res.json", **options)

    return read


def test_files_become_arrays_and_a_protocol(read, annotations, rows) -> None:
    evaluated = read(annotations, rows)
    assert len(evaluated.detections) == 42
    assert evaluated.skeleton.sigmas == COCO.sigmas
    assert evaluated.skeleton.flip_permutation == COCO.flip_permutation
    protocol = evaluated.protocol
    assert (protocol.num_images, protocol.num_persons, protocol.sigmas, protocol.boxes) == (20, 40, "coco", None)


def test_given_mirror_pairs_are_those_of_the_error_analysis(read, annotations, rows) -> None:
    annotations["categories"][0]["flip_pairs"] = [["nose", "left_eye"]]
    assert read(annotations, rows).skeleton.flip_pairs == ((0, 1),)


def test_an_unknown_image_id_is_named(read, annotations, rows) -> None:
    rows[2]["image_id"] = 777
    with pytest.raises(ValueError, match=r"res.json to have image ids .* rows \[2\] counted from 0. They have 777"):
        read(annotations, rows)


def test_an_unknown_category_id_is_named(read, annotations, rows) -> None:
    rows[1]["category_id"] = rows[4]["category_id"] = 9
    with pytest.raises(
        ValueError,
        match=r"category ids of the annotations \(\[1\]; 'person' is 1\), but 2 rows .* have \[9\], .* row 1",
    ):
        read(annotations, rows)


def test_rows_of_another_category_are_left_out_and_counted(read, annotations, rows, caplog) -> None:
    annotations["categories"].append({"id": 5, "name": "dog"})
    rows[0]["category_id"] = 5
    with caplog.at_level(logging.WARNING):
        assert len(read(annotations, rows).detections) == 41
    assert "1 of 42 rows are of other categories than 'person'" in caplog.text


def test_another_number_of_keypoints_is_named(read, annotations, rows) -> None:
    rows[0]["keypoints"] = rows[0]["keypoints"][:9]
    with pytest.raises(
        ValueError, match=r"51 numbers, x y score for each of the annotations' 17 .* They have 9 numbers"
    ):
        read(annotations, rows)


def test_nan_and_duplicates_are_named(read, annotations, rows) -> None:
    wrong = [dict(row) for row in rows]
    wrong[3]["score"] = float("nan")
    with pytest.raises(ValueError, match=r"finite numbers as `score`, but 1 are otherwise: rows \[3\]"):
        read(annotations, wrong)
    with pytest.raises(ValueError, match=r"every row once .* rows \[42\]"):
        read(annotations, [*rows, rows[0]])


def test_a_missing_area_is_refused_unless_the_box_may_stand_in(read, annotations, rows, caplog) -> None:
    del annotations["annotations"][7]["area"]
    message = r"an `area` .* it is missing in 1 of 40: annotation ids \[8\].*area_from_bbox=true"
    with pytest.raises(ValueError, match=message):
        read(annotations, rows)
    with pytest.raises(ValueError, match=message):
        read(annotations, rows)  # the second time the file comes from memory
    with caplog.at_level(logging.WARNING):
        assert read(annotations, rows, area_from_bbox=True).truth.area[7] == 1.0
    assert "1 of 40 annotations have no `area`; it is taken from the box" in caplog.text


def test_a_negative_area_is_refused(read, annotations, rows) -> None:
    annotations["annotations"][0]["area"] = -1
    with pytest.raises(ValueError, match=r"it is negative in 1 of 40: annotation ids \[1\]"):
        read(annotations, rows)


def test_sigmas_are_given_by_name_or_number(read, annotations, rows) -> None:
    assert read(annotations, rows, sigmas="coco").protocol.sigmas == "coco"
    assert read(annotations, rows, sigmas=[0.1] * 17).skeleton.sigmas == (0.1,) * 17
    with pytest.raises(
        ValueError, match=r"`sigmas` to be 17, one for each keypoint of category 'person' .* but got 16"
    ):
        read(annotations, rows, sigmas="mpii")
    with pytest.raises(ValueError, match=r"coco, mpii, crowdpose, .* or a list of numbers, but got 'cooc'"):
        read(annotations, rows, sigmas="cooc")


def test_no_poses_that_count_are_refused(read, annotations, rows) -> None:
    with pytest.raises(ValueError, match="at least 1, but got 0"):
        read(annotations, rows, max_detections=0)


def test_keypoints_without_names_need_sigmas(read, annotations, rows) -> None:
    del annotations["categories"][0]["keypoints"]
    with pytest.raises(ValueError, match="give sigmas=<name of a skeleton> or a list of numbers"):
        read(annotations, rows)
    assert read(annotations, rows, sigmas="coco").skeleton.keypoint_names == COCO.keypoint_names
    assert read(annotations, rows, sigmas=[0.1] * 17).skeleton.keypoint_names[16] == "keypoint 16"
