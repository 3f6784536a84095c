"""Read, load, convert, write and download weight files of hrpose and of other tools.

The names are imported on first use, so `hrpose.weights.published` does not import torch.
"""

from typing import TYPE_CHECKING

from hrpose.moved import lazy_names

if TYPE_CHECKING:
    from hrpose.weights.convert import Conversion, convert_weights, save_weights
    from hrpose.weights.files import WeightsError
    from hrpose.weights.load import WeightReport, load_weights

__all__ = ["Conversion", "WeightReport", "WeightsError", "convert_weights", "load_weights", "save_weights"]

_NAMES = {"convert": "Conversion convert_weights save_weights", "files": "WeightsError", "load": "WeightReport load_weights"}

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
