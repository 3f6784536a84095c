"""Metrics of poses: average precision by OKS, mean OKS, PCK and PCKh. Usable alone, with torch, torchmetrics and numpy."""

from hrpose.metrics.average_precision import KeypointAveragePrecision

__all__ = ["KeypointAveragePrecision"]
