"""Load weight files of any known tool: the form is recognised, and nothing is dropped silently."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor, nn

from hrpose.weights.files import WeightFile, WeightsError, bare_network, read_weight_file
from hrpose.weights.formats import DECONVS, HEAD, NOT_WEIGHTS, Form, official_name, recognise, width_of
from hrpose.weights.heads import KeypointMatch, keypoint_dim, match_keypoints

_LOG = logging.getLogger(__name__)

# after the features; the hourglass has a head at each stack
_HEADS = (
    "final_layer.",
    "final_layers.",
    "score.",
    "score_.",
    "head.",
    "deconv_layers.0.0.0.",
)  # the last takes heatmaps in
_COUNTER = "num_batches_tracked"  # absent from files older than torch 0.4.1, and without effect on the network
_AVERAGED_TAKEN = "The file holds averaged weights; they were taken, not those that were trained."
_SAME_DEPTH = (
    "Build the network with the file's depth (SimpleBaseline), num_modules, num_blocks and stage1_blocks (HRNet), or num_stacks "
    "(StackedHourglass)."
)
_OTHER_PARTS = (
    "If heatmaps do not pass through them (a loss, an auxiliary head), save the state_dict without them, and load that."
)


@dataclass(frozen=True)
class WeightReport:
    """The result of loading a weight file.

    Attributes:
        file: its path.
        kind: its form.
        loaded: names of the network's tensors that were loaded, those of a head perhaps for some keypoints only.
        missing: names of the network's tensors that the file does not hold; they are unchanged.
        unused: names in the file without a counterpart in the network.
        mismatched: names whose shapes differ, unchanged: a head for other keypoints, if that was allowed.
        renamed: names in the file, without wrappings such as "module.", that differ from the network's, with their new names.
        not_finite: names of the loaded tensors that hold NaN or infinity.
        keypoints_by_name: the network's keypoints whose channels were found in the file by name; none if the order is the same.
        fresh_keypoints: the network's keypoints whose channels are unchanged.
        remark: how the keypoints of the file were identified, or why they were not used, and which of two copies of the weights
            was taken; empty if there is nothing to report.
    """

    file: str
    kind: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    mismatched: tuple[str, ...]
    renamed: Mapping[str, str]
    not_finite: tuple[str, ...] = ()
    keypoints_by_name: tuple[str, ...] = ()
    fresh_keypoints: tuple[str, ...] = ()
    remark: str = ""

    def __str__(self) -> str:
        """Return the report in a few lines."""
        total = len(self.loaded) + len(self.missing) + len(self.mismatched)
        lines = [f"{self.file} ({self.kind}): {len(self.loaded)} of the network's {total} tensors loaded"]
        groups = {
            "missing": self.missing,
            "other shape": self.mismatched,
            "unused": self.unused,
            "renamed": self.renamed,
        }
        lines += [f"  {title}: {_summary(names)}" for title, names in groups.items() if names]
        keypoints = {"keypoints taken by name": self.keypoints_by_name, "fresh keypoints": self.fresh_keypoints}
        lines += [f"  {title} ({len(names)}): {', '.join(names)}" for title, names in keypoints.items() if names]
        return "\n".join(lines + ([f"  {self.remark}"] if self.remark else []))

    def check_complete(self) -> None:
        """Raise unless the whole network was loaded with finite numbers, as prediction requires.

        Raises:
            WeightsError: if parts are missing, such as the head where the file is a backbone, or hold NaN or infinity.
        """
        if self.not_finite:
            raise WeightsError(
                f"Expected finite weights in {self.file}, found NaN or infinity in {len(self.not_finite)} tensors "
                f"({_first(self.not_finite)}): the training has diverged, or the file is damaged. Use an earlier checkpoint."
            )
        missing = [name for name in self.missing if not name.endswith(_COUNTER)]
        if missing:
            raise WeightsError(
                f"Expected {self.file} ({self.kind}) to hold the whole network, because it is to predict, but {len(missing)} of "
                f"its tensors are not in it: {_summary(missing)}. Train them first: `hrpose fit weights=...`."
            )


def load_weights(
    net: nn.Module,
    file: str | Path,
    *,
    keypoint_names: Sequence[str] | None = None,
    fresh_head: bool = False,
) -> WeightReport:
    """Load a weight file into a network, in place, and report what was loaded.

    Supported are official pose checkpoints of HRNet, HigherHRNet and SimpleBaseline, DarkPose's (its hourglasses too) and
    UDP-Pose's (bare, saved from DataParallel, or the full training checkpoint), ImageNet backbones of the HRNet authors,
    torchvision and timm (by the official rule: the names of stem and stages count, the classifier is left out), MMPose
    checkpoints of 0.x and 1.x, checkpoints of hrpose, and the files of `save_weights`; as .pth, .ckpt or .safetensors. After an
    error the network is unchanged.

    Args:
        net: the network.
        file: the weight file.
        keypoint_names: the names of the network's keypoints, in its order. A file that names its keypoints in another order is
            reordered, and with `fresh_head` a head for other keypoints is loaded keypoint by keypoint.
        fresh_head: keep the network's own head where the file's head is for other keypoints, instead of raising; with
            `keypoint_names` only for the keypoints that the file lacks.

    Returns:
        The report.

    Raises:
        WeightsError: if the file is missing, truncated, no weight file, unsafe to read, does not fit the network, or holds
            numbers that are no weights.
        ValueError: if the number of `keypoint_names` does not fit the network.

    Example:
        >>> print(load_weights(net, "hrnet_w32-36af842e.pth"))  # doctest: +SKIP
        hrnet_w32-36af842e.pth (ImageNet backbone): 1752 of the network's 1754 tensors loaded
          missing: final_layer (2)
          unused: classifier (2), incre_modules (90), ...
    """
    net = bare_network(net)
    content = read_weight_file(Path(file))
    form = recognise(content.tensors, content.path)
    expected = net.state_dict()
    names = {old: _own_name(new, expected) for old, new in form.official_names(content.tensors).items()}
    found = {new: content.tensors[old] for old, new in names.items()}
    keypoints = _take_keypoints(keypoint_names, content, found, expected, fresh_head=fresh_head)
    found |= keypoints.tensors
    fitting = {name for name in found.keys() & expected.keys() if found[name].shape == expected[name].shape}
    _check_types(content.path, found, expected, fitting)
    report = WeightReport(
        file=str(content.path),
        kind=form.kind,
        loaded=tuple(name for name in expected if name in fitting),
        missing=tuple(name for name in expected if name not in found),
        unused=tuple(name for name in content.tensors if names.get(name) not in expected),
        mismatched=tuple(name for name in expected if name in found and name not in fitting),
        renamed={old: new for old, new in names.items() if new in fitting and new != old},
        not_finite=tuple(name for name in expected if name in fitting and not found[name].isfinite().all()),
        keypoints_by_name=keypoints.taken,
        fresh_keypoints=keypoints.fresh,
        remark=" ".join(filter(None, [_AVERAGED_TAKEN if content.averaged else "", keypoints.remark])),
    )
    _check_body(report, form, found, expected)
    _check_depth(report, form, [names[name] for name in report.unused if name in names], fresh_head=fresh_head)
    if not fresh_head:
        _check_head(report, form, found, expected)
    if report.not_finite:
        _LOG.warning(
            "%s: %d tensors hold NaN or infinity: %s.", *(file, len(report.not_finite), _first(report.not_finite))
        )
    net.load_state_dict({name: found[name] for name in report.loaded}, strict=False)
    if _absent(report, form) or (report.remark and not fresh_head):
        _LOG.warning("%s", report)
    return report


def _check_types(
    path: Path, found: Mapping[str, Tensor], expected: Mapping[str, Tensor], fitting: Iterable[str]
) -> None:
    """Raise unless numbers are real where the network's are, and whole where they count."""
    wrong = [
        name
        for name in sorted(fitting)
        if found[name].is_floating_point() != expected[name].is_floating_point() or found[name].is_complex()
    ]
    if wrong:
        raise WeightsError(
            f"Expected {path} to hold weights in floating point, found {found[wrong[0]].dtype} in {len(wrong)} tensors "
            f"({_first(wrong)}). Save the weights in float32."
        )


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _own_name(name: str, expected: Mapping[str, Tensor]) -> str:
    """Return the network's name for a tensor of an official name: it may have two parts, `backbone.` and `head.`."""
    for prefix in ("", "backbone.", "head."):
        if prefix + name in expected:
            return prefix + name
    return name


