"""Detectors find the instances in images that come without boxes."""

from hrpose.estimator.detectors.boxes import BoxFile, Detector, FunctionDetector
from hrpose.estimator.detectors.onnx_file import OnnxDetector
from hrpose.estimator.detectors.rtdetr import RTDetrDetector

__all__ = ["BoxFile", "Detector", "FunctionDetector", "OnnxDetector", "RTDetrDetector"]
