"""Augmentations of the paper's recipe: they edit the four numbers of a `Crop` and never touch a pixel.

Each draws from the generator it is given, by `random()` and `standard_normal()` alone and in the order of the official
code: half body, scale, rotation, flip (`lib/dataset/JointsDataset.py` of leoxiaobin/deep-high-resolution-net.pytorch).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hrpose.geometry import fit_aspect_ratio
from hrpose.skeletons import Skeleton
from hrpose.structures import Crop

Points = NDArray[np.floating[Any]]
Labels = NDArray[np.number[Any]]


class Draws(Protocol):
    """A source of random numbers: `numpy.random.Generator`, or recorded draws in a test."""

    def random(self) -> float:
        """Draw from the uniform distribution on [0, 1)."""

    def standard_normal(self) -> float:
        """Draw from the normal distribution of mean 0 and deviation 1."""


class CropTransform(Protocol):
    """An augmentation: returns the crop it makes of the one it is given."""

    def __call__(self, crop: Crop, keypoints: Points, visibility: Labels, rng: Draws) -> Crop:
        """Edit a crop.

        Args:
            crop: of the right aspect ratio.
            keypoints: (K, 2) in photo pixels.
            visibility: (K,); 0 stands for unlabelled.
            rng: where random numbers come from.
        """


@dataclass(frozen=True)
class HalfBody:
    """Now and then look at the upper or the lower half of a person alone (Wang et al., the paper's section 4.1).

    Of a person with enough labelled keypoints the upper half is taken with the odds of a normal draw below 0.5 (69 %, as in
    the official code), provided that it has more than two of them; else the lower half.

    Args:
        probability: of looking at a half.
        min_visible: labelled keypoints that a person must have.
        padding: factor by which the extent of the half is enlarged.
        upper_body: keypoint indices; `for_skeleton` fills them in. Where either half is empty nothing is changed.
        lower_body: keypoint indices.
    """

    probability: float = 0.3
    min_visible: int = 9
    padding: float = 1.5
    upper_body: tuple[int, ...] = ()
    lower_body: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _check_probability(self)

    def for_skeleton(self, skeleton: Skeleton) -> HalfBody:
        """Take the two halves from a skeleton, unless they are given."""
        if self.upper_body or self.lower_body:
            return self
        return replace(self, upper_body=skeleton.upper_body, lower_body=skeleton.lower_body)

    def __call__(self, crop: Crop, keypoints: Points, visibility: Labels, rng: Draws) -> Crop:
        """Perhaps move the crop to one half of the body."""
        labelled = np.asarray(visibility) > 0
        if not (self.upper_body and self.lower_body) or np.count_nonzero(labelled) < self.min_visible:
            return crop
        if rng.random() >= self.probability:
            return crop
        points = np.asarray(keypoints, dtype=np.float64)[self._choose(labelled, rng.standard_normal())]
        extent = np.ptp(points, axis=0) if len(points) >= 2 else np.zeros(2)
        if not extent.any():
            return crop
        scale = fit_aspect_ratio(extent, float(crop.scale[0] / crop.scale[1])) * self.padding
        return replace(crop, center=points.mean(axis=0), scale=scale)

    def _choose(self, labelled: NDArray[np.bool_], draw: float) -> list[int]:
        upper = [k for k in self.upper_body if labelled[k]]
        lower = [k for k in self.lower_body if labelled[k]]
        if draw < 0.5 and len(upper) > 2:
            return upper
        return lower if len(lower) > 2 else upper


@dataclass(frozen=True)
class RandomScale:
    """Enlarge or shrink the crop by 1 + factor x a normal draw, clipped to 1 - factor .. 1 + factor.

    Args:
        factor: 0.35 for COCO, 0.25 for MPII in the paper.
    """

    factor: float = 0.35

    def __post_init__(self) -> None:
        if not 0 <= self.factor < 1:
            raise ValueError(f"Expected `factor` of RandomScale to be at least 0 and below 1, but got {self.factor}.")

    def __call__(self, crop: Crop, keypoints: Points, visibility: Labels, rng: Draws) -> Crop:
        """Scale the crop about its center."""
        change = min(max(1 + self.factor * rng.standard_normal(), 1 - self.factor), 1 + self.factor)
        return replace(crop, scale=crop.scale * change)


@dataclass(frozen=True)
class RandomRotation:
    """Turn the crop by factor x a normal draw, clipped to -2 factor .. 2 factor.

    Args:
        factor: degrees; 45 for COCO, 30 for MPII in the paper.
        probability: of turning at all.
    """

    factor: float = 45.0
    probability: float = 0.6

    def __post_init__(self) -> None:
        _check_probability(self)

    def __call__(self, crop: Crop, keypoints: Points, visibility: Labels, rng: Draws) -> Crop:
        """Perhaps turn the crop about its center."""
        if rng.random() >= self.probability:
            return crop
        limit = 2 * self.factor
        return replace(crop, rotation=crop.rotation + min(max(self.factor * rng.standard_normal(), -limit), limit))


@dataclass(frozen=True)
class RandomFlip:
    """Mirror the crop left to right.

    Args:
        probability: of mirroring.
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        _check_probability(self)

    def __call__(self, crop: Crop, keypoints: Points, visibility: Labels, rng: Draws) -> Crop:
        """Perhaps mirror the crop."""
        return replace(crop, flip=not crop.flip) if rng.random() < self.probability else crop


def _check_probability(transform: HalfBody | RandomRotation | RandomFlip) -> None:
    if not 0 <= transform.probability <= 1:
        raise ValueError(
            f"Expected `probability` of {type(transform).__name__} to be between 0 and 1, but got {transform.probability}."
        )
