"""Random changes of files: values of JSON by their path, and bytes."""

from __future__ import annotations

import copy
import json
from random import Random
from typing import Any

_NUMBERS = (0, -1, 1, 2**31, 2**53 + 1, 2**63, 10**30, -(10**30), 1e-300, 1e308, -1e308, 0.5, float("nan"), float("inf"))
_TEXTS = (
    "",
    "x",
    "../x",
    "/etc/passwd",
    "a\0b",
    "\ud800",
    "x" * 5000,
    "0",
    "1e400",
    "nan",
    "é",
    "=1+1",
    "${oc.env:HOME}",
    "a\\b",
)
_OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], [None], {"a": 1}, [0.9], "[" * 2000)


def mutate_json(content: Any, rng: Random) -> bytes:
    """Change one to three values of a JSON document by their paths, sometimes also its bytes."""
    whole = [copy.deepcopy(content)]
    for _ in range(rng.randint(1, 3)):
        parent, key = _place(whole, rng)
        _change(parent, key, rng)
    if rng.random() < 0.02:
        whole[0] = _nested(whole[0], rng.choice((50, 2000, 100_000)))
    text = json.dumps(whole[0]) if not isinstance(whole[0], bytes) else whole[0].decode()
    return mutate_bytes(text.encode(), rng) if rng.random() < 0.1 else text.encode()


def mutate_value(content: Any, rng: Random) -> Any:
    """Change one to three values of plain containers by their paths."""
    whole = [copy.deepcopy(content)]
    for _ in range(rng.randint(1, 3)):
        _change(*_place(whole, rng), rng)
    return whole[0]


def mutate_bytes(content: bytes, rng: Random) -> bytes:
    """Flip, cut, insert, repeat or overwrite bytes."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        if not changed:
            break
        place, length = rng.randrange(len(changed)), rng.choice((1, 1, 2, 4, 8, 64))
        kind = rng.randrange(7)
        if kind <= 1:
            changed[place] ^= 1 << rng.randrange(8)
        elif kind == 2:
            changed[place : place + length] = rng.choice((b"\xff", b"\0", b"[", b"9")) * length
        elif kind == 3:
            changed[place:place] = rng.randbytes(length)
        elif kind == 4:
            del changed[place : place + length]
        elif kind == 5:
            changed[place:place] = changed[place : place + length]
        else:
            del changed[place:]
    return bytes(changed)


def _place(content: Any, rng: Random) -> tuple[Any, Any]:
    """Walk to a random entry; return the container that holds it, and its key."""
    parent, key = content, 0
    while True:
        part = parent[key]
        if not isinstance(part, dict | list) or not part or rng.random() < 0.15:
            return parent, key
        parent, key = part, rng.choice(list(part)) if isinstance(part, dict) else rng.randrange(len(part))


def _change(parent: Any, key: Any, rng: Random) -> None:
    value, kind = parent[key], rng.randrange(8)
    if kind == 0 and parent is not None and len(parent) > 1:
        del parent[key]
    elif kind == 1 and isinstance(parent, list):
        parent.insert(key, copy.deepcopy(value))
    elif kind == 2:
        parent[key] = [value]
    elif kind == 3 and isinstance(value, dict):
        value[rng.choice(("sigmas", "flip_idx", "flip_pairs", "iscrowd", "area", "", "id", "_target_"))] = _odd(rng)
    elif kind == 4:
        parent[key] = str(value)[:100]
    elif kind == 5 and isinstance(value, list) and value:
        parent[key] = value * rng.choice((2, 3)) if len(value) < 100 else value[: rng.randrange(len(value))]
    else:
        parent[key] = _odd(rng)


def _odd(rng: Random) -> Any:
    return copy.deepcopy(rng.choice(rng.choice((_NUMBERS, _TEXTS, _OTHERS))))


def _nested(content: Any, depth: int) -> bytes:
    """Nest a document deeper than a parser recurses."""
    return b"[" * depth + json.dumps(content).encode() + b"]" * depth
