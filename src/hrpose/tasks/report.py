"""Report the metrics of a run: tables on the screen, and one report per source of boxes in the run folder."""

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
from hrpose.report import COLUMNS, Diagnosis, Evaluated, Measurement, analyse, show_pckh, write_pckh, write_report
from hrpose.report.crops import draw_predictions
from hrpose.report.protocol import PckhProtocol, Protocol
from hrpose.report.table import say, show_measurements
from hrpose.tasks.assemble import Assembly, callbacks_of
from hrpose.tasks.diagnose import diagnose_run
from hrpose.tasks.evaluate import ScoreResult, report_jhmdb
from hrpose.tasks.shown_crops import worst_crops

_WORST = "The {} annotated instances with the lowest OKS of their best pose, in the crops of their annotated boxes."
_BOXES = {"gt": "ground-truth boxes", "det": "detector boxes", "none": "whole images"}


def report_run(
    cfg: DictConfig, assembly: Assembly, numbers: Sequence[Mapping[str, float]], *, stage: str, checkpoint: Path | str
) -> ScoreResult:
    """Print metrics and protocol for each source of boxes, and write the reports, in the first process only.

    Args:
        cfg: the configuration of the run.
        assembly: its parts.
        numbers: return value of `Trainer.validate` or `Trainer.test`.
        stage: "val" or "test", the prefix of the logged names.
        checkpoint: the evaluated weights.
    """
    logged = {name: value for row in numbers for name, value in row.items()}
    boxes = assembly.datamodule.val_boxes[0]
    leading = assembly.module.pose_metrics[boxes].leading
    score = float(logged.get(f"{stage}/{leading}_{boxes}", math.nan))
    pages: list[Path] = []
    diagnosis: Diagnosis | None = None
    if assembly.trainer.is_global_zero:
        console = Console()
        pages += _report_ap(cfg, assembly, logged, stage, Path(checkpoint).name, console)
        pages += _report_pckh(assembly, logged, stage, console)
        diagnosis = diagnose_run(cfg, assembly, score)
        if cfg.get("report_images") and not any(page.suffix == ".html" for page in pages):
            say(console, "report_images has no effect: only reports of AP have an HTML page.")
        limit = getattr(assembly.trainer, f"limit_{stage}_batches")
        if isinstance(limit, int) or limit < 1:  # 1 is a batch, 1.0 are all
            say(console, f"trainer.limit_{stage}_batches={limit}: instances of other batches count as missed.")
        say(console, f"Evaluated: {checkpoint}")
        for page in pages:
            say(console, f"Report: {page}")
        say(console, f"Run folder: {cfg.paths.run}")
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
    """Print the ten COCO numbers for each source of boxes with AP, and write report_gt and report_det."""
    measurements, pages = {}, []
    for kind, protocol in assembly.protocols.items():
        if isinstance(protocol, Protocol):
            numbers = {column: logged.get(f"{stage}/{column}_{kind}", math.nan) for column in COLUMNS}
            measurements[kind] = Measurement(protocol, numbers, np.zeros(0), seed=0)
    for writer in callbacks_of(assembly.trainer, ResultFiles):
        for kind, (predictions, truth) in writer.evaluated.items():
            detections, scores = predictions.detections, predictions.keypoint_scores
            skeleton, protocol = assembly.module.skeleton, measurements[kind].protocol
            evaluated = Evaluated(detections, scores, truth, skeleton, protocol, build(cfg.protocol))
            report = analyse(evaluated, title=f"{cfg.name}: {measured} on {_BOXES[kind]}")
            measurements[kind] = report.measurement  # with the interval of AP
            worst = ""
            if cfg.get("report_images"):
                crops = worst_crops(assembly.datamodule, kind, predictions, truth)
                worst = draw_predictions(crops, skeleton, note=_WORST.format(len(crops)))
            pages.append(write_report(report, writer.folder, f"report_{kind}", predictions=worst))
            if evaluated.rules.measure == "pck":
                pages.append(writer.folder / f"pck_{kind}.json")
                sizes = assembly.datamodule.files.coco(assembly.datamodule.val_annotations).image_sizes
                report_jhmdb(evaluated, sizes, pages[-1], console)
    if measurements:
        show_measurements(measurements, console)
    return pages


def _report_pckh(assembly: Assembly, logged: Mapping[str, float], stage: str, console: Console) -> list[Path]:
    """Print the table of PCKh for each source of boxes with PCKh, and write it to the folder of the result files."""
    files = []
    for kind, protocol in assembly.protocols.items():
        if not isinstance(protocol, PckhProtocol):
            continue
        numbers = {name: logged.get(f"{stage}/{PCKH_LOG_NAMES[name]}_{kind}", math.nan) for name in PCKH_COLUMNS}
        show_pckh(numbers, protocol, console)
        for writer in callbacks_of(assembly.trainer, ResultFiles):
            files.append(writer.folder / f"pckh_{kind}.json")
            write_pckh(numbers, protocol, files[-1])
    return files
