"""Read a network, its codec and its skeleton from a weight file, and assume what the file does not describe.

A checkpoint of hrpose contains its composed configuration as plain containers. The file is not trusted: only public networks and
codecs of hrpose are built, and nothing else that it names is imported or called.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn

import hrpose.codecs
import hrpose.models
from hrpose.codecs import AssociativeEmbedding, Codec, HeatmapCodec
from hrpose.models import HigherHRNet, SimpleBaseline, StackedHourglass, count_parameters
from hrpose.skeletons import COCO, HALPE, HALPE26, KNOWN_SKELETONS, MPII, WHOLEBODY, Skeleton
from hrpose.weights import WeightsError, load_weights
from hrpose.weights.files import WeightFile, read_weight_file
from hrpose.weights.formats import build_like, is_larger, recognise

logger = logging.getLogger(__name__)

_RANGE = (-8192, 8192)  # of numbers in a stored network or codec, such as channels and pixels
_COUNTS = ("_blocks", "_modules", "_stacks")  # suffixes of arguments that count parts of a network
_NESTED = 8  # levels of a stored network or codec


def _is_number(value: Any, least: float, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def _are_three(value: Any, least: float) -> bool:
    is_triple = isinstance(value, list | tuple) and len(value) == 3
    return is_triple and all(_is_number(number, least, 1e6) for number in value)


# settings of a stored configuration: expected values and a check
_SETTINGS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "flip_test": ("true or false", lambda value: isinstance(value, bool)),
    "keypoint_score_threshold": ("a number from 0 to 1e6", lambda value: _is_number(value, 0, 1e6)),
    "channels_last": ("true or false", lambda value: isinstance(value, bool)),
    "data.bbox_padding": ("a number from 0.01 to 100", lambda value: _is_number(value, 0.01, 100)),
    "data.channel_order": ("rgb or bgr", lambda value: value in ("rgb", "bgr")),
    "data.mean": ("three finite numbers", lambda value: _are_three(value, -1e6)),
    "data.std": ("three positive numbers", lambda value: _are_three(value, 1e-6)),
    "data.bit_depth": ("null or a number from 8 to 16", lambda value: value is None or (type(value) is int and 8 <= value <= 16)),
    "data.upright": ("true, false or null", lambda value: value is None or isinstance(value, bool)),
}
# without skeletons of 14 keypoints, because there are two
_BY_COUNT = {skeleton.num_keypoints: skeleton for skeleton in (COCO, MPII, HALPE26, WHOLEBODY, HALPE)}
_OFFICIAL = "pose checkpoint"  # name of the authors' format in `load_weights`

NetworkMaker: TypeAlias = nn.Module | Callable[[int], nn.Module]
"""A network, or a function that makes one with a number of output channels."""


@dataclass(frozen=True)
class NetworkParts:
    """A network with its weights, its codec and skeleton, and arguments of `PoseEstimator.from_network` in the file."""

    net: nn.Module
    codec: Codec
    skeleton: Skeleton
    settings: Mapping[str, Any]


def read_parts(
    file: Path, *, model: NetworkMaker | None = None, codec: Codec | None = None, skeleton: Skeleton | None = None
) -> NetworkParts:
    """Read a weight file; the arguments replace what it describes.

    Raises:
        WeightsError: if the file cannot be read, names anything other than networks and codecs of hrpose, or does not fit the
            network.
        ValueError: if the file does not describe the network or its keypoints.
    """
    content = read_weight_file(file)
    config = content.hyper_parameters.get("config")
    if isinstance(config, Mapping):
        return _parts_of_config(content, config, model, codec, skeleton)
    return _parts_of_tensors(content, model, codec, skeleton)


def _parts_of_config(
    content: WeightFile, config: Mapping[str, Any], model: NetworkMaker | None, codec: Codec | None, skeleton: Skeleton | None
) -> NetworkParts:
    """Build the parts from the configuration in a checkpoint of hrpose."""
    file, names = content.path, None if skeleton is None else skeleton.keypoint_names
    skeleton = skeleton or _read_skeleton(file, content.hyper_parameters.get("skeleton"))
    codec = codec or _build(file, "codec", config.get("codec"), hrpose.codecs)
    channels = codec.num_channels(skeleton.num_keypoints)
    net = _build_network(content, config.get("model"), channels) if model is None else _make(model, channels)
    load_weights(net, file, keypoint_names=names).check_complete()
    settings = _read_settings(file, config)
    if not settings.get("upright"):
        settings.pop("upright", None)  # depends on the source of the boxes
    trainer = config.get("trainer")
    precision = str(trainer.get("precision", "32")) if isinstance(trainer, Mapping) else "32"
    settings["precision"] = next((known for known in ("bf16", "16") if precision.startswith(known)), "32")
    return NetworkParts(net, codec, skeleton, settings)


def _make(model: NetworkMaker, channels: int) -> nn.Module:
    return model if isinstance(model, nn.Module) else model(channels)


def _read_settings(file: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the known settings that are stored; raise WeightsError if one is invalid."""
    settings = {}
    for key, (expected, fits) in _SETTINGS.items():
        node, _, name = key.rpartition(".")
        stored = config.get(node) if node else config
        if not isinstance(stored, Mapping) or name not in stored:
            continue
        if not fits(stored[name]):
            raise WeightsError(
                f"Expected `{key}` of the configuration in {file} to be {expected}, found {stored[name]!r:.80}. The file is "
                "damaged, or another tool wrote it."
            )
        settings[name] = stored[name]
    return settings


