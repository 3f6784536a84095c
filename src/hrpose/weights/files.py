"""Read weight files of torch (any version) and safetensors without running code in them."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hrpose.files import archive_fault

# prefixes of DataParallel, torch.compile and others, before or after the "net." of hrpose's checkpoints
_WRAPPINGS = re.compile(r"^(?:(?:module|model|_orig_mod|_forward_module)\.)+")
_WRAPPINGS_OF_NET = re.compile(r"^net\." + _WRAPPINGS.pattern[1:])
_AVERAGED = ("state_dict_ema", "model_ema")  # names of averaged weights in timm and torchvision, which they evaluate
_USUAL = ("state_dict", "model_state_dict", "model")
_NUMPY_HOMES = ("numpy.core.multiarray", "numpy._core.multiarray")  # before and since NumPy 2
# classes of other objects in checkpoints, which are ignored
_BOOKKEEPING = (
    # NumPy numbers and arrays, such as the AP in official training checkpoints
    *(f"{home}.{maker}" for home in _NUMPY_HOMES for maker in ("scalar", "_reconstruct")),
    *("numpy.dtype", "numpy.ndarray"),
    # logs of MMPose 1.x in training checkpoints: a class and its methods
    *("mmengine.logging.history_buffer.HistoryBuffer", "builtins.getattr", "__builtin__.getattr"),
    # arguments and times in checkpoints of timm, torchvision and others
    *("argparse.Namespace", "datetime.datetime", "datetime.timedelta"),
)
_MAX_NESTED, _MAX_ENTRIES = 64, 10**5  # limits for a stored configuration
_SMALL = 2**16  # smaller tensors may be expanded
# messages of torch about files that contain more than tensors and plain values
_NEWER_PICKLE = "nsupported operand 149"  # the first opcode of pickle protocols 4 and 5
_REFUSED = re.compile(r"(?:GLOBAL |but got <class ')(?P<name>[^\s']+)|nsupported operand|with (?P<program>TorchScript)")


class WeightsError(ValueError):
    """A weight file that cannot be read or does not fit the network."""


@dataclass(frozen=True)
class WeightFile:
    """The contents of a weight file."""

    path: Path  # of the file
    tensors: Mapping[str, Tensor]  # by name, in the order of the file, on the CPU, without prefixes such as "module."
    keypoint_names: tuple[str, ...] | None  # of the head; None if the file has none
    averaged: bool = False  # whether the tensors are averaged weights, stored in addition to the trained ones
    # of a Lightning checkpoint, in plain containers; empty for other files
    hyper_parameters: Mapping[str, Any] = field(default_factory=dict)


def read_weight_file(path: Path) -> WeightFile:
    """Read the tensors of a weight file without running its code.

    Args:
        path: a file of torch (.pth, .ckpt, ...) or .safetensors; a checkpoint or a state_dict.

    Raises:
        WeightsError: if the file is missing, truncated, not a weight file, or unsafe to read.
    """
    content, notes = _read(path)
    key, states = _find_state(content)
    if not _count_tensors(states):
        held = [str(entry) for entry in content] if isinstance(content, Mapping) else [type(content).__name__]
        raise WeightsError(f"Expected a state_dict (tensors by name) in {path}, but found {', '.join(held[:8]) or 'nothing'}.")
    tensors = _unwrapped({str(name): value for name, value in states.items() if isinstance(value, Tensor)})
    meta = [name for name, value in tensors.items() if value.is_meta]
    if meta:
        raise WeightsError(
            f"Expected weights in {path}, but {len(meta)} of its {len(tensors)} tensors, such as {meta[0]}, have no values. Save "
            "the network again from a device other than 'meta'."
        )
    _check_storage(path, tensors)
    stored = notes.get("hyper_parameters") if isinstance(notes, Mapping) else None
    hyper_parameters = stored if isinstance(stored, Mapping) else {}
    _check_nesting(path, hyper_parameters)
    return WeightFile(path, tensors, _find_keypoint_names(notes), key in _AVERAGED, hyper_parameters)


def _check_nesting(path: Path, content: Any) -> None:
    """Raise WeightsError if a stored configuration, which may be recursive, is larger than in any valid checkpoint."""
    waiting, count = [(content, 0)], 0
    while waiting:
        part, depth = waiting.pop()
        inner = part.values() if isinstance(part, Mapping) else part if isinstance(part, list | tuple | set) else ()
        count += len(inner)
        if depth > _MAX_NESTED or count > _MAX_ENTRIES:
            raise WeightsError(
                f"Expected a stored configuration of at most {_MAX_NESTED} levels and {_MAX_ENTRIES:,} entries in {path}, but "
                "it is larger. Save only the state_dict of the network."
            )
        waiting += [(value, depth + 1) for value in inner if isinstance(value, Mapping | list | tuple | set)]


def _check_storage(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raise WeightsError unless the file stores all elements of each tensor, unlike for expanded tensors."""
    for name, tensor in tensors.items():
        if tensor.layout is not torch.strided or tensor.is_nested or tensor.is_quantized:
            raise WeightsError(
                f"Expected dense tensors in {path}, but {name} is {tensor.dtype} with layout {tensor.layout}. Save dense weights "
                "in floating point."
            )
        if tensor.numel() > _SMALL and tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise WeightsError(
                f"Expected all elements of {name} in {path}, but it has {tensor.untyped_storage().nbytes():,} bytes for the "
                f"shape {tuple(tensor.shape)}. Save it with `.contiguous()`."
            )


