"""From a module of torch to what other engines read: one trace for TorchScript and OpenVINO, one graph for ONNX.

A module is recorded as it computes for example inputs; the sizes that are free stay free.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hrpose.export.onnx import check_onnx
from hrpose.export.openvino import import_openvino
from hrpose.export.record import METADATA_KEY

FreeSizes = Sequence[Mapping[int, str]]
"""For each input: the dimensions that are free, and what their sizes are called; one name is one size."""


def trace(module: nn.Module, examples: Sequence[Tensor]) -> Any:
    """Record a module as TorchScript, with its weights as constants and batch norms folded into the convolutions before them.

    Args:
        module: in eval mode; no step of it depends on values of its inputs.
        examples: inputs; of free sizes two or more, so that none is taken for a constant.

    Returns:
        A frozen `torch.jit.ScriptModule`.
    """
    with quiet_exporters(), torch.no_grad():
        traced = torch.jit.trace(module.eval(), tuple(examples), check_trace=False)  # type: ignore[no-untyped-call]
        return torch.jit.freeze(traced.eval())


def write_onnx(
    module: nn.Module,
    examples: Sequence[Tensor],
    free: FreeSizes,
    file: str | Path,
    *,
    names: tuple[Sequence[str], Sequence[str]],
    metadata: str | None = None,
) -> None:
    """Write a module as one ONNX file.

    Args:
        module: in eval mode.
        examples: inputs.
        free: their free sizes.
        file: what to write; its folder has to exist.
        names: of the inputs and of the outputs.
        metadata: the record as JSON.

    Raises:
        ModuleNotFoundError: if onnx or onnxscript is not installed.
    """
    _require("onnx", "onnxscript")
    dimensions = {name: torch.export.Dim(name, min=1) for sizes in free for name in sizes.values()}
    shapes = tuple({axis: dimensions[name] for axis, name in sizes.items()} for sizes in free)
    with quiet_exporters(), torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            tuple(examples),
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=list(names[0]),
            output_names=list(names[1]),
            verbose=False,
        )
    assert program is not None
    if metadata is not None:
        program.model.metadata_props[METADATA_KEY] = metadata
    program.save(str(file), external_data=False)
    check_onnx(Path(file))


def to_openvino(
    traced: Any, examples: Sequence[Tensor], free: FreeSizes, names: tuple[Sequence[str], Sequence[str]]
) -> Any:
    """Convert what `trace` gave to an `openvino.Model` with named inputs and outputs.

    Sizes that are not free are written down as fixed: OpenVINO computes faster with what it knows beforehand.

    Raises:
        ModuleNotFoundError: if openvino is not installed.
    """
    with quiet_exporters():
        model = import_openvino().convert_model(traced, example_input=tuple(examples))
    for port, name in zip([*model.inputs, *model.outputs], [*names[0], *names[1]], strict=True):
        port.get_tensor().set_names({name})
    shapes = {
        name: [-1 if axis in sizes else side for axis, side in enumerate(example.shape)]
        for name, example, sizes in zip(names[0], examples, free, strict=True)
    }
    model.reshape(shapes)
    return model


def _require(*packages: str) -> None:
    # optional, and looked for before the minute that the export takes
    from importlib.util import find_spec

    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(
            f'Expected {" and ".join(missing)} to write ONNX, but it is not installed: pip install "hrpose[onnx]".'
        )


@contextlib.contextmanager
def quiet_exporters() -> Iterator[None]:
    """Keep to themselves what exporters say of their own code: sizes are fixed on purpose, TorchScript is known to be old."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
