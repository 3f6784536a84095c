"""Codecs: keypoints to training targets, network outputs to keypoints."""

from hrpose.codecs.base import Codec
from hrpose.codecs.heatmap import HeatmapCodec, heatmap_accuracy

__all__ = ["Codec", "HeatmapCodec", "heatmap_accuracy"]
