"""Losses: the weighted differences of network outputs and the codec's targets."""

from hrpose.losses.associative_embedding import AssociativeEmbeddingLoss
from hrpose.losses.coordinates import CoordinateLoss, IntegralLoss, RLELoss, SimccLoss
from hrpose.losses.heatmaps import HeatmapMSELoss, HeatmapOffsetMSELoss, HeatmapOHKMLoss

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
