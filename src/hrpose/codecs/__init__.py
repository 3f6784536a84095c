"""Codecs: keypoints to training targets, network outputs to keypoints."""

from hrpose.codecs.associative_embedding import AssociativeEmbedding, GroupingTarget, is_bottom_up
from hrpose.codecs.base import Codec, decoding_errors
from hrpose.codecs.dark import DarkCodec
from hrpose.codecs.heatmap import HeatmapCodec, heatmap_accuracy
from hrpose.codecs.integral import IntegralCodec
from hrpose.codecs.regression import RegressionCodec
from hrpose.codecs.simcc import SimccCodec
from hrpose.codecs.udp import UdpCodec, UdpOffsetCodec

__all__ = [
    "AssociativeEmbedding",
    "Codec",
    "DarkCodec",
    "GroupingTarget",
    "HeatmapCodec",
    "IntegralCodec",
    "RegressionCodec",
    "SimccCodec",
    "UdpCodec",
    "UdpOffsetCodec",
    "decoding_errors",
    "heatmap_accuracy",
    "is_bottom_up",
]
