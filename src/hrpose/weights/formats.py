"""The formats of weight files: recognition, conversion to official names, and construction of the network for given tensors.

A format is one row of `_FORMS`. Networks of hrpose use the names of their authors, so few names change. MMPose splits a network
into `backbone.` and `head.` (before 1.0 `keypoint_head.`); ImageNet files of the HRNet authors, torchvision and timm have a
classifier instead of the heatmap head.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hrpose.models.higher_hrnet import HigherHRNet
from hrpose.models.hourglass import StackedHourglass
from hrpose.models.hrnet import Bottleneck, HRNet
from hrpose.models.simple_baseline import RESNETS, SimpleBaseline
from hrpose.weights.files import WeightsError

HEAD = "final_layer."
HEADS = "final_layers."  # of HigherHRNet, one per resolution
DECONVS = "deconv_layers."
# counters of torch's weight averaging, and of the profiler thop
_COUNTERS = re.compile(r"(?:^|\.)(?:n_averaged|total_ops|total_params)$")
NOT_WEIGHTS = ("head.loss", "head.linspace_")  # loss parameters and constants in MMPose's heads
_BACKBONES = (  # parts of HRNet and ResNet below the head
    *("conv1.", "bn1.", "conv2.", "bn2.", "layer1.", "transition1."),
    *("stage2.", "transition2.", "stage3.", "transition3.", "stage4."),
    *("layer2.", "layer3.", "layer4."),
)
_MAX_RATIO = 16  # for smaller differences `load_weights` has a better message
_WIDTH = "stage2.0.branches.0.0.conv1.weight"
_NUMBERED_HEAD = re.compile(r"^final_layer\.(\d+)\.")


@dataclass(frozen=True)
class Form:
    """A format of weight files."""

    kind: str  # name in messages
    marks: str  # regular expression for the start of a name that identifies the format
    prefixes: Mapping[str, str]  # prefixes of names that are used, with their replacements
    whole: bool = True  # whether every tensor below the head must be in the file
    parted: bool = False  # whether the head may be a sequence that ends with the final layer, as in MMPose before 1.0

    def official_names(self, names: Iterable[str]) -> dict[str, str]:
        """Return the official names of the names that are used; the prefix "head." is kept for heads without official name."""
        renamed: dict[str, str] = {}
        for name in (name for name in names if not _COUNTERS.search(name)):
            if (old := next(filter(name.startswith, self.prefixes), None)) is not None:
                renamed[name] = official_name(self.prefixes[old] + name.removeprefix(old))
        return _join_parted_head(renamed) if self.parted else renamed


# prefixes of MMPose; SimCC and integral regression have deconvolutions and final layer in a nested head
_MMPOSE = {
    head: {
        "backbone.": "",
        **{f"{head}.{name}.": "" for name in ("deconv_head", "simplebaseline_head")},
        f"{head}.{DECONVS}": DECONVS,
        f"{head}.": "head.",
    }
    for head in ("head", "keypoint_head")
}
_BACKBONE_ONLY = {prefix: prefix for prefix in _BACKBONES}
_FORMS = (
    Form("hrpose checkpoint", r"net\.", {"net._orig_mod.": "", "net.": ""}),
    Form("MMPose checkpoint", r"head\.", _MMPOSE["head"], parted=True),
    Form("MMPose 0.x checkpoint", r"keypoint_head\.", _MMPOSE["keypoint_head"], parted=True),
    Form("ImageNet backbone", r"incre_modules\.|classifier\.|fc\.weight", _BACKBONE_ONLY, whole=False),
    Form("pose checkpoint", r"final_layer\.(?!\d)|final_layers\.|score\.", {"": ""}),
    Form("backbone", r"conv1\.", _BACKBONE_ONLY, whole=False),
    Form("backbone", r"backbone\.", {f"backbone.{prefix}": prefix for prefix in _BACKBONES}, whole=False),
)


def official_name(name: str) -> str:
    """Return the official name of a tensor of a network with the parts `backbone.` and `head.`."""
    name = name.removeprefix("backbone.")
    return name.removeprefix("head.") if name.startswith((f"head.{HEAD}", f"head.{HEADS}")) else name


def recognise(names: Iterable[str], path: Path) -> Form:
    """Return the format of a file by its tensor names, or raise WeightsError if it is unknown."""
    names = list(names)
    for form in _FORMS:
        if any(re.match(form.marks, name) for name in names):
            return form
    raise WeightsError(
        f"Expected weights of a pose network or backbone (conv1.weight, ..., final_layer.weight) in {path}, but found the names "
        f"{', '.join(names[:4])}, ..."
    )


def describe_architecture(tensors: Mapping[str, Tensor]) -> str | None:
    """Return the name of the network of tensors with official names, such as "HRNet-W32"; None if unknown."""
    if _WIDTH in tensors and any(name.startswith("stage4.") for name in tensors):
        kind = "HigherHRNet" if any(name.startswith(HEADS) for name in tensors) else "HRNet"
        return f"{kind}-W{tensors[_WIDTH].shape[0]}"
    if "hg.0.hg.0.0.0.conv1.weight" in tensors:
        return f"Stacked Hourglass, {_count(tensors, 'hg.')} stacks"
    blocks = [_count(tensors, f"layer{layer}.") for layer in (1, 2, 3, 4)]
    if "conv1.weight" in tensors and all(blocks):
        convolutions = 3 if "layer1.0.conv3.weight" in tensors else 2
        name = "SimpleBaseline" if any(name.startswith(DECONVS) for name in tensors) else "ResNet"
        return f"{name}{' ResNet' if name != 'ResNet' else ''}-{convolutions * sum(blocks) + 2}"
    return None


def width_of(tensors: Mapping[str, Tensor]) -> int | None:
    """Return the width of an HRNet from its tensors; None for other networks."""
    return tensors[_WIDTH].shape[0] if _WIDTH in tensors else None


def _join_parted_head(names: Mapping[str, str]) -> dict[str, str]:
    """Rename the last part of a sequential head to the final layer, and the convolutions before it as in MMPose 1.0."""
    parts = {old: match for old, new in names.items() if (match := _NUMBERED_HEAD.match(new))}
    last = max((int(match[1]) for match in parts.values()), default=0)
    joined = dict(names)
    for old, match in parts.items():
        place = HEAD if int(match[1]) == last else f"head.conv_layers.{match[1]}."
        joined[old] = place + names[old][match.end() :]
    return joined


def build_like(tensors: Mapping[str, Tensor]) -> nn.Module | None:
    """Build the network of tensors with official names and a head, randomly initialised; None if it is unknown."""
    for build in (_hrnet, _higher_hrnet, _simple_baseline, _hourglass):
        try:
            with torch.device("meta"):  # without allocating memory, to check the size first
                described = build(tensors)
            net = build(tensors) if described is not None and not is_larger(described, tensors) else None
        except (LookupError, ValueError, TypeError, RuntimeError):  # a tensor is missing or has an invalid shape
            continue
        if net is not None:
            return net
    return None


def is_larger(net: nn.Module, tensors: Mapping[str, Tensor]) -> bool:
    """Check whether a network has far more weights than the tensors store, since shapes of expanded tensors are not reliable."""
    storages = {}
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage()
        storages[storage.data_ptr() or name] = storage.nbytes()  # tensors may share their storage
    num_stored = sum(storages.values()) / 2  # of at least 2 bytes
    return sum(weight.numel() for weight in net.parameters()) > _MAX_RATIO * num_stored


def _hrnet(tensors: Mapping[str, Tensor]) -> nn.Module:
    head = tensors["final_layer.weight"]
    return HRNet(num_keypoints=head.shape[0], final_kernel=head.shape[-1], **_stages(tensors))


def _higher_hrnet(tensors: Mapping[str, Tensor]) -> nn.Module:
    head = tensors[f"{HEADS}0.weight"]
    return HigherHRNet(
        num_keypoints=head.shape[0] // 2,
        num_deconvs=_count(tensors, HEADS) - 1,
        final_kernel=head.shape[-1],
        deconv_blocks=max(_count(tensors, f"{DECONVS}0.") - 1, 1),
        **_stages(tensors),
    )


def _stages(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the arguments of an HRNet below its head from its tensors."""
    return {
        "width": tensors[_WIDTH].shape[0],
        "stem_width": tensors["conv1.weight"].shape[0],
        "stage1_width": tensors["layer1.0.conv1.weight"].shape[0],
        "stage1_blocks": _count(tensors, "layer1."),
        "num_modules": [_count(tensors, f"stage{stage}.") for stage in (2, 3, 4)],
        "num_blocks": _count(tensors, "stage2.0.branches.0."),
    }


