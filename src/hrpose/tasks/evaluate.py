"""hrpose evaluate: measure a COCO result file of any tool against its annotations."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from rich.console import Console

from hrpose.annotations.coco import CocoAnnotations, read_annotations
from hrpose.config import build, plain
from hrpose.errors import DataError, DataWarning
from hrpose.metrics.results import ScoredResults, read_scored_results
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
from hrpose.report.protocol import Benchmark, advise_protocol, warn_of_sigmas
from hrpose.report.table import say, show_report
from hrpose.skeletons import KNOWN_SKELETONS, Skeleton
from hrpose.structures import GroundTruth
from hrpose.tasks.evaluate_pck import evaluate_jhmdb, evaluate_mpii
from hrpose.tasks.results import ScoreResult

logger = logging.getLogger(__name__)

_DELAY = 1.0  # seconds after which a progress bar is shown


def evaluate(cfg: DictConfig) -> ScoreResult:
    """Evaluate a result file, print the numbers, and leave the report in the run's folder.

    Args:
        cfg: a composed and validated configuration of the verb `evaluate`.

    Returns:
        The numbers; the score is AP, -1 if nobody is annotated, or the PCK or PCKh of the protocol.
    """
    results = Path(cfg.results)
    if cfg.protocol.measure == "pckh":
        return evaluate_mpii(Path(cfg.annotations), results, Path(cfg.paths.run))
    if cfg.protocol.measure == "pck":
        options = read_options(cfg)
        evaluated = read_evaluated(cfg.annotations, results, **options)
        sizes = _read(cfg.annotations, options).image_sizes
        return evaluate_jhmdb(evaluated, sizes, results, Path(cfg.paths.run))
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
    rules: Benchmark | None = None,
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
        rules: how a benchmark measures; of its sigmas, fields and area only what the other arguments repeat is used.

    Raises:
        ValueError: if a file cannot be used, or the two do not fit: naming the file and the rows or ids at fault.

    Warns:
        DataWarning: as `read_annotations`; of results that are left out; of a file that looks like that of another benchmark;
            and of sigmas, coordinates or scores that cannot be right.
    """
    rules = rules or Benchmark()
    if max_detections < 1:
        raise ValueError(
            f"Expected `max_detections`, poses of one photo that count, to be at least 1, but got {max_detections}."
        )
    options: dict[str, Any] = {
        "category": category,
        "keypoint_fields": keypoint_fields,
        "area_from_bbox": area_from_bbox,
    }
    options |= {"visibility_map": visibility_map, "bbox_from_keypoints": bbox_from_keypoints}
    annotations = _read(annotations_file, options)
    advise_protocol(annotations, rules)
    skeleton = _choose_skeleton(annotations, sigmas)
    truth = rules.adjust(annotations.ground_truth(), area_from_bbox)
    scored = read_scored_results(results_file, truth, keypoint_fields=keypoint_fields)
    scored = _of_category(scored, annotations, Path(results_file))
    scored = _ranked(_counted(scored, rules, Path(results_file)), rules)
    protocol = Protocol(
        annotations=FileStamp.of(annotations_file),
        category=str(annotations.category.get("name")),
        num_images=len(truth.image_ids),
        num_persons=int((~truth.is_ignored).sum()),
        name=rules.name,
        sigmas=name_sigmas(skeleton.sigmas),
        max_detections=max_detections,
        areas=name_areas(annotations.has_area, area_from_bbox, use_area=rules.use_area),
        num_keypoints=name_num_keypoints(truth, visibility_map),
    )
    warn_of_sigmas(skeleton.sigmas)
    _warn_of_numbers(scored, truth, Path(results_file))
    detections, keypoint_scores, part_scores = scored
    return Evaluated(
        detections, keypoint_scores, truth, skeleton, protocol, rules, part_scores if rules.part_scores else {}
    )


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
    return {**{name: plain(cfg[name]) for name in names}, "rules": build(cfg.protocol)}


