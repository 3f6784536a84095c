"""The protocol of an AP: everything that it depends on besides the network. Numbers of different protocols cannot be compared."""

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

_SIGMAS = (0.012, 0.15)  # no skeleton has all its sigmas below or all above: COCO's are 0.025 to 0.107
_DIFFERENCES = {  # of the evaluations of benchmarks from that of COCO
    "wholebody": "which measures the 133 keypoints of five fields, and each part by a score of its own",
    "crowdpose": "which takes 0.53 of the box as the area of every person, also where an area is annotated",
    "aic": "which takes 0.53 of the box as the area of every person, and sigmas of its own",
    "humanart": "which measures the 17 keypoints of COCO in persons with labelled keypoints, whatever `num_keypoints` states",
    "jhmdb": "which measures PCK@.2 of the box and of the torso",
    "mpii": "which measures PCKh, against the head boxes of annotations=gt_valid.mat",
}


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
        return FileStamp(Path(file).name, hashlib.sha256(Path(file).read_bytes()).hexdigest())

    def __str__(self) -> str:
        return f"{self.name} (sha256 {self.sha256[:8]})"


@dataclass(frozen=True)
class Protocol:
    """Everything that an AP depends on besides the network. None is not stated, as in a result file of another tool.

    Attributes:
        annotations: the file that was evaluated against.
        category: name of the annotated category.
        num_images: images, those without persons included.
        num_persons: annotated persons that count.
        sigmas: name of their skeleton, such as "coco", or the number of sigmas and a hash of them.
        max_detections: predictions per image that count.
        name: of the benchmark whose evaluation was followed; "auto" is COCO's, with what the file states.
        areas: what OKS is relative to: "annotated", or where they are not, a share of the box.
        num_keypoints: how persons without keypoints, which are ignored, are found: "the labelled ones" are counted, or the file
            states a number that contradicts them.
        boxes: source of the boxes of the crops: "ground truth", or the file of a detector; "none" and how whole images were
            estimated, bottom-up.
        min_bbox_score: detections below it were left out.
        bbox_padding: factor by which boxes were enlarged.
        input_size: width and height of the crops in pixels.
        codec: codec that decoded the heatmaps.
        flip_test: whether the mirrored crop was averaged in.
        keypoint_score_threshold: keypoints with a higher score count for the score of a pose.
        oks_nms: the OKS above which the worse of two poses was dropped, or "none".
    """

    annotations: FileStamp
    category: str
    num_images: int
    num_persons: int
    sigmas: str
    max_detections: int
    name: str | None = AUTO
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
        """Return every part as text, by its title."""
        return {_title(field.name): _in_words(getattr(self, field.name)) for field in fields(self)}

    def __str__(self) -> str:
        """Return the protocol in one line."""
        unstated = [_title(field.name) for field in fields(self) if getattr(self, field.name) is None]
        boxes = f"boxes of {self.boxes}" if isinstance(self.boxes, FileStamp) else f"{self.boxes} boxes"
        if str(self.boxes).startswith("none"):
            boxes = f"boxes: {self.boxes}"
        size = "" if self.input_size is None else f" {_in_words(self.input_size)}"
        parts = [
            (self.boxes is not None, boxes),
            (True, f"{self.num_images} photos and {self.num_persons} persons of {self.annotations}"),
            (self.name not in (AUTO, None), f"protocol {self.name}"),
            (True, f"sigmas {self.sigmas}"),
            (self.areas not in (ANNOTATED, None), f"areas {self.areas}"),
            (self.num_keypoints not in (LABELLED, None), f"num_keypoints {self.num_keypoints}"),
            (self.flip_test is not None, f"flip test {_in_words(self.flip_test)}"),
            (self.codec is not None, f"{self.codec}{size}"),
            (self.oks_nms is not None, f"OKS-NMS {self.oks_nms}"),
            (True, f"{self.max_detections} poses a photo"),
        ]
        stated = [text for is_stated, text in parts if is_stated]
        return ", ".join(stated) + (f"; {NOT_STATED}: {', '.join(unstated)}" if unstated else "")

    def differences(self, other: Protocol) -> list[str]:
        """Return what differs, each with both sides; what only one side states differs too."""
        pairs = ((field.name, getattr(self, field.name), getattr(other, field.name)) for field in fields(self))
        return [
            f"{_title(name)}: {_in_words(one)} | {_in_words(two)}"
            for name, one, two in pairs
            if _comparable(name, one) != _comparable(name, two)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return plain containers; what is not stated says so."""
        content = {name: NOT_STATED if value is None else value for name, value in asdict(self).items()}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in content.items()}

    @staticmethod
    def from_dict(content: Mapping[str, Any]) -> Protocol:
        """Build a protocol from `to_dict`, of this version or an older one: parts that are missing there are not stated.

        `num_keypoints` and `name` are exceptions: older versions counted the labelled keypoints, and followed no benchmark.

        Raises:
            ValueError: if a part is unknown, or one is missing that every version has had.
        """
        known = {field.name: field.default is MISSING for field in fields(Protocol)}
        unknown = [name for name in content if name not in known]
        missing = [name for name, is_needed in known.items() if is_needed and name not in content]
        if unknown or missing:
            faults = [f"lacks {', '.join(missing)}"] if missing else []
            faults += [f"has {', '.join(unknown)}, which a newer version may have written"] if unknown else []
            raise ValueError(f"Expected a protocol with {', '.join(known)}, but it {' and '.join(faults)}.")
        former = {"num_keypoints": LABELLED, "name": AUTO}
        return Protocol(**{name: _from_plain(content.get(name, former.get(name, NOT_STATED))) for name in known})


def name_sigmas(sigmas: Sequence[float]) -> str:
    """Return the name of known sigmas; of others their number and a hash."""
    for skeleton in KNOWN_SKELETONS.values():
        if tuple(sigmas) == skeleton.sigmas:
            return skeleton.name
    digest = hashlib.sha256(np.asarray(sigmas, dtype="<f8").tobytes()).hexdigest()
    return f"{len(sigmas)} of their own (sha256 {digest[:8]})"


def name_areas(has_area: NDArray[np.bool_], area_from_bbox: float, *, use_area: bool = True) -> str:
    """State the source of the areas of persons.

    Args:
        has_area: (M,) whether the area is annotated.
        area_from_bbox: share of its box that a person without area is taken to cover.
        use_area: False takes that share for all.
    """
    if use_area and has_area.all():
        return ANNOTATED
    share = "that of the box" if area_from_bbox == 1 else f"{area_from_bbox:g} of the box"
    return f"{ANNOTATED} or {share}" if use_area and has_area.any() else share


def name_num_keypoints(truth: GroundTruth, visibility_map: Mapping[int, int] | None = None) -> str:
    """State how objects without keypoints are found: by their labels, or by a `num_keypoints` that contradicts them.

    Args:
        truth: the ground truth.
        visibility_map: visibilities of the file that were replaced, which decide what is labelled.
    """
    contradicts = truth.is_ignored != replace(truth, num_keypoints=None).is_ignored
    if not contradicts.any():
        mapped = ", ".join(f"{old} as {new}" for old, new in (visibility_map or {}).items())
        return f"{LABELLED}, with visibility {mapped}" if mapped else LABELLED
    return f"as the file states it, in contradiction to the labels of {np.count_nonzero(contradicts)} persons"


def _title(name: str) -> str:
    words = {"num_images": "photos", "num_persons": "persons", "bbox_padding": "box padding", "oks_nms": "OKS-NMS"}
    words |= {"name": "protocol", "min_bbox_score": "lowest box score", "max_detections": "poses a photo"}
    return words.get(name, name.replace("_", " "))


def _in_words(value: Any) -> str:
    if value is None:
        return NOT_STATED
    if isinstance(value, bool):
        return "on" if value else "off"
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _comparable(name: str, value: Any) -> Any:
    if name == "name":  # COCO's evaluation is that of no benchmark; sigmas and areas are compared on their own
        return "coco" if value == AUTO else value
    return value.sha256 if isinstance(value, FileStamp) else value


def _from_plain(value: Any) -> Any:
    if value == NOT_STATED:
        return None
    if isinstance(value, dict):
        return FileStamp(**value)
    return tuple(value) if isinstance(value, list) else value


def advise_protocol(annotations: CocoAnnotations, rules: Benchmark) -> None:
    """Warn if a file looks like that of a benchmark whose evaluation is another one.

    Warns:
        DataWarning: with the difference, and the argument that follows the benchmark.
    """
    likely = annotations.benchmark
    if likely is not None and likely != rules.name:
        warnings.warn(
            f"{annotations.file} looks like a file of the benchmark {likely}, {_DIFFERENCES[likely]}. It is measured with "
            f"protocol={rules.name}: {annotations.visibility.shape[1]} keypoints, areas "
            f"{name_areas(annotations.has_area, annotations.area_from_bbox, use_area=rules.use_area)}. To measure as the "
            f"benchmark does, add protocol={likely}.",
            DataWarning,
            stacklevel=3,
        )


def warn_of_sigmas(sigmas: Sequence[float]) -> None:
    """Warn of sigmas that are all larger or all smaller than any published set.

    Warns:
        DataWarning: with their range.
    """
    if min(sigmas) > _SIGMAS[1] or max(sigmas) < _SIGMAS[0]:
        warnings.warn(
            f"The OKS sigmas are {min(sigmas):g} to {max(sigmas):g}, but published ones are 0.007 to 0.107, as shares of the "
            f"instance's size: AP says {'too much' if min(sigmas) > _SIGMAS[1] else 'too little'}. Check `sigmas` "
            "(`skeleton.sigmas` of fit and test).",
            DataWarning,
            stacklevel=3,
        )


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """The evaluation of a benchmark; the defaults are COCO's, with the sigmas that belong to the file.

    Attributes:
        name: of the benchmark, or "auto" for that of none.
        measure: "oks" gives AP, "pck" the PCK of JHMDB, "pckh" the PCKh of MPII.
        sigmas: name of a known skeleton; None takes what the file says.
        keypoint_fields: fields of an annotation, each with the number of keypoints that are taken of it; None takes `keypoints`.
        area_from_bbox: share of its box that a person without area is taken to cover.
        use_area: False takes that share of the box for all persons, even where an area is annotated.
        num_keypoints: persons of 0 keypoints are ignored: those as the file has it "stated", or as they are "labelled".
        leave_out_unscored: results whose keypoint scores are all 0 are left out, as xtcocotools does.
        crowd_ranges: AP of images of little (AP_easy), more (AP_medium) and much crowding (AP_hard) is part of the result.
        part_scores: results are ranked by `wholebody_score` and their parts by `foot_score`, ..., where they have these.
    """

    name: str = "auto"
    measure: Literal["oks", "pck", "pckh"] = "oks"
    sigmas: str | None = None
    keypoint_fields: dict[str, int] | None = None
    area_from_bbox: float = 1.0
    use_area: bool = True
    num_keypoints: Literal["stated", "labelled"] = "stated"
    leave_out_unscored: bool = False
    crowd_ranges: bool = False
    part_scores: bool = False

    def adjust(self, truth: GroundTruth, area_from_bbox: float | None = None) -> GroundTruth:
        """Return the ground truth with the areas and the ignored persons of the benchmark.

        Args:
            truth: as it is annotated.
            area_from_bbox: share of the box instead of the benchmark's.
        """
        share = self.area_from_bbox if area_from_bbox is None else area_from_bbox
        area = truth.area if self.use_area else truth.bbox[:, 2] * truth.bbox[:, 3] * share
        return replace(truth, area=area, num_keypoints=truth.num_keypoints if self.num_keypoints == "stated" else None)

    def counted(self, keypoint_scores: Floats) -> NDArray[np.bool_]:
        """Find the results that count, (N,): all, or those with a keypoint score above 0.

        Args:
            keypoint_scores: (N, K).
        """
        scored: NDArray[np.bool_] = np.any(keypoint_scores > 0, axis=1)
        return scored if self.leave_out_unscored else np.ones(len(scored), bool)

    def round_crowding(self, crowding: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        """Return AP_easy, AP_medium and AP_hard with four decimals, as CrowdPose's code does; nothing for other benchmarks.

        Args:
            crowding: numbers of the ranges, by their names.
        """
        if not self.crowd_ranges:
            return {}
        return {f"AP_{name}": float(np.round(row["AP"], 4)) for name, row in crowding.items()}
