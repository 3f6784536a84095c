"""The record in an exported file, as JSON, and its validation when the file is opened."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal, TypeAlias, get_args

import hrpose.codecs
from hrpose.codecs import Codec, is_bottom_up
from hrpose.files import dumps
from hrpose.skeletons import Skeleton
from hrpose.skeletons.skeleton import MAX_KEYPOINTS

Precision: TypeAlias = Literal["fp32", "fp16", "bf16", "int8"]

METADATA_KEY = "hrpose"
"""The key of the record in the file's metadata."""
_VERSION = 1
_LARGEST = 1 << 20  # characters of JSON
_OPTIONAL: Mapping[str, Any] = {"upright": False, "bit_depth": None}  # entries that are left out if they have this value
_KINDS: Mapping[str, type] = {
    **dict.fromkeys(("skeleton", "codec", "protocols"), dict),
    **dict.fromkeys(("flip_test", "heatmaps", "upright"), bool),
    **dict.fromkeys(("mean", "std"), list),
    "source": str,
}
_CHOICES = {"precision": get_args(Precision), "channel_order": ("rgb", "bgr"), "bit_depth": (None, *range(8, 17))}


class ExportedFileError(ValueError):
    """An exported file that cannot be used: missing, damaged, unsafe, or of another kind."""


@dataclass(frozen=True)
class ExportRecord:
    """Describe an exported file: images (B, H, W, 3) uint8 RGB and image_from_input (B, 2, 3) float32 to keypoints.

    With a bottom-up codec: images (B, H, W, 3) of any size in multiples of 64 to heatmaps (B, K, h, w) and tags (B, K, T, h, w).
    """

    precision: Precision  # of the network's arithmetic; preprocessing and decoding are always fp32
    skeleton: Skeleton  # the keypoints
    codec: Codec  # decodes the heatmaps and has the input size and the grid of the crops
    flip_test: bool  # whether the file averages with the outputs for mirrored crops
    heatmaps: bool  # whether the heatmaps are a third output
    bbox_padding: float  # factor by which boxes are enlarged to crops
    keypoint_score_threshold: float  # the instance score is the mean of keypoint scores above it
    channel_order: Literal["rgb", "bgr"]  # of the network's input, "rgb" or "bgr"
    mean: tuple[float, float, float]  # of each channel of the network's input, on a scale of 0 to 1
    std: tuple[float, float, float]  # of each channel, on the same scale
    source: str  # the name of the weight file
    # the protocol of the AP of the weights by the kind of boxes, as plain containers
    protocols: Mapping[str, Any] = field(default_factory=dict)
    upright: bool = False  # whether the network was trained on images with their EXIF orientation applied
    bit_depth: int | None = None  # bits of the training images of 16 bits per channel; None if there were none

    @property
    def input_size(self) -> tuple[int, int]:
        """Width and height of the network's input in pixels."""
        return self.codec.input_size

    def to_json(self) -> str:
        """Return the record as JSON."""
        content = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        content = {name: value for name, value in content.items() if name not in _OPTIONAL or value != _OPTIONAL[name]}
        content |= {
            "version": _VERSION,
            "form": form_of(self.codec),
            "skeleton": self.skeleton.to_dict(),
            "codec": plain_codec(self.codec),
            "grid": self.codec.grid,
            "input_size": list(self.codec.input_size),
            "protocols": dict(self.protocols),
        }
        return dumps(content)

    @staticmethod
    def from_json(text: str, place: str) -> ExportRecord:
        """Parse and validate the output of `to_json`; `place` is the file, for the message.

        Raises:
            ExportedFileError: if the text is not JSON, or an entry is missing, unknown, or of another type or range.
        """
        try:
            return _checked(_parsed(text))
        except (ValueError, TypeError, OverflowError) as error:
            raise ExportedFileError(
                f"Expected a valid record of hrpose in {place}, but {error} Export the weights again with this version."
            ) from error


def form_of(codec: Codec) -> Literal["crops", "images"]:
    """Return the kind of input of a file: crops, or whole images if the codec is bottom-up."""
    return "images" if is_bottom_up(codec) else "crops"


def plain_codec(codec: Codec) -> dict[str, Any]:
    """Return the class name and the arguments of a codec as plain containers.

    Raises:
        ValueError: if it is not one of `hrpose.codecs`, because other programs could not read the record.
    """
    kind: Any = type(codec)
    name = kind.__name__
    if getattr(hrpose.codecs, name, None) is not kind or not is_dataclass(kind):
        raise ValueError(f"Expected a codec of hrpose.codecs, but got {kind.__module__}.{name}.")
    values = {entry.name: getattr(codec, entry.name) for entry in fields(kind) if entry.init}
    return {"name": name, **{key: list(v) if isinstance(v, tuple) else v for key, v in values.items()}}


