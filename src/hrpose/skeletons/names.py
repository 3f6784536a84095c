"""The names of keypoints: their sides, mirror pairs, and which keypoints of two sets are the same.

Names may be of any script. The token of a side is "left" or "right", "l" or "r", 左 or 右. It is separate, as in "left_ear",
"earL" or "L Ear", or joined to the rest, as in "leftear" or "lhip". A joined token counts only where exchanging it gives another
name of the set.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, TypeAlias

Side: TypeAlias = Literal["left", "right", "middle"]
Span: TypeAlias = tuple[int, int]  # start and end of a part of a name

_LEFT_TO_RIGHT = {"left": "right", "Left": "Right", "LEFT": "RIGHT", "左": "右", "l": "r", "L": "R"}
_EXCHANGED = {**_LEFT_TO_RIGHT, **{right: left for left, right in _LEFT_TO_RIGHT.items()}}
_OPPOSITE: dict[Side, Side] = {"left": "right", "right": "left", "middle": "middle"}
_SIDE_WORD = re.compile("|".join(token for token in _EXCHANGED if token.lower() not in ("l", "r")))
_SIDE_LETTER = re.compile("[lrLR]")
_WORD = re.compile("A+(?!a)|A?a+|0+|[+]")  # of the kinds of characters that `_kinds` gives
_SEPARATORS = frozenset("_-./\\:,;|()[]{}")  # and white space; all other symbols are part of the name
_LONGEST = 100  # characters of a name in which each token is tried; a hostile file has longer ones
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

The jaw line from the right ear to the left, then brows, nose, eyelids and lips. The data sets only number them; the names give
the mirror pairs.
"""
_COUNTED_FACE = {f"face-{index}": name for index, name in enumerate(FACE)}  # as MMPose names them


@dataclass(frozen=True)
class KeypointName:
    """The parts of the name of a keypoint within its set.

    Attributes:
        side: "left", "right", or "middle" where the name has no side or both.
        words: lower-case words without the tokens of the side.
        mirror: index of the name with the exchanged side; None where there is none.
        joined: whether the token of the side is joined to the rest.
    """

    side: Side
    words: tuple[str, ...]
    mirror: int | None = None
    joined: bool = False


def keypoint_key(name: str) -> str:
    """Return a spelling of a keypoint's name that is the same in every set.

    Case, separators, "l" for "left" and the place of the side do not matter: "leftEye", "l_eye" and "Eye-Left" give "lefteye".
    Different names stay different, even for close keypoints: MPII's thorax is not CrowdPose's neck. Two names of one set may have
    the same key; `match_names` keeps them apart.
    """
    name = unicodedata.normalize("NFC", _COUNTED_FACE.get(name, name))
    words = [word.casefold() for word in _words(name)]
    sides = [_side_of(word) for word in words if word in _EXCHANGED]
    core = _join([word for word in words if word not in _EXCHANGED])
    return "".join(sides) + ("headtop" if core == "tophead" else core) or name


def match_names(names: Sequence[str], others: Sequence[str]) -> dict[int, int]:
    """Find the same keypoints in two sets, one to one: equal names first, then equal keys.

    A key that several names of a set share matches nothing.

    Returns:
        For the indices of `names` that have a counterpart, its index in `others`.
    """
    places = _unique(others)
    matched = {index: places[name] for name, index in _unique(names).items() if name in places}
    places, used = _unique(_keys(others)), set(matched.values())
    for key, index in _unique(_keys(names)).items():
        if index not in matched and key in places and places[key] not in used:
            matched[index] = places[key]
    return dict(sorted(matched.items()))


def _keys(names: Sequence[str]) -> list[str]:
    """Return the key of each name, with the joined sides that its set reveals."""
    return [
        reading.side + _join(reading.words) if reading.joined else keypoint_key(name)
        for name, reading in zip(names, read_names(tuple(names)), strict=True)
    ]


@lru_cache(maxsize=64)
def read_names(names: tuple[str, ...]) -> tuple[KeypointName, ...]:
    """Read sides and mirror pairs off the names of a set.

    Two names are a pair if exchanging side tokens in one gives the other. Separate tokens are tried before joined ones, all of
    a name before one at a time, words before letters, and each in the spelling of the names before their lower-case words.
    A name is in one pair at most: the first found, in the order of the names.
    """
    readings = [_read_name(name, _separate_tokens(name), mirror=None, joined=False) for name in names]
    lower_case = ["_".join(word.casefold() for word in _words(name)) for name in names]
    spellings = [_unique(names), _unique(lower_case)]  # one that several names share finds no pair
    for find_tokens, joined in _SEARCHES:
        for places in spellings:
            for name, index in places.items():
                if readings[index].mirror is not None:
                    continue
                for tokens in find_tokens(name):
                    mirrored = _replaced(name, tokens, [_EXCHANGED[name[start:end]] for start, end in tokens])
                    other = places.get(mirrored, index)
                    if other != index and readings[other].mirror is None:
                        readings[index] = _read_name(name, tokens, mirror=other, joined=joined)
                        readings[other] = replace(readings[index], side=_OPPOSITE[readings[index].side], mirror=index)
                        break
    return tuple(readings)


