"""When an exported file agrees with its network, and when it does not."""

from __future__ import annotations

import numpy as np
import pytest

from hrpose.export import Comparer

KEYPOINTS = np.zeros((2, 50, 2))
SCORES = np.full((2, 50), 0.5, np.float32)
NO_TIES = np.zeros((2, 50), bool)


def compare(*, keypoints=0.0, score=0.0, tied=0, count=1):
    """Put so many keypoints off in x, and so many of them on ties; put one score off."""
    found, scores, ties = KEYPOINTS.copy(), SCORES.copy(), NO_TIES.copy()
    found[1, :count, 0] += keypoints
    scores[0, 3] += score
    ties[1, :tied] = True
    comparer = Comparer()
    crops = {"sides": np.array([100.0, 200.0]), "confidence": 0.2}
    comparer.update((KEYPOINTS, SCORES), (KEYPOINTS, SCORES), NO_TIES, **crops)
    comparer.update((found, scores), (KEYPOINTS, SCORES), ties, **crops)
    return comparer.compare()


@pytest.mark.parametrize(
    ("off", "agrees"),
    [
        ({}, True),
        ({"keypoints": 0.009}, True),
        ({"keypoints": 0.011}, False),
        ({"keypoints": np.nan}, False),
        ({"keypoints": 300.0, "count": 4, "tied": 4}, True),  # 2 % of 200
        ({"keypoints": 300.0, "count": 5, "tied": 5}, False),
        ({"keypoints": 300.0, "count": 2, "tied": 1}, False),
        ({"score": 0.0009}, True),
        ({"score": 0.0011}, False),
        ({"score": np.nan}, False),
    ],
)
def test_a_file_agrees_if_all_that_is_decided_does(off, agrees):
    assert compare(**off).agrees is agrees


@pytest.mark.parametrize(
    ("off", "reason"),
    [
        (
            {"keypoints": 0.02, "score": np.nan},
            "keypoints are more than 0.01 px off and scores are more than 0.001 off",
        ),
        (
            {"keypoints": 300.0, "count": 5, "tied": 5},
            "more than 2% of the keypoints hang on ties, as in the flat heatmaps",
        ),
        ({}, ""),
    ],
)
def test_what_is_too_much_is_said(off, reason):
    assert compare(**off).reason.startswith(reason)
    assert bool(compare(**off).reason) is not compare(**off).agrees


def test_a_comparison_counts_what_moved():
    comparison = compare(keypoints=3.0, count=2, tied=1, score=0.25)
    assert (comparison.num_crops, comparison.num_keypoints) == (4, 200)
    assert (comparison.largest, comparison.median, comparison.largest_score) == (3.0, 0.0, 0.25)
    assert (comparison.moved, comparison.undecided) == (0.01, 0.005)


def test_nothing_to_compare_on_is_an_error():
    with pytest.raises(ValueError, match="Expected crops to compare on"):
        Comparer().compare()