def codec_from_plain(content: Mapping[str, Any]) -> Codec:
    """Create a codec from the output of `plain_codec`; raise ValueError if it is unknown, or an argument is invalid."""
    arguments = {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
    name = arguments.pop("name", None)
    known = [entry for entry in hrpose.codecs.__all__ if is_dataclass(getattr(hrpose.codecs, entry))]
    if name not in known:
        raise ValueError(f"its codec is {name!r}, not one of {', '.join(known)}.")
    kind: Any = getattr(hrpose.codecs, name)
    unknown = set(arguments) - {entry.name for entry in fields(kind) if entry.init}
    if unknown:
        raise ValueError(f"its codec has unknown arguments: {', '.join(sorted(unknown))}.")
    codec: Codec = kind(**arguments)
    return codec


def _parsed(text: str) -> dict[str, Any]:
    """Parse a JSON object without repeated keys, NaN and infinity."""
    if len(text) > _LARGEST:
        raise ValueError(f"it has {len(text):,} characters, more than {_LARGEST:,}.")

    def refuse(constant: str) -> None:
        raise ValueError(f"it contains {constant}, which is not a JSON number.")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise ValueError("it has an entry twice.")
        return dict(pairs)

    try:
        content = json.loads(text, parse_constant=refuse, object_pairs_hook=unique)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"its text is not JSON ({error}).") from error
    if not isinstance(content, dict):
        raise ValueError(f"its JSON is a {type(content).__name__}.")
    return content


def _checked(content: dict[str, Any]) -> ExportRecord:
    names = [entry.name for entry in fields(ExportRecord)]
    expected = {*names, "version", "form", "grid", "input_size"}
    if content.get("version") != _VERSION:
        raise ValueError(f"its version is {content.get('version')!r}, not {_VERSION}.")
    content = {**_OPTIONAL, **content}
    if set(content) != expected:
        raise ValueError(f"it has missing or unknown entries: {', '.join(sorted(set(content) ^ expected))}.")
    _check_entries(content)
    codec = codec_from_plain(content["codec"])
    if content["form"] != form_of(codec):  # earlier versions also wrote files of the form "photo"
        raise ValueError(f"its entry form is {content['form']!r}, but its codec requires {form_of(codec)!r}.")
    if content["grid"] != codec.grid or content["input_size"] != list(codec.input_size):
        raise ValueError("its grid or input size differs from its codec's.")
    content |= {"codec": codec, "skeleton": _skeleton(content["skeleton"])}
    content |= {name: float(content[name]) for name in ("bbox_padding", "keypoint_score_threshold")}
    content |= {name: tuple(map(float, content[name])) for name in ("mean", "std")}
    return ExportRecord(**{name: content[name] for name in names})


def _check_entries(content: Mapping[str, Any]) -> None:
    """Raise ValueError if an entry has another type, is not one of its choices or is out of range."""
    for name, kind in _KINDS.items():
        if type(content[name]) is not kind:
            raise ValueError(f"its entry {name} is {content[name]!r}, not a {kind.__name__}.")
    for name, choices in _CHOICES.items():
        if content[name] not in choices:
            raise ValueError(f"its entry {name} is {content[name]!r}, not one of {', '.join(map(str, choices))}.")
    for name in ("mean", "std"):
        if len(content[name]) != 3:
            raise ValueError(f"its entry {name} has {len(content[name])} numbers, not 3.")
    _check_numbers("bbox_padding", [content["bbox_padding"]], above=0)
    _check_numbers("keypoint_score_threshold", [content["keypoint_score_threshold"]])
    _check_numbers("mean", content["mean"])
    _check_numbers("std", content["std"], above=0)


def _check_numbers(name: str, values: Sequence[Any], *, above: float = -math.inf) -> None:
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not above < value < math.inf:
            raise ValueError(f"its entry {name} has {value!r}, which is not a finite number above {above}.")


def _skeleton(content: Mapping[str, Any]) -> Skeleton:
    shape = {"name": str, "keypoint_names": list, "edges": list, "sigmas": list, "upper_body": list}
    required = set(content) - {"flip_pairs"}  # older files do not have them
    if required != set(shape) or any(type(content[key]) is not kind for key, kind in shape.items()):
        raise ValueError(f"its skeleton does not have the entries {', '.join(shape)} of the right types.")
    if not 0 < len(content["keypoint_names"]) <= MAX_KEYPOINTS:
        raise ValueError(f"its skeleton has {len(content['keypoint_names'])} keypoints.")
    indices = [index for edge in content["edges"] for index in (edge if isinstance(edge, list) else [None])]
    if any(type(name) is not str for name in content["keypoint_names"]) or any(
        type(index) is not int for index in [*indices, *content["upper_body"]]
    ):
        raise ValueError("the names of its skeleton are not text, or its edges and upper body are not indices.")
    if any(len(edge) != 2 for edge in content["edges"]):
        raise ValueError("the edges of its skeleton are not pairs.")
    _check_numbers("sigmas", content["sigmas"], above=0)
    return Skeleton.from_dict(content)
