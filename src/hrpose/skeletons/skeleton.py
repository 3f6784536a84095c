"""A keypoint set: names, edges, mirror pairs, OKS sigmas and the upper body, of a person or of anybody's own object.

Everything but the names can be derived: mirror pairs from "left" and "right" in the names, OKS sigmas from the published
ones of keypoints of the same name, the upper body from the names of the lower one.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from hrpose.skeletons.faces import FACE

logger = logging.getLogger(__name__)

# Published OKS sigmas: COCO's seventeen (Ronchi and Perona, ICCV 2017), head and neck as in CrowdPose, the trunk as COCO's hip.
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
_UNKNOWN_SIGMA = 0.05  # strict: a person's wrist has 0.062
_LOWER_BODY = {"hip", "pelvis", "knee", "ankle", "foot", "toe", "heel", "leg"}
_COUNTED_FACE = {f"face-{index}": name for index, name in enumerate(FACE)}
_SIDES = {"left": "right", "right": "left", "l": "r", "r": "l"}


@dataclass(frozen=True)
class Skeleton:
    """A set of keypoints and what is known about them.

    Build one with `Skeleton.from_names` or `Skeleton.from_category`; the plain constructor takes every part as it is.

    Attributes:
        name: what the set is called.
        keypoint_names: K unique names.
        edges: pairs of 0-based keypoint indices, to be drawn as limbs.
        sigmas: K standard deviations of OKS, relative to the square root of the object's area.
        upper_body: indices of the keypoints that half-body augmentation may keep; empty switches it off.

    Raises:
        ValueError: if names repeat, an index is out of range or the number of sigmas is wrong.
    """

    name: str
    keypoint_names: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    sigmas: tuple[float, ...]
    upper_body: tuple[int, ...]
    flip_permutation: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = self.keypoint_names
        repeated = sorted({name for name in names if names.count(name) > 1})
        if not names or repeated:
            came = f"these more than once: {', '.join(repeated)}" if repeated else "none"
            raise ValueError(f"Expected skeleton '{self.name}' to have unique keypoint names, but got {came}.")
        if len(self.sigmas) != len(names) or min(self.sigmas) <= 0:
            raise ValueError(
                f"Expected skeleton '{self.name}' to have {len(names)} positive OKS sigmas, one a keypoint, "
                f"but got {list(self.sigmas)}. Give `sigmas`, or leave them out to have them derived from the names."
            )
        indices = [index for edge in self.edges for index in edge] + list(self.upper_body)
        outside = [index for index in indices if not 0 <= index < len(names)]
        if outside:
            raise ValueError(
                f"Expected the edges and the upper body of skeleton '{self.name}' to be indices from 0 to "
                f"{len(names) - 1}, but got {outside[0]}."
            )
        object.__setattr__(self, "flip_permutation", _flip_permutation(names))

    @classmethod
    def from_names(
        cls,
        keypoint_names: Sequence[str],
        *,
        name: str = "custom",
        edges: Sequence[Sequence[int]] = (),
        sigmas: Sequence[float] | None = None,
        upper_body: Sequence[int] | None = None,
    ) -> Skeleton:
        """Build a skeleton from its names; what is not given is derived from them.

        Args:
            keypoint_names: K unique names; "left"/"right" (or l/r) as a word of the name makes mirror pairs.
            name: what the set is called.
            edges: pairs of 0-based indices.
            sigmas: K OKS sigmas; the default takes published ones by name and 0.05, with a warning, for unknown names.
            upper_body: indices; the default is every keypoint that is no hip, knee, ankle or foot, if there are both kinds.

        Raises:
            ValueError: if names repeat, an index is out of range or the number of sigmas is wrong.
        """
        names = tuple(keypoint_names)
        return cls(
            name=name,
            keypoint_names=names,
            edges=tuple((int(edge[0]), int(edge[1])) for edge in edges),
            sigmas=tuple(float(sigma) for sigma in sigmas) if sigmas is not None else _derive_sigmas(name, names),
            upper_body=tuple(int(i) for i in upper_body) if upper_body is not None else _derive_upper_body(names),
        )

    @classmethod
    def from_category(cls, category: Mapping[str, Any]) -> Skeleton:
        """Build a skeleton from an entry of the `categories` of a COCO keypoint file.

        Args:
            category: with `keypoints` (names), and perhaps `name`, `skeleton` (1-based edges), `sigmas` (K numbers).

        Raises:
            ValueError: if the category names no keypoints, or an edge does not fit them.
        """
        names = category.get("keypoints")
        title = str(category.get("name", "custom"))
        if not names or isinstance(names, str) or not all(isinstance(item, str) for item in names):
            raise ValueError(
                f"Expected category '{title}' to list the names of its keypoints under `keypoints`, but got {names!r}."
            )
        edges = category.get("skeleton") or ()
        for edge in edges:
            if not isinstance(edge, Sequence) or len(edge) != 2 or not all(i in range(1, len(names) + 1) for i in edge):
                raise ValueError(
                    f"Expected the edges under `skeleton` of category '{title}' to be pairs of numbers from 1 to {len(names)}, "
                    f"but got {edge!r}."
                )
        counted = [[int(index) - 1 for index in edge] for edge in edges]
        return cls.from_names(names, name=title, edges=counted, sigmas=category.get("sigmas"))

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Skeleton:
        """Build a skeleton from what `to_dict` gave (a checkpoint holds that)."""
        return cls.from_names(**content)

    def to_dict(self) -> dict[str, Any]:
        """Give the skeleton as plain containers."""
        content = asdict(self)
        del content["flip_permutation"]
        return {
            key: [list(v) if isinstance(v, tuple) else v for v in value] if isinstance(value, tuple) else value
            for key, value in content.items()
        }

    @property
    def num_keypoints(self) -> int:
        """K."""
        return len(self.keypoint_names)

    @property
    def flip_pairs(self) -> tuple[tuple[int, int], ...]:
        """Pairs of indices that trade places in the mirror, in ascending order."""
        return tuple((k, other) for k, other in enumerate(self.flip_permutation) if k < other)

    @property
    def sides(self) -> tuple[str, ...]:
        """For each keypoint "left", "right" or, if its name says neither or both, "middle"."""
        return tuple(_side(name) for name in self.keypoint_names)

    @property
    def lower_body(self) -> tuple[int, ...]:
        """Indices of the keypoints that are not in the upper body; empty if there is no upper body."""
        return tuple(k for k in range(self.num_keypoints) if k not in self.upper_body) if self.upper_body else ()


def keypoint_key(name: str) -> str:
    """Spell a keypoint's name so that the same keypoint of two sets comes out alike.

    Case, separators, "l" for "left" and the place of the side do not matter: "leftEye", "l_eye" and "Eye-Left" give "lefteye".
    What is called differently stays different, even where it lies close: MPII's thorax is not CrowdPose's neck. MMPose counts
    the points of a face, "face-0" to "face-67".
    """
    name = _COUNTED_FACE.get(name, name)
    words = [{"l": "left", "r": "right"}.get(word, word) for word in _words(name)]
    sides = [word for word in words if word in ("left", "right")]
    core = "".join(word for word in words if word not in ("left", "right"))
    return "".join(sides) + ("headtop" if core == "tophead" else core)


def _words(name: str) -> list[str]:
    """Split "leftEar", "left_ear", "Left-ear" or "l.ear" into lower-case words."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]