@dataclass(frozen=True)
class _Keypoints:
    """The tensors merged by the names of keypoints, and their part of the report."""

    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    taken: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    remark: str = ""


def _take_keypoints(
    keypoint_names: Sequence[str] | None,
    content: WeightFile,
    found: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    *,
    fresh_head: bool,
) -> _Keypoints:
    """Find the network's keypoints in the file, where their number or their order differs."""
    heads = {
        name: dim
        for name, own in expected.items()
        if name in found and (dim := keypoint_dim(name, own)) is not None and found[name].dim() > dim
    }
    if keypoint_names is None or not heads:
        return _Keypoints()
    name, dim = next(iter(heads.items()))
    num_channels, num_file_channels = expected[name].shape[dim], found[name].shape[dim]
    match = match_keypoints(
        keypoint_names, content.keypoint_names, num_channels=num_channels, num_file_channels=num_file_channels
    )
    if num_channels == num_file_channels:
        if match is None or match.is_identity:
            return _Keypoints()
        if match.fresh_names and (match.assumed or not fresh_head):
            whose = "The file does not name its keypoints" if match.assumed else "The file names other keypoints"
            return _Keypoints(remark=f"{whose}; they were taken in its order.")
    elif not fresh_head:
        return _Keypoints()
    merged = {name: match.merge(name, expected[name], found[name]) for name in heads} if match and match.taken else {}
    tensors = {name: tensor for name, tensor in merged.items() if tensor is not None}
    if match is None or not tensors or len(tensors) < len(heads):
        return _Keypoints(fresh=tuple(keypoint_names), remark=_why_fresh(match, num_file_channels))
    return _Keypoints(tensors, match.taken_names, match.fresh_names, _assumption(match))


