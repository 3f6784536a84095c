"""Read weight files: torch's of every age and safetensors, without running any code in them."""

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

# prefixes of DataParallel, torch.compile and others, on either side of the "net." of hrpose's checkpoints
_WRAPPINGS = re.compile(r"^(?:(?:module|model|_orig_mod|_forward_module)\.)+")
_WRAPPINGS_OF_NET = re.compile(r"^net\." + _WRAPPINGS.pattern[1:])
_AVERAGED = ("state_dict_ema", "model_ema")  # timm's name and torchvision's for the averaged copy, which they validate
_USUAL = ("state_dict", "model_state_dict", "model")
_NUMPY_HOMES = ("numpy.core.multiarray", "numpy._core.multiarray")  # before and since numpy 2
# other contents of checkpoints, by the names that pickle looks up; none of them is kept
_BOOKKEEPING = (
    # numbers and arrays of numpy, such as the AP of the official training checkpoint
    *(f"{home}.{maker}" for home in _NUMPY_HOMES for maker in ("scalar", "_reconstruct")),
    *("numpy.dtype", "numpy.ndarray"),
    # the logs of a training with MMPose 1.x (published files have lost them): a class, and methods of it
    *("mmengine.logging.history_buffer.HistoryBuffer", "builtins.getattr", "__builtin__.getattr"),
    # the arguments and times of a training with the scripts of timm, torchvision and others
    *("argparse.Namespace", "datetime.datetime", "datetime.timedelta"),
)
_MOST_NESTED, _MOST_ENTRIES = 64, 10**5  # of a stored configuration
_SMALL = 2**16  # elements of a tensor that may be expanded
# torch's messages about files that need more than tensors and plain values
_NEWER_PICKLE = "nsupported operand 149"  # the frame that protocols 4 and 5 begin with
_REFUSED = re.compile(r"(?:GLOBAL |but got <class ')(?P<name>[^\s']+)|nsupported operand|with (?P<program>TorchScript)")


class WeightsError(ValueError):
    """A weight file that cannot be read or does not fit the network."""


