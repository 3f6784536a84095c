"""Hypotheses about a low AP that change the predictions, areas or sigmas.

A hypothesis is accepted if the changed predictions reach a much higher AR than the original ones, and than the mean pose placed
in each crop, which needs no network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np

from hrpose.report.evidence import Floats, Pairs, RunEvidence
from hrpose.skeletons import Skeleton
from hrpose.skeletons.known import KNOWN_SKELETONS

Cause = tuple[str, str, str, str]
"""Name, cause, evidence and fix."""

Changed = tuple[Cause, Floats, Floats, Sequence[float]]
"""A cause, with evidence that is the start of a sentence; points, areas and sigmas of the hypothesis."""

# smallest AR of an accepted hypothesis, smallest gain of AR, and smallest gain over the mean pose
_FOUND, _GAIN, _ABOVE_MEAN_POSE = 0.25, 0.2, 0.1
_TYPICAL_SIGMA, _TYPICAL_COVER = 0.07, 0.5
_TOLERANCE = 0.015  # error, as a share of the box, at an OKS of 0.61; with published sigmas it is 0.03 to 0.15
_LEAST_COVER = 0.03  # area as a share of the box; persons have 0.4 to 0.6, thin insects 0.1
_NUM_COMPARED = 300  # pairs that are compared to find the order of the keypoints

_WHICH = "Correct the validation annotations, or the training annotations if these are wrong."
_AREAS = "the areas of the validation annotations are too small, so OKS tolerates no error."
_FIX_AREAS = "`area` is in square pixels of the image: correct it, or remove it and set data.area_from_bbox."
_SIGMAS = "the OKS sigmas are too small, so OKS tolerates no error."
_FIX_SIGMAS = "Set skeleton.sigmas, or `sigmas` in the category of the annotations: 0.05 to 0.1 is usual."


def explains(found: float, before: float, chance: float = 0.0) -> bool:
    """Check whether a change of AR from `before` to `found` explains a low AP, if the mean pose has the AR `chance`."""
    return found >= max(_FOUND, before + _GAIN, chance + _ABOVE_MEAN_POSE)


def search_changes(run: RunEvidence) -> Iterator[Cause]:
    """Find the hypothesis with the highest AR."""
    pairs = run.pairs
    if not len(pairs):
        return
    base = pairs.recall(pairs.points, pairs.area, run.skeleton.sigmas)
    best: tuple[float, Cause] | None = None
    for cause, points, areas, sigmas in chain(_changed_points(run, pairs), _changed_measure(run, pairs)):
        found = pairs.recall(points, areas, sigmas)
        chance = pairs.recall(pairs.mean_poses, areas, sigmas)
        if explains(found, base, chance) and (best is None or found > best[0]):
            name, what, how, fix = cause
            best = found, (name, what, f"{how}, AR would be {found:.2f} instead of {base:.2f}.", fix)
    if best is not None:
        yield best[1]


def search_tolerance(run: RunEvidence) -> Iterator[Cause]:
    """Find sigmas or areas with which OKS does not tolerate errors that no network can avoid."""
    if not len(run.pairs):
        return
    cover, sigma = run.pairs.cover, float(np.median(run.skeleton.sigmas))
    if cover < _LEAST_COVER or 2 * sigma * np.sqrt(cover) < _TOLERANCE:
        oks = np.exp(-((0.02 / (2 * sigma)) ** 2) / (2 * cover))
        evidence = (
            f"an error of 2 % of the box size has an OKS of {oks:.2g}; the median sigma is {sigma:.2g} and the median `area` "
            f"is {100 * cover:.2g} % of the box."
        )
        if cover < 0.2 * _TYPICAL_COVER:
            yield "areas", _AREAS, evidence, _FIX_AREAS
        elif not _are_published(run.skeleton):
            yield "sigmas", _SIGMAS, evidence, _FIX_SIGMAS


def _changed_points(run: RunEvidence, pairs: Pairs) -> Iterator[Changed]:
    measure = pairs.area, run.skeleton.sigmas
    points, residual = pairs.points, (pairs.places - pairs.points)[pairs.labelled]
    what = "x and y are swapped in the keypoints of one of the two annotation files."
    yield ("axes", what, "With x and y of the predictions swapped", _WHICH), points[..., ::-1], *measure
    flipped = list(run.skeleton.flip_permutation)
    if flipped != sorted(flipped):
        what = "left and right are swapped between the training and the validation annotations."
        cause = ("left-right", what, "With left and right of the predictions swapped", _WHICH)
        yield cause, points[:, flipped], *measure
    order = _matching_order(pairs)
    if order != flipped and order != sorted(order):
        names = run.skeleton.keypoint_names
        moved = [f"{names[k]} is the keypoint learnt as {names[j]}" for k, j in enumerate(order) if j != k]
        how = f"If {', '.join(moved[:3])}{', ...' if len(moved) > 3 else ''}"
        what = "the keypoints of the training and the validation annotations are in different orders."
        fix = "Reorder the keypoints of one of the files."
        yield ("keypoint-order", what, how, fix), points[:, order], *measure
    shift = np.median(residual, axis=0)
    how = f"With the predictions shifted by ({shift[0]:.0f}, {shift[1]:.0f}) pixels"
    what = "the validation keypoints are shifted by a constant compared with the training keypoints."
    yield ("shift", what, how, _WHICH), points + shift, *measure
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.nan_to_num(np.median((pairs.places / points)[pairs.labelled], axis=0))
    if ((factor > 0.1) & (factor < 10)).all():  # other factors move all keypoints to one corner, where any pose fits
        how = f"With the predictions multiplied by ({factor[0]:.2f}, {factor[1]:.2f})"
        what = "the validation keypoints are in pixels of images of another size."
        yield ("scale", what, how, _WHICH), points * factor, *measure
    what = "the validation keypoints are relative to the corner of their box."
    fix = "Keypoints are in pixels of the whole image: add x and y of the box."
    cause = ("relative-to-box", what, "With x and y of their boxes subtracted from the predictions", fix)
    yield cause, points - pairs.bbox[:, None, :2], *measure


def _changed_measure(run: RunEvidence, pairs: Pairs) -> Iterator[Changed]:
    sigmas, cover = run.skeleton.sigmas, pairs.cover
    if cover < 0.2 * _TYPICAL_COVER:
        areas = _TYPICAL_COVER * pairs.bbox[:, 2:].prod(axis=1)
        how = f"the median `area` is {100 * cover:.2g} % of the box. With half the area of each box"
        yield ("areas", _AREAS, how, _FIX_AREAS), pairs.points, areas, sigmas
    if (sigma := float(np.median(sigmas))) < 0.3 * _TYPICAL_SIGMA and not _are_published(run.skeleton):
        how = f"the median sigma is {sigma:.2g}; published ones are 0.025 to 0.11. With {_TYPICAL_SIGMA:g} for all"
        yield ("sigmas", _SIGMAS, how, _FIX_SIGMAS), pairs.points, pairs.area, [_TYPICAL_SIGMA] * len(sigmas)


def _are_published(skeleton: Skeleton) -> bool:
    """Check whether the sigmas are those of a known data set, since those of AI Challenger and Halpe are small."""
    return skeleton.sigmas in [known.sigmas for known in KNOWN_SKELETONS.values()]


def _matching_order(pairs: Pairs) -> list[int]:
    """Match each annotated keypoint to the nearest predicted one, nearest pairs first; return K indices."""
    rows = np.unique(np.linspace(0, len(pairs) - 1, _NUM_COMPARED).round().astype(int))
    points, places, labelled = pairs.points[rows], pairs.places[rows], pairs.labelled[rows]
    size = np.sqrt(pairs.scale[rows].prod(axis=1))
    num_keypoints = labelled.shape[1]
    costs = np.full((num_keypoints, num_keypoints), np.inf)  # annotated, predicted
    for k in np.flatnonzero(labelled.any(axis=0)).tolist():
        own = labelled[:, k]
        apart = np.linalg.norm(points[own] - places[own, None, k], axis=2)
        costs[k] = np.median(apart / size[own, None], axis=0)
    order = dict.fromkeys(range(num_keypoints), -1)
    free = set(order)
    for index in np.argsort(costs, axis=None, kind="stable").tolist():
        k, j = divmod(index, num_keypoints)
        if order[k] < 0 and j in free:
            order[k] = j
            free.discard(j)
    return list(order.values())
