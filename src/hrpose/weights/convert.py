"""Write the weights of a network or of a file in the format of the official code, MMPose 1.x or hrpose.

Only names change. The format and architecture of a file are recognised by its names, and no network is built.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from hrpose.files import dumps, write_atomically
from hrpose.weights.files import WeightsError, bare_network, read_weight_file
from hrpose.weights.formats import DECONVS, HEAD, HEADS, NOT_WEIGHTS, describe_architecture, official_name, recognise

WeightForm = Literal["official", "mmpose", "hrpose"]

_SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors")


@dataclass(frozen=True)
class Conversion:
    """The result of converting a weight file."""

    source: Path  # the source file
    kind: str  # format of the source
    architecture: str  # of the network
    target: Path  # the written file
    form: WeightForm  # format of the target
    num_tensors: int  # number of tensors in the target
    # names in the source that are not part of a pose network: classifier, preprocessor, averaged copies
    left_out: tuple[str, ...]
    averaged: bool = False  # whether averaged weights of the source were used instead of its trained weights

    def __str__(self) -> str:
        """Return the result in one to three lines."""
        line = f"{self.source} ({self.kind}, {self.architecture}) -> {self.target} ({self.form}): {self.num_tensors} tensors"
        parts = sorted({"ema_*" if name.startswith("ema_") else name.split(".")[0] for name in self.left_out})
        line += "\n  the averaged weights were used instead of the trained ones" if self.averaged else ""
        return line + (f"\n  left out: {', '.join(parts)} ({len(self.left_out)} tensors)" if parts else "")


def save_weights(
    net: nn.Module,
    file: str | Path,
    *,
    form: WeightForm = "official",
    keypoint_names: Sequence[str] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the weights of a network in the format of another tool, and return the path.

    Args:
        net: a network of `hrpose.models`.
        file: to write: .pth, .pt or .ckpt in torch's format, or .safetensors.
        form: "official" (HRNet and SimpleBaseline authors), "mmpose" (1.x) or "hrpose".
        keypoint_names: stored if the format allows it.
        overwrite: whether to replace an existing file.

    Raises:
        WeightsError: if the format does not support this network, the suffix is unknown, or the file exists.

    Example:
        >>> save_weights(net, "pose_hrnet_w32.safetensors", form="mmpose")  # doctest: +SKIP
    """
    path = _checked_target(file, form, overwrite=overwrite)
    tensors = {official_name(name): value for name, value in bare_network(net).state_dict().items()}
    _write(path, tensors, form, keypoint_names)
    return path


def convert_weights(
    source: str | Path, target: str | Path, *, form: WeightForm = "official", overwrite: bool = False
) -> Conversion:
    """Convert a weight file of any format that `load_weights` reads to another format.

    Args:
        source: the file to read; its format is recognised.
        target: the file to write: .pth, .pt or .ckpt in torch's format, or .safetensors.
        form: "official", "mmpose" (1.x) or "hrpose".
        overwrite: whether to replace an existing file.

    Raises:
        WeightsError: if the source cannot be read or is not a network of hrpose, the format does not support it, the suffix of
            the target is unknown, or the target exists.
    """
    path = _checked_target(target, form, overwrite=overwrite)
    content = read_weight_file(Path(source))
    kind = recognise(content.tensors, content.path)
    names = kind.official_names(content.tensors)
    tensors = {new: content.tensors[old] for old, new in names.items() if not new.startswith(NOT_WEIGHTS)}
    architecture = describe_architecture(tensors)
    if architecture is None:
        raise WeightsError(
            f"Expected an HRNet, a ResNet with or without pose head, or a stacked hourglass in {source} ({kind.kind}), but its "
            f"tensors are {', '.join(list(tensors)[:4])}, ..."
        )
    _write(path, tensors, form, content.keypoint_names)
    left_out = tuple(name for name in content.tensors if names.get(name) not in tensors)
    return Conversion(content.path, kind.kind, architecture, path, form, len(tensors), left_out, averaged=content.averaged)


def _checked_target(file: str | Path, form: str, *, overwrite: bool) -> Path:
    path = Path(file)
    if form not in get_args(WeightForm):
        raise WeightsError(f"Expected `form` to be one of {', '.join(get_args(WeightForm))}, but got {form!r}.")
    if path.suffix not in _SUFFIXES:
        raise WeightsError(f"Expected a file with the suffix {', '.join(_SUFFIXES)}, but got {path}.")
    if path.exists() and not overwrite:
        raise WeightsError(
            f"Expected to write a new file, but {path} exists. Choose another name, or set overwrite=True (script: --force)."
        )
    return path


def _write(path: Path, official: Mapping[str, Tensor], form: WeightForm, keypoint_names: Sequence[str] | None) -> None:
    """Write tensors with official names; the file appears when it is complete."""
    _check_form(form, official)
    tensors = {_rename(name, official, form): value.detach().cpu().contiguous() for name, value in official.items()}
    names = list(keypoint_names) if keypoint_names else None
    with write_atomically(path) as partial:
        if path.suffix == ".safetensors":
            from safetensors.torch import save_file  # imported here because it is optional

            save_file(tensors, partial, {"format": "pt", **({"keypoint_names": dumps(names)} if names else {})})
        else:
            with partial.open("wb") as stream:  # given a path, torch would store its name in the file
                torch.save(_wrapped(tensors, form, names), stream)


def _check_form(form: WeightForm, official: Mapping[str, Tensor]) -> None:
    """Raise WeightsError if a format does not support the network of some tensors."""
    if form == "official" and any(name.startswith("head.") for name in official):
        raise WeightsError(
            f"Expected an HRNet or SimpleBaseline for form=official, but the network has another head ({next(iter(official))}, "
            "...). Set form=mmpose or form=hrpose."
        )
    if form == "mmpose" and "hg.0.hg.0.0.0.conv1.weight" in official:
        raise WeightsError(
            "Expected a network of MMPose for form=mmpose, but the hourglass is of DarkPose, which differs from MMPose's. Set "
            "form=official or form=hrpose."
        )
    if form == "mmpose" and any(name.startswith(HEADS) for name in official):
        raise WeightsError(
            "Expected a network of MMPose 1.x for form=mmpose, but got HigherHRNet. Set form=official or form=hrpose."
        )


def _rename(name: str, official: Mapping[str, Tensor], form: WeightForm) -> str:
    """Return the name of a tensor in a format."""
    in_parts = any(other.startswith("head.") for other in official)
    if name.startswith("head.") or form == "official":
        part = "net." if form == "hrpose" else ""
    elif form == "mmpose":
        nested = "deconv_head." if in_parts and any(other.startswith(DECONVS) for other in official) else ""
        part = f"head.{nested}" if name.startswith((HEAD, DECONVS)) else "backbone."
    else:
        part = "net." + (("head." if name.startswith(HEAD) else "backbone.") if in_parts else "")
    return part + name


def _wrapped(tensors: dict[str, Tensor], form: WeightForm, keypoint_names: list[str] | None) -> dict[str, Any]:
    """Return the content of a file in a format; the official code reads a plain dict of tensors."""
    if form == "official":
        return dict(tensors)
    if form == "mmpose":
        return {"meta": {"keypoint_names": keypoint_names} if keypoint_names else {}, "state_dict": tensors}
    skeleton = {"name": "custom", "keypoint_names": keypoint_names}
    return {"state_dict": tensors, **({"hyper_parameters": {"skeleton": skeleton}} if keypoint_names else {})}
