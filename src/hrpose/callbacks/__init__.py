"""Lightning callbacks: what a run leaves in its folder and shows, the parts that it trains, and the number of its threads."""

from hrpose.callbacks.averaging import MovingAverage
from hrpose.callbacks.data_wait import DataWait
from hrpose.callbacks.freeze import FreezeBackbone
from hrpose.callbacks.outputs import (
    FinalValidation,
    FrequentLogging,
    LossHistory,
    PictureSheets,
    ResultFiles,
    RunCheckpoint,
)
from hrpose.callbacks.progress import RunProgress
from hrpose.callbacks.pruning import OptunaPruning
from hrpose.callbacks.threads import TorchThreads

__all__ = [
    "DataWait",
    "FinalValidation",
    "FreezeBackbone",
    "FrequentLogging",
    "LossHistory",
    "MovingAverage",
    "OptunaPruning",
    "PictureSheets",
    "ResultFiles",
    "RunCheckpoint",
    "RunProgress",
    "TorchThreads",
]
