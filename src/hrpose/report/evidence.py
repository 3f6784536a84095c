"""The evidence for the cause of a low AP: poses, annotations, samples of crops and the training loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hrpose.annotations.checks import Finding
from hrpose.metrics.functional import Detections, keypoint_similarity, keypoint_variances
from hrpose.metrics.functional.matching import OKS_THRESHOLDS
from hrpose.metrics.functional.oks import Floats
from hrpose.skeletons import Skeleton
from hrpose.structures import GroundTruth

Mask = NDArray[np.bool_]

_NUM_PAIRS = 2000


@dataclass(frozen=True, kw_only=True)
class Training:
    """The course of a training."""

    losses: Sequence[float]  # means over equal numbers of steps, in their order
    num_steps: int  # optimizer steps
    rate: float  # the configured learning rate
    trained_share: float  # share of the parameters that are trained; 1 if frozen ones are loaded from weights
    num_instances: int  # of the training set
    usual_rate: float = 1e-3  # a usual learning rate of the optimizer
    blank_loss: float | None = None  # loss of empty heatmaps; None for other outputs

    @property
    def first(self) -> float:
        """Return the mean loss of the first 5 %."""
        return float(np.mean(self.losses[: max(1, len(self.losses) // 20)]))

    @property
    def last(self) -> float:
        """Return the mean loss of the last 10 %."""
        return float(np.mean(self.losses[-max(1, len(self.losses) // 10) :]))

    @property
    def middle(self) -> float:
        """Return the mean loss of 10 % in the middle."""
        half, width = len(self.losses) // 2, max(1, len(self.losses) // 20)
        return float(np.mean(self.losses[max(0, half - width) : half + width]))


@dataclass(frozen=True, kw_only=True, eq=False)
class Instances:
    """The annotated instances of one set, with their boxes and the sizes of their images."""

    name: str  # "training" or "validation"
    keypoints: Floats  # (N, K, 2) in image pixels
    labelled: Mask  # (N, K)
    bbox: Floats  # (N, 4) xywh
    image_sizes: Floats  # (N, 2) width and height; 0 where unknown


@dataclass(frozen=True, kw_only=True, eq=False)
class RunEvidence:
    """The evidence of a run."""

    score: float  # AP
    detections: Detections  # N evaluated poses
    center: Floats  # (N, 2) of their crops
    scale: Floats  # (N, 2) of their crops
    truth: GroundTruth  # the annotations
    skeleton: Skeleton  # names, sigmas and mirror pairs
    boxes: str = "gt"  # source of the boxes, "gt", "det" or "none"
    sets: Sequence[Instances] = ()  # annotated instances of the validation and training set, as far as available
    findings: Sequence[Finding] = ()  # of the checks of the data
    # number of annotations with keypoints of each category of the validation file, if one was chosen
    categories: Mapping[str, int] = field(default_factory=dict)
    category: str = ""  # the chosen category
    # AR of samples of crops: "val" and "train" as configured, and "val" prepared in other ways
    samples: Mapping[str, float] = field(default_factory=dict)
    training: Training | None = None  # None if the run did not train
    doctor: str = "hrpose doctor"  # the command that checks the data

    @cached_property
    def pairs(self) -> Pairs:
        """Return up to 2000 instances that count, each with the crop of its image with the nearest center."""
        truth, found = self.truth, self.detections
        counting = np.flatnonzero(~truth.is_ignored & (truth.visibility > 0).any(axis=1))
        order = np.argsort(found.image_ids, kind="stable")
        ordered = found.image_ids[order]
        image_ids = truth.object_image_ids[counting]
        first, last = np.searchsorted(ordered, image_ids, side="left"), np.searchsorted(ordered, image_ids, side="right")
        middle = truth.bbox[counting, :2] + truth.bbox[counting, 2:] / 2
        reach = 0.5 * np.hypot(*truth.bbox[counting, 2:].T)
        rows, instances = [], []
        for place, (start, end) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
            distances = np.linalg.norm(self.center[order[start:end]] - middle[place], axis=1)
            if len(distances) and distances.min() <= reach[place]:
                rows.append(order[start + int(distances.argmin())])
                instances.append(counting[place])
        chosen = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _NUM_PAIRS)).round().astype(int))
        row, instance = np.asarray(rows, int)[chosen], np.asarray(instances, int)[chosen]
        return Pairs(
            points=found.keypoints[row],
            center=self.center[row],
            scale=self.scale[row],
            places=truth.keypoints[instance],
            labelled=truth.visibility[instance] > 0,
            bbox=truth.bbox[instance],
            area=truth.area[instance],
            share=len(rows) / max(1, len(counting)),
        )


@dataclass(frozen=True, eq=False)
class Pairs:
    """P instances and the poses of the crops around them."""

    points: Floats  # (P, K, 2) predicted
    center: Floats  # (P, 2) of the crops
    scale: Floats  # (P, 2) of the crops
    places: Floats  # (P, K, 2) annotated
    labelled: Mask  # (P, K)
    bbox: Floats  # (P, 4) annotated
    area: Floats  # (P,) annotated
    share: float  # share of the instances that count that have such a crop

    def __len__(self) -> int:
        return len(self.points)

    def recall(self, points: Floats, areas: Floats, sigmas: Sequence[float]) -> float:
        """Compute AR of other predictions with other areas and sigmas."""
        return average_recall(points, self.places, self.labelled, areas, sigmas)

    @cached_property
    def mean_poses(self) -> Floats:
        """Return the mean annotated pose relative to the crop, placed in each crop: (P, K, 2)."""
        relative = (self.places - self.center[:, None]) / self.scale[:, None]
        weights = self.labelled[..., None]
        mean = (relative * weights).sum(axis=0) / np.maximum(weights.sum(axis=0), 1)
        poses: Floats = self.center[:, None] + mean * self.scale[:, None]
        return poses

    @property
    def cover(self) -> float:
        """Return the median ratio of `area` to the area of the box."""
        return float(np.median(self.area / np.maximum(self.bbox[:, 2:].prod(axis=1), 1e-9)))


def average_recall(points: Floats, places: Floats, labelled: Mask, areas: Floats, sigmas: Sequence[float]) -> float:
    """Compute AR of poses with known instances: the mean share with an OKS of at least 0.50, 0.55, ... 0.95.

    Points (P, K, 2) are predicted, places (P, K, 2) annotated, in image pixels; each row has at least one labelled keypoint.
    """
    if not len(points):
        return 0.0
    similarity = keypoint_similarity(points, places, areas, keypoint_variances(sigmas))
    oks = (similarity * labelled).sum(axis=1) / labelled.sum(axis=1)
    return float(np.mean(oks[:, None] >= np.asarray(OKS_THRESHOLDS)))
