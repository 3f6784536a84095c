"""Ids of images, annotations and categories: exact integers of 64 bits on every path, never by way of a float."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_LIMIT = 2**63  # int64 holds -_LIMIT to _LIMIT - 1
_WHOLE_FLOATS = 2.0**53  # below it every whole number has a float of its own


def exact_integer(value: Any) -> int | None:
    """Return a JSON number as the integer that it stands for.

    Args:
        value: what a JSON parser returns.

    Returns:
        None if it is not an integer of 64 bits. Whole floats below 2**53 are integers, because some tools write every number
        as a float; from there on a float may stand for several integers.

    Example:
        >>> exact_integer(2**53 + 1), exact_integer(139.0), exact_integer(1.5), exact_integer(2.0**53), exact_integer("1")
        (9007199254740993, 139, None, None, None)
    """
    if type(value) is float:
        return int(value) if abs(value) < _WHOLE_FLOATS and value.is_integer() else None
    return value if type(value) is int and -_LIMIT <= value < _LIMIT else None


def exact_int64(values: NDArray[Any], name: str) -> NDArray[np.int64]:
    """Convert an array of integers to int64.

    Args:
        values: of any shape.
        name: of the argument, for the message.

    Raises:
        ValueError: if the array holds no integers, or one that int64 does not hold.
    """
    if values.size and values.dtype.kind not in "iub":
        raise ValueError(f"Expected {name} to be integers, but got {values.dtype}.")
    if values.dtype.kind == "u" and values.size and int(values.max()) >= _LIMIT:
        raise ValueError(f"Expected {name} to fit in int64, up to {_LIMIT - 1}, but got {values.max()}.")
    return values.astype(np.int64, copy=False)
