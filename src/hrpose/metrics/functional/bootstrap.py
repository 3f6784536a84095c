"""Confidence intervals of AP by the bootstrap over images.

Resampling the images of a data set with replacement shows how AP varies with the choice of images. The matches of an image do
not depend on other images, so a resample only changes their weights.
Source: B. Efron and R. Tibshirani, An Introduction to the Bootstrap, 1993.

Legend of the shapes: D predictions, M annotated instances, T OKS thresholds, S samples.
"""

from __future__ import annotations

import numpy as np

from hrpose.metrics.functional.matching import RECALLS, Matches, precision_at_recalls
from hrpose.metrics.functional.oks import Floats


def bootstrap_average_precision(matches: Matches, *, num_samples: int = 1000, seed: int = 0) -> Floats:
    """Compute the AP (num_samples,) of resampled data sets, over all OKS thresholds in the area range "all".

    It is NaN for samples without annotated instances. Two sets of matches of the same images get the same resamples with the same
    `num_samples` and seed, so their differences are paired.

    Raises:
        ValueError: if there is no area range "all", or no image.
    """
    if "all" not in matches.area_names or not matches.num_images:
        raise ValueError(
            "Expected argument `matches` to have images and an area range `all`, "
            f"but got {matches.num_images} images and {list(matches.area_names)}."
        )
    categories = [_Category(matches, category) for category in range(matches.num_categories)]
    rng = np.random.default_rng(seed)
    samples = np.empty(num_samples)
    for sample in range(num_samples):
        drawn = rng.integers(0, matches.num_images, matches.num_images)
        weights = np.bincount(drawn, minlength=matches.num_images).astype(np.float64)
        aps = np.concatenate([np.zeros(0), *(category.average_precisions(weights) for category in categories)])
        samples[sample] = aps.mean() if aps.size else np.nan
    return samples


def confidence_interval(samples: Floats, level: float = 0.95) -> tuple[float, float]:
    """Return the central interval that contains a share `level` of the samples (S,) that are not NaN.

    Raises:
        ValueError: if the level is not between 0 and 1, or all samples are NaN.
    """
    if not 0 < level < 1:
        raise ValueError(f"Expected argument `level` to be between 0 and 1, but got {level}.")
    defined = samples[~np.isnan(samples)]
    if not defined.size:
        raise ValueError(f"Expected argument `samples` to hold a number, but all {samples.size} samples are NaN.")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_p_value(samples: Floats, others: Floats) -> float:
    """Compute the two-sided p-value of the paired bootstrap from the samples (S,) of two sets of predictions.

    It is at least 1 / S, and 1 if all samples are equal. Samples that are NaN in one set do not count in S.

    Raises:
        ValueError: if the numbers of samples differ, or no sample is defined in both sets.
    """
    if samples.shape != others.shape:
        raise ValueError(f"Expected samples of the same shape, but got {samples.shape} and {others.shape}.")
    difference = samples - others
    difference = difference[~np.isnan(difference)]
    if not difference.size:
        raise ValueError(f"Expected a sample that is defined in both sets, but none of the {samples.size} samples is.")
    tail = min((difference <= 0).mean(), (difference >= 0).mean())
    return float(min(1.0, max(2 * tail, 1 / difference.size)))


class _Category:
    """The matches of one category, prepared for many weightings."""

    def __init__(self, matches: Matches, category: int) -> None:
        area = matches.area_names.index("all")
        mine = np.flatnonzero(matches.categories == category)
        to_find = ~matches.instance_ignored[area] & (matches.instance_categories == category)
        self.images = matches.images[mine]  # (D,) index of the image of each prediction, highest score first
        self.counted = ~matches.ignored[area][:, mine]  # (T, D) whether the prediction counts
        hits = (matches.instances[area][:, mine] >= 0) & self.counted
        self.right = [np.flatnonzero(row) for row in hits]  # indices of the correct predictions for each of T thresholds
        # (I,) number of instances that count in each image
        self.instances = np.bincount(matches.instance_images[to_find], minlength=matches.num_images).astype(np.float64)

    def average_precisions(self, weights: Floats) -> Floats:
        """Return the AP at each threshold (T,) with weighted images; (0,) without annotated instances."""
        num_instances = float(weights @ self.instances)
        if num_instances == 0:
            return np.zeros(0)
        weight = weights[self.images]
        aps = np.zeros(len(self.right))
        for row, right in enumerate(self.right):
            if len(right):
                found = np.cumsum(weight[right])
                counted = np.cumsum(weight * self.counted[row])[right]
                aps[row] = precision_at_recalls(found, counted, num_instances).sum() / len(RECALLS)
        return aps
