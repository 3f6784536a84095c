"""Top-down keypoint networks, HRNet first: exact COCO recipes in PyTorch Lightning and Hydra, and an exact OKS metric.

The names below are loaded when they are first used, so `import hrpose` is instant and needs no torch.
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

_HOMES = {
    "AssociativeEmbedding": "codecs",
    "BoxFile": "estimator",
    "COCO": "skeletons",
    "Crop": "structures",
    "DarkCodec": "codecs",
    "DeepPose": "models",
    "FunctionDetector": "estimator",
    "GroundTruth": "structures",
    "HRNet": "models",
    "HeatmapCodec": "codecs",
    "HigherHRNet": "models",
    "InstanceTable": "structures",
    "IntegralCodec": "codecs",
    "KeypointAveragePrecision": "metrics",
    "MPII": "skeletons",
    "OksTracker": "tracking",
    "OneEuroFilter": "tracking",
    "OnnxDetector": "estimator",
    "PoseDataModule": "data.datamodule",
    "PoseEstimator": "estimator",
    "PoseModule": "module",
    "PosePainter": "visualize",
    "PoseSmoother": "tracking",
    "Poses": "structures",
    "RTDetrDetector": "estimator",
    "RegressionCodec": "codecs",
    "SimCC": "models",
    "SimccCodec": "codecs",
    "SimpleBaseline": "models",
    "Skeleton": "skeletons",
    "StackedHourglass": "models",
    "UdpCodec": "codecs",
    "UdpOffsetCodec": "codecs",
    "VideoReader": "media.video",
    "VideoWriter": "media.video",
    "compose": "config",
    "conf_dir": "config",
    "convert": "tasks.calls",
    "convert_labels": "annotations.converters",
    "doctor": "tasks.calls",
    "draw_heatmaps": "visualize",
    "draw_poses": "visualize",
    "estimate_poses": "inference",
    "evaluate": "tasks.calls",
    "export": "export",  # a package that is a function too
    "fetch_weights": "weights.fetch",
    "fit": "tasks.calls",
    "load_image": "media.load",
    "load_weights": "weights",
    "open_exported": "export",
    "predict": "tasks.calls",
    "predict_heatmaps": "inference",
    "save_weights": "weights",
    "test": "tasks.calls",
    "track_poses": "estimator.video",
    "write_coco": "annotations.converters",
}

__getattr__, __dir__ = _lazy_names(__name__, _HOMES)
