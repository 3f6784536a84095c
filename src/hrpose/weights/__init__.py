"""Weight files of hrpose and of other tools: read, load, convert, write and fetch them."""

from hrpose.weights.convert import Conversion, convert_weights, save_weights
from hrpose.weights.files import WeightsError
from hrpose.weights.load import WeightReport, load_weights

__all__ = ["Conversion", "WeightReport", "WeightsError", "convert_weights", "load_weights", "save_weights"]
