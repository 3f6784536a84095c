"""Compare an exported file with its weights: keypoints on crops, or the heatmaps and tags of a bottom-up network on images."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from torch import nn

from hrpose.annotations.coco import read_annotations
from hrpose.codecs import AssociativeEmbedding
from hrpose.config import ConfigError, build, plain
from hrpose.data.crops import Normalization, fit_image
from hrpose.data.datamodule import PoseDataModule
from hrpose.errors import DataError
from hrpose.estimator import ExportedEngine, TorchEngine
from hrpose.estimator.crops import Cutter, ImageCrops, Request, join, take_rows
from hrpose.export import MAX_SHIFTED, Comparer, Comparison, ExportedMaps, ExportedPoses, ExportRecord, find_ties
from hrpose.export.check import TOLERANCE, distances
from hrpose.inference import collect_poses, predict_heatmaps, predict_maps
from hrpose.media import folders
from hrpose.media.headers import IMAGE_SUFFIXES
from hrpose.media.images import Reading
from hrpose.media.load import load_image
from hrpose.structures import CropBatch
from hrpose.synthetic import write_dataset
from hrpose.tasks.assemble import build_metric
from hrpose.tasks.protocols import state_protocols
from hrpose.weights.files import read_weight_file

logger = logging.getLogger(__name__)

MAX_AP_LOSS = {"fp32": 0.001, "fp16": 0.005, "bf16": 0.005, "int8": 0.02}
_DATA_KEYS = ("train_annotations", "train_images", "val_annotations", "val_images", "category")
_BATCH = 16
_NUM_IMAGES = 8  # for a bottom-up network
_MAPS_TOLERANCE = 1e-3  # of a heatmap or tag, relative to the largest one of the image


@dataclass(frozen=True)
class CropSource:
    """The crops of a check."""

    name: str  # for the report
    datamodule: PoseDataModule | None  # with the annotated validation instances; None for images without annotations
    images: tuple[Path, ...]  # each is used as one box; empty for annotated data
    record: ExportRecord  # of the exported file, determines how crops are cut

    def batches(self, limit: int | None = None) -> Iterator[CropBatch]:
        """Yield the crops in batches, at most `limit` crops."""
        count = 0
        for batch in self._all():
            if limit is not None and count >= limit:
                return
            yield batch if limit is None else take_rows(batch, slice(None, limit - count))
            count += len(batch["images"])

    def _all(self) -> Iterator[CropBatch]:
        if self.datamodule is not None:
            loaders = self.datamodule.val_dataloader()
            yield from (loaders[0] if isinstance(loaders, list) else loaders)
            return
        record = self.record
        cutter = Cutter(record.input_size, record.codec.grid, record.bbox_padding, Reading(record.upright, record.bit_depth))
        for start in range(0, len(self.images), _BATCH):
            found = [cutter.prepare(Request(file, 0)) for file in self.images[start : start + _BATCH]]
            yield join([crops.batch for crops in found if isinstance(crops, ImageCrops)])


def find_crops(cfg: DictConfig, record: ExportRecord, weights: Path, folder: Path) -> CropSource:
    """Find crops: from the configuration's data, the checkpoint's data, `photos`, or people that are drawn into `folder`."""
    for name, node in (("data", cfg.data), ("the checkpoint's data", _data_of(weights))):
        if node is not None and _is_usable(node, record):
            return CropSource(f"{name}, {node['val_annotations']}", _datamodule(cfg, node, record), (), record)
    if cfg.photos is not None:
        return CropSource(f"images in {cfg.photos}", None, list_images(cfg.photos), record)
    logger.info("No data found: the check uses drawn people. Set photos=<folder>, or data=... paths.data=...")
    write_dataset(folder / "drawn", num_train=1, num_val=24, seed=cfg.seed)
    return CropSource("drawn people", None, list_images(folder / "drawn" / "val2017"), record)


def list_images(folder: str | Path) -> tuple[Path, ...]:
    """List the images of a folder and its subfolders, or of archives; raise ConfigError if there are none."""
    found = tuple(Path(folder, name) for name in sorted(folders.list_images(folder)))
    if not found:
        raise ConfigError(f"photos: expected a folder with images ({', '.join(IMAGE_SUFFIXES)}), found none in {folder}.")
    return found


@dataclass(frozen=True)
class CheckResult:
    """The result of the check of a top-down network."""

    crops: str  # their name
    comparison: Comparison  # the differences between file and network
    ap_before: float | None  # of the weights in torch, in fp32; None if not measured
    ap_after: float | None  # of the file
    max_ap_loss: float  # the largest accepted difference of the APs
    exact: bool  # all keypoints have to be equal, as in fp32
    max_shifted: float | None = None  # for `Comparison.bounded_faults`; None if the file has to be exact, or AP is measured

    @property
    def faults(self) -> list[str]:
        """The differences above the tolerances; empty if the check passed."""
        faults = []
        if self.comparison.not_finite:
            faults.append(
                f"{self.comparison.not_finite:.1%} of its keypoints or scores are NaN or infinite: its precision overflows; "
                "export with precision=fp32"
            )
        if self.max_shifted is not None:
            faults += self.comparison.bounded_faults(self.max_shifted)
        if self.exact and (reasons := self.comparison.exact_faults()):
            faults.append(f"its keypoints differ from the keypoints of the weights, {' and '.join(reasons)}: {self.comparison}")
        before, after = self.ap_before, self.ap_after
        if before is not None and after is not None and not abs(after - before) <= self.max_ap_loss:
            faults.append(f"its AP is {after:.4f} instead of {before:.4f}; the tolerance is {self.max_ap_loss}")
        return faults

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain containers."""
        return {**vars(self), "comparison": dict(vars(self.comparison)), "faults": self.faults}


