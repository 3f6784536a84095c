"""Write a trained network as one file that estimates poses: ONNX, OpenVINO or TorchScript."""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from hrpose.export.capture import to_openvino, trace, write_onnx
from hrpose.export.graph import CropGraph, PhotoGraph
from hrpose.export.openvino import import_openvino
from hrpose.export.quantize import Feed, quantize_onnx
from hrpose.export.record import METADATA_KEY, ExportRecord, Form
from hrpose.export.torch_file import EXTRA_FILE
from hrpose.files import partial_path, replace_file, write_atomically

Format: TypeAlias = Literal["onnx", "torch", "openvino"]

SUFFIX_OF: dict[Format, str] = {"onnx": ".onnx", "torch": ".torchscript", "openvino": ".xml"}
_PRECISIONS: dict[Format, tuple[str, ...]] = {
    "onnx": ("fp32", "fp16", "int8"),
    "torch": ("fp32", "fp16", "bf16"),
    "openvino": ("fp32", "fp16", "bf16", "int8"),
}
_INPUTS: dict[Form, tuple[str, str]] = {"crops": ("images", "image_from_input"), "photo": ("image", "boxes")}
_FREE: dict[Form, tuple[dict[int, str], dict[int, str]]] = {
    "crops": ({0: "batch"}, {0: "batch"}),
    "photo": ({0: "height", 1: "width"}, {0: "batch"}),
}
_OUTPUTS = ("keypoints", "scores", "heatmaps")
_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


def write_export(net: nn.Module, record: ExportRecord, file: str | Path, format: Format) -> Path:
    """Write a network, and all that belongs before and after it, as one file.

    Not int8: that is made of a file in fp32, see `hrpose.export.quantize`.

    Args:
        net: images (B, 3, H, W) to heatmaps; it stays as it is.
        record: what the file is to be and to say of itself.
        file: what to write; its suffix has to be that of the format. OpenVINO writes a .bin beside its .xml.
        format: "onnx", "torch" (TorchScript) or "openvino".

    Returns:
        The file.

    Raises:
        ValueError: if the format has no such precision, or the file another suffix.
        ModuleNotFoundError: if what writes the format is not installed.
    """
    path = Path(file)
    check_choice(format, record.precision, path, record.form)
    graph = make_graph(net, record, format)
    examples = make_examples(record)
    names = (_INPUTS[record.form], _OUTPUTS[: 3 if record.heatmaps else 2])
    text = record.to_json()
    if format == "onnx":
        with write_atomically(path) as partial:
            write_onnx(graph, examples, _FREE[record.form], partial, names=names, metadata=text)
    elif format == "torch":
        _save_script(trace(graph, examples), path, text)
    else:
        _save_openvino(to_openvino(trace(graph, examples), examples, _FREE[record.form], names), path, record)
    return path


def write_int8(net: nn.Module, record: ExportRecord, file: str | Path, format: Format, feeds: Iterable[Feed]) -> Path:
    """Write a network with convolutions in 8 bits, calibrated on what is fed to it.

    Args:
        net: images (B, 3, H, W) to heatmaps; it stays as it is.
        record: what the file is to be, with precision "int8".
        file: what to write.
        format: "onnx" or "openvino".
        feeds: images and places, as the file will take them.

    Returns:
        The file.

    Raises:
        ValueError: if the format has no int8, the file another suffix, or there is nothing to calibrate on.
        ModuleNotFoundError: if what writes the format is not installed.
    """
    path = Path(file)
    check_choice(format, record.precision, path, record.form)
    feeds = list(feeds)  # what cannot be calibrated is not written first
    if not feeds:
        raise ValueError("Expected crops to calibrate int8 on, but there are none. Give photos=<folder with photos>.")
    with tempfile.TemporaryDirectory() as folder:
        exact = write_export(net, replace(record, precision="fp32"), Path(folder, "fp32.onnx"), "onnx")
        with write_atomically(path if format == "onnx" else Path(folder, "int8.onnx")) as partial:
            quantize_onnx(exact, partial, feeds, record.to_json())
        if format == "openvino":
            _save_openvino(import_openvino().convert_model(str(Path(folder, "int8.onnx"))), path, record)
    return path


def check_choice(format: Format, precision: str, file: Path, form: str = "crops") -> None:
    """Raise ValueError unless a format has a precision for a form of input, and a file the suffix of the format."""
    if format not in get_args(Format):
        raise ValueError(f"Expected `format` to be one of {', '.join(get_args(Format))}, but got {format!r}.")
    if precision not in _PRECISIONS[format]:
        reasons = {
            ("onnx", "bf16"): " onnxruntime has no bf16 convolutions on the CPU; format=openvino has.",
            ("torch", "int8"): " Quantised files are format=onnx and format=openvino.",
        }
        raise ValueError(
            f"Expected `precision` of format={format} to be one of {', '.join(_PRECISIONS[format])}, but got {precision!r}."
            f"{reasons.get((format, precision), '')}"
        )
    if (format, precision, form) == ("openvino", "bf16", "photo"):
        raise ValueError(
            "Expected `precision` of a file that takes photos in format=openvino to be another one than bf16: OpenVINO would "
            "compute places in the photo with 8 bits too. Export it with input=crops."
        )
    if file.suffix != SUFFIX_OF[format]:
        raise ValueError(
            f"Expected the name of a file of format={format} to end in {SUFFIX_OF[format]}, but got {file}."
        )


def make_graph(net: nn.Module, record: ExportRecord, format: Format) -> nn.Module:
    """Make the module that a file computes, of a copy of the network.

    In an OpenVINO file the network stays fp32: fp16 is how its weights are stored, bf16 how they are computed with.
    """
    dtype = torch.float32 if format == "openvino" else _DTYPES.get(record.precision, torch.float32)
    crops = CropGraph(
        copy.deepcopy(net).to("cpu", memory_format=torch.contiguous_format),  # type: ignore[call-overload]
        record.codec,
        flip_permutation=record.skeleton.flip_permutation if record.flip_test else None,
        mean=record.mean,
        std=record.std,
        channel_order=record.channel_order,
        dtype=dtype,
        heatmaps=record.heatmaps,
    )
    graph = crops if record.form == "crops" else PhotoGraph(crops, record.bbox_padding)
    return graph.eval()


def make_examples(record: ExportRecord) -> tuple[Tensor, Tensor]:
    """Make inputs of the sizes that a file takes."""
    width, height = record.input_size
    generator = torch.Generator().manual_seed(0)
    if record.form == "crops":
        images = torch.randint(0, 256, (2, height, width, 3), dtype=torch.uint8, generator=generator)
        return images, torch.eye(2, 3).repeat(2, 1, 1)
    photo = torch.randint(0, 256, (2 * height, 3 * width, 3), dtype=torch.uint8, generator=generator)
    return photo, torch.tensor([[0.0, 0.0, width, height], [width / 2, height / 3, width, height]])


def _save_script(script: torch.jit.ScriptModule, file: Path, text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript's own
        content = script.save_to_buffer(_extra_files={EXTRA_FILE: text})
    with write_atomically(file) as partial:
        partial.write_bytes(content)


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
