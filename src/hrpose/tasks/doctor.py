"""hrpose doctor: check training data; without data, print the environment for a bug report."""

import logging
import os
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hrpose import __version__
from hrpose.annotations.checks import SKELETON_CHECKS, Finding
from hrpose.annotations.coco_annotations import CocoAnnotations
from hrpose.annotations.coco_rows import list_first
from hrpose.annotations.examination import Split, examine_images, examine_labels, examine_pair, read_split, sort_findings
from hrpose.annotations.images import sample_images
from hrpose.annotations.mpii import MpiiAnnotations
from hrpose.annotations.reader import InstanceFiles
from hrpose.config import ConfigError, build, find_checkpoint, plain
from hrpose.config.paths import find_checked_splits
from hrpose.data.datamodule import PoseDataModule
from hrpose.errors import DataError
from hrpose.estimator import PoseEstimator
from hrpose.files import conf_dir, dumps, write_json
from hrpose.media.images import Reading
from hrpose.report.crops import ShownCrop
from hrpose.report.data_page import DataPage, write_data_page
from hrpose.report.table import say
from hrpose.skeletons import MPII, Skeleton, describe_sigmas, sigma_sources
from hrpose.structures import InstanceTable
from hrpose.tasks.assemble import build_datamodule
from hrpose.tasks.shown_crops import drop_missing, predicted_crops, training_crops
from hrpose.weights.fetch import find_weights

_MOST_PAIRS = 12  # printed mirror pairs
_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}
_FILE_OPTIONS = (
    *("category", "keypoint_fields", "area_from_bbox", "bbox_rules", "min_bbox_score", "visibility_map"),
    "bbox_from_keypoints",
)
_PACKAGES = (  # for bug reports
    *("torch", "lightning", "torchmetrics", "hydra-core", "omegaconf", "numpy", "opencv-python-headless", "opencv-python"),
    *("simplejpeg", "rich", "albumentations", "onnx", "onnxruntime", "onnxruntime-gpu", "openvino", "transformers"),
)
_SKELETON_ERRORS = {check.name for check in SKELETON_CHECKS if check.severity == "error"}


@dataclass(frozen=True, eq=False)
class DoctorResult:
    """The result of `hrpose doctor`.

    Attributes:
        run_dir: folder of the run.
        findings: errors first, then warnings and notes.
        environment: versions and machine, by name.
        splits: the annotation files as read.
        skeleton: of the keypoints; None if unknown.
        mirror_pairs_from: source of its mirror pairs.
        report: path of doctor.json.
        page: path of doctor.html; None without data.
    """

    run_dir: Path
    findings: tuple[Finding, ...]
    environment: Mapping[str, str]
    splits: tuple[Split, ...]
    skeleton: Skeleton | None
    mirror_pairs_from: str
    report: Path
    page: Path | None

    @property
    def exit_status(self) -> int:
        """Return 1 if there are errors, otherwise 0."""
        return int(any(finding.severity == "error" for finding in self.findings))

    def to_dict(self) -> dict[str, Any]:
        """Return the content of doctor.json as plain containers."""
        counts = Counter(finding.severity for finding in self.findings)
        return {
            "environment": dict(self.environment),
            "counts": {severity: counts[severity] for severity in ("error", "warning", "note")},
            "splits": [_summarise(split) for split in self.splits],
            "skeleton": None if self.skeleton is None else self.skeleton.to_dict(),
            "mirror_pairs_from": self.mirror_pairs_from,
            "sigmas_from": {} if self.skeleton is None else sigma_sources(self.skeleton),
            "findings": [finding.to_dict() for finding in self.findings],
        }


def doctor(cfg: DictConfig) -> DoctorResult:
    """Check annotation files and images, print the findings, and write doctor.json and doctor.html."""
    splits, skeleton, findings = _examine(cfg)
    run, console = Path(str(cfg.paths.run)), Console()
    result = DoctorResult(
        run_dir=run,
        findings=tuple(sort_findings(findings)),
        environment=describe_environment(),
        splits=tuple(splits),
        skeleton=skeleton,
        mirror_pairs_from=_name_pair_source(cfg, splits, skeleton),
        report=run / "doctor.json",
        page=run / "doctor.html" if splits else None,
    )
    write_json(result.report, result.to_dict(), undefined_as_null=True, indent=1)
    if result.page is not None:
        write_doctor_page(cfg, result.findings, splits, skeleton, result.page)
    if cfg.format == "json":
        say(console, dumps(result.to_dict(), undefined_as_null=True, indent=1))
    elif splits:
        _show(result, console)
    else:
        width = max(map(len, result.environment))
        for name, value in result.environment.items():
            say(console, f"{name:{width}}  {value}")
        say(console, "\nTo check data: hrpose doctor data.train_annotations=<file> data.train_images=<folder>")
    return result


