"""The report and its JSON form."""

import json
from dataclasses import replace

import numpy as np
import pytest
from small_case import evaluated, mixture

from hrpose.metrics.functional import average_precision
from hrpose.metrics.functional.pck import PIXEL_NUMBERS
from hrpose.report import COLUMNS, analyse
from hrpose.report.analysis import STEPS
from hrpose.skeletons import COCO


def test_a_known_mixture_of_errors_is_reported() -> None:
    _, detections, counts = mixture()
    report = analyse(evaluated(), title="mixture", num_samples=50)
    numbers = average_precision(detections, evaluated().truth, COCO.sigmas)
    assert report.measurement.numbers == numbers
    assert {**report.anatomy.keypoints, "false positives": 5, "false negatives": 3} == counts
    low, high = report.measurement.interval or (0, 0)
    assert low < numbers["AP"] < high
    assert report.num_predictions == 42
    assert list(report.keypoints) == list(COCO.keypoint_names)
    assert report.labelled["nose"] == 40
    assert sum(report.crowding_images.values()) == 20


def test_ap_is_the_mean_of_the_curves() -> None:
    report = analyse(evaluated(), title="", num_samples=0)
    assert np.mean([curve.mean() for curve in report.precision.values()]) == pytest.approx(report.measurement.numbers["AP"])
    assert report.measurement.interval is None


def test_steps_are_reported_in_their_order() -> None:
    steps: list[str] = []
    analyse(evaluated(), title="", num_samples=1, on_step=steps.append)
    assert tuple(steps) == STEPS


@pytest.mark.parametrize("scores", [0.0, 1.0, 2.0])
def test_visibilities_instead_of_scores_are_not_calibrated(scores: float) -> None:
    flat = replace(evaluated(), keypoint_scores=np.full((42, 17), scores))
    assert analyse(flat, title="", num_samples=1).calibration is None


def test_reports_without_predictions_or_annotations_are_undefined() -> None:
    whole = evaluated()
    nothing = replace(
        whole,
        detections=type(whole.detections)(**{name: values[:0] for name, values in vars(whole.detections).items()}),
        keypoint_scores=np.zeros((0, 17)),
    )
    report = analyse(nothing, title="", num_samples=5)
    assert report.measurement.numbers["AP"] == 0
    content = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert content["score_threshold"]["score"] is None
    report = analyse(replace(whole, truth=whole.truth.select(slice(0))), title="", num_samples=5)
    assert set(report.measurement.numbers.values()) == {-1.0}
    assert report.measurement.interval is None
    json.dumps(report.to_dict(), allow_nan=False)


def test_json_has_all_parts_of_a_report() -> None:
    content = json.loads(json.dumps(analyse(evaluated(), title="mixture", num_samples=50).to_dict(), allow_nan=False))
    assert list(content["numbers"]) == list(COLUMNS)
    assert content["protocol"]["boxes"] == "not stated"
    assert len(content["bootstrap"]["samples"]) == 50
    assert content["keypoints"]["nose"].keys() == {"AP", "labelled", *PIXEL_NUMBERS}
    assert content["pixels"].keys() == {*PIXEL_NUMBERS, "persons", "missed"}
    assert content["visibility"].keys() == {"visible", "occluded"}
    assert content["crowding"].keys() == {"easy", "medium", "hard"}
    assert content["anatomy"]["fixed"].keys() == {*("jitter", "inversion", "swap", "miss", "false positives", "false negatives")}
    assert len(content["precision_recall"]["precision"]["0.50"]) == len(content["precision_recall"]["recall"]) == 101
    assert len(content["calibration"]["counts"]) == 10