def _read(file: str | Path, options: Mapping[str, Any]) -> CocoAnnotations:
    """Read the annotations; options that are not of the reader are not looked at."""
    names = ("category", "keypoint_fields", "area_from_bbox", "visibility_map", "bbox_from_keypoints")
    return read_annotations(file, **{name: options[name] for name in names})


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
    if isinstance(given, Sequence) and len(given) != num_keypoints:
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
    try:
        return Skeleton.from_category({"keypoints": names, "name": title, "sigmas": given, **mirror})
    except ValueError as error:
        raise DataError(f"{annotations.file}: no skeleton can be made of category {title!r}. {error}") from error


def _of_category(scored: ScoredResults, annotations: CocoAnnotations, file: Path) -> ScoredResults:
    """Keep the rows of the evaluated category; those of ids that do not exist are refused, the others are counted."""
    categories = scored.detections.category_ids
    unknown = np.flatnonzero(~np.isin(categories, annotations.category_ids))
    name, own = annotations.category.get("name"), list(annotations.own_category_ids)
    of_category = ", ".join(map(str, own))
    if len(unknown):
        found = np.unique(categories[unknown])[:5].tolist()
        raise ValueError(
            f"Expected {file} to have category ids of the annotations ({list(annotations.category_ids)}; {name!r} is "
            f"{of_category}), but {len(unknown)} rows are otherwise: they have {found}, the first is row {unknown[0]} counted "
            "from 0."
        )
    mine = np.isin(categories, own)
    if not mine.all():
        logger.warning(
            "%s: %d of %d rows are of other categories than %r and left out.", file, (~mine).sum(), len(mine), name
        )
        scored = scored.select(mine)
    one = np.full(len(scored.detections), own[0], np.int64)  # several categories are evaluated as one
    return scored._replace(detections=replace(scored.detections, category_ids=one))


def _counted(scored: ScoredResults, rules: Benchmark, file: Path) -> ScoredResults:
    """Leave out the results that the benchmark does not count, and say how many."""
    counted = rules.counted(scored.keypoint_scores)
    if not counted.all():
        logger.warning(
            "%s: %d of %d rows have only keypoint scores of 0 and are left out, as %s is measured.",
            file, (~counted).sum(), len(counted), rules.name,
        )  # fmt: skip
        scored = scored.select(counted)
    return scored


def _ranked(scored: ScoredResults, rules: Benchmark) -> ScoredResults:
    """Rank the whole by its own score, where the benchmark does and the results have it; the body keeps `score`."""
    scores = scored.part_scores.get("wholebody_score") if rules.part_scores else None
    if scores is None:
        return scored
    parts = {**scored.part_scores, "body_score": scored.detections.scores}
    return scored._replace(detections=replace(scored.detections, scores=scores), part_scores=parts)


def _warn_of_numbers(scored: ScoredResults, truth: GroundTruth, file: Path) -> None:
    """Warn of coordinates and scores that cannot be right, with a line each."""
    points, scores = scored.detections.keypoints, scored.keypoint_scores
    annotated = truth.keypoints[truth.visibility > 0]
    if points.size and annotated.size and points.min() >= 0 and points.max() <= 1 < np.median(annotated):
        warnings.warn(
            f"{file}: all keypoints are between 0 and 1, but the annotations are in pixels. Multiply them by the width and "
            "height of the image.",
            DataWarning,
            stacklevel=3,
        )
    if scores.size and scores.max() > 1 and (scores != np.round(scores)).any():
        warnings.warn(
            f"{file}: {np.count_nonzero(scores > 1)} of {scores.size} keypoint scores are above 1 (up to {scores.max():g}), so "
            "they are no probabilities, and what reports say of scores is wrong. Write [x, y, score] with scores from 0 to 1.",
            DataWarning,
            stacklevel=3,
        )
