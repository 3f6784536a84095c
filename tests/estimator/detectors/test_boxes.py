import numpy as np
import pytest

from hrpose.estimator.detectors.boxes import BoxFilter, xywh_from_middles, xywh_from_xyxy

BOXES = np.array([[0.0, 0, 10, 10], [1, 0, 10, 10], [50, 50, 10, 10], [0, 0, 9, 9]])
SCORES = np.array([0.5, 0.9, 0.4, 0.1])


def test_of_boxes_that_overlap_the_best_stays() -> None:
    boxes, scores = BoxFilter(0.3, 0.65, 100)(BOXES, SCORES)
    np.testing.assert_array_equal(boxes, BOXES[[1, 2]])
    assert scores == pytest.approx([0.9, 0.4])


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        ((0.0, None, 100), [1, 0, 2, 3]),
        ((0.45, None, 100), [1, 0]),
        ((0.0, None, 2), [1, 0]),
        ((0.0, 0.85, 100), [1, 0, 2, 3]),
    ],
)
def test_every_threshold_can_be_set(options, rows) -> None:
    np.testing.assert_array_equal(BoxFilter(*options)(BOXES, SCORES)[0], BOXES[rows])


def test_boxes_of_no_use_are_left_out() -> None:
    boxes = np.array([[0, 0, 0, 5], [0, 0, 5, -1], [np.nan, 0, 5, 5], [0, 0, 5, 5]])
    assert len(BoxFilter(0.0, 0.5, 100)(boxes, np.ones(4))[0]) == 1
    assert BoxFilter(0.0, 0.5, 100)([], [])[0].shape == (0, 4)


def test_thousands_of_candidates_are_no_burden() -> None:
    rng = np.random.default_rng(0)
    boxes = np.concatenate([rng.random((20_000, 2)) * 500, rng.random((20_000, 2)) * 50 + 1], axis=1)
    scores = rng.random(20_000)
    kept, sure = BoxFilter(0.0, 0.5, 50)(boxes, scores)
    assert len(kept) == 50
    np.testing.assert_array_equal(kept[0], boxes[scores.argmax()])
    assert (np.diff(sure) <= 0).all()


def test_the_other_ways_to_write_a_box() -> None:
    np.testing.assert_array_equal(xywh_from_xyxy([[10, 20, 40, 60]]), [[10, 20, 30, 40]])
    np.testing.assert_array_equal(xywh_from_middles([[25, 40, 30, 40]]), [[10, 20, 30, 40]])


@pytest.mark.parametrize("options", [(-0.1, None, 1), (0.3, 1.5, 1), (0.3, None, 0)])
def test_thresholds_that_make_no_sense_are_refused(options) -> None:
    with pytest.raises(ValueError, match=r"Expected `(score_threshold|nms_threshold|max_boxes)`"):
        BoxFilter(*options)
