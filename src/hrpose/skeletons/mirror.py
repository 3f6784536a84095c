"""Mirror pairs that are given, by name or by index, instead of being found in the names."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

Pairs = tuple[tuple[int, int], ...]


def resolve_flip_pairs(pairs: Any, names: Sequence[str], title: str) -> Pairs:
    """Check mirror pairs, and give them as pairs of indices in ascending order.

    Args:
        pairs: [[a, b], ...], each keypoint by its name or its 0-based index; none at all is possible.
        names: of the K keypoints.
        title: name of the skeleton, for the message.

    Raises:
        ValueError: if an entry is no pair, names no keypoint, or a keypoint is in two pairs.
    """
    expected = f"Expected `flip_pairs` of skeleton '{title}' to be pairs [[a, b], ...] of its keypoints"
    if not _is_list(pairs) or not all(_is_list(pair) and len(pair) == 2 for pair in pairs):
        raise ValueError(f"{expected}, by name or index from 0, but found {pairs!r}.")
    resolved = [[_find_index(item, names, expected) for item in pair] for pair in pairs]
    counts = Counter(index for pair in resolved for index in pair)
    repeated = [index for index, count in counts.items() if count > 1]
    if repeated:
        raise ValueError(f"{expected}, each in one pair at most, but found {_list(repeated, names)} more than once.")
    return tuple(sorted((min(pair), max(pair)) for pair in resolved))


def resolve_flip_idx(order: Any, names: Sequence[str], title: str) -> Pairs:
    """Turn a mirror permutation, `flip_idx` as ultralytics writes it, into pairs of indices.

    Args:
        order: K entries, for each keypoint its mirrored one, by name or 0-based index.
        names: of the K keypoints.
        title: name of the skeleton, for the message.

    Raises:
        ValueError: if it has another length, names no keypoint, or is not its own inverse.
    """
    expected = (
        f"Expected `flip_idx` of skeleton '{title}' to give the mirrored one of each of its {len(names)} keypoints"
    )
    if not _is_list(order) or len(order) != len(names):
        raise ValueError(f"{expected}, but found {order!r}.")
    indices = [_find_index(item, names, expected) for item in order]
    for index, other in enumerate(indices):
        if indices[other] != index:
            raise ValueError(
                f"{expected}, so that two keypoints mirror each other, but found {other} ({names[other]!r}) for {index} "
                f"({names[index]!r}) and {indices[other]} ({names[indices[other]]!r}) for {other}."
            )
    return tuple((index, other) for index, other in enumerate(indices) if index < other)


def permutation_of(pairs: Pairs, num_keypoints: int) -> tuple[int, ...]:
    """Give the permutation that exchanges the two indices of each pair."""
    partners = {index: other for one, two in pairs for index, other in ((one, two), (two, one))}
    return tuple(partners.get(index, index) for index in range(num_keypoints))


def _find_index(item: Any, names: Sequence[str], expected: str) -> int:
    if isinstance(item, str):
        if item in names:
            return names.index(item)
        close = get_close_matches(item[:100], names, n=1)  # slow for the long names of a hostile file
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"{expected}, but found {item!r}, which is none of them.{hint}")
    try:
        index = operator.index(item)
    except TypeError:
        raise ValueError(f"{expected}, by name or index, but found {item!r}.") from None
    if isinstance(item, bool) or not 0 <= index < len(names):
        raise ValueError(f"{expected}, with indices from 0 to {len(names) - 1}, but found {item!r}.")
    return index


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _list(indices: Iterable[int], names: Sequence[str]) -> str:
    return ", ".join(f"{index} ({names[index]!r})" for index in indices)
