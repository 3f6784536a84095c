"""Losses: the weighted differences of network outputs and the codec's targets."""

from hrpose.losses.associative_embedding import AssociativeEmbeddingLoss
from hrpose.losses.coordinates import CoordinateLoss, IntegralLoss, SimccLoss
from hrpose.losses.heatmaps import HeatmapMSELoss, HeatmapOffsetMSELoss, HeatmapOHKMLoss
from hrpose.losses.likelihood import RLELoss

__all__ = [
    "AssociativeEmbeddingLoss",
    "CoordinateLoss",
    "HeatmapMSELoss",
    "HeatmapOHKMLoss",
    "HeatmapOffsetMSELoss",
    "IntegralLoss",
    "RLELoss",
    "SimccLoss",
]
