"""How sure an AP is: the bootstrap over photos.

The photos of a data set are one draw out of many; drawing as many again from them, with repetition, shows how AP would vary.
Matching a photo's predictions does not depend on other photos, so a draw only weighs the matches anew.
Source: B. Efron and R. Tibshirani, An Introduction to the Bootstrap, 1993.

Legend of the shapes: D predictions, M annotated persons, T OKS thresholds, S samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hrpose.metrics.functional.matching import RECALLS, Matches
from hrpose.metrics.functional.oks import Floats, Indices

_TINY = np.spacing(1)


def bootstrap_average_precision(matches: Matches, *, num_samples: int = 1000, seed: int = 0) -> Floats:
    """Compute the AP of resampled data sets.

    Two sets of matches of the same photos, with the same number of samples and seed, are resampled alike, so their difference
    sample by sample is a paired one.

    Args:
        matches: from `match_detections`, with an area range "all".
        num_samples: S.
        seed: of the draws.

    Returns:
        (S,) APs over all OKS thresholds; NaN where a sample has nobody to be found.

    Raises:
        ValueError: if there is no area range "all", or no photo.
    """
    if "all" not in matches.area_names or not matches.num_images:
        raise ValueError(
            "Expected argument `matches` to have photos and an area range `all`, "
            f"but got {matches.num_images} photos and {list(matches.area_names)}."
        )
    categories = [_Category.of(matches, category) for category in range(matches.num_categories)]
    rng = np.random.default_rng(seed)
    samples = np.empty(num_samples)
    for sample in range(num_samples):
        drawn = rng.integers(0, matches.num_images, matches.num_images)
        weights = np.bincount(drawn, minlength=matches.num_images).astype(np.float64)
        aps = np.concatenate([np.zeros(0), *(category.average_precisions(weights) for category in categories)])
        samples[sample] = aps.mean() if aps.size else np.nan
    return samples


def confidence_interval(samples: Floats, level: float = 0.95) -> tuple[float, float]:
    """Give the interval that holds the middle share of the samples.

    Args:
        samples: (S,) from `bootstrap_average_precision`, or the difference of two; NaN is left out.
        level: the share.

    Raises:
        ValueError: if the level is not between 0 and 1, or no sample is defined.
    """
    if not 0 < level < 1:
        raise ValueError(f"Expected argument `level` to be between 0 and 1, but got {level}.")
    defined = samples[~np.isnan(samples)]
    if not defined.size:
        raise ValueError(f"Expected argument `samples` to hold a number, but all {samples.size} samples are NaN.")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_p_value(samples: Floats, others: Floats) -> float:
    """Tell how likely a difference at least as far from nothing is if two sets of predictions are equally good.

    Args:
        samples: (S,) from `bootstrap_average_precision`.
        others: (S,) of the other predictions, of the same photos and with the same seed.

    Returns:
        The two-sided p-value of the paired bootstrap, at least 1 / S unless all samples are equal, then 1. Samples that are
        NaN on a side are left out and not counted in S.

    Raises:
        ValueError: if the numbers of samples differ, or no sample is defined on both sides.
    """
    if samples.shape != others.shape:
        raise ValueError(f"Expected as many samples of both, but got {samples.shape} and {others.shape}.")
    difference = samples - others
    difference = difference[~np.isnan(difference)]
    if not difference.size:
        raise ValueError(f"Expected a sample that is defined on both sides, but none of the {samples.size} samples is.")
    tail = min((difference <= 0).mean(), (difference >= 0).mean())
    return float(min(1.0, max(2 * tail, 1 / difference.size)))


@dataclass(frozen=True, eq=False)
class _Category:
    """The matches of one category, prepared to be weighed many times.

    Attributes:
        images: (D,) position of the photo of each prediction, the best score first.
        counted: (T, D) whether the prediction counts.
        right: for each of T thresholds the places of the predictions that are right.
        persons: (I,) how many persons are to be found in each photo.
    """

    images: Indices
    counted: NDArray[np.bool_]
    right: tuple[Indices, ...]
    persons: Floats

    @staticmethod
    def of(matches: Matches, category: int) -> _Category:
        area = matches.area_names.index("all")
        mine = np.flatnonzero(matches.categories == category)
        counted = ~matches.ignored[area][:, mine]
        hits = (matches.persons[area][:, mine] >= 0) & counted
        to_find = ~matches.person_ignored[area] & (matches.person_categories == category)
        persons = np.bincount(matches.person_images[to_find], minlength=matches.num_images).astype(np.float64)
        return _Category(matches.images[mine], counted, tuple(np.flatnonzero(row) for row in hits), persons)

    def average_precisions(self, weights: Floats) -> Floats:
        """The AP at each threshold (T,) if each photo counts as often as its weight says; (0,) if nobody is to be found."""
        num_persons = weights @ self.persons
        if num_persons == 0:
            return np.zeros(0)
        weight = weights[self.images]
        aps = np.zeros(len(self.right))
        for row, right in enumerate(self.right):
            if len(right):
                found = np.cumsum(weight[right])
                counted = np.cumsum(weight * self.counted[row])[right]
                best = np.maximum.accumulate((found / (counted + _TINY))[::-1])[::-1]
                place = np.searchsorted(found / num_persons, RECALLS, side="left")
                aps[row] = best[place[place < len(right)]].sum() / len(RECALLS)
        return aps
