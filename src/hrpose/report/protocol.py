"""The protocol of an AP or PCKh: all its conditions besides the network. Numbers of different protocols cannot be compared."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hrpose.annotations.coco_annotations import CocoAnnotations
from hrpose.errors import DataWarning
from hrpose.metrics.functional.oks import Floats
from hrpose.skeletons import KNOWN_SKELETONS
from hrpose.structures import GroundTruth

NOT_STATED = "not stated"
ANNOTATED = "annotated"
AUTO = "auto"
LABELLED = "the labelled ones"

_SIGMAS = (0.012, 0.15)  # every published skeleton has sigmas within this range; COCO's are 0.025 to 0.107
_DIFFERENCES = {  # how the evaluations of benchmarks differ from COCO's
    "wholebody": "which uses the 133 keypoints of five fields, and a score for each part",
    "crowdpose": "which uses 0.53 of the box as area of every person, also if an area is annotated",
    "aic": "which uses 0.53 of the box as area of every person, and other sigmas",
    "humanart": "which uses the 17 keypoints of COCO and all persons with labelled keypoints, regardless of `num_keypoints`",
    "jhmdb": "which uses PCK@.2 of the box and of the torso",
    "mpii": "which uses PCKh with the head boxes of annotations=gt_valid.mat",
}

_PCKH_RULES = (
    "keypoints with an error of at most 0.5 head sizes are correct, a head size is 0.6 of the diagonal of the head box; Mean is "
    'over all labelled keypoints except pelvis and thorax; Mean@0.11 is "Mean@0.1" of the authors\' code'
)


@dataclass(frozen=True)
class FileStamp:
    """Name and hash of a file. Protocols compare files by their hash."""

    name: str  # file name without folder
    sha256: str  # of the content, 64 hexadecimal digits

    @staticmethod
    def of(file: str | Path) -> FileStamp:
        """Read a file and compute its hash."""
        return FileStamp(Path(file).name, hashlib.sha256(Path(file).read_bytes()).hexdigest())

    def __str__(self) -> str:
        return f"{self.name} (sha256 {self.sha256[:8]})"


@dataclass(frozen=True)
class Protocol:
    """All conditions of an AP besides the network. None means not stated, as for result files of other tools."""

    annotations: FileStamp  # the annotation file
    category: str  # name of the annotated category
    num_images: int  # number of images, including those without instances
    num_instances: int  # number of annotated instances that count
    sigmas: str  # name of their skeleton, such as "coco", or the number of sigmas and their hash
    max_detections: int  # number of predictions per image that count
    name: str | None = AUTO  # of the benchmark; "auto" is COCO's evaluation with sigmas and areas of the file
    areas: str | None = ANNOTATED  # source of the areas in OKS: "annotated", or a share of the box
    # how instances without keypoints, which are ignored, are found: "the labelled ones" are counted, or the file states
    # another number
    num_keypoints: str | None = LABELLED
    # source of the boxes of the crops: "ground truth", or a detection file; "none" and the method for whole images, bottom-up
    boxes: str | FileStamp | None = None
    min_bbox_score: float | None = None  # lowest score of detections
    bbox_padding: float | None = None  # factor by which boxes were enlarged
    input_size: tuple[int, int] | None = None  # width and height of the crops in pixels
    codec: str | None = None  # that decoded the outputs
    flip_test: bool | None = None  # whether outputs were averaged with those of mirrored crops
    keypoint_score_threshold: float | None = None  # the score of a pose uses keypoints with a higher score
    oks_nms: str | None = None  # OKS above which the worse of two poses was removed, or "none"

    def entries(self) -> dict[str, str]:
        """Return every entry as text, by its title."""
        return {_title(name): _describe(value) for name, value in vars(self).items()}

    def __str__(self) -> str:
        """Return the protocol in one line."""
        unstated = [_title(name) for name, value in vars(self).items() if value is None]
        boxes = f"boxes of {self.boxes}" if isinstance(self.boxes, FileStamp) else f"{self.boxes} boxes"
        if str(self.boxes).startswith("none"):
            boxes = f"boxes: {self.boxes}"
        size = "" if self.input_size is None else f" {_describe(self.input_size)}"
        parts = [
            (self.boxes is not None, boxes),
            (True, f"{self.num_images} images and {self.num_instances} persons of {self.annotations}"),
            (self.name not in (AUTO, None), f"protocol {self.name}"),
            (True, f"sigmas {self.sigmas}"),
            (self.areas not in (ANNOTATED, None), f"areas {self.areas}"),
            (self.num_keypoints not in (LABELLED, None), f"num_keypoints {self.num_keypoints}"),
            (self.flip_test is not None, f"flip test {_describe(self.flip_test)}"),
            (self.codec is not None, f"{self.codec}{size}"),
            (self.oks_nms is not None, f"OKS-NMS {self.oks_nms}"),
            (True, f"{self.max_detections} poses per image"),
        ]
        stated = [text for is_stated, text in parts if is_stated]
        return ", ".join(stated) + (f"; {NOT_STATED}: {', '.join(unstated)}" if unstated else "")

    def differences(self, other: Protocol) -> list[str]:
        """Return the entries that differ, with both values; an entry that only one protocol states differs."""
        pairs = ((name, value, getattr(other, name)) for name, value in vars(self).items())
        return [
            f"{_title(name)}: {_describe(one)} | {_describe(two)}"
            for name, one, two in pairs
            if _comparable(name, one) != _comparable(name, two)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return plain containers, with "not stated" for None."""
        return {name: _to_plain(value) for name, value in asdict(self).items()}

    @staticmethod
    def from_dict(content: Mapping[str, Any]) -> Protocol:
        """Build a protocol from the result of `to_dict` of this or an older version.

        Entries that an older version lacks are None, except `num_keypoints` and `name`: older versions counted the labelled
        keypoints and had no benchmarks. `num_instances` was `num_persons`.

        Raises:
            ValueError: if an entry is unknown, or one without default is missing.
        """
        content = {"num_instances" if name == "num_persons" else name: value for name, value in content.items()}
        known = {field.name: field.default is MISSING for field in fields(Protocol)}
        unknown = [name for name in content if name not in known]
        missing = [name for name, is_needed in known.items() if is_needed and name not in content]
        if unknown or missing:
            faults = [f"lacks {', '.join(missing)}"] if missing else []
            faults += [f"has {', '.join(unknown)} (perhaps of a newer version)"] if unknown else []
            raise ValueError(f"Expected a protocol with {', '.join(known)}, but it {' and '.join(faults)}.")
        former = {"num_keypoints": LABELLED, "name": AUTO}
        return Protocol(**{name: _from_plain(content.get(name, former.get(name, NOT_STATED))) for name in known})