def check_file(cfg: DictConfig, exported: ExportedPoses, reference: TorchEngine, source: CropSource) -> CheckResult:
    """Run file and network on the same crops, and measure the AP of both on annotated data."""
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
            poses = collect_poses(keypoints, scores, batch, score_threshold=engine.keypoint_score_threshold)
            metrics["weights"].update_poses(expected)
            metrics["file"].update_poses(poses)
    comparison = comparer.compare()
    measured = measured and not comparison.not_finite  # without all poses there is no AP
    before, after = [float(metric.compute()["AP"]) for metric in metrics.values()] if measured else (None, None)
    precision = exported.record.precision
    return CheckResult(
        source.name,
        comparison,
        before,
        after,
        max_ap_loss=MAX_AP_LOSS[precision] if cfg.max_ap_loss is None else cfg.max_ap_loss,
        exact=precision == "fp32",
        max_shifted=None if precision == "fp32" or measured else MAX_SHIFTED[precision],
    )


def state_measurement(cfg: DictConfig, source: CropSource) -> dict[str, Any]:
    """Return the protocol of the AP by source of boxes, as plain containers; empty without annotations."""
    if source.datamodule is None:
        return {}
    record, metrics = source.record, {source.datamodule.val_boxes[0]: _metric(cfg, source)}
    rules: Any = {"flip_test": record.flip_test, "keypoint_score_threshold": record.keypoint_score_threshold}
    stated = state_protocols(source.datamodule, record.codec, metrics, build(cfg.protocol), **rules)
    return {boxes: protocol.to_dict() for boxes, protocol in stated.items()}