def _read_name(name: str, tokens: Sequence[Span], *, mirror: int | None, joined: bool) -> KeypointName:
    """Read a name with the given side tokens."""
    sides = {_side_of(name[start:end]) for start, end in tokens}
    rest = _replaced(name, tokens, ["" if joined else "_" for _ in tokens])
    words = tuple(word.casefold() for word in _words(rest))
    return KeypointName(sides.pop() if len(sides) == 1 else "middle", words, mirror, joined)


def _separate_tokens(name: str) -> list[Span]:
    return [(start, end) for start, end in _spans(name) if name[start:end].casefold() in _EXCHANGED]


def _all_separate(name: str) -> Iterator[Sequence[Span]]:
    yield [(start, end) for start, end in _separate_tokens(name) if name[start:end] in _EXCHANGED]


def _one_separate(name: str) -> Iterator[Sequence[Span]]:
    tokens = next(_all_separate(name))
    return _one_of(name, sorted(tokens, key=lambda token: token[0] - token[1]))  # words before letters


def _one_joined_word(name: str) -> Iterator[Sequence[Span]]:
    return _one_of(name, [match.span() for match in _SIDE_WORD.finditer(name)])


def _one_outer_letter(name: str) -> Iterator[Sequence[Span]]:
    ends = {place for start, end in _spans(name) for place in (start, end - 1)}
    return _one_of(name, [match.span() for match in _SIDE_LETTER.finditer(name) if match.start() in ends])


def _one_letter(name: str) -> Iterator[Sequence[Span]]:
    return _one_of(name, [match.span() for match in _SIDE_LETTER.finditer(name)])


def _one_of(name: str, tokens: Sequence[Span]) -> Iterator[Sequence[Span]]:
    return ([token] for token in tokens if len(name) <= _LONGEST)


# Ways to find the tokens that are exchanged, the surest first; and whether they are joined to the rest.
_SEARCHES: tuple[tuple[Callable[[str], Iterator[Sequence[Span]]], bool], ...] = (
    (_all_separate, False),
    (_one_separate, False),
    (_one_joined_word, True),
    (_one_outer_letter, True),
    (_one_letter, True),
)


def _replaced(name: str, tokens: Sequence[Span], others: Sequence[str]) -> str:
    """Replace tokens, in ascending order, by others."""
    starts = [0, *(end for _, end in tokens)]
    ends = [*(start for start, _ in tokens), len(name)]
    kept = [name[start:end] for start, end in zip(starts, ends, strict=True)]
    return "".join(text for pair in zip(kept, [*others, ""], strict=True) for text in pair)


def _side_of(token: str) -> Literal["left", "right"]:
    return "left" if token.casefold() in _LEFT_TO_RIGHT else "right"


def _words(name: str) -> list[str]:
    """Split "leftEar", "left_ear", "Left-ear" or "l.ear" into words; symbols other than separators are words too."""
    return [name[start:end] for start, end in _spans(name)]


@lru_cache(maxsize=1024)
def _spans(name: str) -> list[Span]:
    return [match.span() for match in _WORD.finditer(_kinds(name))]


def _kinds(name: str) -> str:
    """Return the kind of each character: A upper case, a other letters, 0 numbers, + symbols, blank separators."""
    kinds = ""
    for character in name:
        if unicodedata.category(character).startswith("M"):  # an accent belongs to its letter
            kinds += kinds[-1:].replace("A", "a") or "a"
        elif character.isalpha():
            kinds += "A" if character.isupper() or character.istitle() else "a"
        elif character.isnumeric():
            kinds += "0"
        else:
            kinds += " " if character.isspace() or character in _SEPARATORS else "+"
    return kinds


def _join(words: Sequence[str]) -> str:
    """Join words; two numbers stay apart, so that "1_2" is not "12"."""
    return re.sub(r"(?<!\d)_|_(?!\d)", "", "_".join(words))


def _unique(values: Sequence[str]) -> dict[str, int]:
    """Return the index of each value that occurs once."""
    counts = Counter(values)
    return {value: index for index, value in enumerate(values) if counts[value] == 1}
