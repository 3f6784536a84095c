"""Networks, their size, and their weights."""

from hrpose.models.hrnet import HRNet
from hrpose.models.profile import count_macs, count_parameters
from hrpose.models.weights import WeightReport, WeightsError, load_weights

__all__ = ["HRNet", "WeightReport", "WeightsError", "count_macs", "count_parameters", "load_weights"]
