"""Remove jitter from keypoints without making them lag: the 1 Euro filter, for each keypoint of each person.

A low-pass filter whose cutoff frequency grows with speed: what stands still is held still, what moves fast is followed. Source:
G. Casiez, N. Roussel, D. Vogel, 1 Euro Filter: A Simple Speed-based Low-pass Filter for Noisy Input in Interactive Systems, CHI
2012, algorithms 1 to 3.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrpose.structures import Poses
from hrpose.tracking.tracker import BodyMotion

Floats = NDArray[np.float64]


class OneEuroFilter:
    """Filter an array of numbers, each on its own, at any times.

    Args:
        min_cutoff: hertz, of what stands still: lower is steadier.
        beta: hertz for each unit of speed: higher lags less in motion.
        derivative_cutoff: hertz, for the speed itself.
        max_gap: seconds after which a number that was missing begins anew.

    Raises:
        ValueError: if a cutoff or the gap is not positive, or beta is negative.

    Example:
        >>> steady = OneEuroFilter(min_cutoff=1.0, beta=0.0)
        >>> [round(float(steady(value, time)), 3) for time, value in [(0.0, 0.0), (0.1, 1.0), (0.2, 1.0)]]
        [0.0, 0.386, 0.623]
    """

    def __init__(
        self, *, min_cutoff: float = 1.0, beta: float = 0.0, derivative_cutoff: float = 1.0, max_gap: float = 1.0
    ) -> None:
        if not (min_cutoff > 0 and derivative_cutoff > 0 and max_gap > 0 and beta >= 0):
            raise ValueError(
                "Expected `min_cutoff`, `derivative_cutoff` and `max_gap` to be positive and `beta` to be at least 0, but got "
                f"{min_cutoff}, {derivative_cutoff}, {max_gap} and {beta}."
            )
        self.min_cutoff = min_cutoff
        self.beta = beta
        self.derivative_cutoff = derivative_cutoff
        self.max_gap = max_gap
        self._values: Floats | None = None
        self._slopes: Floats = np.zeros(0)
        self._times: Floats = np.zeros(0)

    def __call__(self, values: ArrayLike, time: float, *, scale: float = 1.0) -> Floats:
        """Filter the next values.

        Args:
            values: of the same shape each time; NaN where one is missing.
            time: in seconds; the steps may differ.
            scale: unit of length for the speed, such as the size of the person.

        Returns:
            The filtered values; NaN where one is missing.

        Raises:
            ValueError: if the time has not increased, or the shape has changed.
        """
        raw = np.array(values, dtype=np.float64)
        if self._values is None:
            self._values, self._slopes = np.full(raw.shape, np.nan), np.zeros(raw.shape)
            self._times = np.full(raw.shape, -np.inf)
        if raw.shape != self._values.shape:
            raise ValueError(f"Expected values of the shape {self._values.shape} as before, but got {raw.shape}.")
        if not time > self._times.max(initial=-np.inf):
            raise ValueError(f"Expected a time later than {self._times.max():g} s, but got {time:g} s.")
        known = np.isfinite(raw)
        first = known & (time - self._times > self.max_gap)
        later = known & ~first
        step = np.where(later, time - self._times, 1.0)
        before = np.where(later, self._values, 0.0)
        current = np.where(later, raw, 0.0)
        slope = self._slopes + _weight(self.derivative_cutoff, step) * ((current - before) / step - self._slopes)
        cutoff = self.min_cutoff + self.beta * np.abs(slope) / scale
        filtered = before + _weight(cutoff, step) * (current - before)
        self._values = np.where(later, filtered, np.where(first, raw, self._values))
        self._slopes = np.where(later, slope, np.where(first, 0.0, self._slopes))
        self._times = np.where(known, time, self._times)
        return np.where(known, self._values, np.nan)


@dataclass(frozen=True, eq=False)
class _Person:
    """The state of a person: filter, motion, last keypoints (K, 2), which were confident (K,), and total movement (2,)."""

    euro: OneEuroFilter
    motion: BodyMotion
    offset: Floats
    keypoints: Floats
    confident: NDArray[np.bool_]
    time: float

    def move(self, keypoints: Floats, confident: NDArray[np.bool_], time: float) -> _Person:
        """Return the state after the next frame."""
        common, step = confident & self.confident, time - self.time
        motion = self.motion.measure(self.keypoints[common], keypoints[common], step)
        return _Person(self.euro, motion, self.offset + motion.velocity * step, keypoints, confident, time)


class PoseSmoother:
    """Filter the keypoints of each person, identified by `instance_ids`.

    The movement of the whole person is subtracted before the filter and added after it, so that walking causes no lag. Speed is
    measured in sizes of the person (square root of the area of the box), so that near and far persons are treated alike. A
    keypoint below the score threshold is returned unchanged.

    Args:
        min_cutoff: as for `OneEuroFilter`.
        beta: hertz per size of the person and second.
        derivative_cutoff: as for `OneEuroFilter`.
        score_threshold: keypoints with a lower score are not filtered.
        max_gap: seconds after which a person or a keypoint that was missing starts anew.

    Raises:
        ValueError: if a number is out of range.
    """

    def __init__(
        self,
        *,
        min_cutoff: float = 1.0,
        beta: float = 10.0,
        derivative_cutoff: float = 1.0,
        score_threshold: float = 0.2,
        max_gap: float = 1.0,
    ) -> None:
        self._new_filter = partial(
            OneEuroFilter, min_cutoff=min_cutoff, beta=beta, derivative_cutoff=derivative_cutoff, max_gap=max_gap
        )
        self._new_filter()  # refuses what is out of range before the first frame
        self._score_threshold = score_threshold
        self._max_gap = max_gap
        self._people: dict[int, _Person] = {}

    def __call__(self, poses: Poses, time: float) -> Poses:
        """Filter the poses of one frame.

        Args:
            poses: with the same `instance_ids` for a person in every frame, as `OksTracker` gives them.
            time: of the frame in seconds.

        Returns:
            The poses with filtered keypoints.

        Raises:
            ValueError: if the time has not increased, or two poses have one id.
        """
        ids = poses.instance_ids.tolist()
        if len(set(ids)) < len(ids):
            raise ValueError(f"Expected `instance_ids` to be different for each person of a frame, but got {ids}.")
        self._people = {
            number: person for number, person in self._people.items() if time - person.time <= self._max_gap
        }
        keypoints = poses.keypoints.copy()
        confident = poses.keypoint_scores >= self._score_threshold
        for row, number in enumerate(ids):
            raw, scale = poses.keypoints[row], max(float(np.sqrt(poses.area[row])), 1.0)
            known = self._people.get(number)
            if known is None:
                person = _Person(self._new_filter(), BodyMotion(), np.zeros(2), raw, confident[row], time)
            else:
                person = known.move(raw, confident[row], time)
            steady = (
                person.euro(np.where(confident[row, :, None], raw - person.offset, np.nan), time, scale=scale)
                + person.offset
            )
            keypoints[row] = np.where(np.isnan(steady), raw, steady)
            self._people[number] = person
        return replace(poses, keypoints=keypoints)


def _weight(cutoff: Floats | float, step: Floats) -> Floats:
    """Return the share of the new value (algorithm 3): 1 / (1 + tau / T) with tau = 1 / (2 pi cutoff)."""
    return np.asarray(1.0 / (1.0 + 1.0 / (2.0 * np.pi * cutoff * step)))
