"""Write weights in the form of the official code, of MMPose 1.x or of hrpose: a network's, or those of a file.

Names change, numbers do not: writing and reading keep every bit. A file is converted by its names alone; no network is built, and
its form and architecture are recognised.
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
    """The result of converting a weight file.

    Attributes:
        source: the file that was read.
        kind: its form.
        architecture: of its network.
        target: the file that was written.
        form: of the target.
        num_tensors: number of tensors in the target.
        left_out: names in the source that belong to no pose network: a classifier, a preprocessor, averaged copies.
        averaged: whether the source has its weights twice, and the averaged ones were taken.
    """

    source: Path
    kind: str
    architecture: str
    target: Path
    form: WeightForm
    num_tensors: int
    left_out: tuple[str, ...]
    averaged: bool = False

    def __str__(self) -> str:
        """Return the result in a line or two."""
        line = f"{self.source} ({self.kind}, {self.architecture}) -> {self.target} ({self.form}): {self.num_tensors} tensors"
        parts = sorted({"ema_*" if name.startswith("ema_") else name.split(".")[0] for name in self.left_out})
        line += "\n  the averaged weights were taken, not those that were trained" if self.averaged else ""
        return line + (f"\n  left out: {', '.join(parts)} ({len(self.left_out)} tensors)" if parts else "")


def save_weights(
    net: nn.Module,
    file: str | Path,
    *,
    form: WeightForm = "official",
    keypoint_names: Sequence[str] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the weights of a network in the form of another tool, and return the file.

    Args:
        net: a network of `hrpose.models`.
        file: to write: .pth, .pt or .ckpt in torch's format, or .safetensors.
        form: "official" (bare names, as the authors of HRNet and SimpleBaseline have them), "mmpose" (1.x) or "hrpose".
        keypoint_names: stored where the form has a place for them.
        overwrite: replace an existing file.

    Raises:
        WeightsError: if the form has no names for this network, or the file is of an unknown suffix or exists.

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
    """Convert a weight file of any form that `load_weights` reads into another form.

    Args:
        source: the file to read; its form is recognised.
        target: the file to write, in torch's format or, with the suffix .safetensors, in that.
        form: "official", "mmpose" (1.x) or "hrpose".
        overwrite: replace an existing file.

    Raises:
        WeightsError: if the source cannot be read or belongs to no network of hrpose, if the form has no names for it, or if the
            target is of an unknown suffix or exists.
    """
    path = _checked_target(target, form, overwrite=overwrite)
    content = read_weight_file(Path(source))
    kind = recognise(content.tensors, content.path)
    names = kind.official_names(content.tensors)
    tensors = {new: content.tensors[old] for old, new in names.items() if not new.startswith(NOT_WEIGHTS)}
    architecture = describe_architecture(tensors)
    if architecture is None:
        raise WeightsError(
            f"Expected {source} ({kind.kind}) to hold an HRNet, a ResNet with or without pose head, or a stacked hourglass, but "
            f"its tensors are those of none: {', '.join(list(tensors)[:4])}, ..."
        )
    _write(path, tensors, form, content.keypoint_names)
    left_out = tuple(name for name in content.tensors if names.get(name) not in tensors)
    return Conversion(
        content.path, kind.kind, architecture, path, form, len(tensors), left_out, averaged=content.averaged
    )


def _checked_target(file: str | Path, form: str, *, overwrite: bool) -> Path:
    path = Path(file)
    if form not in get_args(WeightForm):
        raise WeightsError(f"Expected the form to be one of {', '.join(get_args(WeightForm))}, but got {form!r}.")
    if path.suffix not in _SUFFIXES:
        raise WeightsError(f"Expected a file that ends in one of {', '.join(_SUFFIXES)}, but got {path}.")
    if path.exists() and not overwrite:
        raise WeightsError(
            f"Expected to write a new file, but {path} is there already. Choose another name, or allow it: overwrite=True "
            "(--force for the script)."
        )
    return path


def _write(path: Path, official: Mapping[str, Tensor], form: WeightForm, keypoint_names: Sequence[str] | None) -> None:
    """Write tensors of official names; the file appears when it is complete."""
    tensors = {_rename(name, official, form): value.detach().cpu().contiguous() for name, value in official.items()}
    names = list(keypoint_names) if keypoint_names else None
    with write_atomically(path) as partial:
        if path.suffix == ".safetensors":
            _write_safetensors(partial, tensors, {"keypoint_names": names} if names else {})
        else:
            with partial.open("wb") as stream:  # given a path, torch would store its name in the file
                torch.save(_wrapped(tensors, form, names), stream)


def _rename(name: str, official: Mapping[str, Tensor], form: WeightForm) -> str:
    """Return the name of a tensor in a form.

    Raises:
        WeightsError: if the form has no name for it.
    """
    in_parts = any(other.startswith("head.") for other in official)
    if form == "official" and in_parts:
        raise WeightsError(
            "Expected a network of the official code (HRNet, SimpleBaseline) to be written in its form, but this one has a head "
            f"of another kind ({name}, ...). Write it as mmpose or hrpose."
        )
    if form == "mmpose" and "hg.0.hg.0.0.0.conv1.weight" in official:
        raise WeightsError(
            "Expected a network that MMPose has as well, but its hourglass is built and named in another way. Write this one as "
            "official, which is DarkPose's form, or hrpose."
        )
    if form == "mmpose" and any(other.startswith(HEADS) for other in official):
        raise WeightsError(
            "Expected a network that MMPose 1.x has, but it no longer has HigherHRNet. Write this one as official or hrpose."
        )
    if name.startswith("head.") or form == "official":
        part = "net." if form == "hrpose" else ""
    elif form == "mmpose":
        nested = "deconv_head." if in_parts and any(other.startswith(DECONVS) for other in official) else ""
        part = f"head.{nested}" if name.startswith((HEAD, DECONVS)) else "backbone."
    else:
        part = "net." + (("head." if name.startswith(HEAD) else "backbone.") if in_parts else "")
    return part + name


def _wrapped(tensors: dict[str, Tensor], form: WeightForm, keypoint_names: list[str] | None) -> dict[str, Any]:
    """Put tensors where the readers of a form expect them; the official code reads a bare dict."""
    if form == "official":
        return dict(tensors)
    if form == "mmpose":
        return {"meta": {"keypoint_names": keypoint_names} if keypoint_names else {}, "state_dict": tensors}
    skeleton = {"name": "custom", "keypoint_names": keypoint_names}
    return {"state_dict": tensors, **({"hyper_parameters": {"skeleton": skeleton}} if keypoint_names else {})}


def _write_safetensors(path: Path, tensors: dict[str, Tensor], notes: Mapping[str, Any]) -> None:
    from safetensors.torch import save_file  # here, so that the networks alone need torch and numpy only

    save_file(tensors, path, {"format": "pt", **{key: dumps(value) for key, value in notes.items()}})
