"""The ten numbers with what makes them comparable: the protocol, and how AP varies over resampled photos."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hrpose.metrics.functional import (
    Matches,
    accumulate,
    bootstrap_average_precision,
    confidence_interval,
    summarize,
)
from hrpose.metrics.functional.oks import Floats
from hrpose.report.protocol import Protocol

COLUMNS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
UNDEFINED = "-1 stands for a number that is not defined: nobody of that size is annotated, so there is nothing to find."


@dataclass(frozen=True, eq=False)
class Measurement:
    """How good a set of poses is, and how it was measured.

    Attributes:
        protocol: how.
        numbers: the ten COCO numbers; -1 where there is nobody to be found.
        samples: (S,) APs of resampled photos, NaN where a resample has nobody to be found; S is 0 where nothing was resampled.
        seed: of the resampling. Samples of the same photos, number and seed were drawn alike.
    """

    protocol: Protocol
    numbers: Mapping[str, float]
    samples: Floats
    seed: int

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of AP over photos; None where nothing was resampled, AP is not defined or images are too few."""
        return confidence_interval(self.samples) if enough_defined(self.samples) and self.numbers["AP"] >= 0 else None

    def describe_interval(self) -> str:
        """Give the interval in a sentence, or why there is none; empty where nothing was resampled or AP is not defined."""
        if not self.samples.size or self.numbers["AP"] < 0:
            return ""
        used, total = num_defined(self.samples), self.samples.size
        if self.interval is None:
            return (
                f"No interval of AP: not enough images, {total - used} of {total} resamplings hold no annotated person"
            )
        low, high = self.interval
        left_out = f" ({total - used} without an annotated person are left out)" if used < total else ""
        return f"AP of 95 % of {used} resamplings of the photos{left_out}: {low:.3f} to {high:.3f}"

    def to_dict(self) -> dict[str, Any]:
        """Give it as plain containers."""
        interval = self.interval
        return {
            "protocol": self.protocol.to_dict(),
            "numbers": dict(self.numbers),
            "bootstrap": {
                "interval_95": None if interval is None else list(interval),
                "num_samples": int(self.samples.size),
                "num_used": num_defined(self.samples),
                "seed": self.seed,
                "samples": [None if np.isnan(sample) else sample for sample in self.samples.tolist()],
            },
        }

    @staticmethod
    def from_dict(content: Mapping[str, Any]) -> Measurement:
        """Take what `to_dict` gave; further entries are passed over.

        Raises:
            KeyError: if an entry is missing.
            ValueError: if the protocol has other parts.
        """
        bootstrap = content["bootstrap"]
        samples = np.asarray(bootstrap["samples"], dtype=np.float64)  # None becomes NaN
        return Measurement(
            Protocol.from_dict(content["protocol"]),
            {
                name: math.nan if content["numbers"][name] is None else float(content["numbers"][name])
                for name in COLUMNS
            },
            np.where(samples < 0, np.nan, samples),  # earlier versions wrote -1
            int(bootstrap["seed"]),
        )


def num_defined(samples: Floats) -> int:
    """Count the samples that are not NaN."""
    return int(np.count_nonzero(~np.isnan(samples)))


def enough_defined(samples: Floats) -> bool:
    """Check whether at least half of the samples, and one, are defined, so that an interval of them says something."""
    return num_defined(samples) >= max(1, samples.size / 2)


def measure(matches: Matches, protocol: Protocol, *, num_samples: int = 1000, seed: int = 0) -> Measurement:
    """Take the ten numbers, and resample the photos.

    Args:
        matches: from `match_detections`, with COCO's area ranges and OKS thresholds.
        protocol: how the poses came about.
        num_samples: S; 0 resamples nothing.
        seed: of the resampling.

    Raises:
        ValueError: if `num_samples` is negative.
    """
    if num_samples < 0:
        raise ValueError(f"Expected `num_samples` to be 0 or more, but got {num_samples}.")
    samples = bootstrap_average_precision(matches, num_samples=num_samples, seed=seed) if num_samples else np.zeros(0)
    return Measurement(protocol, summarize(accumulate(matches)), samples, seed)
