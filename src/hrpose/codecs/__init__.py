"""Codecs: keypoints to training targets, network outputs to keypoints."""

from hrpose.codecs.accuracy import decoding_errors
from hrpose.codecs.base import Codec
from hrpose.codecs.dark import DarkCodec
from hrpose.codecs.heatmap import HeatmapCodec, heatmap_accuracy
from hrpose.codecs.udp import UdpCodec
from hrpose.codecs.udp_offset import UdpOffsetCodec

__all__ = ["Codec", "DarkCodec", "HeatmapCodec", "UdpCodec", "UdpOffsetCodec", "decoding_errors", "heatmap_accuracy"]
