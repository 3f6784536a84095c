"""Say how good a run is: the table on the screen, and a report in its folder for each kind of boxes."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from omegaconf import DictConfig
from rich.console import Console

from hrpose.callbacks import ResultFiles
from hrpose.report import COLUMNS, Evaluated, Measurement, analyse, write_report
from hrpose.report.table import say, show_measurements
from hrpose.tasks.assemble import Assembly

_BOXES = {"gt": "ground-truth boxes", "det": "detector boxes"}


def report_run(
    cfg: DictConfig,
    assembly: Assembly,
    numbers: Sequence[Mapping[str, float]],
    *,
    stage: str,
    checkpoint: Path | str,
) -> float:
    """Print a row of numbers and the protocol of each kind of boxes, and write the reports; from the first process only.

    Args:
        cfg: the configuration of the run.
        assembly: its parts.
        numbers: what `Trainer.validate` or `Trainer.test` returned.
        stage: "val" or "test", the prefix of the logged names.
        checkpoint: what was measured.

    Returns:
        AP of the first kind of boxes; nan where there is none.
    """
    logged = {name: value for row in numbers for name, value in row.items()}
    kinds = list(assembly.datamodule.val_boxes)
    if assembly.trainer.is_global_zero:
        console = Console()
        measurements = {
            kind: Measurement(
                assembly.protocols[kind],
                {column: logged.get(f"{stage}/{column}_{kind}", math.nan) for column in COLUMNS},
                np.zeros(0),
                seed=0,
            )
            for kind in kinds
        }
        pages = _write_reports(cfg, assembly, measurements, Path(checkpoint).name)
        show_measurements(measurements, console)
        say(console, f"Measured: {checkpoint}")
        for page in pages:
            say(console, f"Report: {page}")
        say(console, f"Everything this run leaves is in {cfg.paths.run}")
    return float(logged.get(f"{stage}/AP_{kinds[0]}", math.nan))


def _write_reports(
    cfg: DictConfig, assembly: Assembly, measurements: dict[str, Measurement], measured: str
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
                assembly.protocols[kind],
            )
            report = analyse(evaluated, title=f"{cfg.name}: {measured} on {_BOXES[kind]}")
            measurements[kind] = report.measurement
            pages.append(write_report(report, callback.folder, f"report_{kind}"))
    return pages
