"""The Hungarian matcher maximises the sum, the greedy one selects the best pair first, and both keep to the threshold."""

from itertools import permutations

import numpy as np
import pytest

from hrpose.tracking import match_greedy, match_hungarian

RNG = np.random.default_rng(0)
CASES = [RNG.random((rows, columns)) for rows in range(1, 6) for columns in range(1, 6) for _ in range(4)]


def best_sum(similarity, threshold):
    """Return the largest sum of all assignments; pairs below the threshold add nothing."""
    gain = np.where(similarity >= threshold, similarity, 0)
    gain = gain if len(gain) <= gain.shape[1] else gain.T
    ways = permutations(range(gain.shape[1]), len(gain))
    return max(sum(gain[row, column] for row, column in enumerate(way)) for way in ways)


@pytest.mark.parametrize("threshold", [0.05, 0.4, 0.8])
def test_the_exact_matcher_finds_the_largest_sum(threshold):
    for similarity in CASES:
        rows, columns = match_hungarian(similarity, threshold)
        assert similarity[rows, columns].sum() == pytest.approx(best_sum(similarity, threshold), abs=1e-12)


def test_the_exact_matcher_finds_the_pairs_in_a_large_matrix():
    order = RNG.permutation(60)
    similarity = RNG.random((60, 60)) * 0.9
    similarity[np.arange(60), order] = 0.95
    rows, columns = match_hungarian(similarity, 0.1)
    assert similarity[rows, columns].sum() == pytest.approx(60 * 0.95)
    np.testing.assert_array_equal(columns, order)


@pytest.mark.parametrize("match", [match_greedy, match_hungarian])
def test_pairs_are_unique_and_not_below_the_threshold(match):
    for similarity in CASES:
        rows, columns = match(similarity, 0.4)
        assert len(set(rows.tolist())) == len(rows) == len(set(columns.tolist())) == len(columns)
        assert rows.tolist() == sorted(rows.tolist())
        assert (similarity[rows, columns] >= 0.4).all()
        left = np.delete(np.delete(similarity, rows, axis=0), columns, axis=1)
        assert not left.size or left.max() < 0.4


def test_the_greedy_matcher_selects_the_best_pair_first():
    similarity = np.array([[0.9, 0.8], [0.8, 0.1]])
    assert [pair.tolist() for pair in match_greedy(similarity, 0.05)] == [[0, 1], [0, 1]]
    assert [pair.tolist() for pair in match_hungarian(similarity, 0.05)] == [[0, 1], [1, 0]]


@pytest.mark.parametrize("match", [match_greedy, match_hungarian])
@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_an_empty_matrix_has_no_pairs(match, shape):
    assert [len(side) for side in match(np.zeros(shape), 0.5)] == [0, 0]


@pytest.mark.parametrize("match", [match_greedy, match_hungarian])
def test_invalid_similarities_are_refused(match):
    with pytest.raises(ValueError, match="finite matrix"):
        match([[np.nan]], 0.5)
    with pytest.raises(ValueError, match="finite matrix"):
        match([0.5], 0.5)
    with pytest.raises(ValueError, match="above 0, but got 0"):
        match([[0.5]], 0)
