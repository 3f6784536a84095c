"""How an AP was measured. Without that, two numbers cannot be compared."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrpose.skeletons import KNOWN_SKELETONS
from hrpose.structures import GroundTruth

NOT_STATED = "not stated"
ANNOTATED = "annotated"
LABELLED = "the labelled ones"


@dataclass(frozen=True)
class FileStamp:
    """A file by its name and content; two stamps of equal content are the same, whatever the names.

    Attributes:
        name: the last part of its path.
        sha256: of its bytes, 64 hexadecimal digits.
    """

    name: str
    sha256: str

    @staticmethod
    def of(file: str | Path) -> FileStamp:
        """Read a file and stamp it."""
        digest = hashlib.sha256()
        with Path(file).open("rb") as content:
            while block := content.read(1 << 20):
                digest.update(block)
        return FileStamp(Path(file).name, digest.hexdigest())

    def __str__(self) -> str:
        return f"{self.name} (sha256 {self.sha256[:8]})"


@dataclass(frozen=True)
class Protocol:
    """All that an AP depends on besides the network. None stands for what is not stated, as in a result file of another tool.

    Attributes:
        annotations: the file that was evaluated against.
        category: name of the annotated category.
        num_images: photos, those without persons included.
        num_persons: annotated persons that are to be found.
        sigmas: whose they are, such as "coco", or the number of sigmas and a hash of them.
        max_detections: how many predictions of a photo count.
        areas: what OKS is relative to: "annotated", or where they are not, a share of the box.
        num_keypoints: how persons without keypoints, which are ignored, are told: "the labelled ones" are counted, or the file
            states a number that contradicts them.
        boxes: whose boxes the crops were made of: "ground truth", or the file of a detector.
        min_bbox_score: detections below it were left out.
        bbox_padding: factor by which boxes were enlarged.
        input_size: width and height of the crops in pixels.
        codec: what turned heatmaps into keypoints.
        flip_test: whether the mirrored crop was averaged in.
        keypoint_score_threshold: keypoints that score above it count for a pose's score.
        oks_nms: the OKS above which the worse of two poses was dropped, or "none".
    """

    annotations: FileStamp
    category: str
    num_images: int
    num_persons: int
    sigmas: str
    max_detections: int
    areas: str | None = ANNOTATED
    num_keypoints: str | None = LABELLED
    boxes: str | FileStamp | None = None
    min_bbox_score: float | None = None
    bbox_padding: float | None = None
    input_size: tuple[int, int] | None = None
    codec: str | None = None
    flip_test: bool | None = None
    keypoint_score_threshold: float | None = None
    oks_nms: str | None = None

    def entries(self) -> dict[str, str]:
        """Say every part in words, by its name."""
        return {_title(field.name): _in_words(getattr(self, field.name)) for field in fields(self)}

    def __str__(self) -> str:
        """Say it in one line."""
        unstated = [_title(field.name) for field in fields(self) if getattr(self, field.name) is None]
        boxes = _in_words(self.boxes)
        size = "" if self.input_size is None else f" {_in_words(self.input_size)}"
        stated = [
            *(
                []
                if self.boxes is None
                else [f"boxes of {boxes}" if isinstance(self.boxes, FileStamp) else f"{boxes} boxes"]
            ),
            f"{self.num_images} photos and {self.num_persons} persons of {self.annotations}",
            f"sigmas {self.sigmas}",
            *([] if self.areas in (ANNOTATED, None) else [f"areas {self.areas}"]),
            *([] if self.num_keypoints in (LABELLED, None) else [f"num_keypoints {self.num_keypoints}"]),
            *([] if self.flip_test is None else [f"flip test {_in_words(self.flip_test)}"]),
            *([] if self.codec is None else [f"{self.codec}{size}"]),
            *([] if self.oks_nms is None else [f"OKS-NMS {self.oks_nms}"]),
            f"{self.max_detections} poses a photo",
        ]
        return ", ".join(stated) + (f"; {NOT_STATED}: {', '.join(unstated)}" if unstated else "")

    def differences(self, other: Protocol) -> list[str]:
        """Name what differs, each with both sides; what only one side states differs too."""
        mine, theirs = _comparable(self), _comparable(other)
        named, other_named = self.entries(), other.entries()
        return [
            f"{_title(name)}: {named[_title(name)]} | {other_named[_title(name)]}"
            for name in mine
            if mine[name] != theirs[name]
        ]

    def to_dict(self) -> dict[str, Any]:
        """Give it as plain containers; what is not stated says so."""
        content = {name: NOT_STATED if value is None else value for name, value in asdict(self).items()}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in content.items()}

    @staticmethod
    def from_dict(content: Mapping[str, Any]) -> Protocol:
        """Take what `to_dict` gave, of this version or an older one: what that did not know yet is not stated.

        `num_keypoints` is an exception: older versions always counted the labelled keypoints.

        Raises:
            ValueError: if a part is unknown, or one is missing that was there from the first version on.
        """
        known = {field.name: field.default is MISSING for field in fields(Protocol)}
        unknown = [name for name in content if name not in known]
        missing = [name for name, is_needed in known.items() if is_needed and name not in content]
        if unknown or missing:
            faults = [f"lacks {', '.join(missing)}"] if missing else []
            faults += [f"has {', '.join(unknown)}, which a newer version may have written"] if unknown else []
            raise ValueError(f"Expected a protocol with {', '.join(known)}, but it {' and '.join(faults)}.")
        former = {"num_keypoints": LABELLED}
        return Protocol(**{name: _from_plain(content.get(name, former.get(name, NOT_STATED))) for name in known})


def name_sigmas(sigmas: Sequence[float]) -> str:
    """Name known sigmas; others are told by their number and a hash."""
    for skeleton in KNOWN_SKELETONS.values():
        if tuple(sigmas) == skeleton.sigmas:
            return skeleton.name
    digest = hashlib.sha256(np.asarray(sigmas, dtype="<f8").tobytes()).hexdigest()
    return f"{len(sigmas)} of their own (sha256 {digest[:8]})"


def name_areas(has_area: NDArray[np.bool_], area_from_bbox: float) -> str:
    """Say where the areas of persons are from.

    Args:
        has_area: (M,) whether the area is annotated.
        area_from_bbox: share of its box that a person without area is taken to cover.
    """
    if has_area.all():
        return ANNOTATED
    share = "that of the box" if area_from_bbox == 1 else f"{area_from_bbox:g} of the box"
    return f"{ANNOTATED} or {share}" if has_area.any() else share


def name_num_keypoints(truth: GroundTruth) -> str:
    """State how objects without keypoints are told: by their labels, or by a `num_keypoints` that contradicts them."""
    contradicts = truth.is_ignored != replace(truth, num_keypoints=None).is_ignored
    if not contradicts.any():
        return LABELLED
    return f"as the file states it, in contradiction to the labels of {np.count_nonzero(contradicts)} persons"


def _title(name: str) -> str:
    words = {"num_images": "photos", "num_persons": "persons", "bbox_padding": "box padding", "oks_nms": "OKS-NMS"}
    words |= {"min_bbox_score": "lowest box score", "max_detections": "poses a photo"}
    return words.get(name, name.replace("_", " "))


def _in_words(value: Any) -> str:
    if value is None:
        return NOT_STATED
    if isinstance(value, bool):
        return "on" if value else "off"
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _comparable(protocol: Protocol) -> dict[str, Any]:
    values = {field.name: getattr(protocol, field.name) for field in fields(protocol)}
    return {name: value.sha256 if isinstance(value, FileStamp) else value for name, value in values.items()}


def _from_plain(value: Any) -> Any:
    if value == NOT_STATED:
        return None
    if isinstance(value, dict):
        return FileStamp(**value)
    return tuple(value) if isinstance(value, list) else value
