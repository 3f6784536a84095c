"""Compare an exported file with the weights on crops: of annotated data, of a folder of images, or of drawn people."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from hrpose.annotations.coco import read_annotations
from hrpose.config import ConfigError, build, plain
from hrpose.data.datamodule import PoseDataModule
from hrpose.errors import DataError
from hrpose.estimator import ExportedEngine, TorchEngine
from hrpose.estimator.crops import Cutter, ImageCrops, Request, join, take_rows
from hrpose.export import MAX_SHIFTED, Comparer, Comparison, ExportedPoses, ExportRecord, find_ties
from hrpose.export.check import TOLERANCE, distances
from hrpose.inference import collect_poses, predict_heatmaps
from hrpose.media import folders
from hrpose.media.headers import IMAGE_SUFFIXES
from hrpose.media.images import Reading
from hrpose.report.protocol import Benchmark
from hrpose.structures import CropBatch
from hrpose.synthetic import write_dataset
from hrpose.tasks.protocols import state_protocols
from hrpose.weights.files import read_weight_file

logger = logging.getLogger(__name__)

MAX_AP_LOSS = {"fp32": 0.001, "fp16": 0.005, "bf16": 0.005, "int8": 0.02}
_BATCH = 16


@dataclass(frozen=True)
class CropSource:
    """Crops to check on.

    Attributes:
        name: for the report.
        datamodule: with the annotated validation instances; None for images without annotations.
        images: files, each of which is taken whole as one box; empty for annotated data.
        record: of the exported file, determines how crops are cut.
    """

    name: str
    datamodule: PoseDataModule | None
    images: tuple[Path, ...]
    record: ExportRecord

    def batches(self, limit: int | None = None) -> Iterator[CropBatch]:
        """Yield the crops in batches, at most `limit` crops."""
        left = limit if limit is not None else 1 << 62
        for batch in self._all():
            if left <= 0:
                return
            yield take_rows(batch, slice(None, left))
            left -= len(batch["images"])

    def _all(self) -> Iterator[CropBatch]:
        if self.datamodule is not None:
            loaders = self.datamodule.val_dataloader()
            yield from (loaders[0] if isinstance(loaders, list) else loaders)
            return
        record = self.record
        reading = Reading(record.upright, record.bit_depth)
        cutter = Cutter(record.input_size, record.codec.grid, record.bbox_padding, reading)
        for start in range(0, len(self.images), _BATCH):
            found = [cutter.prepare(Request(file, 0)) for file in self.images[start : start + _BATCH]]
            yield join([crops.batch for crops in found if isinstance(crops, ImageCrops)])


def find_crops(cfg: DictConfig, record: ExportRecord, weights: Path, folder: Path) -> CropSource:
    """Find crops: of the configuration's data, of the checkpoint's, of `photos`, or of people drawn in a folder.

    Args:
        cfg: of the verb `export`.
        record: determines how crops are cut.
        weights: their own configuration may name their data.
        folder: where people may be drawn.
    """
    for name, node in (("data", cfg.data), ("the checkpoint's data", data_of(weights))):
        if node is not None and _is_usable(node, record):
            return CropSource(f"{name}, {node['val_annotations']}", _datamodule(cfg, node, record), (), record)
    if cfg.photos is not None:
        return CropSource(f"images in {cfg.photos}", None, list_images(cfg.photos), record)
    logger.info("No data found: the check draws people. Set photos=<folder>, or data=... paths.data=...")
    write_dataset(folder / "drawn", num_train=1, num_val=24, seed=cfg.seed)
    return CropSource("drawn people", None, list_images(folder / "drawn" / "val2017"), record)


def list_images(folder: str | Path) -> tuple[Path, ...]:
    """List the images of a folder and of the folders in it, or of archives.

    Raises:
        ConfigError: if there are none.
    """
    found = tuple(Path(folder, name) for name in sorted(folders.list_images(folder)))
    if not found:
        raise ConfigError(
            f"photos: expected a folder with images ({', '.join(IMAGE_SUFFIXES)}), found none in {folder}."
        )
    return found


@dataclass(frozen=True)
class CheckResult:
    """The result of the check.

    Attributes:
        crops: what the file was checked on.
        comparison: the differences between file and network.
        ap_before: the AP of the weights in torch, in fp32; None if it was not measured.
        ap_after: the AP of the file.
        max_ap_loss: the largest difference of the APs that is allowed.
        exact: whether the file has to agree keypoint by keypoint, as fp32 does.
        max_shifted: share of confident keypoints that may move far, see `Comparison.bounded_faults`; None if the file has to be
            exact, or AP is measured.
    """

    crops: str
    comparison: Comparison
    ap_before: float | None
    ap_after: float | None
    max_ap_loss: float
    exact: bool
    max_shifted: float | None = None

    @property
    def faults(self) -> list[str]:
        """What is wrong; an empty list if the check passed."""
        faults = []
        if self.comparison.not_finite:
            faults.append(
                f"{self.comparison.not_finite:.1%} of its keypoints or scores are NaN or infinite: its precision overflows; "
                "export with precision=fp32"
            )
        if self.max_shifted is not None:
            faults += self.comparison.bounded_faults(self.max_shifted)
        if self.exact and (reasons := self.comparison.exact_faults()):
            faults.append(f"its keypoints are not those of the weights, {' and '.join(reasons)}: {self.comparison}")
        if self.ap_before is not None and self.ap_after is not None:
            off = abs(self.ap_after - self.ap_before)
            if not off <= self.max_ap_loss:
                faults.append(
                    f"its AP is {self.ap_after:.4f}, that of the weights {self.ap_before:.4f}; allowed is {self.max_ap_loss}"
                )
        return faults

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain containers."""
        return {**vars(self), "comparison": dict(vars(self.comparison)), "faults": self.faults}


