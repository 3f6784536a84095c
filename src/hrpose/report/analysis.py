"""One evaluation: metrics, their breakdowns, error analysis and the quality of the scores."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from hrpose.files import dumps
from hrpose.metrics.functional import (
    Calibration,
    Detections,
    ErrorAnatomy,
    ScoreThreshold,
    accumulate,
    average_precision_by_crowding,
    average_precision_by_part,
    average_precision_by_visibility,
    average_precision_per_keypoint,
    calibrate_keypoint_scores,
    error_anatomy,
    match_detections,
    optimal_score_threshold,
)
from hrpose.metrics.functional.breakdown import images_by_crowding
from hrpose.metrics.functional.oks import Floats
from hrpose.metrics.functional.pck import PIXEL_NUMBERS, PixelErrors, pixel_errors
from hrpose.report.measurement import Measurement, measure
from hrpose.report.protocol import Benchmark, Protocol
from hrpose.skeletons import Skeleton, describe_sigmas, whole_body_parts
from hrpose.structures import GroundTruth

STEPS = ("AP", "bootstrap", "keypoints", "parts", "visibility", "crowding", "error anatomy", "pixels", "scores")
PIXEL_COLUMNS = {name: name.replace("_error", " px").replace("@0", "@") for name in PIXEL_NUMBERS}
"""Column titles of the numbers of `PixelErrors`: mean px, median px, PCK@.05, ..."""


@dataclass(frozen=True, eq=False)
class Evaluated:
    """Poses and the ground truth for their evaluation."""

    detections: Detections  # N poses
    keypoint_scores: Floats  # (N, K)
    truth: GroundTruth  # the annotations
    skeleton: Skeleton  # names, mirror pairs and sigmas of the keypoints
    protocol: Protocol  # of the poses
    rules: Benchmark = field(default_factory=Benchmark)  # of the benchmark; they are already applied to detections and truth
    part_scores: Mapping[str, Floats] = field(default_factory=dict)  # (N,) scores that rank single parts, such as `foot_score`


@dataclass(frozen=True, eq=False)
class Report:
    """The result of one evaluation."""

    title: str  # name of the evaluated results
    measurement: Measurement  # the ten COCO numbers, their protocol and samples
    num_predictions: int  # N
    keypoints: Mapping[str, float]  # AP of each keypoint alone, by name; -1 if it is never labelled
    labelled: Mapping[str, int]  # number of instances in which each keypoint is labelled
    # the ten numbers of body, foot, face and both hands, for whole-body skeletons
    parts: Mapping[str, Mapping[str, float]]
    visibility: Mapping[str, Mapping[str, float]]  # the ten numbers of only "visible" and only "occluded" keypoints
    # the ten numbers of images with little ("easy"), medium and much crowding ("hard")
    crowding: Mapping[str, Mapping[str, float]]
    crowding_images: Mapping[str, int]  # number of these images
    pixels: PixelErrors  # pixel errors and PCK, of all keypoints and of each
    anatomy: ErrorAnatomy  # kinds of errors, and AP without each
    threshold: ScoreThreshold  # the best score threshold
    # keypoint scores against similarity; None if all scores are integers, as in files with visibilities instead
    calibration: Calibration | None
    sigmas: str  # source of the OKS sigmas
    # for each OKS threshold the precision at recalls 0, 0.01, ... 1; -1 without annotated instances
    precision: Mapping[float, Floats]

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the JSON report; numbers that are not finite are None."""
        content = {
            "title": self.title,
            **self.measurement.to_dict(),
            "sigmas": self.sigmas,
            "num_predictions": self.num_predictions,
            "keypoints": {
                name: {"AP": ap, "labelled": self.labelled[name], **self.pixels_of(place)}
                for place, (name, ap) in enumerate(self.keypoints.items())
            },
            "pixels": {**self.pixels.overall, "persons": self.pixels.num_instances, "missed": self.pixels.num_missed},
            "parts": self.parts,
            "visibility": self.visibility,
            "crowding": {name: {"images": self.crowding_images[name], **row} for name, row in self.crowding.items()},
            "anatomy": asdict(self.anatomy),
            "score_threshold": asdict(self.threshold),
            "calibration": self.calibration
            and {name: np.asarray(value).tolist() for name, value in vars(self.calibration).items()},
            "precision_recall": {
                "recall": np.linspace(0, 1, 101).round(2).tolist(),
                "precision": {f"{threshold:.2f}": values.tolist() for threshold, values in self.precision.items()},
            },
        }
        plain: dict[str, Any] = json.loads(dumps(content, undefined_as_null=True))
        return plain

    def pixels_of(self, place: int) -> dict[str, float]:
        """Return the pixel errors and PCK of one keypoint; NaN if it is never labelled."""
        return {name: float(self.pixels.keypoints[name][place]) for name in PIXEL_NUMBERS}


