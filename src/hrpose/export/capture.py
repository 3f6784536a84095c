"""Convert a torch module to an ONNX file or an OpenVINO model, from its computation for example inputs."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
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
FreeSizes = Sequence[Mapping[int, str]]
"""For each input, its free dimensions and the names of their sizes; dimensions with the same name have the same size."""
Names = tuple[Sequence[str], Sequence[str]]
"""The names of the inputs and of the outputs."""


def write_onnx(
    module: nn.Module,
    examples: Sequence[Tensor],
    free: FreeSizes,
    file: str | Path,
    *,
    names: Names,
    metadata: str | None = None,
    opset: int | None = None,
    traced: bool = False,
) -> None:
    """Write a module as one ONNX file.

    Args:
        module: in eval mode.
        examples: inputs, with free sizes of at least two.
        free: the free sizes.
        file: the file to write; its folder must exist.
        names: of the inputs and of the outputs.
        metadata: the record as JSON.
        opset: version of the operators; None for torch's default.
        traced: capture by tracing, which takes seconds with free height and width; torch.export takes minutes for a network of
            several resolutions.

    Raises:
        ModuleNotFoundError: if onnx or onnxscript is not installed.
        ValueError: if the module cannot be written with this opset.
    """
    if traced:
        _trace_onnx(module, examples, free, Path(file), names=names, metadata=metadata, opset=opset)
        return
    for name in ("onnx", "onnxscript"):
        import_optional(name, "ONNX files", "hrpose[onnx]")
    dimensions = {name: torch.export.Dim(name, min=1) for sizes in free for name in sizes.values()}
    shapes = tuple({axis: dimensions[name] for axis, name in sizes.items()} for sizes in free)
    with quiet_exporters(), torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            tuple(examples),
            dynamo=True,
            dynamic_shapes=shapes,
            opset_version=opset,
            input_names=list(names[0]),
            output_names=list(names[1]),
            verbose=False,
        )
    assert program is not None
    if metadata is not None:
        program.model.metadata_props[METADATA_KEY] = metadata
    program.save(str(file), external_data=False)
    if opset is not None and opset != program.model.opset_imports.get(""):
        _convert_opset(Path(file), opset)
    check_onnx(Path(file))


def _trace_onnx(
    module: nn.Module,
    examples: Sequence[Tensor],
    free: FreeSizes,
    file: Path,
    *,
    names: Names,
    metadata: str | None,
    opset: int | None,
) -> None:
    onnx = import_optional("onnx", "ONNX files", "hrpose[onnx]")
    with quiet_exporters(), torch.no_grad():
        torch.onnx.export(
            module.eval(),
            tuple(examples),
            str(file),
            dynamo=False,
            dynamic_axes={name: dict(sizes) for name, sizes in zip(names[0], free, strict=True)},
            opset_version=opset or _TRACED_OPSET,
            input_names=list(names[0]),
            output_names=list(names[1]),
        )
    model = onnx.load(str(file))
    if metadata is not None:
        model.metadata_props.add(key=METADATA_KEY, value=metadata)
    onnx.save(model, str(file))
    check_onnx(file)


def _convert_opset(file: Path, opset: int) -> None:
    """Convert an ONNX file to an older version of the operators than torch writes."""
    onnx, converter = import_module("onnx"), import_module("onnx.version_converter")
    try:
        model = converter.convert_version(onnx.load(str(file)), opset)
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
    onnx.save(model, str(file))


def to_openvino(module: nn.Module, examples: Sequence[Tensor], free: FreeSizes, names: Names) -> Any:
    """Convert a module to an `openvino.Model` with named inputs and outputs.

    Other sizes than the free ones are fixed in the model, because OpenVINO is faster with known sizes. For the arguments see
    `write_onnx`.

    Raises:
        ModuleNotFoundError: if openvino is not installed.
    """
    openvino = import_openvino()
    with quiet_exporters(), torch.no_grad():
        model = openvino.convert_model(module.eval(), example_input=tuple(examples))
    for port, name in zip([*model.inputs, *model.outputs], [*names[0], *names[1]], strict=True):
        port.get_tensor().set_names({name})
    shapes = {
        name: [-1 if axis in sizes else side for axis, side in enumerate(example.shape)]
        for name, example, sizes in zip(names[0], examples, free, strict=True)
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
