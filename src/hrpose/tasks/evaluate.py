"""hrpose evaluate: measure a COCO result file of any tool against its annotations."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from rich.console import Console

from hrpose.annotations.coco import CocoAnnotations, read_annotations
from hrpose.config import plain
from hrpose.metrics.functional import Detections
from hrpose.metrics.functional.oks import Floats
from hrpose.metrics.results import read_scored_results
from hrpose.progress import show_progress
from hrpose.report import (
    Evaluated,
    FileStamp,
    Protocol,
    analyse,
    name_areas,
    name_num_keypoints,
    name_sigmas,
    write_report,
)
from hrpose.report.analysis import STEPS
from hrpose.report.table import say, show_report
from hrpose.skeletons import KNOWN_SKELETONS, Skeleton
from hrpose.tasks.results import ScoreResult

logger = logging.getLogger(__name__)

_DELAY = 1.0  # seconds after which a progress bar is shown


def evaluate(cfg: DictConfig) -> ScoreResult:
    """Evaluate a result file, print the numbers, and leave the report in the run's folder.

    Args:
        cfg: a composed and validated configuration of the verb `evaluate`.

    Returns:
        The numbers; the score is AP, -1 if nobody is annotated.
    """
    results = Path(cfg.results)
    with show_progress("", len(STEPS) + 1, "steps", delay=_DELAY) as advance:
        advance("reading")
        evaluated = read_evaluated(cfg.annotations, results, **read_options(cfg))
        title = f"{results.parent.name}/{results.name}" if results.parent.name else results.name
        report = analyse(evaluated, title=title, num_samples=cfg.num_samples, seed=cfg.seed, on_step=advance)
    page = write_report(report, Path(cfg.paths.run))
    console = Console()
    show_report(report, console)
    say(console, f"Report: {page} and {page.with_suffix('.json').name}")
    numbers = dict(report.measurement.numbers)
    return ScoreResult(Path(cfg.paths.run), numbers["AP"], numbers, measured=results, reports=(page,))


def read_evaluated(
    annotations_file: str | Path,
    results_file: str | Path,
    *,
    sigmas: str | Sequence[float] | None = None,
    category: str | Sequence[str] | None = None,
    keypoint_fields: Mapping[str, int] | None = None,
    area_from_bbox: float = 1.0,
    visibility_map: Mapping[int, int] | None = None,
    bbox_from_keypoints: float | None = None,
    max_detections: int = 20,
) -> Evaluated:
    """Read a result file and what it is evaluated against.

    Args:
        annotations_file: COCO keypoint annotations.
        results_file: rows {image_id, category_id, keypoints, score}.
        sigmas: the name of a known skeleton, such as "coco", or a number for each keypoint; None takes those of the category,
            or derives them from the names of its keypoints.
        category: name of the annotated category; None takes the one that has keypoints.
        keypoint_fields: fields of an annotation, each with the number of keypoints that are taken of it; None takes
            `keypoints`. A result file may have the same fields, or all keypoints under `keypoints`.
        area_from_bbox: share of its box that an annotation without `area`, or with one below 1 % of the box, is taken to cover.
        visibility_map: visibilities of the annotations, each with the 0, 1 or 2 that replaces it.
        bbox_from_keypoints: margin of the box around the keypoints that is taken where an annotation has no box.
        max_detections: how many predictions of a photo count, the best first.

    Raises:
        ValueError: if a file cannot be used, or the two do not fit: naming the file and the rows or ids at fault.

    Warns:
        DataWarning: as `read_annotations`.
    """
    if max_detections < 1:
        raise ValueError(
            f"Expected `max_detections`, poses of one photo that count, to be at least 1, but got {max_detections}."
        )
    annotations = read_annotations(
        annotations_file,
        category=category,
        keypoint_fields=keypoint_fields,
        area_from_bbox=area_from_bbox,
        visibility_map=visibility_map,
        bbox_from_keypoints=bbox_from_keypoints,
    )
    skeleton = _choose_skeleton(annotations, sigmas)
    truth = annotations.ground_truth()
    detections, keypoint_scores = read_scored_results(results_file, truth, keypoint_fields=keypoint_fields)
    detections, keypoint_scores = _of_category(detections, keypoint_scores, annotations, Path(results_file))
    protocol = Protocol(
        annotations=FileStamp.of(annotations_file),
        category=str(annotations.category.get("name")),
        num_images=len(truth.image_ids),
        num_persons=int((~truth.is_ignored).sum()),
        sigmas=name_sigmas(skeleton.sigmas),
        max_detections=max_detections,
        areas=name_areas(annotations.has_area, area_from_bbox),
        num_keypoints=name_num_keypoints(truth, visibility_map),
    )
    return Evaluated(detections, keypoint_scores, truth, skeleton, protocol)


def read_options(cfg: DictConfig) -> dict[str, Any]:
    """Return the arguments of `read_evaluated` in a configuration."""
    names = (
        "sigmas",
        "category",
        "keypoint_fields",
        "area_from_bbox",
        "visibility_map",
        "bbox_from_keypoints",
        "max_detections",
    )
    return {name: plain(cfg[name]) for name in names}


def _choose_skeleton(annotations: CocoAnnotations, sigmas: str | Sequence[float] | None) -> Skeleton:
    """Take names and edges of the category, sigmas as they are given."""
    given, names = annotations.category.get("sigmas"), annotations.category.get("keypoints")
    title, num_keypoints = str(annotations.category.get("name")), annotations.visibility.shape[1]
    mirror = {key: annotations.category.get(key) for key in ("flip_pairs", "flip_idx")}
    if len(names or ()) != num_keypoints:
        names, mirror = None, {}
    if isinstance(sigmas, str):
        if sigmas not in KNOWN_SKELETONS:
            known_names = ", ".join(KNOWN_SKELETONS)
            raise ValueError(f"Expected `sigmas` to be {known_names} or a list of numbers, but got {sigmas!r}.")
        known = KNOWN_SKELETONS[sigmas]
        given, names = known.sigmas, names or (known.keypoint_names if known.num_keypoints == num_keypoints else None)
    elif sigmas is not None:
        given = sigmas
    if given is not None and len(given) != num_keypoints:
        raise ValueError(
            f"Expected `sigmas` to be {num_keypoints}, one for each keypoint of category {title!r} of {annotations.file}, "
            f"but got {len(given)}. Give a list, sigmas=[0.05,...]."
        )
    if given is None and not names:
        raise ValueError(
            f"Expected category {title!r} of {annotations.file} to name its keypoints, so that their sigmas are known, but it "
            "does not. Add `keypoints`, or give sigmas=<name of a skeleton> or a list of numbers."
        )
    if not names:
        names = [f"keypoint {place}" for place in range(num_keypoints)]
    return Skeleton.from_category({"keypoints": names, "name": title, "sigmas": given, **mirror})


def _of_category(
    detections: Detections, keypoint_scores: Floats, annotations: CocoAnnotations, file: Path
) -> tuple[Detections, Floats]:
    """Keep the rows of the evaluated category; those of ids that do not exist are refused, the others are counted."""
    unknown = np.flatnonzero(~np.isin(detections.category_ids, annotations.category_ids))
    name, own = annotations.category.get("name"), list(annotations.own_category_ids)
    of_category = ", ".join(map(str, own))
    if len(unknown):
        found = np.unique(detections.category_ids[unknown])[:5].tolist()
        raise ValueError(
            f"Expected {file} to have category ids of the annotations ({list(annotations.category_ids)}; {name!r} is "
            f"{of_category}), but {len(unknown)} rows are otherwise: they have {found}, the first is row {unknown[0]} counted "
            "from 0."
        )
    mine = np.isin(detections.category_ids, own)
    if not mine.all():
        logger.warning(
            "%s: %d of %d rows are of other categories than %r and left out.", file, (~mine).sum(), len(mine), name
        )
        detections = Detections(**{key: values[mine] for key, values in vars(detections).items()})
        keypoint_scores = keypoint_scores[mine]
    one = np.full(len(detections.category_ids), own[0], np.int64)  # several categories are evaluated as one
    return replace(detections, category_ids=one), keypoint_scores
