"""Two measurements side by side: by how much they differ, and whether that may be chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hrpose.metrics.functional import confidence_interval, paired_p_value
from hrpose.report.measurement import COLUMNS, Measurement, enough_defined, num_defined


@dataclass(frozen=True, eq=False)
class Comparison:
    """How a second measurement differs from a first one.

    Attributes:
        a: the first.
        b: the second.
        unlike: what differs between their protocols, each with both sides; empty if they were measured alike.
        differences: b - a of the ten numbers; None where one of them is not defined.
        interval: of AP's difference over 95 % of the resampled photos; None if the samples cannot be paired.
        p_value: how likely a difference like this is if both are equally good; None if the samples cannot be paired.
        unpaired: why they cannot; empty if they can.
        num_used: how many resamples, in which both APs are defined, the interval and the p-value are computed from.
    """

    a: Measurement
    b: Measurement
    unlike: tuple[str, ...]
    differences: dict[str, float | None]
    interval: tuple[float, float] | None
    p_value: float | None
    unpaired: str
    num_used: int

    def to_dict(self) -> dict[str, Any]:
        """Give it as plain containers."""
        sides = {name: {"protocol": m.protocol.to_dict(), "numbers": dict(m.numbers)} for name, m in self._sides()}
        return {
            **sides,
            "unlike": list(self.unlike),
            "differences": self.differences,
            "interval_95": None if self.interval is None else list(self.interval),
            "p_value": self.p_value,
            "unpaired": self.unpaired or None,
            "num_used": self.num_used,
        }

    def _sides(self) -> tuple[tuple[str, Measurement], tuple[str, Measurement]]:
        return ("a", self.a), ("b", self.b)


def compare_measurements(a: Measurement, b: Measurement) -> Comparison:
    """Compare two measurements; whether their protocols are alike enough is for the caller to judge.

    Args:
        a: the first.
        b: the second.
    """
    unpaired = _why_unpaired(a, b)
    return Comparison(
        a=a,
        b=b,
        unlike=tuple(a.protocol.differences(b.protocol)),
        differences={
            name: b.numbers[name] - a.numbers[name] if min(a.numbers[name], b.numbers[name]) >= 0 else None
            for name in COLUMNS
        },
        interval=None if unpaired else confidence_interval(b.samples - a.samples),
        p_value=None if unpaired else paired_p_value(a.samples, b.samples),
        unpaired=unpaired,
        num_used=0 if unpaired else num_defined(b.samples - a.samples),
    )


def _why_unpaired(a: Measurement, b: Measurement) -> str:
    """Say why the samples were not drawn from the same photos in the same way; empty if they were."""
    one, other = a.protocol, b.protocol
    if (one.annotations.sha256, one.category) != (other.annotations.sha256, other.category):
        return "they were measured on other annotations"
    if a.samples.size != b.samples.size or a.seed != b.seed or not a.samples.size:
        return (
            f"their photos were not resampled alike ({a.samples.size} times with seed {a.seed}, {b.samples.size} times with "
            f"seed {b.seed})"
        )
    if min(a.numbers["AP"], b.numbers["AP"]) < 0:
        return "nobody is annotated"
    used, total = num_defined(b.samples - a.samples), a.samples.size
    if not enough_defined(b.samples - a.samples):
        return f"not enough images, {total - used} of {total} resamplings hold no annotated person"
    return ""