def _why_fresh(match: KeypointMatch | None, num_file_channels: int) -> str:
    if match is None:
        return f"The file does not say which keypoints the {num_file_channels} channels of its head are."
    if not match.taken:
        return f"No keypoint of the network has the name of one in the file. {_assumption(match)}".rstrip()
    return "The file's head is of another shape."


def _assumption(match: KeypointMatch) -> str:
    return (
        f"The file does not name its keypoints; by their number they were taken for {match.assumed}'s."
        if match.assumed
        else ""
    )


def _check_body(report: WeightReport, form: Form, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raise unless everything below the head is in the file and fits."""
    other = [name for name in report.mismatched if not name.startswith(_HEADS)]
    if other:
        widths = {width_of(found), width_of(expected)} - {None}
        hint = (
            f" The file's HRNet has width {width_of(found)}, the network {width_of(expected)}."
            if len(widths) == 2
            else ""
        )
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


def _check_depth(report: WeightReport, form: Form, surplus: Sequence[str], *, fresh_head: bool) -> None:
    """Raise if the file's network is deeper; further outputs of an ImageNet HRNet do not count."""
    own = [*report.loaded, *report.missing, *report.mismatched]
    foreign = [part for part in (HEAD, DECONVS) if not any(part in name for name in own)]  # another kind of head
    left_out = ("head.", *foreign) if fresh_head else NOT_WEIGHTS
    deeper = [name for name in surplus if (form.whole or ".fuse_layers." not in name) and not name.startswith(left_out)]
    if deeper:
        own_parts = {official_name(name).split(".")[0] for name in own}
        has_parts = any(official_name(name).split(".")[0] in own_parts for name in deeper)
        raise WeightsError(
            f"Expected {report.file} ({report.kind}) to go no deeper than the network, but {len(deeper)} of its weights have no "
            f"place in it: {_summary(deeper)}. {_SAME_DEPTH if has_parts else _OTHER_PARTS}"
        )


def _check_head(report: WeightReport, form: Form, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raise unless the head fits, or the form has none."""
    if report.mismatched:
        name = report.mismatched[0]
        count = next(iter(found[name].shape), 1)
        raise WeightsError(
            f"Expected {report.file} ({report.kind}) to hold a head for {expected[name].shape[0]} keypoints, {name} of the shape "
            f"{tuple(expected[name].shape)}, but got one for {count}, of the shape {tuple(found[name].shape)}. Build the "
            f"network with num_keypoints={count}, which follow from the skeleton, and the same final_kernel, or train a new one: "
            "`hrpose fit weights=...`, or load_weights with fresh_head=True."
        )
    missing = [name for name in report.missing if name.startswith(_HEADS)]
    if form.whole and missing:
        raise WeightsError(
            f"Expected {report.file} ({report.kind}) to hold the head, but {', '.join(missing)} are not in it. Load it with "
            "fresh_head=True to train a new head."
        )


def _absent(report: WeightReport, form: Form) -> list[str]:
    """List missing tensors that a file of this form should have; deconvolutions are never part of a backbone."""
    elsewhere = _HEADS if form.whole else (*_HEADS, DECONVS)
    return [
        name for name in report.missing if not official_name(name).startswith(elsewhere) and not name.endswith(_COUNTER)
    ]


def _summary(names: Iterable[str]) -> str:
    """Count names by their first part, by the first two of a backbone or head; averaged copies of MMPose 0.x have one."""
    groups = Counter(re.match(r"ema_|(?:backbone|head)\.[^.]*|[^.]*", name)[0] for name in names)  # type: ignore[index]  # it always matches
    return ", ".join(f"{group} ({count})" for group, count in groups.items())