@torch.inference_mode()
def _ties(
    reference: TorchEngine, batch: CropBatch, found: NDArray[np.float64], expected: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Find ties in the crops with different keypoints (B, K, 2)."""
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
    return build_metric(cfg.metric, source.record.skeleton, source.datamodule, build(cfg.protocol))


def _data_of(weights: Path) -> Mapping[str, Any] | None:
    """Return paths and category of the data in a checkpoint's configuration; None if it has none."""
    config = read_weight_file(weights).hyper_parameters.get("config")
    data = config.get("data") if isinstance(config, Mapping) else None
    if not isinstance(data, Mapping):
        return None
    found = {name: data[name] for name in _DATA_KEYS if isinstance(data.get(name), str)}
    return found if {"val_annotations", "val_images"} <= set(found) else None


def _is_usable(node: Mapping[str, Any], record: ExportRecord) -> bool:
    """Check whether the annotated data exists and has the number of keypoints of the weights."""
    file = Path(str(node["val_annotations"]))
    if not file.is_file() or not folders.is_image_folder(str(node["val_images"])):
        return False
    try:
        count = read_annotations(file, category=node.get("category")).visibility.shape[1]
    except DataError as error:
        logger.warning("%s", error)
        return False
    if count != record.skeleton.num_keypoints:
        logger.info("Not using %s: it has %d keypoints, the weights %d", file, count, record.skeleton.num_keypoints)
    return bool(count == record.skeleton.num_keypoints)


def _datamodule(cfg: DictConfig, node: Mapping[str, Any], record: ExportRecord) -> PoseDataModule:
    given = dict(plain(node))
    content = {"train_annotations": given["val_annotations"], "train_images": given["val_images"], **given}
    content |= {"_target_": cfg.data["_target_"], "val_batch_size": _BATCH, "num_workers": 0}
    content |= {"bbox_padding": record.bbox_padding, "channel_order": record.channel_order}
    trained = {"upright": record.upright or None, "bit_depth": record.bit_depth}
    content |= {name: value for name, value in trained.items() if given.get(name) is None}
    parts: Any = {"codec": record.codec, "skeleton": record.skeleton, "augment": [], "pixel_transforms": None}
    datamodule: PoseDataModule = build(OmegaConf.create(content), **parts)
    datamodule.setup("test")
    return datamodule


@dataclass(frozen=True)
class MapsResult:
    """The result of the check of a bottom-up network."""

    images: str  # their name
    num_images: int
    largest: float  # the largest difference of a heatmap or tag, relative to the largest heatmap or tag of its image

    @property
    def faults(self) -> list[str]:
        """The differences above the tolerance; empty if the check passed."""
        if self.largest <= _MAPS_TOLERANCE:  # not of NaN
            return []
        return [f"its heatmaps or tags differ from the outputs of the weights by {self.largest:.2g} of the largest"]

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain containers."""
        return {**vars(self), "faults": self.faults}


def find_images(cfg: DictConfig, weights: Path, folder: Path) -> tuple[str, list[Path]]:
    """Find images and their name: `photos`, the checkpoint's or the configuration's data, or images drawn into `folder`."""
    nodes = [node for node in (_data_of(weights), cfg.data) if node is not None and Path(str(node["val_images"])).is_dir()]
    if cfg.photos is not None:
        source = Path(cfg.photos)
    elif nodes:
        source = Path(str(nodes[0]["val_images"]))
    else:
        write_dataset(folder / "drawn", num_train=1, num_val=2, seed=cfg.seed)
        source = folder / "drawn" / "val2017"
    return "drawn people" if folder in source.parents else str(source), list(list_images(source)[:_NUM_IMAGES])


@torch.inference_mode()
def check_maps(exported: ExportedMaps, net: nn.Module, name: str, images: list[Path]) -> MapsResult:
    """Run file and network on the same images."""
    record, largest = exported.record, 0.0
    codec = cast(AssociativeEmbedding, record.codec)
    normalize = Normalization(record.channel_order, record.mean, record.std)
    permutation = record.skeleton.flip_permutation
    for file in images:
        pixels = fit_image(load_image(file), codec)["images"]
        expected = predict_maps(net, normalize(pixels), codec, flip_test=record.flip_test, flip_permutation=permutation)
        for found, right in zip(exported(pixels), expected, strict=True):
            difference = float((found - right).abs().max() / right.abs().max().clamp(min=1e-12))
            largest = difference if not difference <= largest else largest
    return MapsResult(name, len(images), largest)
