"""Who finds the persons in images that come without boxes."""

from hrpose.estimator.detectors.box_file import BoxFile
from hrpose.estimator.detectors.boxes import Detector
from hrpose.estimator.detectors.function import FunctionDetector
from hrpose.estimator.detectors.onnx_file import OnnxDetector
from hrpose.estimator.detectors.rtdetr import RTDetrDetector

__all__ = ["BoxFile", "Detector", "FunctionDetector", "OnnxDetector", "RTDetrDetector"]