def describe_environment() -> dict[str, str]:
    """Return versions and machine by name for a bug report; packages that are not installed are omitted."""
    entries = {"hrpose": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            entries[package] = version(package)
    entries["platform"] = platform.platform()
    entries["processor"] = platform.processor() or platform.machine()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    entries["CPU cores"] = f"{usable} of {os.cpu_count()}"
    try:
        entries["memory"] = f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        entries["memory"] = "unknown"
    entries["CUDA of torch"] = torch.version.cuda or "none"
    if torch.cuda.is_available():
        gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        entries["GPU"] = ", ".join(f"{gpu.name} ({gpu.total_memory / 2**30:.1f} GiB)" for gpu in gpus)
    else:
        entries["GPU"] = "Apple MPS" if torch.backends.mps.is_available() else "none"
    return entries


def _examine(cfg: DictConfig) -> tuple[list[Split], Skeleton | None, list[Finding]]:
    """Read the files and run all checks."""
    options = {name: plain(cfg.data[name]) for name in _FILE_OPTIONS if name in cfg.data}
    if isinstance(options.get("category"), list):
        options["category"] = tuple(options["category"])
    upright = cfg.data.get("upright")
    files = InstanceFiles(**options, upright=bool(upright))
    splits: list[Split] = []
    findings: list[Finding] = []
    for name in find_checked_splits(cfg):
        file, images = cfg.data[f"{name}_annotations"], cfg.data.get(f"{name}_images")
        split, found = read_split(name, Path(file), None if images is None else Path(images), files)
        splits.append(split)
        findings += found
    skeleton, refusal = _build_skeleton(cfg, splits)
    input_size = tuple(build(cfg.codec).input_size)
    sizes = {file.stem: tuple(OmegaConf.load(file).input_size) for file in sorted((conf_dir() / "size").glob("*.yaml"))}
    for split in splits:
        findings += examine_labels(split, skeleton, input_size, sizes)
    if refusal is not None and not any(finding.check in _SKELETON_ERRORS for finding in findings):
        findings.append(refusal)
    if len(splits) == 2:
        findings += examine_pair(splits[0], splits[1], files)
    reading = Reading(bool(upright), cfg.data.get("bit_depth"))
    findings += examine_images(splits, reading, orientation_matters=upright is None, open_files=cfg.images)
    return splits, skeleton, findings


def _build_skeleton(cfg: DictConfig, splits: Sequence[Split]) -> tuple[Skeleton | None, Finding | None]:
    """Build the skeleton, or return an error as a finding."""
    readable = [split for split in splits if split.annotations is not None]
    if not readable:
        return None, None
    if isinstance(readable[0].annotations, MpiiAnnotations):
        return MPII, None
    node = cfg.skeleton.copy()
    if "file" in node and node.file not in [str(split.file) for split in readable]:
        node.file = str(readable[0].file)
    skeleton_logger = logging.getLogger("hrpose.skeletons.skeleton")
    before, skeleton_logger.disabled = skeleton_logger.disabled, True  # the checks report its warnings as findings
    try:
        return build(node), None
    except ConfigError as error:
        file = str(readable[0].file)
        what = str(error).removeprefix("skeleton: ").removeprefix(f"{file}: ")
        return None, Finding(check="skeleton-refused", file=file, what=what, severity="error")
    finally:
        skeleton_logger.disabled = before


def _name_pair_source(cfg: DictConfig, splits: Sequence[Split], skeleton: Skeleton | None) -> str:
    if skeleton is None:
        return "no skeleton"
    if cfg.skeleton.get("flip_pairs") is not None:
        return "given by skeleton.flip_pairs"
    categories = [one.annotations.category for one in splits if isinstance(one.annotations, CocoAnnotations)]
    if "file" not in cfg.skeleton or not categories:
        return f"from skeleton {skeleton.name}"
    given = [name for name in ("flip_pairs", "flip_idx", "symmetries") if categories[0].get(name) is not None]
    return f"`{given[0]}` of the file" if given else "found in the names"


def _summarise(split: Split) -> dict[str, Any]:
    return {
        "name": split.name,
        "annotations": str(split.file),
        "images": None if split.images is None else str(split.images),
        "num_images": None if split.annotations is None else len(split.annotations.image_ids),
        "num_annotations": None if split.annotations is None else len(split.annotations),
        "num_instances": 0 if split.table is None else len(split.table),
    }


def _show(result: DoctorResult, console: Console) -> None:
    for split in result.splits:
        row = _summarise(split)
        counts = f"{row['num_instances']} instances of {row['num_annotations']} annotations in {row['num_images']} images"
        say(console, f"{split.name}: {split.file}: {'cannot be read' if split.annotations is None else counts}")
    if (skeleton := result.skeleton) is not None:
        names = skeleton.keypoint_names
        pairs = [f"{names[one]} - {names[other]}" for one, other in skeleton.flip_pairs]
        say(console, f"mirror pairs ({result.mirror_pairs_from}): {list_first(pairs, _MOST_PAIRS) or 'none'}")
        say(console, f"OKS sigmas: {describe_sigmas(skeleton)}")
    for file in dict.fromkeys(finding.file for finding in result.findings):
        say(console, f"\n{file}")
        console.print(_findings_table([finding for finding in result.findings if finding.file == file]))
    counts = result.to_dict()["counts"].items()
    total = ", ".join(f"{number} {severity}{'' if number == 1 else 's'}" for severity, number in counts)
    say(console, f"{total}. Wrote {result.page} and {result.report.name}")


def _findings_table(findings: Sequence[Finding]) -> Table:
    """Return a table of the findings of one file."""
    table = Table(box=None, padding=(0, 2, 1, 0), show_header=False)
    table.add_column("check", overflow="fold", ratio=1)
    table.add_column("finding", overflow="fold", ratio=3)
    for finding in findings:
        title = Text(f"{finding.severity}\n", style=_COLOURS[finding.severity]).append(finding.check, style="default")
        table.add_row(title, Text(" ".join(filter(None, (finding.sentence, finding.consequence, finding.fix)))))
    return table


def write_doctor_page(
    cfg: DictConfig, findings: Sequence[Finding], splits: Sequence[Split], skeleton: Skeleton | None, file: Path
) -> None:
    """Write the page: findings, labels, training crops, and predictions. Errors replace images that cannot be read."""
    codec = build(cfg.codec)
    tables: dict[str, InstanceTable] = {split.name: split.table for split in splits if split.table is not None}
    fits = skeleton is not None and all(table.num_keypoints == skeleton.num_keypoints for table in tables.values())
    page = DataPage(
        title=f"Data of {', '.join(split.file.name for split in splits)}",
        findings=findings,
        tables=tables,
        skeleton=skeleton if fits else None,
        input_size=codec.input_size,
        bbox_padding=cfg.data.bbox_padding,
    )
    if skeleton is not None and fits and tables and cfg.images:
        page = _with_crops(cfg, page, splits, build_datamodule(_with_files(cfg, splits), codec, skeleton, None))
    write_data_page(page, file)


def _with_crops(cfg: DictConfig, page: DataPage, splits: Sequence[Split], datamodule: PoseDataModule) -> DataPage:
    """Add training crops, and predictions in validation images, or in training images without a validation set."""
    sources = {split.name: (split.table, split.images) for split in splits if split.table is not None}
    table, folder = sources.get("train", (None, None))
    if table is not None and folder is not None:
        _measure_bit_depth(datamodule, table, folder)
        present = drop_missing(table, folder)
        missing = len(table) - len(present)
        note = f"{missing:,} instances of missing images are left out." if missing else ""
        try:
            page = replace(page, training_crops=training_crops(datamodule, present), training_note=note)
        except DataError as error:  # of the folder or the file names; a crop shows the error of its image
            page = replace(page, training_note=str(error))
    if cfg.ckpt_path is None and cfg.weights is None:
        return page
    table, folder = sources.get("val", (table, folder))
    if table is None or folder is None:
        return page
    _measure_bit_depth(datamodule, table, folder)
    crops, note = _predict(cfg, datamodule, table, folder)
    return replace(page, predicted_crops=crops, note=note)


def _predict(cfg: DictConfig, datamodule: PoseDataModule, table: InstanceTable, folder: Path) -> tuple[list[ShownCrop], str]:
    """Estimate poses with the weights; raise ConfigError if they have another number of keypoints."""
    weights = find_checkpoint(cfg) or find_weights(cfg.weights)
    estimator = PoseEstimator.from_checkpoint(weights)
    key, number = "weights" if cfg.ckpt_path is None else "ckpt_path", datamodule.skeleton.num_keypoints
    if (found := estimator.skeleton.num_keypoints) != number:
        raise ConfigError(f"{key}: expected a network for the {number} keypoints of the data, but {weights} has {found}.")
    try:
        crops, note = predicted_crops(datamodule, drop_missing(table, folder), folder, estimator.engine)
    except DataError as error:
        return [], f"No predictions: {error}"
    return crops, f"{note} Weights: {weights}."


def _with_files(cfg: DictConfig, splits: Sequence[Split]) -> DictConfig:
    """Return a configuration for building the data module, in which the other split replaces a missing one."""
    filled = cfg.copy()
    for name in ("train", "val"):
        split = next((split for split in splits if split.name == name), splits[0])
        filled.data[f"{name}_annotations"] = str(split.file)
        filled.data[f"{name}_images"] = str(split.images or split.file.parent)
    filled.data.val_boxes = ["gt"]
    return filled


def _measure_bit_depth(datamodule: PoseDataModule, table: InstanceTable, folder: Path) -> None:
    """Set the bit depth of 16-bit images, as training does."""
    if datamodule.reading.bit_depth is None:
        used = np.unique(table.image_index).tolist()
        depth = sample_images([table.file_names[index] for index in used], folder).bit_depth
        datamodule.reading = replace(datamodule.reading, bit_depth=depth)
