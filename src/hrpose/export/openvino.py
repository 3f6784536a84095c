"""Run OpenVINO files (.xml and .bin) with OpenVINO on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hrpose.errors import import_optional
from hrpose.export.record import METADATA_KEY, ExportedFileError
from hrpose.export.runtime import Port, Runtime, check_file, check_ports


def open_openvino(file: Path) -> Runtime:
    """Open an OpenVINO file on the CPU, with convolutions in bf16 if its record has this precision, else in fp32.

    Raises:
        ModuleNotFoundError: if openvino is not installed.
        ExportedFileError: if the .xml file or its weights, the .bin file of the same name, are missing or damaged.
    """
    core, weights = _core(), file.with_suffix(".bin")
    for part in (file, weights):
        check_file(part)
    try:
        model = core.read_model(str(file), str(weights))
    except RuntimeError as error:
        raise ExportedFileError(f"Expected an OpenVINO file at {file}, but OpenVINO reports: {error}".strip()) from error
    metadata = str(model.get_rt_info(METADATA_KEY).astype(str)) if model.has_rt_info(METADATA_KEY) else None
    inputs, outputs = (tuple(map(_port, entries)) for entries in (model.inputs, model.outputs))
    check_ports([*inputs, *outputs], file)
    is_bf16 = metadata is not None and '"precision": "bf16"' in metadata
    compiled = compile_model(model, precision="bf16" if is_bf16 else "f32")

    def compute(arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        results = compiled(arrays)
        return [results[place].copy() for place in range(len(outputs))]

    return Runtime("openvino", file, metadata, inputs, outputs, compute)


def compile_model(model: Any, *, precision: str = "f32") -> Any:
    """Compile an `openvino.Model` for low latency on the CPU with torch's number of threads; `precision` is "f32" or "bf16"."""
    options = {
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    return _core().compile_model(model, "CPU", options)


def import_openvino() -> Any:
    """Import OpenVINO, or raise ModuleNotFoundError with the command that installs it."""
    return import_optional("openvino", "OpenVINO models", "hrpose[openvino]")


@cache
def _core() -> Any:
    """Return the one `openvino.Core` of this process.

    The CPU plugin installs an alternate signal stack and removes it when the core is destroyed. If two cores are destroyed in the
    order of their creation, the second restores a stack that no longer exists, and the next signal (such as the end of a loader's
    worker) kills the process. A single core that is never destroyed avoids this.
    """
    return import_openvino().Core()


def _port(entry: Any) -> Port:
    shape = tuple(side.get_length() if side.is_static else None for side in entry.partial_shape)
    name = entry.get_any_name() if entry.get_names() else ""
    return Port(name, np.dtype(entry.get_element_type().to_dtype()).name, shape)
