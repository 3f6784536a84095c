"""How fast somebody moves as a whole, read off noisy keypoints."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_MEMORY = 0.15  # seconds over which speeds are averaged: a few frames


@dataclass(frozen=True, eq=False)
class BodyMotion:
    """The velocity of a person; limbs that swing and keypoints that are wrong hardly matter, because the median counts.

    Attributes:
        velocity: (2,) pixels in a second.
        num_steps: how many times it was measured.
    """

    velocity: Floats = field(default_factory=lambda: np.zeros(2))
    num_steps: int = 0

    def measure(self, before: Floats, after: Floats, step: float) -> BodyMotion:
        """Take another step into account.

        Args:
            before: (n, 2) keypoints in pixels.
            after: (n, 2) the same ones `step` seconds later; if there are none, nothing is learned.
            step: seconds.
        """
        if not len(before):
            return self
        measured = np.median(after - before, axis=0) / step
        num_steps = self.num_steps + 1
        share = max(1 / num_steps, 1 - float(np.exp(-step / _MEMORY)))
        return BodyMotion(self.velocity + share * (measured - self.velocity), num_steps)
