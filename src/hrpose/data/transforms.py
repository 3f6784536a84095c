"""Geometric augmentation of the paper's recipe and of MMPose's: transforms edit the numbers of a `Crop`, not pixels.

Random numbers come from `random()` and `standard_normal()` of the given generator. The order of the official code is half body,
scale, rotation, flip (`lib/dataset/JointsDataset.py` of leoxiaobin/deep-high-resolution-net.pytorch); MMPose 1.x has flip,
half body, and then shift, scale and rotation in one (`RandomFlip`, `RandomHalfBody`, `RandomBBoxTransform`).
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from hrpose.geometry import Rules, fit_aspect_ratio
from hrpose.skeletons import Skeleton
from hrpose.structures import Crop

_MMPOSE_UPPER = 0.7  # probability of the upper half in MMPose
_MMPOSE_LEAST_UPPER, _MMPOSE_LEAST_LOWER = 2, 3  # labelled keypoints that MMPose requires of a half

Points = NDArray[np.floating[Any]]
Labels = NDArray[np.number[Any]]


class Draws(Protocol):
    """A source of random numbers: `numpy.random.Generator`, or recorded draws in a test."""

    def random(self) -> float:
        """Draw from the uniform distribution on [0, 1)."""

    def standard_normal(self) -> float:
        """Draw from the standard normal distribution."""


class CropTransform(Protocol):
    """An augmentation: maps a crop to another crop."""

    def __call__(self, crop: Crop, keypoints: Points, visibility: Labels, rng: Draws) -> Crop:
        """Edit a crop.

        Args:
            crop: with the aspect ratio of the input.
            keypoints: (K, 2) in image pixels.
            visibility: (K,); 0 is unlabelled.
            rng: source of random numbers.
        """


@dataclass(frozen=True)
class HalfBody:
    """Move the crop to the upper or the lower half of the body, with a probability (the paper's section 4.1).

    The official code selects the upper half if a standard normal draw is below 0.5 (69 %) and the half has more than two labelled
    keypoints; otherwise the lower half. MMPose selects the upper half with 70 %, requires two labelled keypoints of the upper and
    three of the lower half, and uses the other half if one has too few.

    Args:
        probability: of changing the crop.
        min_visible: least number of labelled keypoints of the instance.
        padding: factor by which the extent of the half is enlarged.
        upper_body: keypoint indices, set by `for_skeleton`; nothing is changed if either half is empty.
        lower_body: keypoint indices.
        rules: for choosing a half, "official" or "mmpose".

    Raises:
        ValueError: if the probability is out of range, or the rules are unknown.
    """

    probability: float = 0.3
    min_visible: int = 9
    padding: float = 1.5
    upper_body: tuple[int, ...] = ()
    lower_body: tuple[int, ...] = ()
    rules: Rules = "official"

    def __post_init__(self) -> None:
        _check_probability(self)
        if self.rules not in get_args(Rules):
            raise ValueError(f"Expected `rules` of HalfBody to be one of {', '.join(get_args(Rules))}, but got {self.rules!r}.")

    def for_skeleton(self, skeleton: Skeleton) -> "HalfBody":
        """Return the transform with the halves of a skeleton, unless they are given."""
        if self.upper_body or self.lower_body:
            return self
        return replace(self, upper_body=skeleton.upper_body, lower_body=skeleton.lower_body)

    def __call__(self, crop: Crop, keypoints: Points, visibility: Labels, rng: Draws) -> Crop:
        """Move the crop to one half of the body, or return it unchanged."""
        labelled = np.asarray(visibility) > 0
        if not (self.upper_body and self.lower_body) or np.count_nonzero(labelled) < self.min_visible:
            return crop
        if rng.random() >= self.probability:
            return crop
        upper, lower = [k for k in self.upper_body if labelled[k]], [k for k in self.lower_body if labelled[k]]
        choose = _choose_half if self.rules == "official" else _choose_half_as_mmpose
        points = np.asarray(keypoints, dtype=np.float64)[choose(upper, lower, rng)]
        extent = np.ptp(points, axis=0) if len(points) >= 2 else np.zeros(2)
        if not extent.any():
            return crop
        scale = fit_aspect_ratio(extent, float(crop.scale[0] / crop.scale[1])) * self.padding
        return replace(crop, center=points.mean(axis=0), scale=scale, extent=extent * self.padding)


def _choose_half(upper: list[int], lower: list[int], rng: Draws) -> list[int]:
    if rng.standard_normal() < 0.5 and len(upper) > 2:
        return upper
    return lower if len(lower) > 2 else upper


def _choose_half_as_mmpose(upper: list[int], lower: list[int], rng: Draws) -> list[int]:
    prefers_upper = rng.random() < _MMPOSE_UPPER
    has_upper, has_lower = len(upper) >= _MMPOSE_LEAST_UPPER, len(lower) >= _MMPOSE_LEAST_LOWER
    if has_upper and (prefers_upper or not has_lower):
        return upper
    return lower if has_lower else []


@dataclass(frozen=True)
class RandomScale:
    """Scale the crop by 1 + factor x a normal draw, clipped to 1 - factor .. 1 + factor.

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
        return _zoomed(crop, change)


@dataclass(frozen=True)
class RandomRotation:
    """Rotate the crop by factor x a normal draw, clipped to -2 factor .. 2 factor.

    Args:
        factor: degrees; 45 for COCO, 30 for MPII in the paper.
        probability: of a rotation.
    """

    factor: float = 45.0
    probability: float = 0.6

    def __post_init__(self) -> None:
        _check_probability(self)

    def __call__(self, crop: Crop, keypoints: Points, visibility: Labels, rng: Draws) -> Crop:
        """Rotate the crop about its center, or return it unchanged."""
        if rng.random() >= self.probability:
            return crop
        limit = 2 * self.factor
        return replace(crop, rotation=crop.rotation + min(max(self.factor * rng.standard_normal(), -limit), limit))


@dataclass(frozen=True)
class RandomFlip:
    """Mirror the crop horizontally, with a probability."""

    probability: float = 0.5

    def __post_init__(self) -> None:
        _check_probability(self)

    def __call__(self, crop: Crop, keypoints: Points, visibility: Labels, rng: Draws) -> Crop:
        """Mirror the crop, or return it unchanged."""
        return replace(crop, flip=not crop.flip) if rng.random() < self.probability else crop


@dataclass(frozen=True)
class ShiftScaleRotate:
    """Shift, scale and rotate the crop, as MMPose's RandomBBoxTransform does.

    Draws are from the normal distribution truncated at -1 and 1.

    Args:
        shift: largest shift as a share of the width and the height of the padded box.
        shift_probability: of a shift.
        scale: the crop is scaled by 1 - scale to 1 + scale.
        rotation: largest angle in degrees.
        rotation_probability: of a rotation.

    Raises:
        ValueError: if a number is out of range.
    """

    shift: float = 0.16
    shift_probability: float = 0.3
    scale: float = 0.5
    rotation: float = 80.0
    rotation_probability: float = 0.6

    def __post_init__(self) -> None:
        _check_probability(self, "shift_probability")
        _check_probability(self, "rotation_probability")
        if not (self.shift >= 0 and self.rotation >= 0 and 0 <= self.scale < 1):
            raise ValueError(
                "Expected `shift` and `rotation` of ShiftScaleRotate to be at least 0 and `scale` to be at least 0 and below 1, "
                f"but got {self.shift}, {self.rotation} and {self.scale}."
            )

    def __call__(self, crop: Crop, keypoints: Points, visibility: Labels, rng: Draws) -> Crop:
        """Shift, scale and rotate the crop."""
        right, down, larger, turn = (_truncated_normal(rng) for _ in range(4))
        moves, turns = rng.random() < self.shift_probability, rng.random() < self.rotation_probability
        extent = crop.scale if crop.extent is None else crop.extent
        center = crop.center + self.shift * np.array([right, down]) * extent if moves else crop.center
        rotation = crop.rotation + self.rotation * turn if turns else crop.rotation
        return replace(_zoomed(crop, 1 + self.scale * larger), center=center, rotation=rotation)


@dataclass(frozen=True)
class RandomWindow:
    """Scale, rotate and shift the window of a whole image, as HigherHRNet's official code does.

    All draws are uniform: the factor, the angle, and the shift in whole image pixels along x and y.

    Args:
        scale: smallest and largest factor.
        rotation: largest angle in degrees.
        shift: largest shift as a share of the width of the scaled window.

    Raises:
        ValueError: if a number is out of range.
    """

    scale: tuple[float, float] = (0.75, 1.5)
    rotation: float = 30.0
    shift: float = 0.2

    def __post_init__(self) -> None:
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(
                f"Expected `scale` of RandomWindow to be two positive factors in ascending order, but got {self.scale}."
            )
        if self.rotation < 0 or self.shift < 0:
            raise ValueError(
                f"Expected `rotation` and `shift` of RandomWindow to be at least 0, but got {self.rotation} and {self.shift}."
            )

    def __call__(self, crop: Crop, keypoints: Points, visibility: Labels, rng: Draws) -> Crop:
        """Scale, rotate and shift the window."""
        least, largest = self.scale
        zoomed = _zoomed(crop, least + (largest - least) * rng.random())
        rotation = crop.rotation + self.rotation * (2 * rng.random() - 1)
        farthest = int(self.shift * float(zoomed.scale[0]))  # pixels; the upper end is excluded
        moves = [math.floor(2 * farthest * rng.random()) - farthest for _ in range(2)]
        return replace(zoomed, center=crop.center + np.array(moves, np.float64), rotation=rotation)


def _zoomed(crop: Crop, factor: float) -> Crop:
    extent = None if crop.extent is None else crop.extent * factor
    return replace(crop, scale=crop.scale * factor, extent=extent)


def _truncated_normal(rng: Draws) -> float:
    """Draw from the normal distribution truncated at -1 and 1, by rejection."""
    while True:
        draw = rng.standard_normal()
        if -1 <= draw <= 1:
            return draw


def _check_probability(transform: CropTransform, name: str = "probability") -> None:
    value = getattr(transform, name)
    if not 0 <= value <= 1:
        raise ValueError(f"Expected `{name}` of {type(transform).__name__} to be from 0 to 1, but got {value}.")
