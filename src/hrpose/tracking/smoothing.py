"""Reduce the jitter of keypoints with little lag, by the 1 Euro filter for each keypoint of each instance.

The filter is a low-pass filter with a cutoff frequency that increases with speed. Source: G. Casiez, N. Roussel, D. Vogel, 1 Euro
Filter: A Simple Speed-based Low-pass Filter for Noisy Input in Interactive Systems, CHI 2012, algorithms 1 to 3.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from hrpose.metrics.functional.oks import Floats
from hrpose.structures import Poses
from hrpose.tracking.tracker import Observation


class OneEuroFilter:
    """Filter each number of an array over time, with any time steps.

    Args:
        min_cutoff: cutoff frequency in hertz without motion; lower values smooth more.
        beta: increase of the cutoff in hertz per unit of speed; higher values lag less.
        derivative_cutoff: cutoff frequency in hertz of the speed.
        max_gap: seconds after which the filter of a missing number is reset.

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
        """Filter the next values; those that are missing stay NaN.

        Args:
            values: of the same shape each time; NaN if missing.
            time: in seconds.
            scale: unit of length for the speed, such as the size of the instance.

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


class PoseSmoother:
    """Filter the keypoints of each instance, identified by `instance_ids`.

    The movement of the whole instance is subtracted before the filter and added after it, so that it causes no lag. Speed is
    relative to the size of the instance (square root of the area of its box), so that near and far instances are treated alike.

    Args:
        min_cutoff: as for `OneEuroFilter`.
        beta: as for `OneEuroFilter`, where the unit of speed is the size of the instance per second.
        derivative_cutoff: as for `OneEuroFilter`.
        score_threshold: keypoints with a lower score are returned unchanged.
        max_gap: seconds after which the filter of a missing instance or keypoint is reset.

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
        self._new_filter()  # checks the arguments
        self._score_threshold = score_threshold
        self._max_gap = max_gap
        self._states: dict[int, tuple[OneEuroFilter, Floats, Observation]] = {}  # filter, total movement (2,), last pose

    def __call__(self, poses: Poses, time: float) -> Poses:
        """Filter the keypoints of one frame at a time in seconds; the poses have `instance_ids` of an `OksTracker`.

        Raises:
            ValueError: if the time has not increased, or two poses have one id.
        """
        ids = poses.instance_ids.tolist()
        if len(set(ids)) < len(ids):
            raise ValueError(f"Expected `instance_ids` to be unique in a frame, but got {ids}.")
        self._states = {number: state for number, state in self._states.items() if time - state[2].time <= self._max_gap}
        keypoints = poses.keypoints.copy()
        confident = poses.keypoint_scores >= self._score_threshold
        for row, number in enumerate(ids):
            raw, scale = poses.keypoints[row], max(float(np.sqrt(poses.area[row])), 1.0)
            if number in self._states:
                euro, offset, before = self._states[number]
                last = before.followed_by(raw, confident[row], time)
                offset = offset + last.motion.velocity * (time - before.time)
            else:
                euro, offset, last = self._new_filter(), np.zeros(2), Observation(raw, confident[row], time)
            filtered = euro(np.where(confident[row, :, None], raw - offset, np.nan), time, scale=scale) + offset
            keypoints[row] = np.where(np.isnan(filtered), raw, filtered)
            self._states[number] = euro, offset, last
        return replace(poses, keypoints=keypoints)


def _weight(cutoff: Floats | float, step: Floats) -> Floats:
    """Return the share of the new value (algorithm 3): 1 / (1 + tau / T) with tau = 1 / (2 pi cutoff)."""
    return np.asarray(1.0 / (1.0 + 1.0 / (2.0 * np.pi * cutoff * step)))
