"""The page of `hrpose doctor`: its findings, the labels, training crops, and predictions of a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from hrpose.annotations.checks import Finding
from hrpose.annotations.examination import Split
from hrpose.annotations.images import sample_images
from hrpose.config import ConfigError, build, find_checkpoint
from hrpose.data.datamodule import PoseDataModule
from hrpose.errors import DataError
from hrpose.estimator import PoseEstimator
from hrpose.report.crops import ShownCrop
from hrpose.report.data_page import DataPage, write_data_page
from hrpose.skeletons import Skeleton
from hrpose.structures import InstanceTable
from hrpose.tasks.assemble import build_datamodule
from hrpose.tasks.shown_crops import drop_missing, predicted_crops, training_crops
from hrpose.weights.fetch import find_weights


def write_doctor_page(
    cfg: DictConfig, findings: Sequence[Finding], splits: Sequence[Split], skeleton: Skeleton | None, file: Path
) -> None:
    """Write the page of the data that was examined; what cannot be shown is said on it.

    Args:
        cfg: a configuration of the verb `doctor`.
        findings: of all checks.
        splits: as far as they could be read.
        skeleton: of their keypoints; None where there is none.
        file: the HTML file.

    Raises:
        ConfigError: if `ckpt_path` or `weights` is not of these keypoints.
    """
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
    """Add the crops of the training images, and predictions for those of the validation images, or else the training images."""
    sources = {split.name: (split.table, split.images) for split in splits if split.table is not None}
    table, folder = sources.get("train", (None, None))
    if table is not None and folder is not None:
        _measure_bit_depth(datamodule, table, folder)
        there = drop_missing(table, folder)
        lost = (
            f"{len(table) - len(there):,} instances of missing images are left out." if len(there) < len(table) else ""
        )
        try:
            page = replace(page, training_crops=training_crops(datamodule, there), training_note=lost)
        except DataError as error:  # of the folder or the file names; those of an image are said in its place
            page = replace(page, training_note=str(error))
    if cfg.ckpt_path is None and cfg.weights is None:
        return page
    table, folder = sources.get("val", (table, folder))
    if table is None or folder is None:
        return page
    _measure_bit_depth(datamodule, table, folder)
    crops, note = _predict(cfg, datamodule, table, folder)
    return replace(page, predicted_crops=crops, note=note)


def _predict(
    cfg: DictConfig, datamodule: PoseDataModule, table: InstanceTable, folder: Path
) -> tuple[list[ShownCrop], str]:
    weights = find_checkpoint(cfg) or find_weights(cfg.weights)
    estimator = PoseEstimator.from_checkpoint(weights)
    number = datamodule.skeleton.num_keypoints
    if estimator.skeleton.num_keypoints != number:
        raise ConfigError(
            f"{'weights' if cfg.ckpt_path is None else 'ckpt_path'}: {weights} estimates "
            f"{estimator.skeleton.num_keypoints} keypoints, but the data has {number}."
        )
    try:
        crops, note = predicted_crops(datamodule, drop_missing(table, folder), folder, estimator.engine)
    except DataError as error:
        return [], f"Nothing was predicted: {error}"
    return crops, f"{note} Weights: {weights}."


def _with_files(cfg: DictConfig, splits: Sequence[Split]) -> DictConfig:
    """Return a configuration whose data module can be built: files that are not given are replaced by those that are."""
    filled = cfg.copy()
    for name in ("train", "val"):
        split = next((split for split in splits if split.name == name), splits[0])
        filled.data[f"{name}_annotations"] = str(split.file)
        filled.data[f"{name}_images"] = str(split.images or split.file.parent)
    filled.data.val_boxes = ["gt"]
    return filled


def _measure_bit_depth(datamodule: PoseDataModule, table: InstanceTable, folder: Path) -> None:
    """Read images of 16 bits as a training would."""
    if datamodule.reading.bit_depth is None:
        used = np.unique(table.image_index).tolist()
        depth = sample_images([table.file_names[index] for index in used], folder).bit_depth
        datamodule.reading = replace(datamodule.reading, bit_depth=depth)
