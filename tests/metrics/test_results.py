"""Result files are read like the reference, and refused with the invalid rows."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keypoint_oracle import coco_numbers, detections_from_coco, random_case, truth_from_coco

from hrpose.metrics.functional import average_precision
from hrpose.metrics.results import read_results
from hrpose.structures import GroundTruth


@pytest.fixture
def case() -> tuple[dict[str, Any], list[dict[str, Any]], np.ndarray]:
    return random_case(4, num_keypoints=3, distinct=True)


def write(folder: Path, rows: object) -> Path:
    file = folder / "results.json"
    file.write_text(json.dumps(rows))
    return file


def refuse(tmp_path: Path, truth: GroundTruth, rows: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_results(write(tmp_path, rows), truth)


def test_rows_are_read_exactly(tmp_path: Path, case: Any) -> None:
    annotations, results, sigmas = case
    truth = truth_from_coco(annotations, 3)
    got, wanted = read_results(write(tmp_path, results), truth), detections_from_coco(results, 3)
    for name, values in vars(wanted).items():
        np.testing.assert_array_equal(getattr(got, name), values)
    assert list(average_precision(got, truth, sigmas).values()) == coco_numbers(annotations, results, sigmas)


def test_areas_are_those_of_boxes_if_the_first_row_has_one(tmp_path: Path, case: Any) -> None:
    annotations, results, sigmas = case
    boxed = [{**row, "bbox": [0, 0, 10 + place, 100]} for place, row in enumerate(results)]
    truth = truth_from_coco(annotations, 3)
    numbers = average_precision(read_results(write(tmp_path, boxed), truth), truth, sigmas)
    assert list(numbers.values()) == coco_numbers(annotations, boxed, sigmas)
    refuse(tmp_path, truth, [boxed[0], *results[1:]], "`bbox` of four numbers in every row")


def test_a_file_without_rows_is_read(tmp_path: Path, case: Any) -> None:
    assert len(read_results(write(tmp_path, []), truth_from_coco(case[0], 3))) == 0


def test_invalid_rows_are_refused_with_their_numbers(tmp_path: Path, case: Any) -> None:
    annotations, results, _ = case
    truth = truth_from_coco(annotations, 3)
    first, rest = results[0], results[1:]
    refuse(tmp_path, truth, {"annotations": []}, r"a COCO result file.* JSON dict")
    refuse(tmp_path, truth, [1], "list of objects.* JSON list of other values")
    refuse(tmp_path, truth, [{"image_id": 3}, *rest], r"`category_id` in every row, but 1 rows do not: \[0\]")
    refuse(tmp_path, truth, [*rest, {**first, "keypoints": [1.0] * 6}], "`keypoints` of 9 numbers")
    refuse(tmp_path, truth, [*rest, {**first, "image_id": 4}], "image ids of the annotations, but 1 rows do not")
    for score in (float("nan"), "high", [0.9], None, 10**400):
        refuse(tmp_path, truth, [*rest, {**first, "score": score}], rf"number as `score`, but 1 .* \[{len(rest)}\]")
    for value in (float("nan"), "x", [1.0], None, 1e308, 10**400):
        wrong = {**first, "keypoints": [1.0] * 8 + [value]}
        refuse(tmp_path, truth, [*rest, wrong], rf"finite numbers .*`keypoints`, but 1 .* \[{len(rest)}\]")
    refuse(tmp_path, truth, [{**first, "image_id": 2**63}, *rest], r"64-bit integers as `image_id`.* \[0\]")
    boxed = [{**row, "bbox": [0, 0, 1, 1]} for row in results]
    refuse(tmp_path, truth, [*boxed[1:], {**boxed[0], "bbox": [1, 2, [3], 4]}], rf"`bbox`.* \[{len(rest)}\]")
    refuse(tmp_path, truth, [*results, first], rf"every row once .* 1 rows do not: \[{len(results)}\]")


@pytest.mark.parametrize("text", ["[{", "[" * 100_000])
def test_a_file_that_is_not_json_is_refused(text: str, tmp_path: Path, case: Any) -> None:
    file = tmp_path / "results.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"results\.json.*JSON"):
        read_results(file, truth_from_coco(case[0], 3))
