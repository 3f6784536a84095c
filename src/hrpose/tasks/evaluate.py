"""hrpose evaluate: evaluate a COCO result file of any tool by AP, or results of JHMDB and MPII by PCK and PCKh."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig
from rich.console import Console

from hrpose.annotations.coco_annotations import CocoAnnotations
from hrpose.annotations.mpii import read_mpii_preds, read_mpii_truth
from hrpose.annotations.reader import InstanceFiles, is_mpii
from hrpose.config import build, plain
from hrpose.errors import DataError, DataWarning
from hrpose.files import write_json
from hrpose.metrics.functional import head_sizes, jhmdb_table, normalized_errors, pckh_table
from hrpose.metrics.functional.pck import closest_pairs, countable
from hrpose.metrics.results import ScoredResults, read_entries, read_scored_results
from hrpose.progress import show_progress
from hrpose.report import Diagnosis, Evaluated, FileStamp, PckhProtocol, Protocol, analyse, show_pckh, write_pckh, write_report
from hrpose.report.analysis import STEPS
from hrpose.report.protocol import Benchmark, advise_protocol, name_areas, name_num_keypoints, name_sigmas, warn_of_sigmas
from hrpose.report.table import make_table, say, show_report
from hrpose.skeletons import JHMDB, KNOWN_SKELETONS, Skeleton
from hrpose.structures import GroundTruth

logger = logging.getLogger(__name__)

_FAR = 1e6  # pixels: position of the keypoints of a missed instance
_PCK_RULES = "PCK@.2: a keypoint is correct if its error is below 0.2 of the longer side of the clipped box, or of the torso"
_FILE_OPTIONS = ("category", "keypoint_fields", "area_from_bbox", "visibility_map", "bbox_from_keypoints")


@dataclass(frozen=True)
class ScoreResult:
    """The result of `hrpose test` or `hrpose evaluate`.

    Attributes:
        run_dir: folder of the run.
        score: AP with the first source of boxes, or mean PCKh in percent; NaN if undefined.
        numbers: all metrics by name, such as "AP", "AP50", and "AP_gt" for the boxes "gt".
        measured: the checkpoint, weights or result file.
        reports: HTML pages, and tables of PCKh.
        diagnosis: the likely cause of an AP below 0.05; otherwise None.
    """

    run_dir: Path
    score: float
    numbers: Mapping[str, float]
    measured: Path
    reports: tuple[Path, ...]
    diagnosis: Diagnosis | None = None


def evaluate(cfg: DictConfig) -> ScoreResult:
    """Evaluate a result file, print the metrics, and write the report to the run folder.

    Returns:
        The metrics; the score is AP, -1 without annotated instances, or the PCK or PCKh of the protocol.
    """
    results, folder = Path(cfg.results), Path(cfg.paths.run)
    if cfg.protocol.measure == "pckh":
        return _evaluate_mpii(Path(cfg.annotations), results, folder)
    options = read_options(cfg)
    if cfg.protocol.measure == "pck":
        sizes = options["files"].coco(Path(cfg.annotations)).image_sizes
        file = folder / "pck.json"
        numbers = report_jhmdb(read_evaluated(cfg.annotations, results, **options), sizes, file, Console())
        return ScoreResult(folder, numbers["PCK"], numbers, measured=results, reports=(file,))
    with show_progress("", len(STEPS) + 1, "steps", delay=1.0) as advance:
        advance("reading")
        evaluated = read_evaluated(cfg.annotations, results, **options)
        title = f"{results.parent.name}/{results.name}" if results.parent.name else results.name
        report = analyse(evaluated, title=title, num_samples=cfg.num_samples, seed=cfg.seed, on_step=advance)
    page = write_report(report, folder)
    console = Console()
    show_report(report, console)
    say(console, f"Report: {page} and {page.with_suffix('.json').name}")
    numbers = dict(report.measurement.numbers)
    return ScoreResult(folder, numbers["AP"], numbers, measured=results, reports=(page,))


def read_evaluated(
    annotations_file: str | Path,
    results_file: str | Path,
    *,
    files: InstanceFiles | None = None,
    sigmas: str | Sequence[float] | None = None,
    max_detections: int = 20,
    rules: Benchmark | None = None,
) -> Evaluated:
    """Read a result file and its annotations.

    Args:
        annotations_file: COCO keypoint annotations.
        results_file: rows {image_id, category_id, keypoints, score}; keypoints in the fields of the annotations, or all in one.
        files: how the annotations are read.
        sigmas: the name of a known skeleton, such as "coco", or K numbers; None uses those of the category, or derives them
            from the keypoint names.
        max_detections: number of predictions per image that count, those with the highest scores.
        rules: the rules of a benchmark; its sigmas, fields and area share are arguments above.

    Raises:
        ValueError: if a file cannot be used, or results and annotations do not match; the message names file and rows.

    Warns:
        DataWarning: as `read_annotations`; for results that are dropped; if another benchmark fits the file better; and for
            implausible sigmas, coordinates or scores.
    """
    rules, files = rules or Benchmark(), files or InstanceFiles()
    if max_detections < 1:
        raise ValueError(f"Expected `max_detections`, the poses per image, to be at least 1, but got {max_detections}.")
    annotations = files.coco(Path(annotations_file))
    advise_protocol(annotations, rules)
    skeleton = _choose_skeleton(annotations, sigmas)
    truth = rules.adjust(annotations.ground_truth(), files.area_from_bbox)
    scored = read_scored_results(results_file, truth, keypoint_fields=files.keypoint_fields)
    scored = _apply_rules(_of_category(scored, annotations, Path(results_file)), rules, Path(results_file))
    stated = describe_truth(annotations, truth, files, rules, skeleton.sigmas)
    protocol = Protocol(annotations=FileStamp.of(annotations_file), **stated, max_detections=max_detections)
    warn_of_sigmas(skeleton.sigmas)
    _warn_of_numbers(scored, truth, Path(results_file))
    detections, keypoint_scores, part_scores = scored
    return Evaluated(detections, keypoint_scores, truth, skeleton, protocol, rules, part_scores if rules.part_scores else {})


def describe_truth(
    annotations: CocoAnnotations, truth: GroundTruth, files: InstanceFiles, rules: Benchmark, sigmas: Sequence[float]
) -> dict[str, Any]:
    """Return the entries of a protocol that the annotations and the rules determine."""
    return {
        "category": str(annotations.category.get("name")),
        "num_images": len(truth.image_ids),
        "num_instances": int((~truth.is_ignored).sum()),
        "name": rules.name,
        "sigmas": name_sigmas(sigmas),
        "areas": name_areas(annotations.has_area, files.area_from_bbox, use_area=rules.use_area),
        "num_keypoints": name_num_keypoints(truth, files.visibility_map),
    }


def read_options(cfg: DictConfig) -> dict[str, Any]:
    """Return the arguments of `read_evaluated` from a configuration."""
    files = InstanceFiles(**{name: plain(cfg[name]) for name in _FILE_OPTIONS})
    sigmas, rules = plain(cfg.sigmas), build(cfg.protocol)
    return {"files": files, "sigmas": sigmas, "max_detections": cfg.max_detections, "rules": rules}


def report_jhmdb(evaluated: Evaluated, image_sizes: NDArray[np.int32], file: Path, console: Console) -> dict[str, float]:
    """Compute PCK@.2 of poses as MMPose does for JHMDB, print it, and write it to a JSON file.

    Poses and annotations are in pixels counted from 1, as in the files of the dataset. `image_sizes` (I, 2) are width and height
    of the images of the ground truth; 0 if unknown.
    """
    truth, found = evaluated.truth, evaluated.detections
    if truth.keypoints.shape[1] != JHMDB.num_keypoints:
        raise ValueError(
            f"Expected the 15 keypoints of JHMDB for protocol=jhmdb, but {evaluated.protocol.annotations.name} has "
            f"{truth.keypoints.shape[1]}."
        )
    rows, persons = closest_pairs(found, truth, max_detections=evaluated.protocol.max_detections)
    keypoints = np.full(truth.keypoints.shape, -_FAR)
    keypoints[persons] = found.keypoints[rows]
    counted, order = countable(truth), np.argsort(truth.image_ids)
    sizes = image_sizes[order[np.searchsorted(truth.image_ids[order], truth.object_image_ids)]]
    numbers = jhmdb_table(
        keypoints[counted], truth.keypoints[counted], truth.visibility[counted] > 0, truth.bbox[counted], sizes[counted]
    )
    table = make_table("PCK@.2 of JHMDB", ["of the", *(name.split()[0] for name in list(numbers)[:7]), "mean"])
    for part, size in ((" PCK", "box"), (" tPCK", "torso")):
        shown = [value for name, value in numbers.items() if f" {name}".endswith(part)]
        table.add_row(size, *("" if value < 0 else f"{value:.3f}" for value in shown))
    console.print(table)
    missed = f"{counted.sum() - len(persons)} of {counted.sum()} persons have no prediction and count as wrong"
    say(console, f"Protocol: {evaluated.protocol}; {_PCK_RULES}; {missed}")
    write_json(file, {"protocol": {**evaluated.protocol.to_dict(), "rules": _PCK_RULES}, "numbers": numbers})
    say(console, f"Wrote {file}")
    return numbers


def _choose_skeleton(annotations: CocoAnnotations, sigmas: str | Sequence[float] | None) -> Skeleton:
    """Return a skeleton with the keypoint names of the category and the given sigmas."""
    category, num_keypoints = annotations.category, annotations.visibility.shape[1]
    given, names, title = category.get("sigmas"), category.get("keypoints"), str(category.get("name"))
    mirror = {key: category.get(key) for key in ("flip_pairs", "flip_idx")}
    if len(names or ()) != num_keypoints:
        names, mirror = None, {}
    if isinstance(sigmas, str):
        if sigmas not in KNOWN_SKELETONS:
            choices = f"{', '.join(KNOWN_SKELETONS)} or a list of numbers"
            raise ValueError(f"Expected `sigmas` to be {choices}, but got {sigmas!r}.")
        known = KNOWN_SKELETONS[sigmas]
        given, names = known.sigmas, names or (known.keypoint_names if known.num_keypoints == num_keypoints else None)
    elif sigmas is not None:
        given = sigmas
    if isinstance(given, Sequence) and len(given) != num_keypoints:
        raise ValueError(
            f"Expected {num_keypoints} `sigmas`, one per keypoint of category {title!r} of {annotations.file}, but got "
            f"{len(given)}. Set a list, sigmas=[0.05,...]."
        )
    if given is None and not names:
        raise ValueError(
            f"Expected keypoint names in category {title!r} of {annotations.file} to derive sigmas, but found none. Add "
            "`keypoints`, or set sigmas=<name of a skeleton> or a list of numbers."
        )
    names = names or [f"keypoint {place}" for place in range(num_keypoints)]
    try:
        return Skeleton.from_category({"keypoints": names, "name": title, "sigmas": given, **mirror})
    except ValueError as error:
        raise DataError(f"{annotations.file}: category {title!r} has no valid skeleton. {error}") from error


def _of_category(scored: ScoredResults, annotations: CocoAnnotations, file: Path) -> ScoredResults:
    """Keep the rows of the evaluated category, with a warning for others; ids that the annotations lack are an error."""
    categories = scored.detections.category_ids
    name, own = annotations.category.get("name"), list(annotations.own_category_ids)
    unknown = np.flatnonzero(~np.isin(categories, annotations.category_ids))
    if len(unknown):
        known = f"{list(annotations.category_ids)}; {name!r} is {', '.join(map(str, own))}"
        raise ValueError(
            f"Expected category ids of the annotations ({known}) in {file}, but {len(unknown)} rows have "
            f"{np.unique(categories[unknown])[:5].tolist()}, such as row {unknown[0]} (counted from 0)."
        )
    mine = np.isin(categories, own)
    if not mine.all():
        logger.warning("%s: dropped %d of %d rows, of other categories than %r.", file, (~mine).sum(), len(mine), name)
        scored = scored.select(mine)
    one = np.full(len(scored.detections), own[0], np.int64)  # several categories are evaluated as one
    return scored._replace(detections=replace(scored.detections, category_ids=one))


def _apply_rules(scored: ScoredResults, rules: Benchmark, file: Path) -> ScoredResults:
    """Drop the results that the benchmark does not count, with a warning.

    Whole bodies are ranked by `wholebody_score` if the benchmark uses it and the results have it; bodies keep `score`.
    """
    counted = rules.counted(scored.keypoint_scores)
    if not counted.all():
        logger.warning(
            "%s: dropped %d of %d rows, whose keypoint scores are all 0, as in the evaluation of %s.",
            *(file, (~counted).sum(), len(counted), rules.name),
        )
        scored = scored.select(counted)
    scores = scored.part_scores.get("wholebody_score") if rules.part_scores else None
    if scores is None:
        return scored
    parts = {**scored.part_scores, "body_score": scored.detections.scores}
    return scored._replace(detections=replace(scored.detections, scores=scores), part_scores=parts)


def _warn_of_numbers(scored: ScoredResults, truth: GroundTruth, file: Path) -> None:
    """Warn of implausible coordinates and scores."""
    points, scores = scored.detections.keypoints, scored.keypoint_scores
    annotated = truth.keypoints[truth.visibility > 0]
    texts = []
    if points.size and annotated.size and points.min() >= 0 and points.max() <= 1 < np.median(annotated):
        texts.append(
            "expected keypoints in pixels, as in the annotations, but all are between 0 and 1. Multiply them by the width and "
            "height of the image."
        )
    if scores.size and scores.max() > 1 and (scores != np.round(scores)).any():
        texts.append(
            f"expected keypoint scores from 0 to 1, but {np.count_nonzero(scores > 1)} of {scores.size} are above 1 (up to "
            f"{scores.max():g}), so reports of scores are wrong. Write [x, y, score] with scores from 0 to 1."
        )
    for text in texts:
        warnings.warn(f"{file}: {text}", DataWarning, stacklevel=3)


def _evaluate_mpii(annotations: Path, results: Path, folder: Path) -> ScoreResult:
    """Compute PCKh as the HRNet authors' code does, print it, and write pckh.json.

    The results are rows of `entry` and `keypoints`, counted from 0, as `hrpose test` writes them; or pred.mat of the authors.
    """
    file = _ground_truth(annotations)
    truth = read_mpii_truth(file)
    if results.suffix == ".mat":
        keypoints = read_mpii_preds(results, len(truth))
    else:
        keypoints = read_entries(results, *truth.labelled.shape) + 1  # MPII counts pixels from 1
    missed = np.flatnonzero(np.isnan(keypoints).all(axis=(1, 2)))
    errors = normalized_errors(np.where(np.isnan(keypoints), -_FAR, keypoints), truth.keypoints, head_sizes(truth.head_boxes))
    numbers = pckh_table(errors, truth.labelled)
    stamp, truth_stamp = FileStamp.of(annotations), FileStamp.of(file)
    protocol = PckhProtocol(annotations=stamp, ground_truth=truth_stamp, num_images=None, num_instances=len(truth))
    console = Console()
    show_pckh(numbers, protocol, console)
    if len(missed):
        say(console, f"{len(missed)} of {len(truth)} persons have no prediction and count as wrong.")
    page = folder / "pckh.json"
    write_pckh(numbers, protocol, page)
    say(console, f"Wrote {page}")
    return ScoreResult(folder, numbers["Mean"], numbers, results, (page,))


def _ground_truth(annotations: Path) -> Path:
    """Return the file with head boxes: gt_valid.mat, an .npz with its arrays, or the one of these in the folder of valid.json."""
    if annotations.suffix in (".mat", ".npz"):
        return annotations
    found = [file for end in ("mat", "npz") if (file := annotations.with_name(f"gt_{annotations.stem}.{end}")).is_file()]
    if not is_mpii(annotations) or not found:
        raise ValueError(
            "Expected gt_valid.mat of MPII, an .npz with its arrays, or a valid.json in the same folder, but got "
            f"annotations={annotations}. PCKh needs head boxes: set annotations=<gt_valid.mat>."
        )
    return found[0]
