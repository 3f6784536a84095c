"""Checks of a category and of its skeleton: names, mirror pairs, edges, sigmas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hrpose.annotations.checks.table import Check, Faulty, Found, error, note
from hrpose.skeletons import Skeleton, read_keypoint_names, sigma_sources
from hrpose.skeletons.names import read_names
from hrpose.skeletons.skeleton import published_sigmas

_FACTOR = 4.0  # largest ratio to published sigmas; AI Challenger's are a third of COCO's
_SIGMA_RANGE = (0.006, 0.4)  # published sigmas range from 0.007 to 0.107


@dataclass(frozen=True)
class Described:
    """A category, the number of keypoints of its annotations, and the skeleton of the training, None if it is unknown."""

    category: Mapping[str, Any]
    num_keypoints: int
    skeleton: Skeleton | None

    @property
    def names(self) -> tuple[str, ...]:
        """Return the keypoint names of the category; empty if it has none."""
        return read_keypoint_names(self.category)

    @property
    def ids(self) -> Sequence[str]:
        """Return the keypoint names that training uses; "keypoint 0", ... if there are none."""
        names = self.names if self.skeleton is None else self.skeleton.keypoint_names
        return names or tuple(f"keypoint {k}" for k in range(self.num_keypoints))


def _names_missing(data: Described) -> Found:
    lacking = data.skeleton is None and len(data.names) != data.num_keypoints
    return Found(data.ids, lacking, {"found": str(len(data.names))})


def _sigmas_length(data: Described) -> Found:
    sigmas = data.category.get("sigmas")
    wrong = data.skeleton is None and sigmas is not None and len(_numbers(sigmas)) != data.num_keypoints
    return Found(data.ids, wrong, {"found": str(len(_numbers(sigmas)))})


def _sigmas_not_positive(data: Described) -> Found:
    sigmas = _numbers(data.category.get("sigmas"))
    names = data.names if len(data.names) == len(sigmas) else [f"keypoint {k}" for k in range(len(sigmas))]
    return Found(names, ~(sigmas > 0) & (data.skeleton is None))


def _sigmas_scale(data: Described) -> Found | bool:
    """Find sigmas whose median ratio to the published ones is above `_FACTOR`, or that are outside `_SIGMA_RANGE`."""
    if data.skeleton is None:
        return False
    sigmas = np.array(data.skeleton.sigmas)
    published = np.array([np.nan if one is None else one for one in published_sigmas(data.skeleton.keypoint_names)])
    known = ~np.isnan(published)
    ratio = float(np.median(sigmas[known] / published[known])) if known.any() else 1.0
    wrong = (sigmas < _SIGMA_RANGE[0]) | (sigmas > _SIGMA_RANGE[1])
    wrong |= not 1 / _FACTOR <= ratio <= _FACTOR
    return Found(data.ids, wrong, {"ratio": f"{ratio:.2g}", "range": f"{sigmas.min():g} to {sigmas.max():g}"})


def _sigmas_default(data: Described) -> list[bool]:
    sources = {} if data.skeleton is None else sigma_sources(data.skeleton)
    by_default = {name for source, own in sources.items() if "default" in source for name in own}
    return [name in by_default for name in data.ids]


def _pairs_incomplete(data: Described) -> Faulty:
    skeleton = data.skeleton
    if skeleton is None or skeleton.flip_pairs_given or not skeleton.flip_pairs:
        return False
    return [one.side != "middle" and one.mirror is None for one in read_names(skeleton.keypoint_names)]


def _pairs_unlike_names(data: Described) -> Faulty:
    """Find keypoints whose given mirror pair contradicts their names."""
    skeleton = data.skeleton
    if skeleton is None or not skeleton.flip_pairs_given:
        return False
    mirrors = [reading.mirror for reading in read_names(skeleton.keypoint_names)]
    return [other is not None and skeleton.flip_permutation[place] != other for place, other in enumerate(mirrors)]


def _edges_unread(data: Described) -> Found:
    edges = data.category.get("skeleton")
    listed = edges if isinstance(edges, list) else [] if edges is None else [edges]
    return Found(list(map(str, listed)), data.skeleton is not None and not data.skeleton.edges)


def _numbers(values: Any) -> Any:
    try:
        return np.array(values, float).reshape(-1)
    except (TypeError, ValueError):
        return np.zeros(0)


SKELETON_CHECKS: tuple[Check[Described], ...] = (
    error(
        name="names-missing",
        what="keypoints need a name, but the category has {found}",
        consequence="Training stops with an error: mirror pairs, sigmas and reports depend on names.",
        fix="Name them in `keypoints` of the category, or set skeleton.names=[nose,left_eye,...] or skeleton=coco, mpii, ...",
        find=_names_missing,
    ),
    note(
        name="names-numbered",
        what="keypoints have a number as their name",
        consequence="Mirror pairs and sigmas cannot be found by name.",
        fix="Set skeleton.names=[...], or skeleton.flip_pairs and skeleton.sigmas.",
        find=lambda data: [name.isdecimal() for name in data.ids],
    ),
    error(
        name="sigmas-length",
        what="keypoints need an OKS sigma, but `sigmas` has {found}",
        consequence="Training stops with an error.",
        fix="Give one number per keypoint, or remove `sigmas` from the category: they are then derived from the names.",
        find=_sigmas_length,
    ),
    error(
        name="sigmas-not-positive",
        what="keypoints have an OKS sigma that is 0, negative or not a number",
        consequence="Training stops with an error: OKS divides by it.",
        fix="Give a positive number, such as 0.05, or remove `sigmas` from the category.",
        find=_sigmas_not_positive,
    ),
    Check(
        name="sigmas-of-another-scale",
        what="keypoints have OKS sigmas on another scale: {range}, median ratio to the published ones {ratio}",
        consequence="AP is near 1 for any pose if they are too large, and near 0 if they are too small.",
        fix="Sigmas are half of the `kappa` in COCO's code; a wrist has 0.062. Correct them, or set skeleton.sigmas.",
        find=_sigmas_scale,
    ),
    note(
        name="sigmas-by-default",
        what="keypoints have the default OKS sigma of 0.05, because none is published for their name",
        consequence="AP depends on it and cannot be compared with an AP of other sigmas.",
        fix="Set skeleton.sigmas if you know the standard deviation between annotators.",
        find=_sigmas_default,
    ),
    Check(
        name="mirror-pairs-missing",
        what="keypoints are in no mirror pair: none is given or found in the names",
        consequence="Flip augmentation trains left as right.",
        fix=(
            "Set skeleton.flip_pairs=[[a,b],...], or skeleton.flip_pairs=[] if there are none; or augment.flip=null "
            "flip_test=false if a mirrored instance is not a valid instance."
        ),
        find=lambda data: data.skeleton is not None and data.skeleton.lacks_flip_pairs,
    ),
    Check(
        name="mirror-pairs-incomplete",
        what="keypoints have a side in their name, but no counterpart",
        consequence="Flip augmentation does not swap them, so it trains left as right.",
        fix="Set skeleton.flip_pairs, or rename the pair left_*, right_*.",
        find=_pairs_incomplete,
    ),
    Check(
        name="mirror-pairs-unlike-names",
        what="keypoints are in a mirror pair that contradicts their names",
        consequence="Flip augmentation swaps the wrong keypoints.",
        fix="Correct `flip_pairs`, `flip_idx` or `symmetries` of the category, which count from 0, or set skeleton.flip_pairs.",
        find=_pairs_unlike_names,
    ),
    note(
        name="edges-not-drawn",
        what="edges of `skeleton` are ignored, because some do not refer to keypoints",
        consequence="Training does not change; poses are drawn without limbs.",
        fix="Write pairs of numbers from 1 to the number of keypoints, or pairs of names.",
        find=_edges_unread,
    ),
)
"""Checks of a category."""
