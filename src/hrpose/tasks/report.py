"""Say how good a run is: the table on the screen, and a report in its folder for each kind of boxes."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from omegaconf import DictConfig
from rich.console import Console

from hrpose.callbacks import ResultFiles
from hrpose.config import build
from hrpose.files import write_json
from hrpose.metrics.functional import PCKH_COLUMNS
from hrpose.metrics.pck import PCKH_LOG_NAMES
from hrpose.metrics.rows import Predictions
from hrpose.report import (
    COLUMNS,
    Diagnosis,
    Evaluated,
    Measurement,
    PckhProtocol,
    Protocol,
    analyse,
    show_pckh,
    write_pckh,
    write_report,
)
from hrpose.report.crops import draw_predictions
from hrpose.report.table import say, show_measurements
from hrpose.structures import GroundTruth
from hrpose.tasks.assemble import Assembly
from hrpose.tasks.diagnose import diagnose_run
from hrpose.tasks.evaluate_pck import report_jhmdb
from hrpose.tasks.results import ScoreResult
from hrpose.tasks.shown_crops import worst_crops

_BOXES = {"gt": "ground-truth boxes", "det": "detector boxes", "none": "whole images"}


def report_run(
    cfg: DictConfig,
    assembly: Assembly,
    numbers: Sequence[Mapping[str, float]],
    *,
    stage: str,
    checkpoint: Path | str,
) -> ScoreResult:
    """Print a row of numbers and the protocol of each kind of boxes, and write the reports; from the first process only.

    Args:
        cfg: the configuration of the run.
        assembly: its parts.
        numbers: what `Trainer.validate` or `Trainer.test` returned.
        stage: "val" or "test", the prefix of the logged names.
        checkpoint: what was measured.

    Returns:
        The score is AP, or mean PCKh in percent, of the first kind of boxes; nan where there is none. Only the first process
        has reports.
    """
    logged = {name: value for row in numbers for name, value in row.items()}
    kinds = list(assembly.datamodule.val_boxes)
    leading = assembly.module.pose_metrics[kinds[0]].leading
    score = float(logged.get(f"{stage}/{leading}_{kinds[0]}", math.nan))
    pages: list[Path] = []
    diagnosis: Diagnosis | None = None
    if assembly.trainer.is_global_zero:
        console = Console()
        pages += _report_ap(cfg, assembly, logged, stage, Path(checkpoint).name, console)
        pages += _report_pckh(assembly, logged, stage, console)
        diagnosis = diagnose_run(cfg, assembly, score)
        if cfg.get("report_images") and not any(page.suffix == ".html" for page in pages):
            say(console, "report_images: no page was written that could show them; only AP has one.")
        limit = getattr(assembly.trainer, f"limit_{stage}_batches")
        if isinstance(limit, int) or limit < 1:  # 1 is a batch, 1.0 are all
            say(
                console,
                f"trainer.limit_{stage}_batches={limit}: persons beyond were not looked at and count as missed.",
            )
        say(console, f"Measured: {checkpoint}")
        for page in pages:
            say(console, f"Report: {page}")
        say(console, f"Everything this run leaves is in {cfg.paths.run}")
        if diagnosis is not None:
            write_json(Path(cfg.paths.run) / "results" / "diagnosis.json", diagnosis.to_dict())
            say(console, f"\n{diagnosis}")
    return ScoreResult(
        run_dir=Path(cfg.paths.run),
        score=score,
        numbers={name.removeprefix(f"{stage}/"): float(value) for name, value in logged.items()},
        measured=Path(checkpoint),
        reports=tuple(pages),
        diagnosis=diagnosis,
    )


def _report_ap(
    cfg: DictConfig, assembly: Assembly, logged: Mapping[str, float], stage: str, measured: str, console: Console
) -> list[Path]:
    """Print the ten numbers of each kind of boxes whose AP was measured, and write their reports."""
    measurements = {
        kind: Measurement(
            protocol,
            {column: logged.get(f"{stage}/{column}_{kind}", math.nan) for column in COLUMNS},
            np.zeros(0),
            seed=0,
        )
        for kind, protocol in assembly.protocols.items()
        if isinstance(protocol, Protocol)
    }
    if not measurements:
        return []
    pages = _write_reports(cfg, assembly, measurements, measured, console)
    show_measurements(measurements, console)
    return pages


def _report_pckh(assembly: Assembly, logged: Mapping[str, float], stage: str, console: Console) -> list[Path]:
    """Print the table of MPII where PCKh was measured, and write it with its protocol beside the result files."""
    files = []
    for kind, protocol in assembly.protocols.items():
        if not isinstance(protocol, PckhProtocol):
            continue
        numbers = {name: logged.get(f"{stage}/{PCKH_LOG_NAMES[name]}_{kind}", math.nan) for name in PCKH_COLUMNS}
        show_pckh(numbers, protocol, console)
        for callback in assembly.trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, ResultFiles):
                files.append(callback.folder / f"pckh_{kind}.json")
                write_pckh(numbers, protocol, files[-1])
    return files


def _write_reports(
    cfg: DictConfig, assembly: Assembly, measurements: dict[str, Measurement], measured: str, console: Console
) -> list[Path]:
    """Write report_gt and report_det beside the result files, and take over what they say of the interval of AP."""
    pages = []
    for callback in assembly.trainer.callbacks:  # type: ignore[attr-defined]
        if not isinstance(callback, ResultFiles):
            continue
        for kind, (predictions, truth) in callback.evaluated.items():
            evaluated = Evaluated(
                predictions.detections,
                predictions.keypoint_scores,
                truth,
                assembly.module.skeleton,
                measurements[kind].protocol,
                build(cfg.protocol),
            )
            report = analyse(evaluated, title=f"{cfg.name}: {measured} on {_BOXES[kind]}")
            measurements[kind] = report.measurement
            worst = _draw_worst(assembly, kind, predictions, truth) if cfg.get("report_images") else ""
            pages.append(write_report(report, callback.folder, f"report_{kind}", predictions=worst))
            pages += _report_pck(assembly, evaluated, callback.folder / f"pck_{kind}.json", console)
    return pages


def _report_pck(assembly: Assembly, evaluated: Evaluated, file: Path, console: Console) -> list[Path]:
    """Write and print the PCK of JHMDB, where its protocol is followed; return the file."""
    if evaluated.rules.measure != "pck":
        return []
    annotations = assembly.datamodule.files.coco(assembly.datamodule.val_annotations)
    report_jhmdb(evaluated, annotations.image_sizes, file, console)
    return [file]


def _draw_worst(assembly: Assembly, kind: str, predictions: Predictions, truth: GroundTruth) -> str:
    """Draw the section of the worst predictions; it reads their images again."""
    crops = worst_crops(assembly.datamodule, kind, predictions, truth)
    note = f"The {len(crops)} annotated instances whose best pose has the lowest OKS, in the crops of their annotated boxes."
    return draw_predictions(crops, assembly.module.skeleton, note=note)
