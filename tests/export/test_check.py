"""The comparison of an exported file with its network."""

from __future__ import annotations

import numpy as np
import pytest

from hrpose.export import Comparer

KEYPOINTS = np.zeros((2, 50, 2))
SCORES = np.full((2, 50), 0.5, np.float32)
NO_TIES = np.zeros((2, 50), bool)


def compare(*, keypoints=0.0, score=0.0, tied=0, count=1):
    """Move a number of keypoints along x, some of them ties, and change one score."""
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
def test_a_file_agrees_if_all_keypoints_except_ties_agree(off, agrees):
    assert (compare(**off).exact_faults() == []) is agrees


@pytest.mark.parametrize(
    ("off", "reasons"),
    [
        ({"keypoints": 0.02, "score": np.nan}, ["keypoints", "scores"]),
        ({"keypoints": 300.0, "count": 5, "tied": 5}, ["2% of the keypoints are ties"]),
    ],
)
def test_every_difference_is_reported(off, reasons):
    faults = compare(**off).exact_faults()
    assert all(reason in fault for reason, fault in zip(reasons, faults, strict=True))


def test_a_comparison_counts_moved_keypoints():
    comparison = compare(keypoints=3.0, count=2, tied=1, score=0.25)
    assert (comparison.num_crops, comparison.num_keypoints) == (4, 200)
    assert (comparison.largest, comparison.median, comparison.largest_score) == (3.0, 0.0, 0.25)
    assert (comparison.moved, comparison.undecided) == (0.01, 0.005)


def shift(amounts, *, scores=1.0):
    """Compare keypoints that move by shares of the longer side of their crop, 50 pixels, all confident by default."""
    off = 50.0 * np.array(amounts, float)[None]
    found = np.stack([off, np.zeros_like(off)], axis=-1)
    expected = np.zeros_like(found), np.full(off.shape, scores, np.float32)
    comparer = Comparer()
    comparer.update((found, expected[1]), expected, np.zeros(off.shape, bool), sides=np.array([50.0]), confidence=0.2)
    return comparer.compare()


@pytest.mark.parametrize(
    ("amounts", "faults"),
    [
        ([0.0] * 10, []),
        ([0.009] * 10, []),
        ([0.011] * 10, ["median shift"]),
        ([0.0] * 90 + [0.031] * 10, []),  # 10 % are allowed
        ([0.0] * 89 + [0.031] * 11, ["11.0% of the confident keypoints move by more than 3%"]),
        ([0.0] * 89 + [np.nan] * 11, ["11.0% of the confident keypoints"]),
        ([0.5] * 10, ["100.0% of the confident keypoints", "median shift"]),
    ],
)
def test_keypoints_of_lower_precision_may_move_within_bounds(amounts, faults):
    found = shift(amounts).bounded_faults(0.1)
    assert len(found) == len(faults)
    assert all(part in text for part, text in zip(faults, found, strict=True))
    assert shift(amounts).describe_bounds(0.1).startswith(f"of {len(amounts)} confident keypoints")


def test_keypoints_without_confident_score_are_not_compared():
    assert shift([0.5], scores=0.2).num_confident == 0
    assert "photos=" in shift([0.0], scores=0.2).bounded_faults(0.1)[0]


def test_nan_and_infinity_are_counted():
    assert shift([0.0, np.nan, np.inf, 0.1]).not_finite == 0.5
    assert shift([0.0, 0.1]).not_finite == 0.0


def test_a_comparison_without_crops_is_refused():
    with pytest.raises(ValueError, match=r"crops.*photos="):
        Comparer().compare()