def analyse(
    evaluated: Evaluated,
    *,
    title: str,
    num_samples: int = 1000,
    seed: int = 0,
    on_step: Callable[[str], None] = lambda step: None,
) -> Report:
    """Compute all metrics of a report, with `num_samples` bootstrap resamples of the images.

    `on_step` is called with the name of each of `STEPS` before it starts.
    """
    found, truth, skeleton = evaluated.detections, evaluated.truth, evaluated.skeleton
    sigmas, limit = skeleton.sigmas, evaluated.protocol.max_detections
    on_step("AP")
    matches = match_detections(found, truth, sigmas, max_detections=limit)
    curves = accumulate(matches)
    on_step("bootstrap")
    measurement = measure(matches, evaluated.protocol, num_samples=num_samples, seed=seed)
    on_step("keypoints")
    keypoints = average_precision_per_keypoint(found, truth, sigmas, max_detections=limit).tolist()
    labelled = ((truth.visibility > 0) & ~truth.is_ignored[:, None]).sum(axis=0).tolist()
    on_step("parts")
    parts = _parts(evaluated)
    on_step("visibility")
    visibility = average_precision_by_visibility(found, truth, sigmas, max_detections=limit)
    on_step("crowding")
    crowding = average_precision_by_crowding(found, truth, sigmas, max_detections=limit)
    on_step("error anatomy")
    anatomy = error_anatomy(found, truth, sigmas, skeleton.flip_permutation, max_detections=limit)
    on_step("pixels")
    pixels = pixel_errors(found, truth, max_detections=limit)
    on_step("scores")
    numbers = {**measurement.numbers, **evaluated.rules.round_crowding(crowding)}
    return Report(
        title=title,
        measurement=replace(measurement, numbers=numbers),
        num_predictions=len(found),
        keypoints=dict(zip(skeleton.keypoint_names, keypoints, strict=True)),
        labelled=dict(zip(skeleton.keypoint_names, labelled, strict=True)),
        parts=parts,
        visibility=visibility,
        crowding=crowding,
        crowding_images={name: len(image_ids) for name, image_ids in images_by_crowding(truth).items()},
        pixels=pixels,
        anatomy=anatomy,
        threshold=optimal_score_threshold(matches),
        calibration=_calibrate(evaluated),
        sigmas=describe_sigmas(skeleton),
        precision=dict(zip(curves.oks_thresholds, _mean_over_categories(curves.precision), strict=True)),
    )


def _parts(evaluated: Evaluated) -> dict[str, dict[str, float]]:
    """Evaluate the parts of whole bodies, each ranked by its own score, such as `lefthand_score`, if the results have it."""
    parts = whole_body_parts(evaluated.skeleton.keypoint_names)
    names = {part: f"{part.replace(' ', '')}_score" for part in parts}
    return average_precision_by_part(
        evaluated.detections,
        evaluated.truth,
        evaluated.skeleton.sigmas,
        parts=parts,
        max_detections=evaluated.protocol.max_detections,
        scores={part: evaluated.part_scores[name] for part, name in names.items() if name in evaluated.part_scores},
        keypoint_scores=evaluated.keypoint_scores if evaluated.rules.leave_out_unscored else None,
    )


def _calibrate(evaluated: Evaluated) -> Calibration | None:
    scores = evaluated.keypoint_scores
    if (scores == np.round(scores)).all():
        return None
    return calibrate_keypoint_scores(
        evaluated.detections, scores, evaluated.truth, evaluated.skeleton.sigmas, max_detections=evaluated.protocol.max_detections
    )


def _mean_over_categories(precision: Floats) -> list[Floats]:
    """Return the curve (101,) of each threshold for all sizes, averaged over the categories with annotated instances."""
    whole = precision[..., 0]
    defined = (whole > -1).all(axis=(0, 1)) if whole.size else np.zeros(0, dtype=bool)
    return list(whole[..., defined].mean(axis=2) if defined.any() else np.full(whole.shape[:2], -1.0))
