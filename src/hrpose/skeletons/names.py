"""Keypoint names: sides, mirror pairs, and matching between two sets.

Names may be in any script. The token of a side is "left" or "right", "l" or "r", 左 or 右. It is separate, as in "left_ear",
"earL" or "L Ear", or joined to the rest, as in "leftear" or "lhip". A joined token is only recognised if swapping it gives
another name of the set.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, TypeAlias

Side: TypeAlias = Literal["left", "right", "middle"]
Span: TypeAlias = tuple[int, int]  # start and end of a part of a name

_LEFT_TO_RIGHT = {"left": "right", "Left": "Right", "LEFT": "RIGHT", "左": "右", "l": "r", "L": "R"}
_SWAPPED = {**_LEFT_TO_RIGHT, **{right: left for left, right in _LEFT_TO_RIGHT.items()}}
_OPPOSITE: dict[Side, Side] = {"left": "right", "right": "left", "middle": "middle"}
_SIDE_WORD = re.compile("|".join(token for token in _SWAPPED if token.lower() not in ("l", "r")))
_SIDE_LETTER = re.compile("[lrLR]")
_WORD = re.compile("A+(?!a)|A?a+|0+|[+]")  # matches the result of `_kinds`
_SEPARATORS = frozenset("_-./\\:,;|()[]{}")  # and white space; other symbols are part of the name
_MAX_LENGTH = 100  # single tokens of longer names are not tried, which would be slow
FACE = (
    *(f"right_jaw_{k}" for k in range(1, 9)),
    "chin",
    *(f"left_jaw_{k}" for k in range(8, 0, -1)),
    *(f"right_brow_{k}" for k in range(1, 6)),
    *(f"left_brow_{k}" for k in range(5, 0, -1)),
    *(f"nose_bridge_{k}" for k in range(1, 5)),
    *("right_nostril_1", "right_nostril_2", "nose_base", "left_nostril_2", "left_nostril_1"),
    *(f"right_eyelid_{k}" for k in range(1, 7)),
    *(f"left_eyelid_{k}" for k in (4, 3, 2, 1, 6, 5)),
    *("right_mouth_corner", "right_upper_lip_1", "right_upper_lip_2", "upper_lip"),
    *("left_upper_lip_2", "left_upper_lip_1", "left_mouth_corner"),
    *("left_lower_lip_1", "left_lower_lip_2", "lower_lip", "right_lower_lip_2", "right_lower_lip_1"),
    *("right_inner_mouth_corner", "right_inner_upper_lip", "inner_upper_lip", "left_inner_upper_lip"),
    *("left_inner_mouth_corner", "left_inner_lower_lip", "inner_lower_lip", "right_inner_lower_lip"),
)
"""The 68 points of a face in the order of iBUG (300-W), which COCO-WholeBody and Halpe use.

