"""Metrics of poses: average precision by OKS, mean OKS, PCK and PCKh. Usable alone, with torch, torchmetrics and numpy."""

from hrpose.metrics.average_precision import KeypointAveragePrecision
from hrpose.metrics.pck import PCKh, PercentageOfCorrectKeypoints
from hrpose.metrics.similarity import ObjectKeypointSimilarity

__all__ = ["KeypointAveragePrecision", "ObjectKeypointSimilarity", "PCKh", "PercentageOfCorrectKeypoints"]
