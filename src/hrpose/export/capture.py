"""Convert a torch module to an ONNX file or an OpenVINO model, from its computation for example inputs."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hrpose.errors import import_optional
from hrpose.export.onnx import check_onnx
from hrpose.export.openvino import import_openvino
from hrpose.export.record import METADATA_KEY

_TRACED_OPSET = 17  # of files that are captured by tracing


@dataclass(frozen=True, eq=False)
class Program:
    """A module whose computation is captured, with named inputs and outputs."""

    module: nn.Module
    inputs: Mapping[str, Tensor]  # an example of each input, with free sizes of at least two
    free: Mapping[str, Mapping[int, str]]  # of each input: its free dimensions and names of their sizes; same name, same size
    outputs: Sequence[str]  # names


def write_onnx(
    program: Program, file: str | Path, *, metadata: str | None = None, opset: int | None = None, traced: bool = False
) -> None:
    """Write a program as one ONNX file, with the record as JSON in its metadata; the default of the opset is torch's.

    With free height and width a program is `traced`, in seconds; torch.export takes minutes for a network of several resolutions.

    Raises:
        ModuleNotFoundError: if onnx or onnxscript is not installed.
        ValueError: if the module cannot be written with this opset.
    """
    onnx = import_optional("onnx", "ONNX files", "hrpose[onnx]")
    how: dict[str, Any] = {"input_names": list(program.inputs), "output_names": list(program.outputs)}
    if traced:
        axes = {name: dict(sizes) for name, sizes in program.free.items()}
        how |= {"f": str(file), "dynamo": False, "dynamic_axes": axes, "opset_version": opset or _TRACED_OPSET}
    else:
        import_optional("onnxscript", "ONNX files", "hrpose[onnx]")
        dimensions = {name: torch.export.Dim(name, min=1) for sizes in program.free.values() for name in sizes.values()}
        shapes = tuple({axis: dimensions[name] for axis, name in program.free[key].items()} for key in program.inputs)
        how |= {"dynamo": True, "dynamic_shapes": shapes, "opset_version": opset, "verbose": False}
    with quiet_exporters(), torch.no_grad():
        captured = torch.onnx.export(program.module.eval(), tuple(program.inputs.values()), **how)
    model = onnx.load(str(file)) if captured is None else captured.model_proto
    # torch writes where in the source code each operator comes from, with the paths of this machine
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        del part.metadata_props[:]
    if metadata is not None:
        model.metadata_props.add(key=METADATA_KEY, value=metadata)
    if opset is not None and opset not in (entry.version for entry in model.opset_import if not entry.domain):
        model = _convert_opset(model, opset)
    onnx.save(model, str(file))
    check_onnx(Path(file))


def _convert_opset(model: Any, opset: int) -> Any:
    """Convert a model to an older version of the operators than torch writes."""
    onnx, converter = import_module("onnx"), import_module("onnx.version_converter")
    try:
        model = converter.convert_version(model, opset)
        for node in model.graph.node:  # the converter keeps attributes that the older operators lack
            known = onnx.defs.get_schema(node.op_type, opset).attributes if not node.domain else None
            for attribute in [each for each in node.attribute if known is not None and each.name not in known]:
                newest = onnx.defs.get_schema(node.op_type).attributes[attribute.name]
                if newest.default_value.SerializeToString() != attribute.SerializeToString():
                    raise ValueError(f"{node.op_type} has `{attribute.name}`, which is newer")
                node.attribute.remove(attribute)
        onnx.checker.check_model(model)
    except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
        raise ValueError(
            "Expected `opset` to be a version that supports network and codec, but onnx cannot convert them to "
            f"{opset}: {str(error).splitlines()[0]}. Use opset=18, the oldest that torch writes, or a newer one."
        ) from error
    return model


def to_openvino(program: Program) -> Any:
    """Convert a program to an `openvino.Model` with named inputs and outputs.

    Other sizes than the free ones are fixed in the model, because OpenVINO is faster with known sizes.
    """
    openvino = import_openvino()
    with quiet_exporters(), torch.no_grad():
        model = openvino.convert_model(program.module.eval(), example_input=tuple(program.inputs.values()))
    for port, name in zip([*model.inputs, *model.outputs], [*program.inputs, *program.outputs], strict=True):
        port.get_tensor().set_names({name})
    shapes = {
        name: [-1 if axis in program.free[name] else side for axis, side in enumerate(example.shape)]
        for name, example in program.inputs.items()
    }
    model.reshape(shapes)
    return model


@contextlib.contextmanager
def quiet_exporters() -> Iterator[None]:
    """Suppress the output and the log messages of exporters."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
