"""What the names of keypoints tell: sides, mirror pairs, and which keypoints of two sets are the same.

Names may be of any script. The token of a side is "left" or "right", "l" or "r", 左 or 右. It is separate, as in "left_ear",
"earL" or "L Ear", or joined to the rest, as in "leftear" or "lhip". A joined token counts only where exchanging it gives
another name of the set.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

from hrpose.skeletons.faces import FACE

Side: TypeAlias = Literal["left", "right", "middle"]

_LEFT_TO_RIGHT = {"left": "right", "Left": "Right", "LEFT": "RIGHT", "左": "右", "l": "r", "L": "R"}
_EXCHANGED = {**_LEFT_TO_RIGHT, **{right: left for left, right in _LEFT_TO_RIGHT.items()}}
_OPPOSITE: dict[Side, Side] = {"left": "right", "right": "left", "middle": "middle"}
_SIDE_WORD = re.compile("|".join(token for token in _EXCHANGED if token.lower() not in ("l", "r")))
_SIDE_LETTER = re.compile("[lrLR]")
_WORD = re.compile("A+(?!a)|A?a+|0+|[+]")  # of the kinds of characters that `_kinds` gives
_SEPARATORS = frozenset("_-./\\:,;|()[]{}")  # and white space; all other symbols are part of the name
_LONGEST = 200  # characters of a name in which each token is tried; a hostile file has longer ones
_COUNTED_FACE = {f"face-{index}": name for index, name in enumerate(FACE)}  # as MMPose names them


@dataclass(frozen=True)
class KeypointName:
    """What the name of a keypoint tells within its set.

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


@dataclass(frozen=True)
class _Exchange:
    """One way to exchange the sides of a name: the result, and the side and the rest of the name itself."""

    result: str
    side: Side
    words: tuple[str, ...]
    joined: bool


def keypoint_key(name: str) -> str:
    """Spell a keypoint's name so that the same keypoint of two sets has one key.

    Case, separators, "l" for "left" and the place of the side do not matter: "leftEye", "l_eye" and "Eye-Left" give "lefteye".
    What is called differently stays different, even where it lies close: MPII's thorax is not CrowdPose's neck. Two names of
    one set may have the same key; `match_names` keeps them apart.
    """
    words = [word.casefold() for word in _words(_COUNTED_FACE.get(name, name))]
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
    places = _unique(_keys(others))
    for key, index in _unique(_keys(names)).items():
        if index not in matched and key in places and places[key] not in matched.values():
            matched[index] = places[key]
    return dict(sorted(matched.items()))


def _keys(names: Sequence[str]) -> list[str]:
    """Give the key of each name, with the joined sides that its set reveals."""
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
    readings = [_read_alone(name) for name in names]
    lower_case = ["_".join(word.casefold() for word in _words(name)) for name in names]
    spellings = [_unique(names), _unique(lower_case)]  # one that several names share finds no pair
    for exchanges in (_of_all_separate, _of_one_separate, _of_joined_words, _of_outer_letters, _of_inner_letters):
        for places in spellings:
            for index, other, exchange in _find_pairs(places, readings, exchanges):
                for one, two, side in ((index, other, exchange.side), (other, index, _OPPOSITE[exchange.side])):
                    readings[one] = KeypointName(side, exchange.words, two, exchange.joined)
    return tuple(readings)


def _find_pairs(
    places: Mapping[str, int], readings: Sequence[KeypointName], exchanges: Callable[[str], Iterator[_Exchange]]
) -> Iterator[tuple[int, int, _Exchange]]:
    """Find pairs among the names that are in none yet, given the place of each spelling."""
    for spelling, index in places.items():
        if readings[index].mirror is not None:
            continue
        for exchange in exchanges(spelling):
            other = places.get(exchange.result, index)
            if other != index and readings[other].mirror is None:
                yield index, other, exchange
                break


def _read_alone(name: str) -> KeypointName:
    words = [word.casefold() for word in _words(name)]
    sides = {_side_of(word) for word in words if word in _EXCHANGED}
    core = tuple(word for word in words if word not in _EXCHANGED)
    return KeypointName(sides.pop() if len(sides) == 1 else "middle", core)


def _of_all_separate(name: str) -> Iterator[_Exchange]:
    words = _words(name)
    sides = {_side_of(word) for word in words if word in _EXCHANGED}
    if sides:
        spans = [span for span in _spans(name) if name[slice(*span)] in _EXCHANGED]
        core = tuple(word.casefold() for word in words if word not in _EXCHANGED)
        yield _Exchange(_replaced(name, spans), sides.pop() if len(sides) == 1 else "middle", core, joined=False)


def _of_one_separate(name: str) -> Iterator[_Exchange]:
    spans = [span for span in _spans(name) if name[slice(*span)] in _EXCHANGED]
    if len(spans) > 1 and len(name) <= _LONGEST:
        for start, end in sorted(spans, key=lambda span: span[0] - span[1]):
            rest = (*_words(name[:start]), *_words(name[end:]))
            core = tuple(word.casefold() for word in rest)
            yield _Exchange(_replaced(name, [(start, end)]), _side_of(name[start:end]), core, joined=False)


def _of_joined_words(name: str) -> Iterator[_Exchange]:
    return _of_joined(name, [match.span() for match in _SIDE_WORD.finditer(name)])


def _of_outer_letters(name: str) -> Iterator[_Exchange]:
    ends = {place for start, end in _spans(name) for place in (start, end - 1)}
    letters = [match.span() for match in _SIDE_LETTER.finditer(name)]
    return _of_joined(name, [span for span in letters if span[0] in ends])


def _of_inner_letters(name: str) -> Iterator[_Exchange]:
    return _of_joined(name, [match.span() for match in _SIDE_LETTER.finditer(name)])


def _of_joined(name: str, spans: Sequence[tuple[int, int]]) -> Iterator[_Exchange]:
    for start, end in spans if len(name) <= _LONGEST else ():
        core = tuple(word.casefold() for word in _words(name[:start] + name[end:]))
        yield _Exchange(_replaced(name, [(start, end)]), _side_of(name[start:end]), core, joined=True)


def _replaced(name: str, spans: Sequence[tuple[int, int]]) -> str:
    """Exchange the tokens at some places, from the last one on so that the others stay in place."""
    for start, end in reversed(spans):
        name = name[:start] + _EXCHANGED[name[start:end]] + name[end:]
    return name


def _side_of(token: str) -> Literal["left", "right"]:
    return "left" if token in _LEFT_TO_RIGHT else "right"


def _words(name: str) -> list[str]:
    """Split "leftEar", "left_ear", "Left-ear" or "l.ear" into words; symbols other than separators are words too."""
    return [name[start:end] for start, end in _spans(name)]


@lru_cache(maxsize=1024)
def _spans(name: str) -> list[tuple[int, int]]:
    return [match.span() for match in _WORD.finditer(_kinds(name))]


def _kinds(name: str) -> str:
    """Give the kind of each character: A upper case, a other letters, 0 numbers, + symbols, blank separators."""
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
    """Give the index of each value that occurs once."""
    counts = Counter(values)
    return {value: index for index, value in enumerate(values) if counts[value] == 1}
