"""The ten COCO numbers with their protocol and bootstrap samples, and the comparison of two such measurements."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hrpose.metrics.functional import (
    Matches,
    accumulate,
    bootstrap_average_precision,
    confidence_interval,
    paired_p_value,
    summarize,
)
from hrpose.metrics.functional.oks import Floats
from hrpose.report.protocol import Protocol

COLUMNS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
UNDEFINED = "-1 means undefined: no instance of that size is annotated."


@dataclass(frozen=True, eq=False)
class Measurement:
    """The ten COCO numbers of a set of poses, and their protocol."""

    protocol: Protocol  # of the measurement
    numbers: Mapping[str, float]  # the ten COCO numbers; -1 without annotated instances
    samples: Floats  # (S,) APs of resampled images, NaN without annotated instances; S is 0 without resampling
    seed: int  # of the resampling. Samples of the same images with the same S and seed can be paired

    @property
    def interval(self) -> tuple[float, float] | None:
        """Return the 95 % interval of AP over images; None without samples, if AP is undefined or with too few images."""
        return confidence_interval(self.samples) if enough_defined(self.samples) and self.numbers["AP"] >= 0 else None

    def describe_interval(self) -> str:
        """Return a sentence on the interval, or on why there is none; empty without samples or if AP is undefined."""
        if not self.samples.size or self.numbers["AP"] < 0:
            return ""
        used, total = num_defined(self.samples), self.samples.size
        if self.interval is None:
            return f"No interval of AP: too few images ({total - used} of {total} resamples have no annotated instances)"
        low, high = self.interval
        left_out = f" ({total - used} without annotated instances are left out)" if used < total else ""
        return f"95 % interval of AP over {used} resamples of the images{left_out}: {low:.3f} to {high:.3f}"

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the JSON report."""
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
        """Build a measurement from the result of `to_dict`; other entries are ignored."""
        bootstrap, numbers = content["bootstrap"], content["numbers"]
        samples = np.asarray(bootstrap["samples"], dtype=np.float64)  # None becomes NaN
        return Measurement(
            Protocol.from_dict(content["protocol"]),
            {name: math.nan if numbers[name] is None else float(numbers[name]) for name in COLUMNS},
            np.where(samples < 0, np.nan, samples),  # earlier versions wrote -1
            int(bootstrap["seed"]),
        )


def read_measurement(file: Path) -> Measurement:
    """Read the measurement from a JSON report.

    Raises:
        ValueError: if the file is not a report.
    """
    try:
        content = json.loads(file.read_bytes())
        if not isinstance(content, dict):
            raise ValueError(f"it is a JSON {type(content).__name__}")
        return Measurement.from_dict(content)
    except (KeyError, TypeError, ValueError) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"Expected {file} to be a report of hrpose, but {what}.") from error


def num_defined(samples: Floats) -> int:
    """Count the samples that are not NaN."""
    return int(np.count_nonzero(~np.isnan(samples)))


def enough_defined(samples: Floats) -> bool:
    """Check whether at least half of the samples, and at least one, are defined, as an interval needs."""
    return num_defined(samples) >= max(1, samples.size / 2)


def measure(matches: Matches, protocol: Protocol, *, num_samples: int = 1000, seed: int = 0) -> Measurement:
    """Compute the ten COCO numbers and bootstrap samples of AP (no samples if `num_samples` is 0)."""
    if num_samples < 0:
        raise ValueError(f"Expected `num_samples` to be 0 or more, but got {num_samples}.")
    samples = bootstrap_average_precision(matches, num_samples=num_samples, seed=seed) if num_samples else np.zeros(0)
    return Measurement(protocol, summarize(accumulate(matches)), samples, seed)


@dataclass(frozen=True, eq=False)
class Comparison:
    """The difference of two measurements."""

    a: Measurement  # the first measurement
    b: Measurement  # the second measurement
    unlike: tuple[str, ...]  # differences of their protocols, each with both values; empty if they are equal
    differences: dict[str, float | None]  # b - a of the ten numbers; None if one of them is undefined
    # 95 % bootstrap interval of the difference of AP; None if the samples cannot be paired
    interval: tuple[float, float] | None
    p_value: float | None  # of the difference of AP; None if the samples cannot be paired
    unpaired: str  # why the samples cannot be paired; empty if they can
    num_used: int  # number of resamples with both APs defined

    def to_dict(self) -> dict[str, Any]:
        """Return the content of compare.json."""
        sides = {"a": self.a, "b": self.b}
        return {
            **{name: {"protocol": m.protocol.to_dict(), "numbers": dict(m.numbers)} for name, m in sides.items()},
            "unlike": list(self.unlike),
            "differences": self.differences,
            "interval_95": None if self.interval is None else list(self.interval),
            "p_value": self.p_value,
            "unpaired": self.unpaired or None,
            "num_used": self.num_used,
        }


def compare_measurements(a: Measurement, b: Measurement) -> Comparison:
    """Compare two measurements, also of different protocols."""
    unpaired = _why_unpaired(a, b)
    return Comparison(
        a=a,
        b=b,
        unlike=tuple(a.protocol.differences(b.protocol)),
        differences={
            name: b.numbers[name] - a.numbers[name] if min(a.numbers[name], b.numbers[name]) >= 0 else None for name in COLUMNS
        },
        interval=None if unpaired else confidence_interval(b.samples - a.samples),
        p_value=None if unpaired else paired_p_value(a.samples, b.samples),
        unpaired=unpaired,
        num_used=0 if unpaired else num_defined(b.samples - a.samples),
    )


def _why_unpaired(a: Measurement, b: Measurement) -> str:
    """Return why the samples cannot be paired; empty if they can."""
    one, other = a.protocol, b.protocol
    if (one.annotations.sha256, one.category) != (other.annotations.sha256, other.category):
        return "the annotations differ"
    if a.samples.size != b.samples.size or a.seed != b.seed or not a.samples.size:
        return (
            f"the images were resampled differently ({a.samples.size} times with seed {a.seed}, {b.samples.size} times with seed "
            f"{b.seed})"
        )
    if min(a.numbers["AP"], b.numbers["AP"]) < 0:
        return "there are no annotated instances"
    used, total = num_defined(b.samples - a.samples), a.samples.size
    if not enough_defined(b.samples - a.samples):
        return f"too few images ({total - used} of {total} resamples have no annotated instances)"
    return ""
