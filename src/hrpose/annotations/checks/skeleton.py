"""Checks of a category and of its skeleton: names, mirror pairs, edges, sigmas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hrpose.annotations.checks.table import Check, Found
from hrpose.skeletons import Skeleton, read_keypoint_names, sigma_sources
from hrpose.skeletons.names import read_names
from hrpose.skeletons.skeleton import published_sigmas

_FACTOR = 4.0  # largest ratio to published sigmas; AI Challenger's are a third of COCO's
_SIGMA_RANGE = (0.006, 0.4)  # published sigmas range from 0.007 to 0.107


@dataclass(frozen=True)
class Described:
    """A category and the skeleton that training uses.

    Attributes:
        category: entry of `categories`.
        num_keypoints: K of the annotations.
        skeleton: that training uses; None if the category is not sufficient.
    """

    category: Mapping[str, Any]
    num_keypoints: int
    skeleton: Skeleton | None

    @property
    def names(self) -> tuple[str, ...]:
        """Return the keypoint names of the category; empty if it has none."""
        return read_keypoint_names(self.category)


def _names_missing(described: Described) -> Found:
    lacking = described.skeleton is None and len(described.names) != described.num_keypoints
    return _of_all(described, lacking, found=str(len(described.names)))


def _names_numbered(described: Described) -> Found:
    names = _trained(described)
    return Found(np.array(names, str), np.array([name.isdecimal() for name in names], bool))


def _sigmas_length(described: Described) -> Found:
    sigmas = described.category.get("sigmas")
    wrong = described.skeleton is None and sigmas is not None and len(_numbers(sigmas)) != described.num_keypoints
    return _of_all(described, wrong, found=str(len(_numbers(sigmas))))


def _sigmas_not_positive(described: Described) -> Found:
    sigmas = _numbers(described.category.get("sigmas"))
    names = described.names if len(described.names) == len(sigmas) else [f"keypoint {k}" for k in range(len(sigmas))]
    return Found(np.array(names, str), ~(sigmas > 0) & (described.skeleton is None))


def _sigmas_scale(described: Described) -> Found:
    """Find sigmas whose median ratio to the published ones is above `_FACTOR`, or that are outside `_SIGMA_RANGE`."""
    if described.skeleton is None:
        return _of_all(described, False)
    sigmas = np.array(described.skeleton.sigmas)
    published = np.array([np.nan if one is None else one for one in published_sigmas(described.skeleton.keypoint_names)])
    known = ~np.isnan(published)
    ratio = float(np.median(sigmas[known] / published[known])) if known.any() else 1.0
    wrong = (sigmas < _SIGMA_RANGE[0]) | (sigmas > _SIGMA_RANGE[1])
    wrong |= not 1 / _FACTOR <= ratio <= _FACTOR
    details = {"ratio": f"{ratio:.2g}", "range": f"{sigmas.min():g} to {sigmas.max():g}"}
    return Found(np.array(described.skeleton.keypoint_names, str), wrong, details)


def _sigmas_default(described: Described) -> Found:
    if described.skeleton is None:
        return _of_all(described, False)
    names = described.skeleton.keypoint_names
    by_default = {name for source, own in sigma_sources(described.skeleton).items() if "default" in source for name in own}
    return Found(np.array(names, str), np.array([name in by_default for name in names], bool))


def _no_pairs(described: Described) -> Found:
    return _of_all(described, described.skeleton is not None and described.skeleton.lacks_flip_pairs)


def _pairs_incomplete(described: Described) -> Found:
    skeleton = described.skeleton
    if skeleton is None or skeleton.flip_pairs_given:
        return _of_all(described, False)
    alone = [one.side != "middle" and one.mirror is None for one in read_names(skeleton.keypoint_names)]
    return Found(np.array(skeleton.keypoint_names, str), np.array(alone, bool) & bool(skeleton.flip_pairs))


def _pairs_unlike_names(described: Described) -> Found:
    """Find keypoints whose given mirror pair contradicts their names."""
    skeleton = described.skeleton
    if skeleton is None or not skeleton.flip_pairs_given:
        return _of_all(described, False)
    names = skeleton.keypoint_names
    mirrors = [reading.mirror for reading in read_names(names)]
    wrong = [other is not None and skeleton.flip_permutation[place] != other for place, other in enumerate(mirrors)]
    return Found(np.array(names, str), np.array(wrong, bool))


def _edges_unread(described: Described) -> Found:
    edges = described.category.get("skeleton")
    number = len(edges) if isinstance(edges, list) else int(edges is not None)
    lost = described.skeleton is not None and number > 0 and not described.skeleton.edges
    ids = np.array([str(edge) for edge in edges] if isinstance(edges, list) else [str(edges)] * number, str)
    return Found(ids, np.full(number, lost))


def _of_all(described: Described, faulty: bool, **details: str) -> Found:
    names = np.array(_trained(described), str)
    return Found(names, np.full(len(names), faulty), details)


def _trained(described: Described) -> tuple[str, ...]:
    names = described.skeleton.keypoint_names if described.skeleton is not None else described.names
    return names or tuple(f"keypoint {k}" for k in range(described.num_keypoints))


def _numbers(values: Any) -> Any:
    try:
        return np.array(values, float).reshape(-1)
    except (TypeError, ValueError):
        return np.zeros(0)


SKELETON_CHECKS: tuple[Check[Described], ...] = (
    Check(
        name="names-missing",
        what="keypoints need a name, but the category has {found}",
        consequence="Training stops with an error: mirror pairs, sigmas and reports depend on names.",
        fix="Name them in `keypoints` of the category, or set skeleton.names=[nose,left_eye,...] or skeleton=coco, mpii, ...",
        find=_names_missing,
        severity="error",
    ),
    Check(
        name="names-numbered",
        what="keypoints have a number as their name",
        consequence="Mirror pairs and sigmas cannot be found by name.",
        fix="Set skeleton.names=[...], or skeleton.flip_pairs and skeleton.sigmas.",
        find=_names_numbered,
        severity="note",
    ),
    Check(
        name="sigmas-length",
        what="keypoints need an OKS sigma, but `sigmas` has {found}",
        consequence="Training stops with an error.",
        fix="Give one number per keypoint, or remove `sigmas` from the category: they are then derived from the names.",
        find=_sigmas_length,
        severity="error",
    ),
    Check(
        name="sigmas-not-positive",
        what="keypoints have an OKS sigma that is 0, negative or not a number",
        consequence="Training stops with an error: OKS divides by it.",
        fix="Give a positive number, such as 0.05, or remove `sigmas` from the category.",
        find=_sigmas_not_positive,
        severity="error",
    ),
    Check(
        name="sigmas-of-another-scale",
        what="keypoints have OKS sigmas on another scale: {range}, median ratio to the published ones {ratio}",
        consequence="AP is near 1 for any pose if they are too large, and near 0 if they are too small.",
        fix="Sigmas are half of the `kappa` in COCO's code; a wrist has 0.062. Correct them, or set skeleton.sigmas.",
        find=_sigmas_scale,
    ),
    Check(
        name="sigmas-by-default",
        what="keypoints have the default OKS sigma of 0.05, because none is published for their name",
        consequence="AP depends on it and cannot be compared with an AP of other sigmas.",
        fix="Set skeleton.sigmas if you know the standard deviation between annotators.",
        find=_sigmas_default,
        severity="note",
    ),
    Check(
        name="mirror-pairs-missing",
        what="keypoints are in no mirror pair: none is given or found in the names",
        consequence="Flip augmentation trains left as right.",
        fix=(
            "Set skeleton.flip_pairs=[[a,b],...], or skeleton.flip_pairs=[] if there are none; or augment.flip=null "
            "flip_test=false if a mirrored instance is not a valid instance."
        ),
        find=_no_pairs,
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
    Check(
        name="edges-not-drawn",
        what="edges of `skeleton` are ignored, because some do not refer to keypoints",
        consequence="Training does not change; poses are drawn without limbs.",
        fix="Write pairs of numbers from 1 to the number of keypoints, or pairs of names.",
        find=_edges_unread,
        severity="note",
    ),
)
"""Checks of a category."""
