"""JSON as RFC 8259 defines it: every JSON file of hrpose is written by `dumps`.

Python's json module writes NaN and Infinity, which other readers refuse.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def dumps(content: Any, *, undefined_as_null: bool = False, indent: int | None = None) -> str:
    """Write plain containers as JSON.

    Args:
        content: dicts, lists, tuples, text and numbers.
        undefined_as_null: write NaN and infinity as null. Only for figures that can be undefined, such as the AP of a size that
            nobody has; results are never undefined.
        indent: spaces per level; None writes one line.

    Raises:
        ValueError: if a number is NaN or infinite.
    """
    written = _finite(content) if undefined_as_null else content
    try:
        return json.dumps(written, indent=indent, allow_nan=False)
    except ValueError as error:
        raise ValueError(f"Expected finite numbers in JSON, found NaN or infinity at {_find(content)}.") from error


def _finite(content: Any) -> Any:
    """Copy containers with None in the place of numbers that are not finite."""
    if isinstance(content, Mapping):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if _is_undefined(content) else content


def _find(content: Any, place: str = "$") -> str:
    """Return the path of the first number that is not finite; "" where there is none."""
    if isinstance(content, Mapping):
        return next((found for key, value in content.items() if (found := _find(value, f"{place}.{key}"))), "")
    if isinstance(content, list | tuple):
        return next((found for index, value in enumerate(content) if (found := _find(value, f"{place}[{index}]"))), "")
    return place if _is_undefined(content) else ""


def _is_undefined(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
