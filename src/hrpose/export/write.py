"""Write a trained network as an ONNX or OpenVINO file that estimates poses."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import torch
from torch import nn

from hrpose.codecs import is_bottom_up
from hrpose.export.capture import Program, to_openvino, write_onnx
from hrpose.export.graph import CropGraph, ImageGraph
from hrpose.export.openvino import import_openvino
from hrpose.export.quantize import Feed, quantize_onnx
from hrpose.export.record import METADATA_KEY, ExportRecord
from hrpose.files import partial_path, replace_file, write_atomically

Format: TypeAlias = Literal["onnx", "openvino"]

SUFFIX_OF: dict[Format, str] = {"onnx": ".onnx", "openvino": ".xml"}
_PRECISIONS: dict[Format, tuple[str, ...]] = {"onnx": ("fp32", "fp16", "int8"), "openvino": ("fp32", "fp16", "bf16", "int8")}


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
        record: the description of the file, stored in it.
        file: the file to write, with the suffix of the format. OpenVINO also writes a .bin file with the same name.
        format: "onnx" or "openvino".
        feeds: crops and their matrices for the calibration of int8.
        opset: version of the operators of an ONNX file; None for torch's default.

    Returns:
        The file.

    Raises:
        ValueError: if the format lacks the precision, the file has another suffix, or int8 has no crops.
        ModuleNotFoundError: if the library that writes the format is not installed.
    """
    path = Path(file)
    check_choice(format, record.precision, path)
    if record.precision == "int8":
        _write_int8(net, record, path, format, feeds, opset)
        return path
    whole_images = is_bottom_up(record.codec)
    program = _image_program(net, record) if whole_images else _crop_program(net, record, format)
    if format == "onnx":
        with write_atomically(path) as partial:
            write_onnx(program, partial, metadata=record.to_json(), opset=opset, traced=whole_images)
    else:
        _save_openvino(to_openvino(program), path, record)
    return path


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
        raise ValueError(f"Expected the name of a file with format={format} to end in {SUFFIX_OF[format]}, but got {file}.")


def _crop_program(net: nn.Module, record: ExportRecord, format: Format) -> Program:
    """Return the program of a file for crops; the network of an OpenVINO file is fp32, because OpenVINO itself converts it."""
    half = (format, record.precision) == ("onnx", "fp16")
    width, height = record.input_size
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, height, width, 3), dtype=torch.uint8, generator=generator)
    graph = CropGraph(net, record, dtype=torch.float16 if half else torch.float32)
    inputs = {"images": images, "image_from_input": torch.eye(2, 3).repeat(2, 1, 1)}
    outputs = ("keypoints", "scores", "heatmaps") if record.heatmaps else ("keypoints", "scores")
    return Program(graph, inputs, {name: {0: "batch"} for name in inputs}, outputs)


def _image_program(net: nn.Module, record: ExportRecord) -> Program:
    """Return the program of a file for whole images of any size."""
    if record.precision != "fp32" or record.heatmaps:
        raise ValueError(
            "Expected precision=fp32 and heatmaps=false for a bottom-up network, because its tags need fp32 and its heatmaps are "
            f"an output in any case, but got {record.precision} and {record.heatmaps}."
        )
    inputs = {"images": torch.zeros(2, 128, 192, 3, dtype=torch.uint8)}
    return Program(ImageGraph(net, record), inputs, {"images": {0: "batch", 1: "height", 2: "width"}}, ("heatmaps", "tags"))


def _write_int8(
    net: nn.Module, record: ExportRecord, path: Path, format: Format, feeds: Sequence[Feed], opset: int | None
) -> None:
    """Write an ONNX file in fp32 and quantise it; OpenVINO converts the result."""
    if not feeds:
        raise ValueError("Expected crops for the calibration of int8, found none. Set photos=<folder with images>.")
    with tempfile.TemporaryDirectory() as folder:
        exact = write_export(net, replace(record, precision="fp32"), Path(folder, "fp32.onnx"), "onnx", opset=opset)
        with write_atomically(path if format == "onnx" else Path(folder, "int8.onnx")) as partial:
            quantize_onnx(exact, partial, feeds, record.to_json())
        if format == "openvino":
            _save_openvino(import_openvino().convert_model(str(Path(folder, "int8.onnx"))), path, record)


def _save_openvino(model: object, file: Path, record: ExportRecord) -> None:
    openvino = import_openvino()
    model.set_rt_info(record.to_json(), [METADATA_KEY])  # type: ignore[attr-defined]
    written = partial_path(file, ".xml")  # OpenVINO writes the .bin file with the same name
    weights = written.with_suffix(".bin")
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        openvino.save_model(model, str(written), compress_to_fp16=record.precision == "fp16")
        file.unlink(missing_ok=True)  # so that an old description is never used with new weights
        replace_file(weights, file.with_suffix(".bin"))
        replace_file(written, file)
    finally:
        written.unlink(missing_ok=True)
        weights.unlink(missing_ok=True)
