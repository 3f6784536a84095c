"""The common interface of runtimes: named inputs and outputs with shapes, and a call on arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrpose.export.record import ExportedFileError

_MAX_SIDE = 8192  # pixels or cells
_LARGEST_FILE = 2 << 30  # bytes; the largest HRNet has 250 MB


@dataclass(frozen=True)
class Port:
    """An input or output."""

    name: str  # may be empty
    dtype: str  # numpy's name of the element type
    shape: tuple[int | None, ...]  # None where the size is free


@dataclass(frozen=True, eq=False)
class Runtime:
    """An open file and its engine on the CPU; a call computes the outputs for arrays of the inputs' types."""

    name: str  # of the engine
    file: Path  # the path
    metadata: str | None  # the record in the file as JSON; None for a file of another tool
    inputs: tuple[Port, ...]  # in the order of the arguments
    outputs: tuple[Port, ...]  # in the order of the result
    compute: Callable[[Sequence[NDArray[Any]]], list[NDArray[Any]]]  # from contiguous arrays

    def __call__(self, *arrays: NDArray[Any]) -> list[NDArray[Any]]:
        """Compute all outputs."""
        return self.compute([np.ascontiguousarray(array) for array in arrays])


def check_file(file: Path) -> None:
    """Raise ExportedFileError unless the file exists, is not empty and has the size of a network."""
    if not file.is_file():
        raise ExportedFileError(f"Expected an exported file at {file}, but there is none.")
    size = file.stat().st_size
    if not 0 < size <= _LARGEST_FILE:
        raise ExportedFileError(
            f"Expected {file} to have between 1 and {_LARGEST_FILE:,} bytes, but it has {size:,}. Export it again."
        )


def check_ports(ports: Sequence[Port], file: Path) -> None:
    """Raise ExportedFileError if a fixed size of an input or output is too large for an image or heatmap."""
    for port in ports:
        if any(side is not None and not 0 < side <= _MAX_SIDE for side in port.shape):
            raise ExportedFileError(
                f"Expected sides of {port.name!r} of {file} from 1 to {_MAX_SIDE}, but its shape is {port.shape}."
            )


def in_batches(runtime: Runtime, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Run a network on images (B, 3, H, W), in batches of the fixed size of its file, if any."""
    size = runtime.inputs[0].shape[0]
    if size is None:
        heatmaps: NDArray[np.float32] = runtime(images)[0]
        return heatmaps
    parts = []
    for start in range(0, len(images), size):
        part = images[start : start + size]
        missing = size - len(part)
        filled = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part
        parts.append(runtime(np.ascontiguousarray(filled))[0][: len(part)].copy())
    return np.concatenate(parts)
