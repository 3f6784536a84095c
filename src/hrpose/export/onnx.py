"""Run ONNX files with onnxruntime, after a check of the files of their weights."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from hrpose.errors import import_optional
from hrpose.export.record import METADATA_KEY, ExportedFileError
from hrpose.export.runtime import Port, Runtime, check_file, check_ports

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int64)": "int64",
}
_LARGEST_TENSOR = 1 << 31  # bytes


def open_onnx(file: Path) -> Runtime:
    """Open an ONNX file on the CPU; its external weights must be in its folder.

    Raises:
        ModuleNotFoundError: if onnx or onnxruntime is not installed.
        ExportedFileError: if the file is missing, damaged or unsafe.
    """
    options = _import("onnxruntime").SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = open_session(file, ["CPUExecutionProvider"], options)
    inputs, outputs = (tuple(map(_port, entries)) for entries in (session.get_inputs(), session.get_outputs()))
    check_ports([*inputs, *outputs], file)

    def compute(arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        found: list[NDArray[Any]] = session.run(None, {port.name: array for port, array in zip(inputs, arrays, strict=True)})
        return found

    metadata = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    return Runtime("onnxruntime", file, metadata, inputs, outputs, compute)


def open_session(file: Path, providers: list[str], options: Any = None) -> Any:
    """Return an `onnxruntime.InferenceSession`; raise ExportedFileError if the file is missing, damaged or unsafe."""
    check_file(file)
    check_onnx(file)
    try:
        return _import("onnxruntime").InferenceSession(str(file), sess_options=options, providers=providers)
    except Exception as error:  # onnxruntime has no common class of its errors
        raise ExportedFileError(
            f"Expected an ONNX file for onnxruntime at {file}, but it reports: {_first_line(error)}"
        ) from error


def check_onnx(file: Path) -> None:
    """Raise ExportedFileError unless an ONNX file can be parsed, and all its weights are in it or in its folder."""
    onnx = _import("onnx")
    try:
        model = onnx.load(str(file), load_external_data=False)
    except Exception as error:  # protobuf and onnx have classes of their own
        raise ExportedFileError(f"Expected {file} to be an ONNX file, but it cannot be parsed: {_first_line(error)}") from error
    if not model.graph.node:
        raise ExportedFileError(f"Expected {file} to be an ONNX file, but it holds no graph.")
    for tensor in _tensors(model.graph, model.functions):
        size = math.prod(tensor.dims) * 16
        if any(side < 0 for side in tensor.dims) or size > 16 * _LARGEST_TENSOR:
            raise ExportedFileError(
                f"Expected tensors of at most {_LARGEST_TENSOR:,} values in {file}, but {tensor.name!r} has {list(tensor.dims)}."
            )
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            _check_external(tensor, file)


def _check_external(tensor: Any, file: Path) -> None:
    """Raise ExportedFileError if a tensor is outside the folder of its file, by path or link, or exceeds its file."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    home, target = Path(os.path.realpath(file.parent)), Path(os.path.realpath(file.parent / location))
    parts = location.replace("\\", "/").split("/")
    outside = not location or location.startswith(("/", "\\")) or ".." in parts or location[1:2] == ":" or "\0" in location
    if outside or home not in target.parents:
        raise ExportedFileError(
            f"Expected the weights of {file} in its folder, but {tensor.name!r} is at {location!r}. It was not read."
        )
    if not target.is_file():
        raise ExportedFileError(
            f"Expected the weights of {file} in its folder, but there is no file {location!r}. Copy it to the folder."
        )
    size = target.stat().st_size
    offset, length = (entries.get(key, "0") for key in ("offset", "length"))
    if not (offset.isdecimal() and length.isdecimal()) or int(offset) + int(length) > size:
        raise ExportedFileError(
            f"Expected {length} bytes of {tensor.name!r} of {file} from byte {offset} of {location!r}, but the file has {size} "
            "bytes. Copy it again."
        )


def _tensors(graph: Any, functions: Any) -> Iterator[Any]:
    """Yield all tensors of a graph, including those in attributes, subgraphs and functions."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    nodes = [*graph.node, *(node for function in functions for node in function.node)]
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
            yield from _tensors(inner, ())


def _port(entry: Any) -> Port:
    shape = tuple(side if isinstance(side, int) else None for side in entry.shape)
    return Port(entry.name, _DTYPES.get(entry.type, entry.type), shape)


def _import(name: str) -> Any:
    return import_optional(name, "ONNX files", "hrpose[onnx]")


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
