"""Assign rows to columns by similarity: greedily, the best pair first, or with the largest sum.

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
    """Select the most similar pair repeatedly, each row and column at most once.

    Args:
        similarity: (T, N) finite numbers; among equal ones the first row, then the first column is selected.
        threshold: least similarity of a pair, above 0.

    Returns:
        (P,) rows and (P,) columns, sorted by row.

    Raises:
        ValueError: if the similarities are not a finite matrix, or the threshold is not positive.

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
    found = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def match_hungarian(similarity: ArrayLike, threshold: float) -> tuple[Indices, Indices]:
    """Select the pairs with the largest sum of similarities (the assignment problem, solved by scipy).

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
    # slow to import
    from scipy.optimize import linear_sum_assignment

    matrix = _check(similarity, threshold)
    rows, columns = linear_sum_assignment(np.where(matrix >= threshold, matrix, 0.0), maximize=True)
    paired = matrix[rows, columns] >= threshold
    return rows[paired], columns[paired]


MATCHERS: dict[str, Matcher] = {"greedy": match_greedy, "hungarian": match_hungarian}


def _check(similarity: ArrayLike, threshold: float) -> Floats:
    matrix = np.array(similarity, dtype=np.float64)
    if matrix.ndim != 2 or not np.isfinite(matrix).all():
        raise ValueError(f"Expected `similarity` to be a finite matrix, but got {matrix.tolist()}.")
    if not threshold > 0:
        raise ValueError(f"Expected `threshold`, the least similarity of a pair, to be above 0, but got {threshold}.")
    return matrix
