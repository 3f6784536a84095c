"""TorchScript files by torch: read by its own interpreter, without unpickling anything in Python.

`torch.export`'s .pt2 would unpickle and evaluate what a foreign file says; TorchScript's reader does neither.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from hrpose.export.record import METADATA_KEY, ExportedFileError
from hrpose.export.runtime import Port, check_file

EXTRA_FILE = f"{METADATA_KEY}.json"
_LARGEST_CODE = 1 << 24  # bytes
_TOUCHES_FILES = re.compile(rb"\b(save|load|from_file|_load_for_lite_interpreter|open|import_ir_module)\s*\(")


class TorchScriptRuntime:
    """A TorchScript file on the CPU.

    Args:
        file: the .torchscript file.

    Raises:
        ExportedFileError: if the file is missing, damaged, unsafe, or was not exported by hrpose.
    """

    name = "torch"

    def __init__(self, file: str | Path) -> None:
        self.file = Path(file)
        check_file(self.file)
        _check_code(self.file)
        extra = {EXTRA_FILE: ""}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript's own; it is frozen, not gone
                self._module = torch.jit.load(str(self.file), map_location="cpu", _extra_files=extra)  # type: ignore[no-untyped-call]
        except (RuntimeError, ValueError) as error:
            raise ExportedFileError(
                f"Expected torch to open {self.file} as TorchScript, but it says: {str(error).strip().splitlines()[0]}"
            ) from error
        found: str | bytes = extra[EXTRA_FILE]
        self.metadata = (found.decode(errors="replace") if isinstance(found, bytes) else found) or None
        if self.metadata is None:
            raise ExportedFileError(
                f"Expected {self.file} to be exported by hrpose, but it holds no record. Of other tools, ONNX networks are read."
            )
        # TorchScript keeps names, but no types and shapes: the record has them
        arguments = list(self._module.forward.schema.arguments)[1:]
        self.inputs = tuple(Port(argument.name.partition(".")[0], "", ()) for argument in arguments)
        self.outputs: tuple[Port, ...] = ()

    @torch.inference_mode()
    def __call__(self, *arrays: NDArray[Any]) -> list[NDArray[Any]]:
        """Compute all outputs."""
        results = self._module(*(torch.from_numpy(array) for array in arrays))
        return [result.numpy() for result in results]


def _check_code(file: Path) -> None:
    """Refuse archives whose code reads or writes files: what is exported computes, and does nothing else."""
    if not zipfile.is_zipfile(file):
        raise ExportedFileError(f"Expected {file} to be a TorchScript file, but it is no archive, or cut short.")
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            if not entry.filename.endswith(".py"):
                continue
            if entry.file_size > _LARGEST_CODE:
                raise ExportedFileError(
                    f"Expected the code in {file} to be short, but {entry.filename} has {entry.file_size:,} bytes."
                )
            found = _TOUCHES_FILES.search(archive.read(entry))
            if found:
                raise ExportedFileError(
                    f"Expected the code in {file} to compute only, but it calls {found.group(1).decode()!r}. It was not run."
                )
