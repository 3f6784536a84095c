"""hrpose doctor: check the data of a training before it trains; without data, print the environment for a bug report."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from hrpose.annotations.checks import Finding
from hrpose.annotations.examination import Split, examine_pair, examine_split, sort_findings
from hrpose.annotations.reader import PersonFiles
from hrpose.config import ConfigError, build, plain
from hrpose.config.paths import needs_drawing
from hrpose.files import dumps, write_json
from hrpose.report.table import say
from hrpose.skeletons import Skeleton
from hrpose.tasks.environment import describe_environment

logger = logging.getLogger(__name__)

_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}
_FILE_OPTIONS = (
    *("category", "keypoint_fields", "area_from_bbox", "bbox_rules", "min_bbox_score", "visibility_map"),
    "bbox_from_keypoints",
)


@dataclass(frozen=True, eq=False)
class DoctorResult:
    """What `hrpose doctor` has found.

    Attributes:
        run_dir: folder of the run.
        findings: errors first, then warnings and notes; empty for sound data.
        environment: versions and machine, by name.
        splits: the annotation files, as far as they could be read.
        skeleton: of the keypoints; None where there is none.
        report: the JSON file.
    """

    run_dir: Path
    findings: tuple[Finding, ...]
    environment: Mapping[str, str]
    splits: tuple[Split, ...]
    skeleton: Skeleton | None
    report: Path

    @property
    def exit_status(self) -> int:
        """1 with errors, else 0."""
        return int(any(finding.severity == "error" for finding in self.findings))

    def to_dict(self) -> dict[str, Any]:
        """Return plain containers, as doctor.json has them."""
        return {
            "environment": dict(self.environment),
            "counts": count_severities(self.findings),
            "splits": [_summarise(split) for split in self.splits],
            "skeleton": None if self.skeleton is None else self.skeleton.to_dict(),
            "findings": [finding.to_dict() for finding in self.findings],
        }


def doctor(cfg: DictConfig) -> DoctorResult:
    """Check the annotation files and images that a configuration names, print the findings and write doctor.json.

    Args:
        cfg: a composed and validated configuration of the verb `doctor`.

    Returns:
        The findings; its exit status is 1 if there are errors.
    """
    if needs_drawing(cfg):
        build(cfg.prepare)
    findings: list[Finding] = []
    splits = _examine_splits(cfg)
    findings += [finding for split in splits for finding in split.findings]
    skeleton = _build_skeleton(cfg, splits, findings)
    if len(splits) == 2:
        findings += examine_pair(*splits)
    run = Path(str(cfg.paths.run))
    result = DoctorResult(
        run_dir=run,
        findings=tuple(sort_findings(findings)),
        environment=describe_environment(),
        splits=tuple(splits),
        skeleton=skeleton,
        report=run / "doctor.json",
    )
    write_json(result.report, result.to_dict(), undefined_as_null=True, indent=1)
    if cfg.format == "json":
        say(Console(), dumps(result.to_dict(), undefined_as_null=True, indent=1))
    elif not splits:
        _show_environment(result, Console())
    else:
        _show(result, Console())
    return result


def count_severities(findings: Sequence[Finding]) -> dict[str, int]:
    """Count the errors, warnings and notes."""
    counts = Counter(finding.severity for finding in findings)
    return {severity: counts[severity] for severity in ("error", "warning", "note")}


def _examine_splits(cfg: DictConfig) -> list[Split]:
    options = {name: plain(cfg.data[name]) for name in _FILE_OPTIONS if name in cfg.data}
    if isinstance(options.get("category"), list):
        options["category"] = tuple(options["category"])
    files = PersonFiles(**options, upright=bool(cfg.data.get("upright")))
    splits = []
    for name in ("train", "val"):
        file, images = cfg.data.get(f"{name}_annotations"), cfg.data.get(f"{name}_images")
        if file is not None:
            splits.append(examine_split(name, Path(file), None if images is None else Path(images), files))
    return splits


def _build_skeleton(cfg: DictConfig, splits: Sequence[Split], findings: list[Finding]) -> Skeleton | None:
    """Build the skeleton; what refuses it is a finding."""
    readable = [split for split in splits if split.annotations is not None]
    if not readable:
        return None
    node = cfg.skeleton.copy()
    if "file" in node and node.file is None:
        node.file = str(readable[0].file)
    try:
        skeleton: Skeleton = build(node)
    except ConfigError as error:
        findings.append(
            Finding(
                check="skeleton",
                file=str(readable[0].file),
                count=0,
                total=0,
                ids=(),
                what=str(error),
                consequence="Training is refused.",
                fix="",
                severity="error",
            )
        )
        return None
    return skeleton


def _summarise(split: Split) -> dict[str, Any]:
    return {
        "name": split.name,
        "annotations": str(split.file),
        "images": None if split.images is None else str(split.images),
        "num_images": None if split.annotations is None else len(split.annotations.image_ids),
        "num_annotations": None if split.annotations is None else len(split.annotations),
        "num_instances": 0 if split.table is None else len(split.table),
    }


def _show_environment(result: DoctorResult, console: Console) -> None:
    width = max(map(len, result.environment))
    for name, value in result.environment.items():
        say(console, f"{name:{width}}  {value}")
    say(console, "\nTo check data: hrpose doctor data.train_annotations=<file> data.train_images=<folder>")


def _show(result: DoctorResult, console: Console) -> None:
    for split in result.splits:
        row = _summarise(split)
        say(
            console,
            f"{row['name']}: {row['num_instances']} instances of {row['num_annotations']} annotations in "
            f"{row['num_images']} images, {row['annotations']}",
        )
    if result.findings:
        console.print(_findings_table(result.findings))
    counts = count_severities(result.findings)
    say(console, ", ".join(f"{number} {severity}s" for severity, number in counts.items()) + f". {result.report}")


def _findings_table(findings: Sequence[Finding]) -> Table:
    table = Table(box=None, padding=(0, 2, 1, 0))
    for column in ("severity", "check", "finding"):
        table.add_column(column, no_wrap=column == "severity", overflow="fold")
    for finding in findings:
        text = f"{finding.file}: {finding.sentence} {finding.consequence} {finding.fix}"
        table.add_row(f"[{_COLOURS[finding.severity]}]{finding.severity}[/]", finding.check, text.replace("[", "\\["))
    return table