def bare_network(net: nn.Module) -> nn.Module:
    """Return the network inside the wrappers of torch.compile, DataParallel and DistributedDataParallel."""
    while True:
        wrapped = isinstance(net, nn.DataParallel | nn.parallel.DistributedDataParallel)
        inner = net.module if wrapped else getattr(net, "_orig_mod", None)
        if not isinstance(inner, nn.Module):
            return net
        net = inner


def _find_state(content: Any) -> tuple[str, Any]:
    """Return the state_dict and its key: a common key, or the part with most tensors.

    `best_state_dict` of official training checkpoints is not used, because the official code writes the weights of the last epoch
    to it. MMPose stores averaged weights, if there are any, in `state_dict`.
    """
    if not isinstance(content, Mapping):
        return "", content
    usual = [(key, content[key]) for key in (*_AVERAGED, *_USUAL) if _count_tensors(content.get(key))]
    parts = [("", content), *((str(key), part) for key, part in content.items())]
    return usual[0] if usual else max(parts, key=lambda part: _count_tensors(part[1]))


def _count_tensors(part: Any) -> int:
    return sum(isinstance(value, Tensor) for value in part.values()) if isinstance(part, Mapping) else 0


def _unwrapped(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Remove the prefixes of wrappers and of modules that contained the network."""
    named = {_WRAPPINGS_OF_NET.sub("net.", _WRAPPINGS.sub("", name)): value for name, value in tensors.items()}
    first = min((name for name in named if name.endswith("conv1.weight")), key=len, default="")
    stem = first.removesuffix("conv1.weight")
    for outer in (stem, stem.removesuffix("backbone.")):
        if outer != "net." and all(name.startswith(outer) for name in named):
            return {name.removeprefix(outer): value for name, value in named.items()}
    return named


def _find_keypoint_names(notes: Any) -> tuple[str, ...] | None:
    """Return the keypoint names stored by hrpose, MMPose 1.x or `save_weights`; None if there are none."""
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
    """Return the contents of a file, and its metadata."""
    if not path.is_file():
        raise WeightsError(f"Expected a weight file at {path}, but there is none. Correct the path, or download the file.")
    with path.open("rb") as stream:
        start = stream.read(16)
    if path.suffix == ".safetensors" or start[6:9] == b"\0\0{":  # after the length of its header
        return _read_safetensors(path)
    if start.startswith(b"PK") and (fault := archive_fault(path)):
        raise WeightsError(
            f"Expected {path} to be a complete weight file, but it is damaged, truncated or compressed: {fault}. Download or "
            "copy it again."
        )
    if start and not start.startswith((b"PK", b"\x80")):
        raise WeightsError(
            f"Expected {path} to be a weight file of torch (.pth, .ckpt) or a .safetensors file, but it begins with {start!r} "
            "(perhaps a web page or a Git LFS pointer). Download the file again."
        )
    content = _read_pickle(path)
    return content, content


def _read_pickle(path: Path) -> Any:
    known: list[Any] = [(_Ignored, name) for name in _BOOKKEEPING]
    try:
        with torch.serialization.safe_globals(known), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # problems are raised as errors
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch may raise any error for a damaged file
        if _NEWER_PICKLE in str(error):
            raise WeightsError(
                f"Expected {path} to be written with the default pickle protocol of torch.save, but it has protocol 4 or newer, "
                "which cannot be read safely. Save it again without `pickle_protocol`."
            ) from error
        refused = _REFUSED.search(str(error))
        if refused is None:
            raise WeightsError(_truncated(path, error)) from error
        if refused["program"]:
            raise WeightsError(
                f"Expected tensors in {path}, but found a TorchScript program, which is not supported. Export the weights with "
                "format=onnx or format=openvino."
            ) from error
        what = refused["name"] or "an unknown instruction"
        raise WeightsError(
            f"Expected only tensors and plain values in {path}, but found an object that would run code ({what}); the file was "
            "not read. Save only the state_dict of the network."
        ) from error


def _read_safetensors(path: Path) -> tuple[Any, Any]:
    from safetensors import safe_open  # imported here because it is optional

    try:
        with safe_open(path, framework="pt") as file:
            content = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is not a mapping
            notes = {key: _from_json(text) for key, text in (file.metadata() or {}).items()}
    except Exception as error:  # safetensors may raise any error for a damaged file
        raise WeightsError(_truncated(path, error)) from error
    return content, notes


def _from_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


class _Ignored:
    """A placeholder for other objects in a checkpoint, without content."""

    def __new__(cls, *arguments: Any) -> _Ignored:
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        pass


def _truncated(path: Path, error: Exception | None = None) -> str:
    reason = f" ({str(error).splitlines()[0].split('. ')[0]})" if str(error or "") else ""
    return (
        f"Expected {path} to be a complete weight file, but it is damaged or truncated ({path.stat().st_size:,} bytes){reason}. "
        "Download or copy it again."
    )
