"""Load weight files of any known tool, and report every tensor that is not used."""

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

logger = logging.getLogger(__name__)

# layers after the features; an hourglass has a head per stack, and the input of the last entry is heatmaps
_HEADS = ("final_layer.", "final_layers.", "score.", "score_.", "head.", "deconv_layers.0.0.0.")
_COUNTER = "num_batches_tracked"  # missing in files older than torch 0.4.1, and without effect on the network
_AVERAGED_TAKEN = "The averaged weights of the file were used instead of its trained weights."
_SAME_DEPTH = (
    "Build the network with the depth (SimpleBaseline), num_modules, num_blocks and stage1_blocks (HRNet) or num_stacks "
    "(StackedHourglass) of the file."
)
_OTHER_PARTS = "If they do not affect heatmaps (a loss, an auxiliary head), save the state_dict without them."


@dataclass(frozen=True)
class WeightReport:
    """The result of loading a weight file."""

    file: str  # path of the file
    kind: str  # format of the file
    loaded: tuple[str, ...]  # names of the network's tensors that were loaded; of a head perhaps only some keypoints
    missing: tuple[str, ...]  # names of the network's tensors that are not in the file; they are unchanged
    unused: tuple[str, ...]  # names in the file that the network does not have
    # names of tensors with different shapes, which are unchanged: a head for other keypoints, if allowed
    mismatched: tuple[str, ...]
    renamed: Mapping[str, str]  # new names by names in the file (without prefixes such as "module."), where they differ
    not_finite: tuple[str, ...] = ()  # names of the loaded tensors with NaN or infinity
    # the network's keypoints that were loaded by name; empty if the order is the same
    keypoints_by_name: tuple[str, ...] = ()
    fresh_keypoints: tuple[str, ...] = ()  # the network's keypoints that were not loaded
    remark: str = ""  # sentences on how keypoints were identified and which copy of the weights was used; may be empty

    def __str__(self) -> str:
        """Return the report, one line per group of tensors."""
        total = len(self.loaded) + len(self.missing) + len(self.mismatched)
        lines = [f"{self.file} ({self.kind}): {len(self.loaded)} of the network's {total} tensors loaded"]
        groups = (("missing", self.missing), ("other shape", self.mismatched), ("unused", self.unused))
        lines += [f"  {title}: {_summary(names)}" for title, names in (*groups, ("renamed", self.renamed)) if names]
        keypoints = {"keypoints loaded by name": self.keypoints_by_name, "keypoints not loaded": self.fresh_keypoints}
        lines += [f"  {title} ({len(names)}): {', '.join(names)}" for title, names in keypoints.items() if names]
        return "\n".join(lines + ([f"  {self.remark}"] if self.remark else []))

    def check_complete(self) -> None:
        """Check that the whole network was loaded with finite numbers, as prediction requires.

        Raises:
            WeightsError: if tensors are missing, such as the head of a backbone, or have NaN or infinity.
        """
        if self.not_finite:
            raise WeightsError(
                f"Expected finite weights in {self.file}, but found NaN or infinity in {len(self.not_finite)} tensors "
                f"({_first(self.not_finite)}): the training diverged, or the file is damaged. Use an earlier checkpoint."
            )
        missing = [name for name in self.missing if not name.endswith(_COUNTER)]
        if missing:
            raise WeightsError(
                f"Expected all weights of the network in {self.file} ({self.kind}) for prediction, but {len(missing)} tensors "
                f"are missing: {_summary(missing)}. Train them first: `hrpose fit weights=...`."
            )


def load_weights(
    net: nn.Module, file: str | Path, *, keypoint_names: Sequence[str] | None = None, fresh_head: bool = False
) -> WeightReport:
    """Load a weight file into a network, in place, and report what was loaded.

    Supported formats: official pose checkpoints of HRNet, HigherHRNet and SimpleBaseline, of DarkPose (also hourglasses) and
    UDP-Pose; ImageNet backbones of the HRNet authors, torchvision and timm, without their classifier; checkpoints of MMPose 0.x
    and 1.x and of hrpose; files of `save_weights`. They may be .pth, .ckpt or .safetensors. After an error the network is
    unchanged.

    Args:
        net: the network.
        file: the weight file.
        keypoint_names: keypoints of the network. If the file has keypoint names in another order, its head is reordered, and with
            `fresh_head` a head for other keypoints is loaded by keypoint.
        fresh_head: keep the network's head if the file's head is for other keypoints, instead of raising; with `keypoint_names`
            only for keypoints that the file lacks.

    Raises:
        WeightsError: if the file is missing, truncated, not a weight file, unsafe to read, or does not fit the network.
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
        logger.warning("%s: %d tensors have NaN or infinity: %s.", *(file, len(report.not_finite), _first(report.not_finite)))
    net.load_state_dict({name: found[name] for name in report.loaded}, strict=False)
    if _absent(report, form) or (report.remark and not fresh_head):
        logger.warning("%s", report)
    return report


def _check_types(path: Path, found: Mapping[str, Tensor], expected: Mapping[str, Tensor], fitting: Iterable[str]) -> None:
    """Check that tensors are floating point or integer as in the network, and not complex."""
    wrong = [
        name
        for name in sorted(fitting)
        if found[name].is_floating_point() != expected[name].is_floating_point() or found[name].is_complex()
    ]
    if wrong:
        raise WeightsError(
            f"Expected floating-point weights in {path}, but found {found[wrong[0]].dtype} in {len(wrong)} tensors "
            f"({_first(wrong)}). Save the weights in float32."
        )


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _own_name(name: str, expected: Mapping[str, Tensor]) -> str:
    """Return the network's name of a tensor with an official name; it may have the prefix `backbone.` or `head.`."""
    return next((prefix + name for prefix in ("", "backbone.", "head.") if prefix + name in expected), name)


