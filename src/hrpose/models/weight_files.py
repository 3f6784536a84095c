"""Reading weight files: torch's of every age and safetensors, without running any code in them."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

# put before names by DataParallel, torch.compile and others
_WRAPPINGS = re.compile(r"^(?:(?:module|model|_orig_mod)\.)+")


class WeightsError(ValueError):
    """A weight file that cannot be read or does not fit the network."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the named tensors of a weight file, running none of its code.

    Args:
        path: a file of torch (.pth, .ckpt and the like, of any age) or a .safetensors file; a whole checkpoint or its
            state_dict alone.

    Returns:
        The tensors by name, in the order of the file, on the CPU; without wrappings such as "module." before the names.

    Raises:
        WeightsError: if the file is missing, truncated, no weight file, or unsafe to read.
    """
    content = _read(path)
    states = content.get("state_dict", content) if isinstance(content, Mapping) else {}
    if not isinstance(states, Mapping) or not any(isinstance(value, Tensor) for value in states.values()):
        held = [str(entry) for entry in content] if isinstance(content, Mapping) else [type(content).__name__]
        raise WeightsError(
            f"Expected {path} to hold a state_dict, names with tensors, but it holds {', '.join(held[:8]) or 'nothing'}."
        )
    return {_WRAPPINGS.sub("", str(name)): value for name, value in states.items() if isinstance(value, Tensor)}


def _read(path: Path) -> Any:
    if not path.is_file():
        raise WeightsError(
            f"Expected a weight file, but there is none at {path}. Correct the path or fetch the file first."
        )
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    with path.open("rb") as stream:
        start = stream.read(16)
    zipped = start.startswith(b"PK")
    if not start or (zipped and not zipfile.is_zipfile(path)):
        raise WeightsError(_truncated(path))
    if not (zipped or start.startswith(b"\x80")):
        raise WeightsError(
            f"Expected {path} to be a weight file of torch (.pth, .ckpt) or a .safetensors file, but it is neither: it begins "
            f"with {start!r}. A web page or a pointer saved in its place? Fetch the file again."
        )
    return _read_pickle(path)


def _read_pickle(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals(_numpy_numbers()), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")  # either it is read or it is an error
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        foreign = re.search(r"GLOBAL (\S+)", str(error))
        if foreign is None and "nsupported" not in str(error):
            raise WeightsError(_truncated(path, error)) from error
        raise WeightsError(
            f"Expected {path} to hold tensors and plain values only, but it holds objects whose code would have to run "
            f"({foreign.group(1) if foreign else 'an unknown instruction'}); it was not read. Save the network's state_dict "
            "alone, and load that."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise WeightsError(_truncated(path, error)) from error


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError  # here, so that the networks alone need torch and numpy only
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise WeightsError(_truncated(path, error)) from error


def _truncated(path: Path, error: Exception | None = None) -> str:
    reason = f" ({str(error).splitlines()[0]})" if str(error or "") else ""
    return (
        f"Expected {path} to be a whole weight file, but it is damaged or cut off after {path.stat().st_size:,} bytes{reason}. "
        "Fetch or copy it again."
    )


def _numpy_numbers() -> list[Any]:
    """List what numpy's numbers and arrays need when they are read: the official training checkpoint holds its AP as one."""
    makers: list[Any] = [np.float64(0).__reduce__()[0], np.zeros(0).__reduce__()[0]]
    homes = ("numpy.core.multiarray", "numpy._core.multiarray")  # before and since numpy 2
    named = [(maker, f"{home}.{maker.__name__}") for maker in makers for home in homes]
    return [np.dtype, np.ndarray, *{type(np.dtype(code)) for code in "?bBhHiIlLqQefd"}, *named]