def _side(name: str) -> str:
    sides = {"left" if word in ("left", "l") else "right" for word in _words(name) if word in _SIDES}
    return sides.pop() if len(sides) == 1 else "middle"


def _flip_permutation(names: Sequence[str]) -> tuple[int, ...]:
    """Find for each keypoint its counterpart in the mirror."""
    index_of = {tuple(_words(name)): index for index, name in enumerate(names)}
    permutation, lonely = [], []
    for index, name in enumerate(names):
        words = tuple(_words(name))
        mirrored = tuple(_SIDES.get(word, word) for word in words)
        if mirrored not in index_of:
            lonely.append(name)
        permutation.append(index_of.get(mirrored, index))
    if lonely:
        logger.warning(
            "No mirror counterpart for %s: under a flip each stays itself. Rename the pair left_*/right_*, "
            "or switch augment.flip and flip_test off.",
            ", ".join(lonely),
        )
    return tuple(permutation)


def _derive_sigmas(title: str, names: Sequence[str]) -> tuple[float, ...]:
    """Look the sigmas up by name, sides left out."""
    cores = ["".join(word for word in _words(name) if word not in _SIDES) for name in names]
    unknown = [name for name, core in zip(names, cores, strict=True) if core not in _KNOWN_SIGMAS]
    if unknown:
        logger.warning(
            "No published OKS sigma for %s of skeleton '%s': %g is used. AP depends on it; set skeleton.sigmas to your own.",
            ", ".join(unknown),
            title,
            _UNKNOWN_SIGMA,
        )
    return tuple(_KNOWN_SIGMAS.get(core, _UNKNOWN_SIGMA) for core in cores)


def _derive_upper_body(names: Sequence[str]) -> tuple[int, ...]:
    """Take every keypoint that does not belong to the lower body, if the set is a body at all."""
    lower = [bool(_LOWER_BODY & set(_words(name))) for name in names]
    return tuple(k for k, is_lower in enumerate(lower) if not is_lower) if any(lower) and not all(lower) else ()