@dataclass(frozen=True)
class _Keypoints:
    """Tensors merged by keypoint names, and their entries of the report."""

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
    """Match the network's keypoints with those of the file if their number or order differs."""
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
            reason = "The file has no keypoint names" if match.assumed else "The file has other keypoint names"
            return _Keypoints(remark=f"{reason}; its keypoints were loaded in their order.")
    elif not fresh_head:
        return _Keypoints()
    merged = {name: match.merge(name, expected[name], found[name]) for name in heads} if match and match.taken else {}
    tensors = {name: tensor for name, tensor in merged.items() if tensor is not None}
    if match is None or not tensors or len(tensors) < len(heads):
        return _Keypoints(fresh=tuple(keypoint_names), remark=_why_fresh(match, num_file_channels))
    return _Keypoints(tensors, match.taken_names, match.fresh_names, _assumption(match))


def _why_fresh(match: KeypointMatch | None, num_file_channels: int) -> str:
    if match is None:
        return f"The keypoints of the {num_file_channels} channels in the file's head are unknown."
    if not match.taken:
        return f"The network and the file have no common keypoint name. {_assumption(match)}".rstrip()
    return "The file's head has another shape."


def _assumption(match: KeypointMatch) -> str:
    sentence = f"The file has no keypoint names; from their number they were assumed to be those of {match.assumed}."
    return sentence if match.assumed else ""


def _check_body(report: WeightReport, form: Form, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Check that all tensors below the head are in the file and have the same shape."""
    other = [name for name in report.mismatched if not name.startswith(_HEADS)]
    if other:
        widths = {width_of(found), width_of(expected)} - {None}
        hint = f" The file's HRNet has width {width_of(found)}, the network {width_of(expected)}."
        hint = hint if len(widths) == 2 else ""
        raise WeightsError(
            f"Expected {other[0]} of shape {tuple(expected[other[0]].shape)} in {report.file} ({report.kind}), but got "
            f"{tuple(found[other[0]].shape)}; {len(other)} tensors differ.{hint} Build the network of the file."
        )
    absent = _absent(report, form)
    if not report.loaded or (form.whole and absent):
        raise WeightsError(
            f"Expected all weights of the network in {report.file} ({report.kind}), but {len(absent)} are missing: "
            f"{_summary(absent)}. {_SAME_DEPTH}"
        )


def _check_depth(report: WeightReport, form: Form, surplus: Sequence[str], *, fresh_head: bool) -> None:
    """Check that the file's network is not deeper; additional outputs of an ImageNet HRNet are accepted."""
    own = [*report.loaded, *report.missing, *report.mismatched]
    foreign = [part for part in (HEAD, DECONVS) if not any(part in name for name in own)]  # another kind of head
    left_out = ("head.", *foreign) if fresh_head else NOT_WEIGHTS
    deeper = [name for name in surplus if (form.whole or ".fuse_layers." not in name) and not name.startswith(left_out)]
    if deeper:
        own_parts = {official_name(name).split(".")[0] for name in own}
        has_parts = any(official_name(name).split(".")[0] in own_parts for name in deeper)
        raise WeightsError(
            f"Expected only weights of the network in {report.file} ({report.kind}), but {len(deeper)} are not part of it: "
            f"{_summary(deeper)}. {_SAME_DEPTH if has_parts else _OTHER_PARTS}"
        )


def _check_head(report: WeightReport, form: Form, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Check that the head has the same shape, unless the format has no head."""
    if report.mismatched:
        name = report.mismatched[0]
        maps = 2 if name.startswith("final_layers.0.") else 1  # heatmaps and tags
        count = next(iter(found[name].shape), 1) // maps
        raise WeightsError(
            f"Expected a head for {expected[name].shape[0] // maps} keypoints in {report.file} ({report.kind}), {name} of shape "
            f"{tuple(expected[name].shape)}, but got one for {count}, of shape {tuple(found[name].shape)}. Build the network "
            f"with num_keypoints={count} (from the skeleton) and the same final_kernel, or train a new head: `hrpose fit "
            "weights=...`, or load_weights with fresh_head=True."
        )
    missing = [name for name in report.missing if name.startswith(_HEADS)]
    if form.whole and missing:
        raise WeightsError(
            f"Expected a head in {report.file} ({report.kind}), but {', '.join(missing)} are missing. Load it with "
            "fresh_head=True to train a new head."
        )


def _absent(report: WeightReport, form: Form) -> list[str]:
    """Return the missing tensors that a file of this format should have; a backbone has no deconvolutions."""
    elsewhere = _HEADS if form.whole else (*_HEADS, DECONVS)
    return [name for name in report.missing if not official_name(name).startswith(elsewhere) and not name.endswith(_COUNTER)]


def _summary(names: Iterable[str]) -> str:
    """Count names by their first part, by two parts in `backbone.` and `head.`; averaged copies of MMPose 0.x are one group."""
    groups = Counter(re.match(r"ema_|(?:backbone|head)\.[^.]*|[^.]*", name)[0] for name in names)  # type: ignore[index]  # it always matches
    return ", ".join(f"{group} ({count})" for group, count in groups.items())
