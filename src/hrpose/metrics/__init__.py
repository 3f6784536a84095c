"""Metrics of poses: average precision by OKS, mean OKS, PCK and PCKh. Usable alone, with torch, torchmetrics and numpy.

The classes are loaded when they are first used: `hrpose.metrics.functional` needs neither torch nor torchmetrics.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hrpose.metrics.average_precision import KeypointAveragePrecision
    from hrpose.metrics.base import PoseMetric
    from hrpose.metrics.pck import PCKh, PercentageOfCorrectKeypoints
    from hrpose.metrics.similarity import ObjectKeypointSimilarity

__all__ = ["KeypointAveragePrecision", "ObjectKeypointSimilarity", "PCKh", "PercentageOfCorrectKeypoints", "PoseMetric"]

_HOMES = {
    "KeypointAveragePrecision": "average_precision",
    "ObjectKeypointSimilarity": "similarity",
    "PCKh": "pck",
    "PercentageOfCorrectKeypoints": "pck",
    "PoseMetric": "base",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hrpose.metrics' has no attribute '{name}'")
    return getattr(import_module(f"hrpose.metrics.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
