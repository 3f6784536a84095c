"""Open exported files, of hrpose or of other tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hrpose.codecs import is_bottom_up
from hrpose.export.onnx import open_onnx
from hrpose.export.openvino import open_openvino
from hrpose.export.record import ExportedFileError, ExportRecord
from hrpose.export.runtime import Runtime, in_batches

_OPENERS: Mapping[str, Callable[[Path], Runtime]] = MappingProxyType({".onnx": open_onnx, ".xml": open_openvino})
SUFFIXES = tuple(_OPENERS)
"""The suffixes of exported files."""


def is_exported(file: str | Path) -> bool:
    """Check by its suffix whether a file is an exported one, not a checkpoint or weights."""
    return Path(file).suffix in SUFFIXES


@dataclass(frozen=True)
class ExportedPoses:
    """An exported file that maps crops to keypoints in image pixels."""

    runtime: Runtime  # the open file
    record: ExportRecord  # its description, stored in the file

    def __call__(
        self, images: NDArray[np.uint8], image_from_input: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Estimate the poses of crops (B, H, W, 3) uint8 RGB with matrices (B, 2, 3).

        Returns:
            keypoints: (B, K, 2) in image pixels.
            scores: (B, K).

        Raises:
            ValueError: if an argument has another shape or type.
        """
        width, height = self.record.input_size
        if images.dtype != np.uint8 or images.shape != (len(image_from_input), height, width, 3):
            raise ValueError(
                f"Expected `images` to be (B, {height}, {width}, 3) uint8 RGB, but got {images.dtype} of shape {images.shape}."
            )
        if image_from_input.shape[1:] != (2, 3):
            raise ValueError(f"Expected `image_from_input` to be (B, 2, 3), but got the shape {image_from_input.shape}.")
        if not len(images):  # not every engine supports empty batches
            count = self.record.skeleton.num_keypoints
            return np.empty((0, count, 2)), np.empty((0, count), np.float32)
        keypoints, scores = self.runtime(images, image_from_input.astype(np.float32))[:2]
        return keypoints.astype(np.float64), scores.astype(np.float32)


@dataclass(frozen=True)
class ExportedMaps:
    """An exported file that maps whole images to heatmaps and tags, for the codec of its record; see `ExportedPoses`."""

    runtime: Runtime
    record: ExportRecord

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (B, H, W, 3) uint8 RGB to heatmaps (B, K, h, w) and tags (B, K, T, h, w), on the CPU.

        Raises:
            ValueError: if the images have another type, or H or W is not a multiple of 64.
        """
        if images.dtype != torch.uint8 or images.ndim != 4 or any(side % 64 for side in images.shape[1:3]):
            raise ValueError(
                "Expected `images` to be (B, H, W, 3) uint8 RGB with H and W in multiples of 64, but got "
                f"{images.dtype} of shape {tuple(images.shape)}."
            )
        heatmaps, tags = self.runtime(images.cpu().numpy())
        return torch.from_numpy(heatmaps.copy()), torch.from_numpy(tags.copy())


class ExportedNetwork(nn.Module):
    """A network in a file of another tool: normalised images (B, 3, H, W) to heatmaps (B, C, h, w).

    Args:
        runtime: with one float32 input and one output of four dimensions each.

    Raises:
        ExportedFileError: if it has other inputs or outputs.
    """

    def __init__(self, runtime: Runtime) -> None:
        super().__init__()
        self.runtime = runtime
        ports = (*runtime.inputs, *runtime.outputs)
        fits = len(runtime.inputs) == len(runtime.outputs) == 1 and all(
            len(port.shape) == 4 and port.dtype == "float32" for port in ports
        )
        if not fits or runtime.inputs[0].shape[1] not in (3, None):
            found = "; ".join(f"{port.name} {port.dtype} {port.shape}" for port in ports)
            raise ExportedFileError(
                f"Expected a network with one input (B, 3, H, W) and one output (B, C, h, w), both float32, in {runtime.file}, "
                f"because it has no record of hrpose, but found {found}. Export only the heatmaps, or use hrpose export."
            )

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images (B, 3, H, W) to heatmaps (B, C, h, w); raise ValueError for another size than the file's."""
        shape = self.runtime.inputs[0].shape
        if not _agree(shape[1:], tuple(images.shape[1:])):
            raise ValueError(
                f"Expected images of shape {shape} for {self.runtime.file}, but got {tuple(images.shape)}. Set the codec's "
                "input_size to the input size of the file."
            )
        pixels = images.detach().to("cpu", torch.float32).contiguous().numpy()
        return torch.from_numpy(in_batches(self.runtime, pixels)).to(images.device)

    def check_channels(self, num_channels: int, input_size: tuple[int, int]) -> None:
        """Raise ExportedFileError unless the file has this number of heatmaps and this input size (width, height)."""
        channels, size = self.runtime.outputs[0].shape[1], self.runtime.inputs[0].shape[2:]
        if channels not in (num_channels, None) or not _agree(size, input_size[::-1]):
            raise ExportedFileError(
                f"Expected {num_channels} heatmaps for images of {input_size[0]}x{input_size[1]} (width x height) in "
                f"{self.runtime.file}, but it has {channels} for {size[1]}x{size[0]}. Set codec, size and skeleton of the file."
            )


def open_exported(file: str | Path) -> ExportedPoses | ExportedMaps | ExportedNetwork:
    """Open an exported file.

    Args:
        file: .onnx or .xml (OpenVINO). A file without a record of hrpose must be a network that maps images to heatmaps.

    Raises:
        ModuleNotFoundError: if the engine of the file is not installed.
        ExportedFileError: if the file is missing, damaged, unsafe, or of another kind.
    """
    path = Path(file)
    if path.suffix not in SUFFIXES:
        raise ExportedFileError(f"Expected a file {' or '.join(SUFFIXES)}, but got {path}.")
    runtime = _OPENERS[path.suffix](path)
    if runtime.metadata is None:
        return ExportedNetwork(runtime)
    record = ExportRecord.from_json(runtime.metadata, str(path))
    _check_ports(runtime, record)
    return ExportedMaps(runtime, record) if is_bottom_up(record.codec) else ExportedPoses(runtime, record)


def _check_ports(runtime: Runtime, record: ExportRecord) -> None:
    """Raise ExportedFileError if inputs or outputs differ from the record."""
    width, height = record.input_size
    shapes: list[tuple[int | None, ...]] = [(None, height, width, 3), (None, 2, 3)]
    if is_bottom_up(record.codec):
        shapes = [(None, None, None, 3)]
    outputs = 3 if record.heatmaps else 2
    inputs = [port.shape for port in runtime.inputs]
    fits = len(inputs) == len(shapes) and all(_agree(a, b) for a, b in zip(inputs, shapes, strict=True))
    if not fits or len(runtime.outputs) != outputs:
        raise ExportedFileError(
            f"Expected inputs {shapes} and {outputs} outputs in {runtime.file}, according to its record, but it has the inputs "
            f"{inputs} and {len(runtime.outputs)} outputs. Export the weights again."
        )


def _agree(first: tuple[int | None, ...], second: tuple[int | None, ...]) -> bool:
    return len(first) == len(second) and all(a is None or b is None or a == b for a, b in zip(first, second, strict=True))
