"""Lightning callbacks: checkpoints and other files, progress, weights that are trained or averaged, signals, threads."""

from hrpose.callbacks.data_wait import DataWait
from hrpose.callbacks.outputs import FinalValidation, FrequentLogging, LossHistory, PictureSheets, ResultFiles, RunCheckpoint
from hrpose.callbacks.progress import RunProgress
from hrpose.callbacks.pruning import OptunaPruning
from hrpose.callbacks.threads import TorchThreads
from hrpose.callbacks.weights import FreezeBackbone, MovingAverage

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
