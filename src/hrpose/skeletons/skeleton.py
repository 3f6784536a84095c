"""A keypoint set: names, edges, mirror pairs, OKS sigmas and upper body.

Mirror pairs are derived from the sides in the names (`hrpose.skeletons.names`), OKS sigmas from published ones by name, and the
upper body from the names of the lower body, unless they are given.
"""

from __future__ import annotations

import logging
import math
import operator
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any

from hrpose.errors import list_names
from hrpose.skeletons.names import Side, read_names

logger = logging.getLogger(__name__)

# published OKS sigmas: COCO's seventeen (Ronchi and Perona, ICCV 2017), head and neck of CrowdPose, COCO's hip for the trunk
_KNOWN_SIGMAS = {
    "nose": 0.026,
    "eye": 0.025,
    "ear": 0.035,
    "shoulder": 0.079,
    "elbow": 0.072,
    "wrist": 0.062,
    "hip": 0.107,
    "knee": 0.087,
    "ankle": 0.089,
    "head": 0.079,
    "headtop": 0.079,
    "tophead": 0.079,
    "neck": 0.079,
    "upperneck": 0.079,
    "thorax": 0.107,
    "pelvis": 0.107,
}
MAX_KEYPOINTS = 4096  # the largest skeletons have a few hundred
UNKNOWN_SIGMA = 0.05  # stricter than most published ones; a wrist has 0.062
_LOWER_BODY = {"hip", "pelvis", "knee", "ankle", "foot", "toe", "heel", "leg"}
Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Skeleton:
    """A set of keypoints.

    Build one with `Skeleton.from_names` or `Skeleton.from_category`; the constructor derives only mirror pairs.

    Attributes:
        name: of the set.
        keypoint_names: K unique names.
        edges: pairs of 0-based keypoint indices, drawn as limbs.
        sigmas: K standard deviations of OKS, relative to the square root of the instance's area.
        upper_body: indices of the keypoints that half-body augmentation may keep; empty disables it.
        flip_pairs: mirror pairs of indices, in ascending order; None finds them in the names.
        flip_pairs_given: whether the pairs were given instead of found in the names.
        flip_permutation: K indices of the mirrored keypoints; it is its own inverse.
        sides: "left", "right" or "middle" (no side or both) for each keypoint.

    Raises:
        ValueError: if names repeat, an index is out of range, a keypoint is in two pairs or the number of sigmas is wrong.
    """

    name: str
    keypoint_names: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    sigmas: tuple[float, ...]
    upper_body: tuple[int, ...]
    flip_pairs: Pairs = None  # type: ignore[assignment]  # None only until `__post_init__` has found them
    flip_pairs_given: bool = field(init=False, repr=False, compare=False)
    flip_permutation: tuple[int, ...] = field(init=False, repr=False, compare=False)
    sides: tuple[Side, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = self.keypoint_names
        repeated = sorted(name for name, count in Counter(names).items() if count > 1)
        if not names or repeated:
            found = f"these more than once: {', '.join(repeated)}" if repeated else "none"
            raise ValueError(f"Expected skeleton '{self.name}' to have unique keypoint names, but got {found}.")
        if len(self.sigmas) != len(names) or not all(0 < sigma < math.inf for sigma in self.sigmas):
            raise ValueError(
                f"Expected skeleton '{self.name}' to have {len(names)} positive OKS sigmas, one per keypoint, "
                f"but got {list(self.sigmas)}. Set all sigmas, or none to derive them from the names."
            )
        indices = [index for edge in self.edges for index in edge] + list(self.upper_body)
        outside = [index for index in indices if not 0 <= index < len(names)]
        if outside:
            raise ValueError(
                f"Expected the edges and the upper body of skeleton '{self.name}' to be indices from 0 to "
                f"{len(names) - 1}, but got {outside[0]}."
            )
        given = self.flip_pairs is not None
        pairs = resolve_flip_pairs(self.flip_pairs, names, self.name) if given else _find_flip_pairs(names)
        object.__setattr__(self, "flip_pairs", pairs)
        object.__setattr__(self, "flip_pairs_given", given)
        object.__setattr__(self, "flip_permutation", permutation_of(pairs, len(names)))
        object.__setattr__(self, "sides", tuple(reading.side for reading in read_names(names)))

    @classmethod
    def from_names(
        cls,
        keypoint_names: Sequence[str],
        *,
        name: str = "custom",
        edges: Sequence[Sequence[int]] = (),
        sigmas: Sequence[float] | None = None,
        upper_body: Sequence[int] | None = None,
        flip_pairs: Sequence[Sequence[int | str]] | None = None,
    ) -> Skeleton:
        """Build a skeleton from keypoint names, and derive what is not given.

        Args:
            keypoint_names: K unique names; two that differ in left/right (or l/r) are a mirror pair.
            name: of the set.
            edges: pairs of 0-based indices.
            sigmas: K OKS sigmas; the default is published ones by name, and 0.05 with a warning for other names.
            upper_body: indices; the default is all keypoints except hips, knees, ankles and feet, if there are both kinds.
            flip_pairs: mirror pairs by name or 0-based index, empty for none; the default finds them in the names.

        Raises:
            ValueError: as the constructor, if there are more than 4,096 names, or a pair has an unknown name.
        """
        if len(keypoint_names) > MAX_KEYPOINTS:
            raise ValueError(
                f"Expected skeleton '{name:.80}' to have at most {MAX_KEYPOINTS} keypoints, but got {len(keypoint_names)}."
            )
        names = tuple(keypoint_names)
        return cls(
            name=name,
            keypoint_names=names,
            edges=tuple((int(edge[0]), int(edge[1])) for edge in edges),
            sigmas=tuple(float(sigma) for sigma in sigmas) if sigmas is not None else _derive_sigmas(name, names),
            upper_body=tuple(int(i) for i in upper_body) if upper_body is not None else _derive_upper_body(names),
            flip_pairs=flip_pairs,  # type: ignore[arg-type]  # the constructor resolves names
        )

    @classmethod
    def from_category(cls, category: Mapping[str, Any]) -> Skeleton:
        """Build a skeleton from an entry of `categories` in a COCO keypoint file.

        Args:
            category: with `keypoints` (names, or numbers as names), and optionally `name`, `skeleton` (edges: pairs of 1-based
                indices, of 0-based indices if 0 occurs and K does not, or of names), `sigmas` (K numbers), `flip_pairs` or
                `symmetries` (pairs of names or 0-based indices) or `flip_idx` (K mirrored names or indices). Invalid edges are
                ignored with a warning, because they are only drawn.

        Raises:
            ValueError: if the category has no keypoint names, a mirror pair is invalid, or `sigmas` is not a list of numbers.
        """
        title = str(category.get("name", "custom"))
        names = read_keypoint_names(category)
        if not names:
            raise ValueError(
                f"Expected keypoint names in `keypoints` of category '{title}', but got {category.get('keypoints')!r:.200}."
            )
        pairs = _read_flip_pairs(category, names, title)
        edges = _read_edges(category.get("skeleton"), names, title)
        return cls.from_names(names, name=title, edges=edges, sigmas=_read_sigmas(category, title), flip_pairs=pairs)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Skeleton:
        """Build a skeleton from the result of `to_dict`, which is stored in checkpoints."""
        return cls.from_names(**content)

    def to_dict(self) -> dict[str, Any]:
        """Return plain containers; `flip_pairs` is None if none were given or found."""
        content = {entry.name: _plain(getattr(self, entry.name)) for entry in fields(self) if entry.init}
        return content if self.flip_pairs or self.flip_pairs_given else {**content, "flip_pairs": None}

    @property
    def num_keypoints(self) -> int:
        """Return K."""
        return len(self.keypoint_names)

    @property
    def lacks_flip_pairs(self) -> bool:
        """Check whether mirror pairs are unknown: there are several keypoints, but no pair was given or found."""
        return self.num_keypoints > 1 and not self.flip_pairs and not self.flip_pairs_given

    @property
    def lower_body(self) -> tuple[int, ...]:
        """Return the indices of the keypoints that are not in the upper body; empty if there is no upper body."""
        return tuple(k for k in range(self.num_keypoints) if k not in self.upper_body) if self.upper_body else ()


def read_keypoint_names(category: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the keypoint names of a COCO category, with numbers as strings; empty if it has no names.

    Example:
        >>> read_keypoint_names({"keypoints": [1, 2.0, "tip"]})
        ('1', '2', 'tip')
    """
    entries = category.get("keypoints")
    if isinstance(entries, str | Mapping) or not isinstance(entries, Iterable):
        return ()
    names = []
    for entry in entries:
        if isinstance(entry, float) and entry.is_integer():  # the reader packs lists of numbers as floats
            entry = int(entry)
        if not isinstance(entry, str | int) or isinstance(entry, bool):
            return ()
        names.append(str(entry))
    return tuple(names)


def _read_edges(edges: Any, names: Sequence[str], title: str) -> list[tuple[int, int]]:
    """Return the edges of a category as pairs of 0-based indices; if one is invalid, warn and return none."""
    if edges is None or (_is_list(edges) and not len(edges)):
        return []
    pairs = list(edges) if _is_list(edges) else [edges]
    items = [item for pair in pairs for item in pair] if all(_is_list(pair) and len(pair) == 2 for pair in pairs) else []
    indices = [-1, -1]
    if items and all(isinstance(item, str) for item in items):
        places = {name: index for index, name in enumerate(names)}
        indices = [places.get(name, -1) for name in items]
    elif items and all(type(item) is int or (isinstance(item, float) and item.is_integer()) for item in items):
        numbers = [int(item) for item in items]
        base = 0 if 0 in numbers and len(names) not in numbers else 1
        if base == 0:
            logger.info("The edges of category '%s' contain a 0 and no %d: they count from 0.", title, len(names))
        indices = [number - base for number in numbers]
    found = list(zip(indices[::2], indices[1::2], strict=True))
    outside = [pair for pair, edge in zip(pairs, found, strict=False) if not set(edge) <= set(range(len(names)))]
    if outside:
        logger.warning(
            "Expected edges in `skeleton` of category '%s' to be pairs of numbers from 1 to %d, from 0 to %d, or of names, but "
            "found %.80r (%d of %d edges are invalid). No edges are drawn; training does not change.",
            *(title, len(names), len(names) - 1, outside[0], len(outside), len(pairs)),
        )
        return []
    return found


def _read_sigmas(category: Mapping[str, Any], title: str) -> Sequence[float] | None:
    """Return the sigmas of a category; None if it has none."""
    sigmas = category.get("sigmas")
    if sigmas is None:
        return None
    if not _is_list(sigmas) or not all(type(sigma) in (int, float) and abs(sigma) < 1e9 for sigma in sigmas):
        raise ValueError(
            f"Expected `sigmas` of skeleton '{title}' to be a list of numbers, one per keypoint, but got {sigmas!r:.80}."
        )
    return [float(sigma) for sigma in sigmas]


def _read_flip_pairs(category: Mapping[str, Any], names: Sequence[str], title: str) -> Pairs | None:
    """Return the mirror pairs of a category; None if it has none."""
    pairs, order = category.get("flip_pairs"), category.get("flip_idx")
    pairs = category.get("symmetries") if pairs is None and order is None else pairs
    found = None if pairs is None else resolve_flip_pairs(pairs, names, title)
    if order is None:
        return found
    of_order = resolve_flip_idx(order, names, title)
    if found not in (None, of_order):
        raise ValueError(
            f"Expected `flip_pairs` and `flip_idx` of skeleton '{title}' to be equal, but found {found} and {of_order}."
        )
    return of_order


def _find_flip_pairs(names: tuple[str, ...]) -> Pairs:
    """Return the mirror pairs in the names, and warn of names with a side but without counterpart."""
    readings = read_names(names)
    alone = [name for name, reading in zip(names, readings, strict=True) if reading.side != "middle" and reading.mirror is None]
    if alone:
        logger.warning(
            "No mirror counterpart for %s, so a flip does not swap them. Set skeleton.flip_pairs, rename the pair to "
            "left_*/right_*, or disable augment.flip and flip_test.",
            list_names(alone),
        )
    mirrors = [(index, reading.mirror) for index, reading in enumerate(readings)]
    return tuple((index, other) for index, other in mirrors if other is not None and index < other)


def _plain(value: Any) -> Any:
    """Convert tuples to lists, recursively."""
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _derive_sigmas(title: str, names: tuple[str, ...]) -> tuple[float, ...]:
    """Return the published sigmas by name, and the default with a warning for other names."""
    published = published_sigmas(names)
    unknown = [name for name, sigma in zip(names, published, strict=True) if sigma is None]
    if unknown:
        # names that are numbers also give a warning about missing mirror pairs, with the same fix
        level = logging.INFO if all(name.isdecimal() for name in names) else logging.WARNING
        logger.log(
            level,
            "No published OKS sigma for %s of skeleton '%s': %g is used. AP depends on it; set skeleton.sigmas if you know them.",
            *(list_names(unknown), title, UNKNOWN_SIGMA),
        )
    return tuple(UNKNOWN_SIGMA if sigma is None else sigma for sigma in published)


def published_sigmas(names: tuple[str, ...]) -> list[float | None]:
    """Return the published OKS sigma of each name, regardless of its side; None if there is none."""
    cores = ["".join(word for word in reading.words if word.isalnum()) for reading in read_names(names)]
    return [_KNOWN_SIGMAS.get(core) for core in cores]


def _derive_upper_body(names: tuple[str, ...]) -> tuple[int, ...]:
    """Return the keypoints that are not part of the lower body; empty without lower body."""
    lower = [bool(_LOWER_BODY & set(reading.words)) for reading in read_names(names)]
    return tuple(k for k, is_lower in enumerate(lower) if not is_lower) if any(lower) and not all(lower) else ()


def resolve_flip_pairs(pairs: Any, names: Sequence[str], title: str) -> Pairs:
    """Check mirror pairs [[a, b], ...] by name or 0-based index, and return them as pairs of indices in ascending order.

    Raises:
        ValueError: with the title, if an entry is not a pair of keypoints, or a keypoint is in two pairs.
    """
    expected = f"Expected `flip_pairs` of skeleton '{title}' to be pairs [[a, b], ...] of its keypoints"
    if not _is_list(pairs) or not all(_is_list(pair) and len(pair) == 2 for pair in pairs):
        raise ValueError(f"{expected}, by name or index from 0, but found {pairs!r}.")
    resolved = [[_find_index(item, names, expected) for item in pair] for pair in pairs]
    counts = Counter(index for pair in resolved for index in pair)
    repeated = [index for index, count in counts.items() if count > 1]
    if repeated:
        found = ", ".join(f"{index} ({names[index]!r})" for index in repeated)
        raise ValueError(f"{expected}, each in at most one pair, but found {found} more than once.")
    return tuple(sorted((min(pair), max(pair)) for pair in resolved))


def resolve_flip_idx(order: Any, names: Sequence[str], title: str) -> Pairs:
    """Convert the K mirrored keypoints, by name or 0-based index, such as `flip_idx` of ultralytics, to pairs of indices.

    Raises:
        ValueError: with the title, if the length is not K, an entry is no keypoint, or the order is not its own inverse.
    """
    expected = f"Expected `flip_idx` of skeleton '{title}' to be the mirrored index of each of its {len(names)} keypoints"
    if not _is_list(order) or len(order) != len(names):
        raise ValueError(f"{expected}, but found {order!r}.")
    indices = [_find_index(item, names, expected) for item in order]
    for index, other in enumerate(indices):
        if indices[other] != index:
            raise ValueError(
                f"{expected}, symmetric for both keypoints of a pair, but found {other} ({names[other]!r}) for {index} "
                f"({names[index]!r}) and {indices[other]} ({names[indices[other]]!r}) for {other}."
            )
    return tuple((index, other) for index, other in enumerate(indices) if index < other)


def permutation_of(pairs: Pairs, num_keypoints: int) -> tuple[int, ...]:
    """Return the permutation that swaps the two indices of each pair."""
    partners = {index: other for one, two in pairs for index, other in ((one, two), (two, one))}
    return tuple(partners.get(index, index) for index in range(num_keypoints))


def _find_index(item: Any, names: Sequence[str], expected: str) -> int:
    if isinstance(item, str):
        if item in names:
            return names.index(item)
        close = get_close_matches(item[:100], names, n=1)  # slow for long names
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"{expected}, but found {item!r}, which is not a keypoint.{hint}")
    try:
        index = operator.index(item)
    except TypeError:
        raise ValueError(f"{expected}, by name or index, but found {item!r}.") from None
    if isinstance(item, bool) or not 0 <= index < len(names):
        raise ValueError(f"{expected}, with indices from 0 to {len(names) - 1}, but found {item!r}.")
    return index


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
