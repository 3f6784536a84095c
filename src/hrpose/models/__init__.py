"""Networks, their size, and their weights."""

from hrpose.models.deeppose import DeepPose
from hrpose.models.hourglass import StackedHourglass
from hrpose.models.hrnet import HRNet
from hrpose.models.profile import count_macs, count_parameters, find_heatmap_size
from hrpose.models.simcc import SimCC
from hrpose.models.simple_baseline import SimpleBaseline
from hrpose.models.weight_files import WeightsError
from hrpose.models.weight_writing import Conversion, convert_weights, save_weights
from hrpose.models.weights import WeightReport, load_weights

__all__ = [
    "Conversion",
    "DeepPose",
    "HRNet",
    "SimCC",
    "SimpleBaseline",
    "StackedHourglass",
    "WeightReport",
    "WeightsError",
    "convert_weights",
    "count_macs",
    "count_parameters",
    "find_heatmap_size",
    "load_weights",
    "save_weights",
]
