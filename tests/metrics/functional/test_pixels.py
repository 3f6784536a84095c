"""Pixel errors and PCK by hand, and the pairing of poses."""

import numpy as np
import pytest

from hrpose.metrics.functional import Detections, closest_pairs, pixel_errors
from hrpose.structures import GroundTruth


def truth_of(points: list[list[list[float]]], images: list[int], labels: list[list[int]] | None = None) -> GroundTruth:
    keypoints = np.array(points, np.float64)
    number, ones = len(points), np.ones(len(points), np.int64)
    visibility = np.full(keypoints.shape[:2], 2, np.uint8) if labels is None else np.array(labels, np.uint8)
    box = np.array([[0, 0, 50, 100]] * number, np.float64)
    return GroundTruth(
        np.arange(1, 5), np.array(images), np.arange(number), ones, keypoints, visibility, box, box[:, 0], box[:, 0] > 0
    )


def found_of(points: list[list[list[float]]], images: list[int]) -> Detections:
    number = len(points)
    scores = np.linspace(0.9, 0.1, number)
    return Detections(np.array(images), np.ones(number, np.int64), np.array(points, np.float64), scores, scores)


def test_errors_are_in_pixels_and_pck_in_shares_of_the_longer_side() -> None:
    truth = truth_of([[[0, 0], [10, 0]], [[0, 0], [10, 0]], [[5, 5], [5, 5]]], [1, 2, 3], [[2, 2], [2, 0], [1, 1]])
    errors = pixel_errors(found_of([[[3, 4], [10, 10]], [[0, 21], [99, 99]]], [1, 2]), truth)
    assert (errors.num_instances, errors.num_missed) == (3, 1)
    assert errors.overall == {
        "mean_error": pytest.approx(12), "median_error": 10, "PCK@0.05": 1 / 5, "PCK@0.1": 2 / 5, "PCK@0.2": 2 / 5
    }  # fmt: skip
    assert errors.keypoints["mean_error"].tolist() == [13, 10]
    assert errors.keypoints["PCK@0.05"].tolist() == [1 / 3, 0]


def test_the_closest_pair_comes_first_regardless_of_the_score() -> None:
    truth = truth_of([[[0, 0]], [[100, 0]]], [1, 1])
    rows, persons = closest_pairs(found_of([[[70, 0]], [[100, 1]], [[400, 0]]], [1, 1, 1]), truth)
    assert (rows.tolist(), persons.tolist()) == ([0, 1], [0, 1])


def test_predictions_stay_in_their_image_and_crowds_do_not_count() -> None:
    truth = truth_of([[[0, 0]], [[0, 0]]], [1, 2], [[2], [0]])
    rows, persons = closest_pairs(found_of([[[0, 0]], [[50, 0]]], [2, 1]), truth)
    assert (rows.tolist(), persons.tolist()) == ([1], [0])


def test_errors_without_predictions_are_nan() -> None:
    errors = pixel_errors(found_of([[[0, 0]]], [1]), truth_of([[[0, 0]]], [2], [[0]]))
    assert np.isnan(list(errors.overall.values())).all()
    assert np.isnan(errors.keypoints["median_error"]).all()