def _simple_baseline(tensors: Mapping[str, Tensor]) -> nn.Module | None:
    head = tensors["final_layer.weight"]
    blocks = tuple(_count(tensors, f"layer{stage}.") for stage in (1, 2, 3, 4))
    has_bottlenecks = "layer1.0.conv3.weight" in tensors
    deconvs = [tensor for name, tensor in tensors.items() if re.fullmatch(r"deconv_layers\.\d+\.weight", name)]
    deconvs = [tensor for tensor in deconvs if tensor.ndim == 4]  # without batch norms
    for depth, (block, num_blocks) in RESNETS.items():
        if tuple(num_blocks) == blocks and (block is Bottleneck) == has_bottlenecks:
            return SimpleBaseline(
                depth,  # type: ignore[arg-type]  # a key of RESNETS
                head.shape[0],
                deconv_channels=[tensor.shape[1] for tensor in deconvs],
                deconv_kernels=[tensor.shape[-1] for tensor in deconvs],
                final_kernel=head.shape[-1],
            )
    return None


def _hourglass(tensors: Mapping[str, Tensor]) -> nn.Module:
    head = tensors["score.0.weight"]
    return StackedHourglass(_count(tensors, "hg."), head.shape[0], width=head.shape[1], num_blocks=_count(tensors, "res.0."))


def _count(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """Count the numbered parts of a module."""
    return len({name.removeprefix(prefix).split(".")[0] for name in tensors if name.startswith(prefix)})