The jaw line from the right ear to the left, then brows, nose, eyelids and lips. The data sets only number them; these names
define the mirror pairs.
"""
# searches for the tokens to swap, most reliable first, and whether the tokens are joined to the rest
_SEARCHES = {"all separate": False, "one separate": False, "a word": True, "a first or last letter": True, "any letter": True}
_NUMBERED_FACE = {f"face-{index}": name for index, name in enumerate(FACE)}  # names in MMPose


@dataclass(frozen=True)
class KeypointName:
    """A parsed keypoint name of a set."""

    side: Side  # "left", "right", or "middle" for no side or both
    words: tuple[str, ...]  # lower-case words without side tokens
    mirror: int | None = None  # index of the name with the other side; None if there is none
    joined: bool = False  # whether the side token is joined to the rest


def keypoint_key(name: str) -> str:
    """Normalise a keypoint name for comparison between sets.

    Case, separators, "l" for "left" and the position of the side do not matter: "leftEye", "l_eye" and "Eye-Left" give "lefteye".
    Different keypoints have different keys, also if they are close, such as MPII's thorax and CrowdPose's neck. Two names of one
    set may have the same key; `match_names` does not match them.
    """
    name = unicodedata.normalize("NFC", _NUMBERED_FACE.get(name, name))
    words = [word.casefold() for word in _words(name)]
    sides = [_side_of(word) for word in words if word in _SWAPPED]
    core = _join([word for word in words if word not in _SWAPPED])
    return "".join(sides) + ("headtop" if core == "tophead" else core) or name


def match_names(names: Sequence[str], others: Sequence[str]) -> dict[int, int]:
    """Match the keypoints of two sets one to one, by equal names first, then by equal keys that are unique in both sets.

    Returns:
        The index in `others` for each index in `names` that has a match.
    """
    places = _unique(others)
    matched = {index: places[name] for name, index in _unique(names).items() if name in places}
    places, used = _unique(_keys(others)), set(matched.values())
    for key, index in _unique(_keys(names)).items():
        if index not in matched and key in places and places[key] not in used:
            matched[index] = places[key]
    return dict(sorted(matched.items()))


def _keys(names: Sequence[str]) -> list[str]:
    """Return the key of each name, using joined sides that are recognised within the set."""
    return [
        reading.side + _join(reading.words) if reading.joined else keypoint_key(name)
        for name, reading in zip(names, read_names(tuple(names)), strict=True)
    ]


@lru_cache(maxsize=64)
def read_names(names: tuple[str, ...]) -> tuple[KeypointName, ...]:
    """Find sides and mirror pairs in the names of a set.

    Two names are a pair if swapping side tokens in one gives the other. Separate tokens are tried before joined ones, all tokens
    of a name before single ones, words before letters, and exact spelling before lower case. A name is in at most one pair, the
    first one found.
    """
    readings = [_read_name(name, _separate_tokens(name), mirror=None, joined=False) for name in names]
    lower_case = ["_".join(word.casefold() for word in _words(name)) for name in names]
    spellings = [_unique(names), _unique(lower_case)]  # repeated spellings are not matched
    for search, joined in _SEARCHES.items():
        for places in spellings:
            for name, index in places.items():
                if readings[index].mirror is not None:
                    continue
                for tokens in _candidates(name, search):
                    mirrored = _replaced(name, tokens, [_SWAPPED[name[start:end]] for start, end in tokens])
                    other = places.get(mirrored, index)
                    if other != index and readings[other].mirror is None:
                        readings[index] = _read_name(name, tokens, mirror=other, joined=joined)
                        readings[other] = replace(readings[index], side=_OPPOSITE[readings[index].side], mirror=index)
                        break
    return tuple(readings)


def _read_name(name: str, tokens: Sequence[Span], *, mirror: int | None, joined: bool) -> KeypointName:
    """Parse a name with the given side tokens."""
    sides = {_side_of(name[start:end]) for start, end in tokens}
    rest = _replaced(name, tokens, ["" if joined else "_" for _ in tokens])
    words = tuple(word.casefold() for word in _words(rest))
    return KeypointName(sides.pop() if len(sides) == 1 else "middle", words, mirror, joined)


def _separate_tokens(name: str) -> list[Span]:
    return [(start, end) for start, end in _spans(name) if name[start:end].casefold() in _SWAPPED]


def _candidates(name: str, search: str) -> list[list[Span]]:
    """Return the groups of tokens that one of `_SEARCHES` may swap."""
    tokens = [(start, end) for start, end in _separate_tokens(name) if name[start:end] in _SWAPPED]
    if search == "all separate":
        return [tokens]
    if search == "one separate":
        tokens.sort(key=lambda token: token[0] - token[1])  # words before letters
    elif search == "a word":
        tokens = [match.span() for match in _SIDE_WORD.finditer(name)]
    else:
        ends = {place for start, end in _spans(name) for place in (start, end - 1)}
        letters = [match.span() for match in _SIDE_LETTER.finditer(name)]
        tokens = letters if search == "any letter" else [letter for letter in letters if letter[0] in ends]
    return [[token] for token in tokens] if len(name) <= _MAX_LENGTH else []


def _replaced(name: str, tokens: Sequence[Span], others: Sequence[str]) -> str:
    """Replace tokens, given in ascending order, by others."""
    starts = [0, *(end for _, end in tokens)]
    ends = [*(start for start, _ in tokens), len(name)]
    kept = [name[start:end] for start, end in zip(starts, ends, strict=True)]
    return "".join(text for pair in zip(kept, [*others, ""], strict=True) for text in pair)


def _side_of(token: str) -> Literal["left", "right"]:
    return "left" if token.casefold() in _LEFT_TO_RIGHT else "right"


def _words(name: str) -> list[str]:
    """Split a name such as "leftEar", "left_ear", "Left-ear" or "l.ear" into words; other symbols are also words."""
    return [name[start:end] for start, end in _spans(name)]


@lru_cache(maxsize=1024)
def _spans(name: str) -> list[Span]:
    return [match.span() for match in _WORD.finditer(_kinds(name))]


def _kinds(name: str) -> str:
    """Return the kind of each character: A upper case, a other letters, 0 numbers, + symbols, blank separators."""
    kinds = ""
    for character in name:
        if unicodedata.category(character).startswith("M"):  # a combining mark belongs to its letter
            kinds += kinds[-1:].replace("A", "a") or "a"
        elif character.isalpha():
            kinds += "A" if character.isupper() or character.istitle() else "a"
        elif character.isnumeric():
            kinds += "0"
        else:
            kinds += " " if character.isspace() or character in _SEPARATORS else "+"
    return kinds


def _join(words: Sequence[str]) -> str:
    """Join words, with "_" between two numbers, so that "1_2" does not become "12"."""
    return re.sub(r"(?<!\d)_|_(?!\d)", "", "_".join(words))


def _unique(values: Sequence[str]) -> dict[str, int]:
    """Return the index of each value that occurs once."""
    counts = Counter(values)
    return {value: index for index, value in enumerate(values) if counts[value] == 1}