def _read_skeleton(file: Path, content: Any) -> Skeleton:
    try:
        return Skeleton.from_dict(content)
    except (TypeError, ValueError, LookupError, OverflowError) as error:
        raise WeightsError(
            f"Expected {file} to describe its keypoints, but they cannot be read: {error} Pass `skeleton`."
        ) from error


def _build_network(content: WeightFile, node: Any, channels: int) -> nn.Module:
    """Build the network of a configuration, after checking without memory that it is about as large as the weights."""
    _check_counts(content, node)
    with torch.device("meta"):
        described = _build(content.path, "model", node, hrpose.models, num_keypoints=channels)
    if is_larger(described, content.tensors):
        raise WeightsError(
            f"Expected {content.path} to describe the network of its weights, but it describes one with "
            f"{count_parameters(described):,} parameters, far more than it stores."
        )
    net: nn.Module = _build(content.path, "model", node, hrpose.models, num_keypoints=channels)
    return net


def _check_counts(content: WeightFile, node: Any, product: int = 1) -> int:
    """Refuse a network with more parts than stored tensors, before it is built; return the product of its counts."""
    for name, value in node.items() if isinstance(node, Mapping) else ():
        if isinstance(value, Mapping):
            product = _check_counts(content, value, product)
        elif str(name).endswith(_COUNTS) and name != "num_keypoints":
            numbers = value if isinstance(value, list | tuple) else [value]
            product *= max(sum(number for number in numbers if isinstance(number, int)), 1)
        length = len(value) if isinstance(value, list | tuple) else 0
        if max(product, length) > len(content.tensors):
            raise WeightsError(
                f"Expected the network in {content.path} to have no more parts than its {len(content.tensors)} tensors, found "
                f"`model.{name}` {value!r:.80}."
            )
    return product


def _build(file: Path, key: str, node: Any, package: ModuleType, **given: Any) -> Any:
    """Build a node of a configuration; raise WeightsError unless its class is public in a package of hrpose and can be built."""
    if not isinstance(node, Mapping):
        raise WeightsError(f"Expected {file} to describe its {key}, but it does not. Pass `{key}`.")
    target = str(node.get("_target_"))
    name = target.rpartition(".")[2]
    is_public = name in package.__all__ and target.startswith(f"{package.__name__}.")
    maker = getattr(package, name) if is_public else None
    is_codec = hasattr(maker, "decode") and maker is not Codec
    if not isinstance(maker, type) or not (issubclass(maker, nn.Module) or is_codec):
        raise WeightsError(
            f"Expected the {key} of {file} to be one of {package.__name__}, but it names {target!r}, which is not "
            f"built because the file is not trusted. If you trust it, build it yourself and pass it as `{key}`."
        )
    given_by_file = {str(name): value for name, value in node.items() if name != "_target_"}
    arguments = {name: _build_value(file, f"{key}.{name}", value, package) for name, value in given_by_file.items()}
    if any(name.startswith("_") for name in arguments) or set(arguments) & set(given):
        raise WeightsError(f"Expected plain arguments of the {key} of {file}, but got {', '.join(arguments)}.")
    try:
        return maker(**arguments, **given)
    except (TypeError, ValueError, ArithmeticError, LookupError, RuntimeError) as error:
        raise WeightsError(
            f"The {key} in {file} cannot be built: {error} Was the file written by another version of hrpose?"
        ) from error


