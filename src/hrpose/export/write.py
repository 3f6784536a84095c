"""Write a trained network as one file that estimates poses: ONNX or OpenVINO."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias, cast, get_args

import torch
from torch import Tensor, nn

from hrpose.codecs import AssociativeEmbedding, is_bottom_up
from hrpose.export.capture import to_openvino, write_onnx
from hrpose.export.graph import CropGraph, ImageGraph
from hrpose.export.openvino import import_openvino
from hrpose.export.quantize import Feed, quantize_onnx
from hrpose.export.record import METADATA_KEY, ExportRecord
from hrpose.files import partial_path, replace_file, write_atomically

Format: TypeAlias = Literal["onnx", "openvino"]

SUFFIX_OF: dict[Format, str] = {"onnx": ".onnx", "openvino": ".xml"}
_PRECISIONS: dict[Format, tuple[str, ...]] = {
    "onnx": ("fp32", "fp16", "int8"),
    "openvino": ("fp32", "fp16", "bf16", "int8"),
}
_INPUTS = ("images", "image_from_input")
_OUTPUTS = ("keypoints", "scores", "heatmaps")
_FREE = ({0: "batch"}, {0: "batch"})


def write_export(
    net: nn.Module,
    record: ExportRecord,
    file: str | Path,
    format: Format,
    *,
    feeds: Sequence[Feed] = (),
    opset: int | None = None,
) -> Path:
    """Write a network, with its preprocessing and decoding, as one file.

    Args:
        net: images (B, 3, H, W) to heatmaps; it is not changed.
        record: describes the file and is stored in it.
        file: what to write; its suffix has to be that of the format. OpenVINO writes a .bin beside its .xml.
        format: "onnx" or "openvino".
        feeds: crops and their matrices, as the file takes them, to calibrate int8 on.
        opset: version of the operators of an ONNX file; None leaves it to torch.

    Returns:
        The file.

    Raises:
        ValueError: if the format has no such precision, the file another suffix, or int8 has nothing to calibrate on.
        ModuleNotFoundError: if what writes the format is not installed.
    """
    path = Path(file)
    check_choice(format, record.precision, path)
    if record.precision == "int8":
        _write_int8(net, record, path, format, feeds, opset)
        return path
    if is_bottom_up(record.codec):
        _write_images(net, record, path, format, opset)
        return path
    graph, examples = make_graph(net, record, format), make_examples(record)
    names = (_INPUTS, _OUTPUTS[: 3 if record.heatmaps else 2])
    if format == "onnx":
        with write_atomically(path) as partial:
            write_onnx(graph, examples, _FREE, partial, names=names, metadata=record.to_json(), opset=opset)
    else:
        _save_openvino(to_openvino(graph, examples, _FREE, names), path, record)
    return path


def _write_images(net: nn.Module, record: ExportRecord, path: Path, format: Format, opset: int | None) -> None:
    """Write a bottom-up network: whole images of any size to heatmaps and tags."""
    if record.precision != "fp32" or record.heatmaps:
        raise ValueError(
            "Expected precision=fp32 and heatmaps=false for a bottom-up network, whose tags lose their meaning in half precision "
            f"and whose heatmaps are an output anyway, but got {record.precision} and {record.heatmaps}."
        )
    graph = ImageGraph(
        copy.deepcopy(net).to("cpu", memory_format=torch.contiguous_format),  # type: ignore[call-overload]
        cast(AssociativeEmbedding, record.codec),
        flip_permutation=record.skeleton.flip_permutation if record.flip_test else None,
        mean=record.mean,
        std=record.std,
        channel_order=record.channel_order,
    ).eval()
    examples, free = (torch.zeros(2, 128, 192, 3, dtype=torch.uint8),), ({0: "batch", 1: "height", 2: "width"},)
    names = (("images",), ("heatmaps", "tags"))
    if format == "onnx":
        with write_atomically(path) as partial:
            write_onnx(graph, examples, free, partial, names=names, metadata=record.to_json(), opset=opset, traced=True)
    else:
        _save_openvino(to_openvino(graph, examples, free, names), path, record)


def check_choice(format: Format, precision: str, file: Path) -> None:
    """Raise ValueError unless the format has the precision and the file has the suffix of the format."""
    if format not in get_args(Format):
        raise ValueError(f"Expected `format` to be one of {', '.join(get_args(Format))}, but got {format!r}.")
    if precision not in _PRECISIONS[format]:
        reason = " onnxruntime has no bf16 convolutions on the CPU; format=openvino has." if precision == "bf16" else ""
        raise ValueError(
            f"Expected `precision` of format={format} to be one of {', '.join(_PRECISIONS[format])}, but got {precision!r}."
            f"{reason}"
        )
    if file.suffix != SUFFIX_OF[format]:
        raise ValueError(
            f"Expected the name of a file of format={format} to end in {SUFFIX_OF[format]}, but got {file}."
        )


def make_graph(net: nn.Module, record: ExportRecord, format: Format) -> nn.Module:
    """Build the module that a file computes, with a copy of the network.

    In an OpenVINO file the network stays fp32: fp16 is how its weights are stored, bf16 how OpenVINO computes it.
    """
    graph = CropGraph(
        copy.deepcopy(net).to("cpu", memory_format=torch.contiguous_format),  # type: ignore[call-overload]
        record.codec,
        flip_permutation=record.skeleton.flip_permutation if record.flip_test else None,
        mean=record.mean,
        std=record.std,
        channel_order=record.channel_order,
        dtype=torch.float16 if (format, record.precision) == ("onnx", "fp16") else torch.float32,
        heatmaps=record.heatmaps,
    )
    return graph.eval()


def make_examples(record: ExportRecord) -> tuple[Tensor, Tensor]:
    """Make two crops and their matrices."""
    width, height = record.input_size
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, height, width, 3), dtype=torch.uint8, generator=generator)
    return images, torch.eye(2, 3).repeat(2, 1, 1)


def _write_int8(
    net: nn.Module, record: ExportRecord, path: Path, format: Format, feeds: Sequence[Feed], opset: int | None
) -> None:
    """Write an ONNX file in fp32 and quantise it; OpenVINO converts the result."""
    if not feeds:
        raise ValueError("Expected crops to calibrate int8 on, found none. Set photos=<folder with images>.")
    with tempfile.TemporaryDirectory() as folder:
        exact = write_export(net, replace(record, precision="fp32"), Path(folder, "fp32.onnx"), "onnx", opset=opset)
        with write_atomically(path if format == "onnx" else Path(folder, "int8.onnx")) as partial:
            quantize_onnx(exact, partial, feeds, record.to_json())
        if format == "openvino":
            _save_openvino(import_openvino().convert_model(str(Path(folder, "int8.onnx"))), path, record)


def _save_openvino(model: object, file: Path, record: ExportRecord) -> None:
    openvino = import_openvino()
    model.set_rt_info(record.to_json(), [METADATA_KEY])  # type: ignore[attr-defined]
    written = partial_path(file, ".xml")  # OpenVINO names its second file after the first
    weights = written.with_suffix(".bin")
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        openvino.save_model(model, str(written), compress_to_fp16=record.precision == "fp16")
        file.unlink(missing_ok=True)  # an old description never meets new weights
        replace_file(weights, file.with_suffix(".bin"))
        replace_file(written, file)
    finally:
        written.unlink(missing_ok=True)
        weights.unlink(missing_ok=True)
