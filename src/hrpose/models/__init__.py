"""Networks and their size."""

from hrpose.models.deeppose import DeepPose
from hrpose.models.hourglass import StackedHourglass
from hrpose.models.hrnet import HRNet
from hrpose.models.parts import split_modules, split_parameters
from hrpose.models.profile import count_macs, count_parameters, find_heatmap_size
from hrpose.models.simcc import SimCC
from hrpose.models.simple_baseline import SimpleBaseline

__all__ = [
    "DeepPose",
    "HRNet",
    "SimCC",
    "SimpleBaseline",
    "StackedHourglass",
    "count_macs",
    "count_parameters",
    "find_heatmap_size",
    "split_modules",
    "split_parameters",
]
