"""Pair rows with columns by their similarity: greedily, the best pair first, or so that the sum is as large as it can be.

The second is the assignment problem, solved exactly by shortest augmenting paths with dual prices (H. W. Kuhn 1955;
R. Jonker and A. Volgenant, Computing 38, 1987), in O(n^3).

Legend of the shapes: T rows (tracks), N columns (poses), P pairs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Matcher = Callable[[Floats, float], tuple[Indices, Indices]]


def match_greedy(similarity: ArrayLike, threshold: float) -> tuple[Indices, Indices]:
    """Take the most similar pair, then the most similar one of the rows and columns that are left, and so on.

    Args:
        similarity: (T, N) finite numbers; among equals the earlier row, then the earlier column goes first.
        threshold: least similarity of a pair, above 0.

    Returns:
        (P,) rows and (P,) columns, sorted by row.

    Raises:
        ValueError: if the similarities are no finite matrix, or the threshold is not positive.

    Example:
        >>> match_greedy([[0.9, 0.8], [0.8, 0.1]], 0.3)
        (array([0]), array([0]))
    """
    left = _check(similarity, threshold)
    pairs = []
    while left.size and left.max() >= threshold:
        row, column = np.unravel_index(left.argmax(), left.shape)
        pairs.append((int(row), int(column)))
        left[row], left[:, column] = -np.inf, -np.inf
    return _sorted(pairs)


def match_hungarian(similarity: ArrayLike, threshold: float) -> tuple[Indices, Indices]:
    """Choose the pairs whose similarities have the largest sum.

    Args:
        similarity: (T, N) finite numbers.
        threshold: least similarity of a pair, above 0.

    Returns:
        (P,) rows and (P,) columns, sorted by row.

    Raises:
        ValueError: as `match_greedy`.

    Example:
        >>> match_hungarian([[0.9, 0.8], [0.8, 0.1]], 0.3)
        (array([0, 1]), array([1, 0]))
    """
    matrix = _check(similarity, threshold)
    gain = np.where(matrix >= threshold, matrix, 0.0)  # a pair that may not be is worth as little as no pair
    transposed = gain.shape[0] > gain.shape[1]
    owners = _assign(-(gain.T if transposed else gain))
    pairs = [(owner, place) for place, owner in enumerate(owners.tolist()) if owner >= 0]
    pairs = [pair[::-1] for pair in pairs] if transposed else pairs
    return _sorted([pair for pair in pairs if matrix[pair] >= threshold])


MATCHERS: dict[str, Matcher] = {"greedy": match_greedy, "hungarian": match_hungarian}


def _check(similarity: ArrayLike, threshold: float) -> Floats:
    matrix = np.array(similarity, dtype=np.float64)
    if matrix.ndim != 2 or not np.isfinite(matrix).all():
        raise ValueError(f"Expected `similarity` to be a finite matrix, but got {matrix.tolist()}.")
    if not threshold > 0:
        raise ValueError(f"Expected `threshold`, the least similarity of a pair, to be above 0, but got {threshold}.")
    return matrix


def _assign(costs: Floats) -> Indices:
    """Give every row (n of them) a column of its own (m >= n) at the least total cost; return the (m,) row of each column, or -1.

    Row by row, the cheapest way to a free column is found along which those that stand in the way can change places. Prices
    keep the costs of all steps at 0 or above, so that the ways can be grown from the nearest column outwards.
    """
    rows, columns = costs.shape
    owners = np.full(columns, -1, dtype=np.int64)
    row_prices, column_prices = np.zeros(rows), np.zeros(columns)
    for start in range(rows):
        distance = np.full(columns, np.inf)
        previous = np.full(columns, -1, dtype=np.int64)
        settled = np.zeros(columns, dtype=bool)
        row, last, reached = start, -1, 0.0
        while row >= 0:
            step = reached + costs[row] - row_prices[row] - column_prices
            nearer = ~settled & (step < distance)
            distance[nearer], previous[nearer] = step[nearer], last
            last = int(np.where(settled, np.inf, distance).argmin())
            settled[last], reached = True, float(distance[last])
            row = int(owners[last])
        way = settled & (owners >= 0)
        row_prices[start] += reached
        row_prices[owners[way]] += reached - distance[way]
        column_prices[settled] -= reached - distance[settled]
        while last >= 0:
            before = int(previous[last])
            owners[last] = owners[before] if before >= 0 else start
            last = before
    return owners


def _sorted(pairs: list[tuple[int, int]]) -> tuple[Indices, Indices]:
    array = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)
    return array[:, 0], array[:, 1]