def _build_value(file: Path, key: str, value: Any, package: ModuleType) -> Any:
    """Return an argument with the nodes in it built; raise WeightsError if it is nested too deep or a number out of range."""
    if key.count(".") > _NESTED:
        raise WeightsError(f"Expected plain arguments in {file}, but {key:.80} is nested deeper than {_NESTED} levels.")
    if isinstance(value, int | float) and not _is_number(float(value) if isinstance(value, bool) else value, *_RANGE):
        raise WeightsError(
            f"Expected `{key}` in the configuration of {file} to be a number from {_RANGE[0]} to {_RANGE[1]}, "
            f"found {value!r:.80}."
        )
    if isinstance(value, Mapping):
        if "_target_" in value:
            return _build(file, key, value, package)
        return {name: _build_value(file, f"{key}.{name}", part, package) for name, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_build_value(file, f"{key}.{place}", part, package) for place, part in enumerate(value)]
    return value


def _parts_of_tensors(
    content: WeightFile, model: NetworkMaker | None, codec: Codec | None, skeleton: Skeleton | None
) -> NetworkParts:
    """Recognise the network by its tensors, assume the rest and log what is assumed."""
    file, form = content.path, recognise(content.tensors, content.path)
    tensors = {new: content.tensors[old] for old, new in form.official_names(content.tensors).items()}
    net = build_like(tensors) if model is None else None
    if net is None and model is None:
        raise ValueError(
            f"Expected {file} ({form.kind}) to contain an HRNet, a HigherHRNet, a SimpleBaseline or a stacked hourglass with its "
            "head, but its tensors match none of them. Pass the network as `model`, with `codec` and `skeleton`."
        )
    names = None if skeleton is None else skeleton.keypoint_names
    assumed: list[str] = []
    settings: dict[str, Any] = {}
    if codec is None and isinstance(net, HigherHRNet):
        strides = tuple(4 // 2**place for place in range(len(net.final_layers)))
        codec = cast(Codec, AssociativeEmbedding((512, 512), strides))
        assumed.append("whole images with a short side of 512 pixels (`codec`)")
    elif codec is None:
        codec = HeatmapCodec(input_size=(192, 256), heatmap_size=(48, 64), sigma=2.0)
        assumed.append("crops of 192 x 256 pixels and the paper's heatmaps (`codec`)")
    if skeleton is None and content.keypoint_names is not None:
        skeleton = _named_skeleton(file, content.keypoint_names)
    if skeleton is None:
        skeleton = _assume_skeleton(file, tensors)
        assumed.append(f"the keypoints of {skeleton.name} (`skeleton`)")
        if not skeleton.flip_pairs:
            settings["flip_test"] = False
            assumed.append("no flip test, because left and right keypoints are unknown (`skeleton`)")
    if net is None:
        assert model is not None
        net = _make(model, codec.num_channels(skeleton.num_keypoints))
    load_weights(net, file, keypoint_names=names).check_complete()
    if form.kind == _OFFICIAL and isinstance(net, SimpleBaseline | StackedHourglass):
        settings["channel_order"] = "bgr"
        assumed.append('channels in the order of the authors\' code, "bgr" (`channel_order`)')
    if assumed:
        found = f"{type(net).__name__} of {file} ({form.kind})"
        logger.warning("%s does not describe everything, so this is assumed: %s.", found, "; ".join(assumed))
    return NetworkParts(net, codec, skeleton, settings)


def _named_skeleton(file: Path, names: Sequence[str]) -> Skeleton:
    known = (skeleton for skeleton in KNOWN_SKELETONS.values() if skeleton.keypoint_names == tuple(names))
    return next(known, None) or _read_skeleton(file, {"keypoint_names": names})


def _assume_skeleton(file: Path, tensors: Mapping[str, Tensor]) -> Skeleton:
    """Return the known skeleton with the number of keypoints of the head, otherwise one with numbered keypoints."""
    heads = ("final_layer.weight", "score.0.weight", "final_layers.0.weight")
    head = next((tensors[name] for name in heads if name in tensors), None)
    if head is None:
        raise ValueError(f"Expected {file} to have a known head with one channel per keypoint, found none. Pass `skeleton`.")
    has_tags = "final_layers.0.weight" in tensors  # of HigherHRNet
    count = int(head.shape[0]) // (2 if has_tags else 1)
    if count in _BY_COUNT:
        return _BY_COUNT[count]
    names = [f"keypoint_{index}" for index in range(count)]
    return Skeleton.from_names(names, name=f"{count} keypoints without names", sigmas=[0.05] * count, upper_body=[])
