"""Quantise the convolutions of an ONNX file in fp32 to 8 bits, calibrated on crops.

Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018, with
onnxruntime's static quantisation: the ranges of all activations are measured on crops, weights have one scale per channel.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrpose.errors import import_optional
from hrpose.export.capture import quiet_exporters
from hrpose.export.onnx import check_onnx
from hrpose.export.record import METADATA_KEY

Feed = tuple[NDArray[np.uint8], NDArray[np.float64]]
"""Crops (B, H, W, 3) and image_from_input (B, 2, 3), the inputs of an exported file."""


def quantize_onnx(source: str | Path, target: str | Path, feeds: Iterable[Feed], metadata: str) -> None:
    """Quantise the network in an exported ONNX file in fp32; preprocessing, the last convolution and decoding stay fp32.

    A hundred crops are enough for the calibration. The metadata is the record of the new file as JSON.
    """
    onnx, quantization = (import_optional(name, "int8", "hrpose[onnx]") for name in ("onnx", "onnxruntime.quantization"))
    shape_inference = import_module("onnxruntime.quantization.shape_inference")
    with tempfile.TemporaryDirectory() as folder, quiet_exporters():
        folded = Path(folder, "folded.onnx")
        shape_inference.quant_pre_process(str(source), str(folded), skip_symbolic_shape=True)
        model = onnx.load(str(folded))
        names = [entry.name for entry in model.graph.input]
        inputs = (dict(zip(names, (images, matrices.astype(np.float32)), strict=True)) for images, matrices in feeds)
        quantization.quantize_static(
            str(folded),
            str(target),
            SimpleNamespace(get_next=lambda: next(inputs, None)),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_quantize=_body(model.graph),
            extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
        )
    model = onnx.load(str(target))
    del model.metadata_props[:]
    model.metadata_props.add(key=METADATA_KEY, value=metadata)
    onnx.save(model, str(target))
    check_onnx(Path(target))


def _body(graph: Any) -> list[str]:
    """Return the names of the nodes that depend on a convolution and that another convolution depends on."""
    makers = {name: node for node in graph.node for name in node.output}
    after: set[str] = set()  # outputs that depend on a convolution
    for node in graph.node:  # in topological order
        if node.op_type == "Conv" or any(name in after for name in node.input):
            after.update(node.output)
    before: set[str] = set()  # outputs that a convolution depends on
    waiting = [name for node in graph.node if node.op_type == "Conv" for name in node.input]
    while waiting:
        name = waiting.pop()
        if name in makers and name not in before:
            before.add(name)
            waiting.extend(makers[name].input)
    chosen = [node for node in graph.node if set(node.output) & after and set(node.output) & before]
    return [node.name for node in chosen if node.op_type in ("Conv", "Add", "Relu", "MaxPool", "Resize")]
