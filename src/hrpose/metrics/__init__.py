"""Metrics of poses: average precision by OKS, mean OKS, PCK and PCKh. They need only torch, torchmetrics and NumPy.

The classes are imported on first use, so `hrpose.metrics.functional` does not import torchmetrics.
"""

from typing import TYPE_CHECKING

from hrpose.moved import lazy_names

if TYPE_CHECKING:
    from hrpose.metrics.average_precision import KeypointAveragePrecision, ObjectKeypointSimilarity
    from hrpose.metrics.base import PoseMetric
    from hrpose.metrics.pck import PCKh, PercentageOfCorrectKeypoints

__all__ = ["KeypointAveragePrecision", "ObjectKeypointSimilarity", "PCKh", "PercentageOfCorrectKeypoints", "PoseMetric"]

_NAMES = {
    "average_precision": "KeypointAveragePrecision ObjectKeypointSimilarity",
    "base": "PoseMetric",
    "pck": "PCKh PercentageOfCorrectKeypoints",
}

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