@dataclass(frozen=True)
class PckhProtocol:
    """All conditions of a PCKh besides the network. None means not stated, as for result files of other tools."""

    annotations: FileStamp  # file with centers and scales of the crops
    ground_truth: FileStamp  # file with keypoints and head boxes
    num_images: int | None  # number of images
    num_instances: int  # number of instances
    bbox_padding: float | None = None  # factor by which boxes were enlarged
    input_size: tuple[int, int] | None = None  # width and height of the crops in pixels
    codec: str | None = None  # that decoded the outputs
    flip_test: bool | None = None  # whether outputs were averaged with those of mirrored crops

    def __str__(self) -> str:
        """Return the protocol in one line."""
        images = "" if self.num_images is None else f"{self.num_images} images and "
        if self.input_size is None:
            persons = f"{images}{self.num_instances} persons of {self.ground_truth}"
            return f"{persons}; {NOT_STATED}: crops, codec, flip test; {_PCKH_RULES}"
        width, height = self.input_size
        return (
            f"centers and scales of {self.annotations}, {images}{self.num_instances} persons of "
            f"{self.ground_truth}, box padding {self.bbox_padding}, flip test {'on' if self.flip_test else 'off'}, "
            f"{self.codec} {width}x{height}; {_PCKH_RULES}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain containers, with "not stated" for None."""
        return {"name": "mpii", **{name: _to_plain(value) for name, value in asdict(self).items()}, "rules": _PCKH_RULES}


def name_sigmas(sigmas: Sequence[float]) -> str:
    """Return the name of known sigmas; otherwise their number and hash."""
    for skeleton in KNOWN_SKELETONS.values():
        if tuple(sigmas) == skeleton.sigmas:
            return skeleton.name
    digest = hashlib.sha256(np.asarray(sigmas, dtype="<f8").tobytes()).hexdigest()
    return f"{len(sigmas)} of their own (sha256 {digest[:8]})"  # stored in reports, so it must not change


def name_areas(has_area: NDArray[np.bool_], area_from_bbox: float, *, use_area: bool = True) -> str:
    """Describe the source of the areas from `has_area` (M,), whether they are annotated; see `Benchmark`."""
    if use_area and has_area.all():
        return ANNOTATED
    share = "that of the box" if area_from_bbox == 1 else f"{area_from_bbox:g} of the box"
    return f"{ANNOTATED} or {share}" if use_area and has_area.any() else share


def name_num_keypoints(truth: GroundTruth, visibility_map: Mapping[int, int] | None = None) -> str:
    """Describe how instances without keypoints are found: from the labels, or from a different `num_keypoints`."""
    contradicts = truth.is_ignored != replace(truth, num_keypoints=None).is_ignored
    if not contradicts.any():
        mapped = ", ".join(f"{old} as {new}" for old, new in (visibility_map or {}).items())
        return f"{LABELLED}, with visibility {mapped}" if mapped else LABELLED
    # stored in reports, so it must not change
    return f"as the file states it, in contradiction to the labels of {np.count_nonzero(contradicts)} persons"


def _title(name: str) -> str:
    titles = {"num_images": "images", "num_instances": "instances", "bbox_padding": "box padding", "oks_nms": "OKS-NMS"}
    titles |= {"name": "protocol", "min_bbox_score": "lowest box score", "max_detections": "poses per image"}
    return titles.get(name, name.replace("_", " "))


def _describe(value: Any) -> str:
    if value is None:
        return NOT_STATED
    if isinstance(value, bool):
        return "on" if value else "off"
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _comparable(name: str, value: Any) -> Any:
    if name == "name":  # without benchmark the evaluation is COCO's; sigmas and areas are separate entries
        return "coco" if value == AUTO else value
    return value.sha256 if isinstance(value, FileStamp) else value


def _to_plain(value: Any) -> Any:
    return NOT_STATED if value is None else list(value) if isinstance(value, tuple) else value


def _from_plain(value: Any) -> Any:
    if value == NOT_STATED:
        return None
    if isinstance(value, dict):
        return FileStamp(**value)
    return tuple(value) if isinstance(value, list) else value


def advise_protocol(annotations: CocoAnnotations, rules: Benchmark) -> None:
    """Emit a DataWarning if a file seems to belong to a benchmark with other rules."""
    likely = annotations.benchmark
    if likely is not None and likely != rules.name:
        warnings.warn(
            f"{annotations.file} seems to be a file of the benchmark {likely}, {_DIFFERENCES[likely]}. It is evaluated with "
            f"protocol={rules.name}: {annotations.visibility.shape[1]} keypoints, areas "
            f"{name_areas(annotations.has_area, annotations.area_from_bbox, use_area=rules.use_area)}. To use the rules of the "
            f"benchmark, set protocol={likely}.",
            DataWarning,
            stacklevel=3,
        )


def warn_of_sigmas(sigmas: Sequence[float]) -> None:
    """Emit a DataWarning if all sigmas are larger or all are smaller than those of any published skeleton."""
    if min(sigmas) > _SIGMAS[1] or max(sigmas) < _SIGMAS[0]:
        warnings.warn(
            f"Expected OKS sigmas as published, from 0.007 to 0.107, but got {min(sigmas):g} to {max(sigmas):g}: AP is too "
            f"{'high' if min(sigmas) > _SIGMAS[1] else 'low'}. Check `sigmas` (`skeleton.sigmas` in fit and test).",
            DataWarning,
            stacklevel=3,
        )


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """The rules of a benchmark. The defaults are COCO's evaluation with the sigmas of the file."""

    name: str = "auto"  # of the benchmark, or "auto"
    measure: Literal["oks", "pck", "pckh"] = "oks"  # "oks" for AP, "pck" for PCK of JHMDB, "pckh" for PCKh of MPII
    sigmas: str | None = None  # name of a known skeleton; None uses those of the file
    # number of keypoints to read from each field of an annotation; None reads `keypoints`
    keypoint_fields: dict[str, int] | None = None
    area_from_bbox: float = 1.0  # share of the box that replaces missing areas
    use_area: bool = True  # False uses this share of the box for all instances, also if an area is annotated
    # instances of 0 keypoints are ignored, counted as "stated" in the file or as "labelled"
    num_keypoints: Literal["stated", "labelled"] = "stated"
    # whether to leave out results with keypoint scores that are all 0, as xtcocotools does
    leave_out_unscored: bool = False
    # whether to add AP of images with little (AP_easy), medium (AP_medium) and much crowding (AP_hard)
    crowd_ranges: bool = False
    # whether to rank results by `wholebody_score` and parts by `foot_score`, ..., if the results have them
    part_scores: bool = False

    def adjust(self, truth: GroundTruth, area_from_bbox: float | None = None) -> GroundTruth:
        """Return the ground truth with the areas and the ignored instances of the benchmark.

        `area_from_bbox` replaces the share of the benchmark.
        """
        share = self.area_from_bbox if area_from_bbox is None else area_from_bbox
        area = truth.area if self.use_area else truth.bbox[:, 2] * truth.bbox[:, 3] * share
        return replace(truth, area=area, num_keypoints=truth.num_keypoints if self.num_keypoints == "stated" else None)

    def counted(self, keypoint_scores: Floats) -> NDArray[np.bool_]:
        """Return which results count (N,), from their keypoint scores (N, K): all, or those with a score above 0."""
        scored: NDArray[np.bool_] = np.any(keypoint_scores > 0, axis=1)
        return scored if self.leave_out_unscored else np.ones(len(scored), bool)

    def round_crowding(self, crowding: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        """Return AP_easy, AP_medium and AP_hard with four decimals, as in CrowdPose's code; empty for other benchmarks."""
        if not self.crowd_ranges:
            return {}
        return {f"AP_{name}": float(np.round(row["AP"], 4)) for name, row in crowding.items()}
