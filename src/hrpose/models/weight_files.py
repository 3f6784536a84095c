"""Reading weight files: torch's of every age and safetensors, without running any code in them."""

from __future__ import annotations

import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

# put before names by DataParallel, torch.compile and others
_WRAPPINGS = re.compile(r"^(?:(?:module|model|_orig_mod)\.)+")
# what the logs are made of that MMPose 1.x keeps in the checkpoints of a training (published ones have lost them): a class, and
# methods of it, which pickle looks up by name
_BOOKKEEPING = ("mmengine.logging.history_buffer.HistoryBuffer", "builtins.getattr", "__builtin__.getattr")


class WeightsError(ValueError):
    """A weight file that cannot be read or does not fit the network."""


@dataclass(frozen=True)
class WeightFile:
    """What a weight file holds.

    Attributes:
        path: the file.
        tensors: by name, in the order of the file, on the CPU; without wrappings such as "module." before the names.
        keypoint_names: what the file calls the keypoints of its head; None where it does not say.
        hyper_parameters: what a checkpoint of Lightning says about its module, in plain containers; empty for other files.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    keypoint_names: tuple[str, ...] | None
    hyper_parameters: Mapping[str, Any] = field(default_factory=dict)


def read_weight_file(path: Path) -> WeightFile:
    """Read the named tensors of a weight file, running none of its code.

    Args:
        path: a file of torch (.pth, .ckpt and the like, of any age) or a .safetensors file; a whole checkpoint or its
            state_dict alone.

    Raises:
        WeightsError: if the file is missing, truncated, no weight file, or unsafe to read.
    """
    content, notes = _read(path)
    states = next((part for part in _candidates(content) if _holds_tensors(part)), None)
    if states is None:
        held = [str(entry) for entry in content] if isinstance(content, Mapping) else [type(content).__name__]
        raise WeightsError(
            f"Expected {path} to hold a state_dict, names with tensors, but it holds {', '.join(held[:8]) or 'nothing'}."
        )
    tensors = {_WRAPPINGS.sub("", str(name)): value for name, value in states.items() if isinstance(value, Tensor)}
    told = notes.get("hyper_parameters") if isinstance(notes, Mapping) else None
    return WeightFile(path, tensors, _find_keypoint_names(notes), told if isinstance(told, Mapping) else {})


def _candidates(content: Any) -> list[Any]:
    """List where the state_dict may be: in one of the usual places, or the content is it.

    The `best_state_dict` of an official training checkpoint is no better than its `state_dict`: the official code writes the
    weights of the last epoch to both. MMPose keeps the averaged weights, if there are any, in `state_dict` too.
    """
    if not isinstance(content, Mapping):
        return []
    return [*(content.get(key) for key in ("state_dict", "model_state_dict", "model")), content]


def _holds_tensors(part: Any) -> bool:
    return isinstance(part, Mapping) and any(isinstance(value, Tensor) for value in part.values())


def _find_keypoint_names(notes: Any) -> tuple[str, ...] | None:
    """Look where hrpose's checkpoints, MMPose's of 1.x and what `save_weights` writes name their keypoints."""
    places: tuple[tuple[str, ...], ...] = (
        ("hyper_parameters", "skeleton", "keypoint_names"),
        ("meta", "keypoint_names"),
        ("meta", "dataset_meta", "keypoint_id2name"),
        ("keypoint_names",),
    )
    for place in places:
        found: Any = notes
        for key in place:
            found = found.get(key) if isinstance(found, Mapping) else None
        if isinstance(found, Mapping) and set(found) == set(range(len(found))):
            found = [found[index] for index in range(len(found))]
        if isinstance(found, list | tuple) and found and all(isinstance(name, str) for name in found):
            return tuple(found)
    return None


def _read(path: Path) -> tuple[Any, Any]:
    """Give what a file holds, and where it may say something about itself."""
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
    content = _read_pickle(path)
    return content, content


def _read_pickle(path: Path) -> Any:
    known = [*_numpy_numbers(), *((_Ignored, name) for name in _BOOKKEEPING)]
    try:
        with torch.serialization.safe_globals(known), warnings.catch_warnings():
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


def _read_safetensors(path: Path) -> tuple[Any, Any]:
    from safetensors import SafetensorError, safe_open  # here, so that the networks alone need torch and numpy only

    try:
        with safe_open(path, framework="pt") as file:
            content = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
            notes = {key: _from_json(text) for key, text in (file.metadata() or {}).items()}
    except SafetensorError as error:
        raise WeightsError(_truncated(path, error)) from error
    return content, notes


def _from_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


class _Ignored:
    """Stands for an object in a checkpoint that has nothing to do with its weights; it keeps nothing and does nothing."""

    def __new__(cls, *arguments: Any) -> _Ignored:
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        pass


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