def check_file(cfg: DictConfig, exported: ExportedPoses, reference: TorchEngine, source: CropSource) -> CheckResult:
    """Run file and network on the same crops, and measure the AP of both if there are annotations."""
    measured = cfg.measure_ap and source.datamodule is not None
    metrics = {side: _metric(cfg, source) for side in ("weights", "file")} if measured else {}
    engine = ExportedEngine(exported)
    comparer = Comparer()
    for batch in source.batches(None if measured else cfg.num_crops):
        expected, (keypoints, scores) = reference(batch), engine.find_keypoints(batch)
        comparer.update(
            (keypoints, scores),
            (expected.keypoints, expected.keypoint_scores),
            _ties(reference, batch, keypoints, expected.keypoints),
            sides=batch["scale"].numpy().max(axis=1),
            confidence=reference.keypoint_score_threshold,
        )
        if metrics and np.isfinite(keypoints).all() and np.isfinite(scores).all():
            threshold = engine.keypoint_score_threshold
            metrics["weights"].update_poses(expected)
            metrics["file"].update_poses(collect_poses(keypoints, scores, batch, score_threshold=threshold))
    comparison = comparer.compare()
    measured = measured and not comparison.not_finite  # without all poses there is no AP
    before, after = [float(metric.compute()["AP"]) for metric in metrics.values()] if measured else (None, None)
    precision = exported.record.precision
    loss = cfg.max_ap_loss if cfg.max_ap_loss is not None else MAX_AP_LOSS[precision]
    exact = precision == "fp32"
    max_shifted = None if exact or measured else MAX_SHIFTED[precision]
    return CheckResult(source.name, comparison, before, after, loss, exact, max_shifted)


def state_measurement(cfg: DictConfig, source: CropSource) -> dict[str, Any]:
    """Return how AP is measured on annotated data, by the kind of boxes, as plain containers; empty without annotations."""
    if source.datamodule is None:
        return {}
    boxes = source.datamodule.val_boxes[0]
    stated = state_protocols(
        source.datamodule,
        source.record.codec,
        {boxes: _metric(cfg, source)},
        build(cfg.protocol),
        flip_test=source.record.flip_test,
        keypoint_score_threshold=source.record.keypoint_score_threshold,
    )
    return {boxes: stated[boxes].to_dict()}


@torch.inference_mode()
def _ties(
    reference: TorchEngine, batch: CropBatch, found: NDArray[np.float64], expected: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Find ties in the crops whose keypoints (B, K, 2) have moved."""
    tied = np.zeros(found.shape[:2], bool)
    moved = (~(distances(found, expected) <= TOLERANCE)).any(axis=1)
    if moved.any():
        rows = torch.from_numpy(np.flatnonzero(moved))
        heatmaps = predict_heatmaps(
            reference.net,
            reference.normalization(batch["images"][rows]),
            reference.codec,
            flip_test=reference.flip_test,
            flip_permutation=reference.skeleton.flip_permutation,
        )
        tied[moved] = find_ties(reference.codec, heatmaps, batch["image_from_input"][rows].numpy())
    return tied


def _metric(cfg: DictConfig, source: CropSource) -> Any:
    assert source.datamodule is not None
    benchmark: Benchmark = build(cfg.protocol)
    truth = benchmark.adjust(source.datamodule.ground_truth, source.datamodule.files.area_from_bbox)
    return build(cfg.metric, sigmas=source.record.skeleton.sigmas, ground_truth=truth)


def data_of(weights: Path) -> Mapping[str, Any] | None:
    """Return the data that a checkpoint of hrpose names; only paths and names are read from it."""
    config = read_weight_file(weights).hyper_parameters.get("config")
    data = config.get("data") if isinstance(config, Mapping) else None
    if not isinstance(data, Mapping):
        return None
    names = ("train_annotations", "train_images", "val_annotations", "val_images", "category")
    found = {name: data[name] for name in names if isinstance(data.get(name), str)}
    return found if {"val_annotations", "val_images"} <= set(found) else None


def _is_usable(node: Mapping[str, Any], record: ExportRecord) -> bool:
    """Check whether the annotated instances exist and have the right number of keypoints."""
    file = Path(str(node["val_annotations"]))
    if not file.is_file() or not folders.is_image_folder(str(node["val_images"])):
        return False
    try:
        count = read_annotations(file, category=node.get("category")).visibility.shape[1]
    except DataError as error:
        logger.warning("%s", error)
        return False
    if count != record.skeleton.num_keypoints:
        logger.info("%s has %d keypoints, the weights %d: it is not used", file, count, record.skeleton.num_keypoints)
    return bool(count == record.skeleton.num_keypoints)


def _datamodule(cfg: DictConfig, node: Mapping[str, Any], record: ExportRecord) -> PoseDataModule:
    base = {"_target_": cfg.data["_target_"], "val_batch_size": _BATCH, "num_workers": 0}
    given = dict(plain(node))
    own: dict[str, Any] = {"bbox_padding": record.bbox_padding, "channel_order": record.channel_order}
    trained = {"upright": record.upright or None, "bit_depth": record.bit_depth}
    own |= {name: value for name, value in trained.items() if given.get(name) is None}
    missing = {
        name: given[name.replace("train", "val")] for name in ("train_annotations", "train_images") if name not in given
    }
    content = OmegaConf.create({**given, **missing, **base, **own})
    datamodule: PoseDataModule = build(
        content, codec=record.codec, skeleton=record.skeleton, augment=[], pixel_transforms=None
    )
    datamodule.setup("test")
    return datamodule
