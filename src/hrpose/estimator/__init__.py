"""Use a trained network: images and boxes in, poses in image pixels out."""

from hrpose.estimator.detectors import BoxFile, Detector, FunctionDetector, OnnxDetector, RTDetrDetector
from hrpose.estimator.engine import Engine, TorchEngine
from hrpose.estimator.exported_engine import ExportedEngine, ExportedImageEngine
from hrpose.estimator.pose_estimator import PoseEstimator

__all__ = [
    "BoxFile",
    "Detector",
    "Engine",
    "ExportedEngine",
    "ExportedImageEngine",
    "FunctionDetector",
    "OnnxDetector",
    "PoseEstimator",
    "RTDetrDetector",
    "TorchEngine",
]
