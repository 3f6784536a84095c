"""OpenVINO's own files (.xml with its .bin) by OpenVINO, on the CPU."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hrpose.export.record import METADATA_KEY, ExportedFileError
from hrpose.export.runtime import Port, check_file, check_ports


class OpenVinoRuntime:
    """An OpenVINO model on the CPU.

    Args:
        file: the .xml file, with its weights beside it as .bin.
        precision: "f32" or "bf16", what convolutions compute in; None takes what the file's record says.
        threads: of one call; None takes those of torch.

    Raises:
        ModuleNotFoundError: if openvino is not installed.
        ExportedFileError: if the file is missing or damaged.
    """

    name = "openvino"

    def __init__(self, file: str | Path, *, precision: str | None = None, threads: int | None = None) -> None:
        core = _core()
        self.file = Path(file)
        weights = self.file.with_suffix(".bin")
        for part in (self.file, weights):
            check_file(part)
        try:
            model = core.read_model(str(self.file), str(weights))
        except RuntimeError as error:
            raise ExportedFileError(f"Expected OpenVINO to open {self.file}, but it says: {error}".strip()) from error
        self.metadata = _metadata(model)
        if precision is None:
            precision = "bf16" if self.metadata and '"precision": "bf16"' in self.metadata else "f32"
        self.inputs = tuple(_port(entry) for entry in model.inputs)
        self.outputs = tuple(_port(entry) for entry in model.outputs)
        check_ports([*self.inputs, *self.outputs], self.file)
        self._compiled = compile_model(model, precision=precision, threads=threads)

    def __call__(self, *arrays: NDArray[Any]) -> list[NDArray[Any]]:
        """Compute all outputs."""
        results = self._compiled([np.ascontiguousarray(array) for array in arrays])
        return [results[place].copy() for place in range(len(self.outputs))]


def compile_model(model: Any, *, precision: str = "f32", threads: int | None = None) -> Any:
    """Compile an OpenVINO model for the CPU and for latency.

    Args:
        model: an `openvino.Model`.
        precision: "f32" or "bf16": what convolutions compute in.
        threads: None takes those of torch.
    """
    options = {
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads or torch.get_num_threads(),
    }
    return _core().compile_model(model, "CPU", options)


def import_openvino() -> Any:
    """Import OpenVINO, or say how to install it."""
    try:
        return import_module("openvino")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'Expected openvino for OpenVINO models, but it is not installed: pip install "hrpose[openvino]".'
        ) from error


@cache
def _core() -> Any:
    """Give the one OpenVINO of this process.

    Its CPU plugin gives the thread a stack of its own for signals, and takes it away when it goes. Of two that go in the order
    in which they came the second leaves a stack that is gone, and the next signal, such as the end of a loader's worker, kills
    the process. So there is one, and it stays.
    """
    return import_openvino().Core()


def _metadata(model: Any) -> str | None:
    if not model.has_rt_info(METADATA_KEY):
        return None
    return str(model.get_rt_info(METADATA_KEY).astype(str))


def _port(entry: Any) -> Port:
    shape = tuple(side.get_length() if side.is_static else None for side in entry.partial_shape)
    name = entry.get_any_name() if entry.get_names() else ""
    return Port(name, np.dtype(entry.get_element_type().to_dtype()).name, shape)
