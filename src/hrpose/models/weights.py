"""Weights from everybody's files: the kind is recognised, nothing is dropped in silence.

The form of a file's names tells what it is. A form is one row of `_FORMS`: what marks it, and how its names become ours.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from hrpose.models.weight_files import WeightsError, read_tensors

_LOG = logging.getLogger(__name__)

_HEAD = "final_layer."
_HEADS = (_HEAD, "score.", "score_.")  # what depends on the number of keypoints; the hourglass has a head at each stack
_DECONVS = "deconv_layers."
_WIDTH = "stage2.0.branches.0.0.conv1.weight"
_COUNTER = "num_batches_tracked"  # absent from files older than torch 0.4.1, and without effect on the network
_BACKBONES = (  # what an HRNet and a ResNet call their parts up to the head
    *("conv1.", "bn1.", "conv2.", "bn2.", "layer1.", "transition1."),
    *("stage2.", "transition2.", "stage3.", "transition3.", "stage4."),
    *("layer2.", "layer3.", "layer4."),
)
_SAME_DEPTH = (
    "Build the network with the file's depth (SimpleBaseline), num_modules, num_blocks and stage1_blocks (HRNet), or num_stacks "
    "(StackedHourglass)."
)


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
        renamed: names in the file, without wrappings such as "module.", that differ from the network's, and what they became.
    """

    file: str
    kind: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    mismatched: tuple[str, ...]
    renamed: Mapping[str, str]

    def __str__(self) -> str:
        """Say it in a few lines."""
        total = len(self.loaded) + len(self.missing) + len(self.mismatched)
        lines = [f"{self.file} ({self.kind}): {len(self.loaded)} of the network's {total} tensors loaded"]
        groups = {
            "missing": self.missing,
            "other shape": self.mismatched,
            "unused": self.unused,
            "renamed": self.renamed,
        }
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


_BACKBONE_ONLY = {prefix: prefix for prefix in _BACKBONES}
_FORMS = (
    _Form("hrpose checkpoint", ("net.",), {"net._orig_mod.": "", "net.": ""}),
    _Form(
        "MMPose checkpoint",
        ("head.",),
        {"backbone.": "", "head.final_layer.": _HEAD, "head.deconv_layers.": _DECONVS},
    ),
    _Form(
        "MMPose 0.x checkpoint",
        ("keypoint_head.",),
        {"backbone.": "", "keypoint_head.final_layer.": _HEAD, "keypoint_head.deconv_layers.": _DECONVS},
    ),
    _Form("ImageNet backbone", ("incre_modules.", "classifier.", "fc.weight"), _BACKBONE_ONLY, whole=False),
    _Form("pose checkpoint", (_HEAD, "score."), {"": ""}),
    _Form("backbone", ("conv1.",), _BACKBONE_ONLY, whole=False),
)


def load_weights(net: nn.Module, file: str | Path, *, fresh_head: bool = False) -> WeightReport:
    """Load a weight file into a network, in place, and report what was loaded.

    Read are official pose checkpoints of HRNet and SimpleBaseline and DarkPose's of the hourglass (bare, saved from
    DataParallel, or the full training checkpoint), ImageNet backbones of the HRNet authors, torchvision and timm (by the
    official rule: the names of stem and stages count, the classifier is left out), MMPose checkpoints, and checkpoints of
    hrpose; as .pth, .ckpt or .safetensors. If anything is wrong the network stays as it was.

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
    tensors = read_tensors(path)
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
        renamed={old: new for old in tensors if (new := _rename(old, form)) in fitting and new != old},
    )
    _check_body(report, form, found, expected)
    if not fresh_head:
        _check_head(report, form, found, expected)
    net.load_state_dict({name: found[name] for name in report.loaded}, strict=False)
    if _absent(report, form):
        _LOG.warning("%s", report)
    return report


def _recognise(tensors: Mapping[str, Tensor], path: Path) -> _Form:
    for form in _FORMS:
        if any(name.startswith(form.marks) for name in tensors):
            return form
    raise WeightsError(
        f"Expected {path} to hold the weights of a pose network or a backbone (conv1.weight, ..., final_layer.weight), but its "
        f"names are of no known form: {', '.join(list(tensors)[:4])}, ..."
    )


def _rename(name: str, form: _Form) -> str | None:
    for old, new in form.prefixes.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return None


def _check_body(report: WeightReport, form: _Form, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raise unless everything under the head fits, and the file's network goes no deeper."""
    other = [name for name in report.mismatched if not name.startswith(_HEADS)]
    if other:
        widths = [tensors[_WIDTH].shape[0] for tensors in (found, expected) if _WIDTH in tensors]
        hint = f" The file's HRNet has width {widths[0]}, the network {widths[1]}." if len(set(widths)) == 2 else ""
        raise WeightsError(
            f"Expected {report.file} ({report.kind}) to hold {other[0]} of the shape {tuple(expected[other[0]].shape)}, but got "
            f"{tuple(found[other[0]].shape)}; {len(other)} tensors differ.{hint} Build the network like the file's."
        )
    absent = _absent(report, form)
    if not report.loaded or (form.whole and absent):
        raise WeightsError(
            f"Expected {report.file} ({report.kind}) to hold all weights of the network, but {len(absent)} are not in it: "
            f"{_summary(absent)}. {_SAME_DEPTH}"
        )
    surplus = [new for name in report.unused if (new := _rename(name, form)) is not None]
    deeper = [
        name for name in surplus if ".fuse_layers." not in name
    ]  # an ImageNet HRNet has more outputs, not more depth
    if deeper:
        raise WeightsError(
            f"Expected {report.file} ({report.kind}) to go no deeper than the network, but {len(deeper)} of its weights have no "
            f"place in it: {_summary(deeper)}. {_SAME_DEPTH}"
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
    missing = [name for name in report.missing if name.startswith(_HEADS)]
    if form.whole and missing:
        raise WeightsError(
            f"Expected {report.file} ({report.kind}) to hold the head, but {', '.join(missing)} are not in it. Load it with "
            "fresh_head=True to train a new head."
        )


def _absent(report: WeightReport, form: _Form) -> list[str]:
    """List what is missing though a file of this form should have it; deconvolutions are never part of a backbone."""
    elsewhere = _HEADS if form.whole else (*_HEADS, _DECONVS)
    return [name for name in report.missing if not name.startswith(elsewhere) and not name.endswith(_COUNTER)]


def _summary(names: Iterable[str]) -> str:
    groups = Counter(name.split(".")[0] for name in names)
    return ", ".join(f"{group} ({count})" for group, count in groups.items())
