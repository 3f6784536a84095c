"""Networks and their size."""

from hrpose.models.checks import compile_network, count_macs, count_parameters, find_heatmap_size, split_modules, split_parameters
from hrpose.models.deeppose import DeepPose
from hrpose.models.higher_hrnet import HigherHRNet
from hrpose.models.hourglass import StackedHourglass
from hrpose.models.hrnet import HRNet
from hrpose.models.simcc import SimCC
from hrpose.models.simple_baseline import SimpleBaseline

__all__ = [
    "DeepPose",
    "HRNet",
    "HigherHRNet",
    "SimCC",
    "SimpleBaseline",
    "StackedHourglass",
    "compile_network",
    "count_macs",
    "count_parameters",
    "find_heatmap_size",
    "split_modules",
    "split_parameters",
]
