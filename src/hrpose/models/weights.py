"""Weights from everybody's files: the kind is recognised, nothing is dropped in silence.

A file is read without running any code in it, wrappings such as "module." are taken off its names, and the form of the names
tells what it is. A form is one row of `_FORMS`: what marks it, and how its names become ours.
"""

from __future__ import annotations

import logging
import pickle
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_LOG = logging.getLogger(__name__)

_HEAD = "final_layer."
_WIDTH = "stage2.0.branches.0.0.conv1.weight"
_COUNTER = "num_batches_tracked"  # absent from files older than torch 0.4.1, and without effect on the network
_WRAPPINGS = re.compile(
    r"^(?:(?:module|model|_orig_mod)\.)+"
)  # put before names by DataParallel, torch.compile and others
_HRNET_BACKBONE = (
    *("conv1.", "bn1.", "conv2.", "bn2.", "layer1.", "transition1."),
    *("stage2.", "transition2.", "stage3.", "transition3.", "stage4."),
)


class WeightsError(ValueError):
    """A weight file that cannot be read or does not fit the network."""


@dataclass(frozen=True)
class WeightReport:
    """What came of loading a weight file.

    Attributes:
        file: the file's path.
        kind: what the file was recognised as.
        loaded: names of the network's tensors that came from the file.
        missing: names of the network's tensors that the file does not hold; they stay as they were.
        unused: names in the file that the network has no place for.
        mismatched: names whose shapes differ, left as they were: a head for other keypoints, if that was allowed.
    """

    file: str
    kind: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    mismatched: tuple[str, ...]

    def __str__(self) -> str:
        """Say it in a few lines."""
        total = len(self.loaded) + len(self.missing) + len(self.mismatched)
        lines = [f"{self.file} ({self.kind}): {len(self.loaded)} of the network's {total} tensors loaded"]
        groups = {"missing": self.missing, "other shape": self.mismatched, "unused": self.unused}
        lines += [f"  {title}: {_summary(names)}" for title, names in groups.items() if names]
        return "\n".join(lines)


@dataclass(frozen=True)
class _Form:
    """A form of weight file.

    Attributes:
        kind: its name for people.
        marks: a name that begins with any of these marks the form; none of them fits everything.
        prefixes: beginnings of the names that count, and what they become; all other names are unused.
        whole: whether every tensor under the head has to be there.
    """

    kind: str
    marks: tuple[str, ...]
    prefixes: Mapping[str, str]
    whole: bool = True


_BACKBONE_ONLY = {prefix: prefix for prefix in _HRNET_BACKBONE}
_FORMS = (
    _Form("hrpose checkpoint", ("net.",), {"net._orig_mod.": "", "net.": ""}),
    _Form("MMPose checkpoint", ("head.",), {"backbone.": "", "head.final_layer.": _HEAD}),
    _Form("MMPose 0.x checkpoint", ("keypoint_head.",), {"backbone.": "", "keypoint_head.final_layer.": _HEAD}),
    _Form("ImageNet backbone", ("incre_modules.", "classifier."), _BACKBONE_ONLY, whole=False),
    _Form("pose checkpoint", (_HEAD,), {"": ""}),
    _Form("backbone", ("conv1.",), _BACKBONE_ONLY, whole=False),
)


def load_weights(net: nn.Module, file: str | Path, *, fresh_head: bool = False) -> WeightReport:
    """Load a weight file into a network, in place, and report what was loaded.

    Read are official HRNet pose checkpoints (bare, saved from DataParallel, or the full training checkpoint), official
    ImageNet backbones (by the official rule: the names of stem and stages count, the classifier is left out), MMPose
    checkpoints, and checkpoints of hrpose; as .pth, .ckpt or .safetensors. If anything is wrong the network stays as it was.

    Args:
        net: the network.
        file: the weight file.
        fresh_head: keep the network's own head where the file's head is for other keypoints, instead of raising.

    Returns:
        What was loaded, missing, unused and left out.

    Raises:
        WeightsError: if the file is missing, truncated, no weight file, unsafe to read, or does not fit the network.

    Example:
        >>> print(load_weights(net, "hrnet_w32-36af842e.pth"))  # doctest: +SKIP
        hrnet_w32-36af842e.pth (ImageNet backbone): 1752 of the network's 1754 tensors loaded
          missing: final_layer (2)
          unused: classifier (2), incre_modules (90), ...
    """
    path = Path(file)
    tensors = _tensors(_read(path), path)
    form = _recognise(tensors, path)
    found = {new: tensor for old, tensor in tensors.items() if (new := _rename(old, form)) is not None}
    expected = net.state_dict()
    fitting = {name for name in found.keys() & expected.keys() if found[name].shape == expected[name].shape}
    report = WeightReport(
        file=str(path),
        kind=form.kind,
        loaded=tuple(name for name in expected if name in fitting),
        missing=tuple(name for name in expected if name not in found),
        unused=tuple(name for name in tensors if _rename(name, form) not in expected),
        mismatched=tuple(name for name in expected if name in found and name not in fitting),
    )
    _check_body(report, form, found, expected)
    if not fresh_head:
        _check_head(report, form, found, expected)
    net.load_state_dict({name: found[name] for name in report.loaded}, strict=False)
    if _absent(report):
        _LOG.warning("%s", report)
    return report


