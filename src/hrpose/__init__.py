"""Keypoint networks such as HRNet: exact COCO recipes in PyTorch Lightning and Hydra, and an exact OKS metric.

Names are imported on first use, so `import hrpose` is fast and does not import torch.
"""

from typing import TYPE_CHECKING

from hrpose.moved import install as _install_moved_names
from hrpose.moved import lazy_names as _lazy_names

if TYPE_CHECKING:
    from hrpose.annotations.converters import convert_labels, write_coco
    from hrpose.codecs import (
        AssociativeEmbedding,
        DarkCodec,
        HeatmapCodec,
        IntegralCodec,
        RegressionCodec,
        SimccCodec,
        UdpCodec,
        UdpOffsetCodec,
    )
    from hrpose.config import compose, conf_dir
    from hrpose.data.datamodule import PoseDataModule
    from hrpose.estimator import BoxFile, FunctionDetector, OnnxDetector, PoseEstimator, RTDetrDetector
    from hrpose.estimator.video import track_poses
    from hrpose.export import open_exported
    from hrpose.inference import estimate_poses, predict_heatmaps
    from hrpose.media.load import load_image
    from hrpose.media.video import VideoReader, VideoWriter
    from hrpose.metrics import KeypointAveragePrecision
    from hrpose.models import DeepPose, HigherHRNet, HRNet, SimCC, SimpleBaseline, StackedHourglass
    from hrpose.module import PoseModule
    from hrpose.skeletons import COCO, MPII, Skeleton
    from hrpose.structures import Crop, GroundTruth, InstanceTable, Poses
    from hrpose.tasks.calls import convert, doctor, evaluate, export, fit, predict, test
    from hrpose.tracking import OksTracker, OneEuroFilter, PoseSmoother
    from hrpose.visualize import PosePainter, draw_heatmaps, draw_poses
    from hrpose.weights import load_weights, save_weights
    from hrpose.weights.fetch import fetch_weights

__version__ = "0.1.0"

_install_moved_names()

__all__ = [  # noqa: RUF022  in the order of sorted()
    "AssociativeEmbedding",
    "BoxFile",
    "COCO",
    "Crop",
    "DarkCodec",
    "DeepPose",
    "FunctionDetector",
    "GroundTruth",
    "HRNet",
    "HeatmapCodec",
    "HigherHRNet",
    "InstanceTable",
    "IntegralCodec",
    "KeypointAveragePrecision",
    "MPII",
    "OksTracker",
    "OneEuroFilter",
    "OnnxDetector",
    "PoseDataModule",
    "PoseEstimator",
    "PoseModule",
    "PosePainter",
    "PoseSmoother",
    "Poses",
    "RTDetrDetector",
    "RegressionCodec",
    "SimCC",
    "SimccCodec",
    "SimpleBaseline",
    "Skeleton",
    "StackedHourglass",
    "UdpCodec",
    "UdpOffsetCodec",
    "VideoReader",
    "VideoWriter",
    "compose",
    "conf_dir",
    "convert",
    "convert_labels",
    "doctor",
    "draw_heatmaps",
    "draw_poses",
    "estimate_poses",
    "evaluate",
    "export",
    "fetch_weights",
    "fit",
    "load_image",
    "load_weights",
    "open_exported",
    "predict",
    "predict_heatmaps",
    "save_weights",
    "test",
    "track_poses",
    "write_coco",
]

_NAMES = {
    "annotations.converters": "convert_labels write_coco",
    "codecs": "AssociativeEmbedding DarkCodec HeatmapCodec IntegralCodec RegressionCodec SimccCodec UdpCodec UdpOffsetCodec",
    "config": "compose conf_dir",
    "data.datamodule": "PoseDataModule",
    "estimator": "BoxFile FunctionDetector OnnxDetector PoseEstimator RTDetrDetector",
    "estimator.video": "track_poses",
    "export": "export open_exported",  # the package itself can be called
    "inference": "estimate_poses predict_heatmaps",
    "media.load": "load_image",
    "media.video": "VideoReader VideoWriter",
    "metrics": "KeypointAveragePrecision",
    "models": "DeepPose HRNet HigherHRNet SimCC SimpleBaseline StackedHourglass",
    "module": "PoseModule",
    "skeletons": "COCO MPII Skeleton",
    "structures": "Crop GroundTruth InstanceTable Poses",
    "tasks.calls": "convert doctor evaluate fit predict test",
    "tracking": "OksTracker OneEuroFilter PoseSmoother",
    "visualize": "PosePainter draw_heatmaps draw_poses",
    "weights": "load_weights save_weights",
    "weights.fetch": "fetch_weights",
}

__getattr__, __dir__ = _lazy_names(__name__, _NAMES)
