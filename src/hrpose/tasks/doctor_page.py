"""The HTML page of `hrpose doctor`: findings, labels, training crops, and predictions of a checkpoint."""

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
    """Write the page. Images that cannot be read are replaced by their error.

    Raises:
        ConfigError: if the network of `ckpt_path` or `weights` has another number of keypoints.
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
    weights = find_checkpoint(cfg) or find_weights(cfg.weights)
    estimator = PoseEstimator.from_checkpoint(weights)
    number = datamodule.skeleton.num_keypoints
    if estimator.skeleton.num_keypoints != number:
        raise ConfigError(
            f"{'weights' if cfg.ckpt_path is None else 'ckpt_path'}: expected a network for the {number} keypoints of the data, "
            f"but {weights} has {estimator.skeleton.num_keypoints}."
        )
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