def _read(path: Path) -> Any:
    """Read a file, running none of its code."""
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


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    """Take the named tensors out of a checkpoint, and the wrappings off their names."""
    states = content.get("state_dict", content) if isinstance(content, Mapping) else {}
    if not isinstance(states, Mapping) or not any(isinstance(value, Tensor) for value in states.values()):
        held = [str(entry) for entry in content] if isinstance(content, Mapping) else [type(content).__name__]
        raise WeightsError(
            f"Expected {path} to hold a state_dict, names with tensors, but it holds {', '.join(held[:8]) or 'nothing'}."
        )
    return {_WRAPPINGS.sub("", str(name)): value for name, value in states.items() if isinstance(value, Tensor)}


def _recognise(tensors: Mapping[str, Tensor], path: Path) -> _Form:
    for form in _FORMS:
        if any(name.startswith(form.marks) for name in tensors):
            return form
    raise WeightsError(
        f"Expected {path} to hold the weights of an HRNet (conv1.weight, ..., final_layer.weight), but its names are of "
        f"no known form: {', '.join(list(tensors)[:4])}, ..."
    )


def _rename(name: str, form: _Form) -> str | None:
    for old, new in form.prefixes.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return None


def _check_body(report: WeightReport, form: _Form, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raise unless everything under the head fits."""
    other = [name for name in report.mismatched if not name.startswith(_HEAD)]
    if other:
        widths = [tensors[_WIDTH].shape[0] for tensors in (found, expected) if _WIDTH in tensors]
        hint = f" The file's HRNet has width {widths[0]}, the network {widths[1]}." if len(set(widths)) == 2 else ""
        raise WeightsError(
            f"Expected {report.file} ({report.kind}) to hold {other[0]} of the shape {tuple(expected[other[0]].shape)}, but got "
            f"{tuple(found[other[0]].shape)}; {len(other)} tensors differ.{hint} Build the network like the file's."
        )
    absent = _absent(report)
    if not report.loaded or (form.whole and absent):
        raise WeightsError(
            f"Expected {report.file} ({report.kind}) to hold all weights of the network, but {len(absent)} are not in it: "
            f"{_summary(absent)}. Build the network with the file's num_modules, num_blocks and stage1_blocks."
        )


def _check_head(report: WeightReport, form: _Form, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raise unless the head fits, or has to be missing."""
    if report.mismatched:
        name = report.mismatched[0]
        count = found[name].shape[0]
        raise WeightsError(
            f"Expected {report.file} ({report.kind}) to hold a head for {expected[name].shape[0]} keypoints, {name} of the shape "
            f"{tuple(expected[name].shape)}, but got one for {count}, of the shape {tuple(found[name].shape)}. Build the "
            f"network with num_keypoints={count} and the same final_kernel, or train a new head with fresh_head=True."
        )
    missing = [name for name in report.missing if name.startswith(_HEAD)]
    if form.whole and missing:
        raise WeightsError(
            f"Expected {report.file} ({report.kind}) to hold the head, but {', '.join(missing)} are not in it. Load it with "
            "fresh_head=True to train a new head."
        )


def _absent(report: WeightReport) -> list[str]:
    return [name for name in report.missing if not name.startswith(_HEAD) and not name.endswith(_COUNTER)]


def _summary(names: Iterable[str]) -> str:
    groups = Counter(name.split(".")[0] for name in names)
    return ", ".join(f"{group} ({count})" for group, count in groups.items())


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