@dataclass(frozen=True)
class WeightFile:
    """The contents of a weight file.

    Attributes:
        path: the file.
        tensors: by name, in the order of the file, on the CPU; without prefixes of wrappers such as "module.".
        keypoint_names: the names of the head's keypoints; None where the file has none.
        averaged: whether the tensors are an averaged copy that the file holds beside the trained weights.
        hyper_parameters: those of a Lightning checkpoint, in plain containers; empty for other files.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    keypoint_names: tuple[str, ...] | None
    averaged: bool = False
    hyper_parameters: Mapping[str, Any] = field(default_factory=dict)


def read_weight_file(path: Path) -> WeightFile:
    """Read the named tensors of a weight file, running none of its code.

    Args:
        path: a file of torch (.pth, .ckpt and the like, of any age) or a .safetensors file; a whole checkpoint or its state_dict
            alone.

    Raises:
        WeightsError: if the file is missing, truncated, no weight file, or unsafe to read.
    """
    content, notes = _read(path)
    key, states = _find_state(content)
    if not _count_tensors(states):
        held = [str(entry) for entry in content] if isinstance(content, Mapping) else [type(content).__name__]
        raise WeightsError(
            f"Expected {path} to hold a state_dict, names with tensors, but it holds {', '.join(held[:8]) or 'nothing'}."
        )
    tensors = _unwrapped({str(name): value for name, value in states.items() if isinstance(value, Tensor)})
    hollow = [name for name, value in tensors.items() if value.is_meta]
    if hollow:
        raise WeightsError(
            f"Expected {path} to hold weights, but {len(hollow)} of its {len(tensors)} tensors, {hollow[0]} and others, are "
            "shapes without numbers: the network was on the device 'meta' when it was saved."
        )
    _check_storage(path, tensors)
    stored = notes.get("hyper_parameters") if isinstance(notes, Mapping) else None
    hyper_parameters = stored if isinstance(stored, Mapping) else {}
    _check_nesting(path, hyper_parameters)
    return WeightFile(path, tensors, _find_keypoint_names(notes), key in _AVERAGED, hyper_parameters)


def _check_nesting(path: Path, content: Any) -> None:
    """Refuse a stored configuration that holds itself, or that takes long to walk through.

    Raises:
        WeightsError: if there are more entries, or they are nested deeper, than in any checkpoint.
    """
    waiting, count = [(content, 0)], 0
    while waiting:
        part, depth = waiting.pop()
        inner = part.values() if isinstance(part, Mapping) else part if isinstance(part, list | tuple | set) else ()
        count += len(inner)
        if depth > _MOST_NESTED or count > _MOST_ENTRIES:
            raise WeightsError(
                f"Expected {path} to hold the configuration of a run, but it is nested deeper than {_MOST_NESTED} levels or "
                f"has more than {_MOST_ENTRIES:,} entries. Save the network's state_dict alone, and load that."
            )
        waiting += [(value, depth + 1) for value in inner if isinstance(value, Mapping | list | tuple | set)]


def _check_storage(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors that are larger than what the file stores for them, as expanded ones are.

    Raises:
        WeightsError: naming the first.
    """
    for name, tensor in tensors.items():
        if tensor.layout is not torch.strided or tensor.is_nested or tensor.is_quantized:
            raise WeightsError(
                f"Expected {path} to hold plain tensors, but {name} is {tensor.dtype} in the layout {tensor.layout}. Save dense "
                "weights in floating point."
            )
        if tensor.numel() > _SMALL and tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise WeightsError(
                f"Expected {path} to store all numbers of {name}, but it stores {tensor.untyped_storage().nbytes():,} bytes for "
                f"the shape {tuple(tensor.shape)}. Save it with `.contiguous()`."
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
    """Return the state_dict and its key: a usual one, or the part that holds the most tensors.

    The `best_state_dict` of an official training checkpoint is no better than its `state_dict`: the official code writes the
    weights of the last epoch to both. MMPose keeps the averaged weights, if there are any, in `state_dict` too.
    """
    if not isinstance(content, Mapping):
        return "", content
    usual = [(key, content[key]) for key in (*_AVERAGED, *_USUAL) if _count_tensors(content.get(key))]
    parts = [("", content), *((str(key), part) for key, part in content.items())]
    return usual[0] if usual else max(parts, key=lambda part: _count_tensors(part[1]))


def _count_tensors(part: Any) -> int:
    return sum(isinstance(value, Tensor) for value in part.values()) if isinstance(part, Mapping) else 0


def _unwrapped(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Remove the prefixes of wrappers and of the module that the network was part of."""
    named = {_WRAPPINGS_OF_NET.sub("net.", _WRAPPINGS.sub("", name)): value for name, value in tensors.items()}
    stem = min((name for name in named if name.endswith("conv1.weight")), key=len, default="").removesuffix(
        "conv1.weight"
    )
    for outer in (stem, stem.removesuffix("backbone.")):
        if outer != "net." and all(name.startswith(outer) for name in named):
            return {name.removeprefix(outer): value for name, value in named.items()}
    return named


def _find_keypoint_names(notes: Any) -> tuple[str, ...] | None:
    """Return the keypoint names that hrpose's checkpoints, MMPose's of 1.x and `save_weights` store; None without."""
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
    """Return the contents of a file, and the part that may describe them."""
    if not path.is_file():
        raise WeightsError(
            f"Expected a weight file, but there is none at {path}. Correct the path or fetch the file first."
        )
    with path.open("rb") as stream:
        start = stream.read(16)
    if path.suffix == ".safetensors" or start[6:9] == b"\0\0{":  # after the length of its header
        return _read_safetensors(path)
    if start.startswith(b"PK") and (fault := archive_fault(path)):
        raise WeightsError(
            f"Expected {path} to be a whole weight file, but it is damaged, cut off or compressed: {fault}. Fetch or copy it "
            "again."
        )
    if start and not start.startswith((b"PK", b"\x80")):
        raise WeightsError(
            f"Expected {path} to be a weight file of torch (.pth, .ckpt) or a .safetensors file, but it is neither: it begins "
            f"with {start!r}. A web page or a pointer saved in its place? Fetch the file again."
        )
    content = _read_pickle(path)
    return content, content


def _read_pickle(path: Path) -> Any:
    known: list[Any] = [(_Ignored, name) for name in _BOOKKEEPING]
    try:
        with torch.serialization.safe_globals(known), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # either it is read or it is an error
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of a damaged file torch's reader may raise anything
        if _NEWER_PICKLE in str(error):
            raise WeightsError(
                f"Expected {path} to be written with torch.save's own pickle protocol, but it has protocol 4 or newer, which "
                "torch reads only by running the file's code; it was not read. Save it again without `pickle_protocol`."
            ) from error
        refused = _REFUSED.search(str(error))
        if refused is None:
            raise WeightsError(_truncated(path, error)) from error
        if refused["program"]:
            raise WeightsError(
                f"Expected {path} to hold tensors, found a TorchScript program. TorchScript is no longer supported: export the "
                "weights with format=onnx or format=openvino."
            ) from error
        what = refused["name"] or "an unknown instruction"
        raise WeightsError(
            f"Expected {path} to hold tensors and plain values only, but it holds objects whose code would have to run "
            f"({what}); it was not read. Save the network's state_dict alone, and load that."
        ) from error


def _read_safetensors(path: Path) -> tuple[Any, Any]:
    from safetensors import safe_open  # here, so that the networks alone need torch and numpy only

    try:
        with safe_open(path, framework="pt") as file:
            content = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
            notes = {key: _from_json(text) for key, text in (file.metadata() or {}).items()}
    except Exception as error:  # of a damaged file the library may raise anything
        raise WeightsError(_truncated(path, error)) from error
    return content, notes


def _from_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


class _Ignored:
    """A placeholder for objects in a checkpoint other than weights; it keeps nothing and does nothing."""

    def __new__(cls, *arguments: Any) -> _Ignored:
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        pass


def _truncated(path: Path, error: Exception | None = None) -> str:
    reason = f" ({str(error).splitlines()[0].split('. ')[0]})" if str(error or "") else ""
    return (
        f"Expected {path} to be a whole weight file, but it is damaged or cut off after {path.stat().st_size:,} bytes{reason}. "
        "Fetch or copy it again."
    )
