"""Weight files of hrpose and of other tools: read, load, convert, write and fetch them.

The names are loaded when they are first used: `hrpose.weights.published` needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hrpose.weights.convert import Conversion, convert_weights, save_weights
    from hrpose.weights.files import WeightsError
    from hrpose.weights.load import WeightReport, load_weights

__all__ = ["Conversion", "WeightReport", "WeightsError", "convert_weights", "load_weights", "save_weights"]

_HOMES = {
    "Conversion": "convert",
    "WeightReport": "load",
    "WeightsError": "files",
    "convert_weights": "convert",
    "load_weights": "load",
    "save_weights": "convert",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hrpose.weights' has no attribute '{name}'")
    return getattr(import_module(f"hrpose.weights.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
