"""Find the cause of a low AP from the data, the predictions and the training of a run."""

import logging
import shlex
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig
from torch import Tensor

from hrpose.annotations.checks import warned_findings
from hrpose.annotations.coco_rows import read_json
from hrpose.callbacks import LossHistory, ResultFiles
from hrpose.codecs import is_bottom_up
from hrpose.data.crops import Normalization
from hrpose.data.datamodule import PoseDataModule
from hrpose.errors import DataError
from hrpose.inference import NonFinitePosesError
from hrpose.module import PoseModule
from hrpose.report import LOW_AP, Diagnosis, Instances, RunEvidence, Training, average_recall, diagnose
from hrpose.structures import Batch, InstanceTable, RawBatch
from hrpose.tasks.assemble import Assembly, callbacks_of

logger = logging.getLogger(__name__)

_NUM_CROPS = 64  # of each set that are evaluated
_DATA_KEYS = ("train_annotations", "train_images", "val_annotations", "val_images")


def diagnose_run(cfg: DictConfig, assembly: Assembly, score: float) -> Diagnosis | None:
    """Find the cause of a low AP with the first source of boxes; None if the AP is not low, or the run has no result files."""
    data, boxes = assembly.datamodule, next(iter(assembly.module.pose_metrics))
    writers = callbacks_of(assembly.trainer, ResultFiles)
    evaluated = {kind: pair for writer in writers for kind, pair in writer.evaluated.items()}
    if not score < LOW_AP or boxes not in evaluated or not isinstance(data, PoseDataModule):
        return None
    logger.info("AP is low: searching for the cause")
    predictions, truth = evaluated[boxes]
    tables, samples = _samples(assembly, trained=cfg.task == "fit")
    files = [data.train_annotations, data.train_images, data.val_annotations, data.val_images]
    return diagnose(
        RunEvidence(
            score=score,
            detections=predictions.detections,
            center=predictions.center,
            scale=predictions.scale,
            truth=truth,
            skeleton=assembly.module.skeleton,
            boxes=boxes,
            sets=[_instances(name, table) for name, table in tables.items()],
            findings=warned_findings(files),
            categories=_categories(cfg),
            category=cfg.data.get("category") or "",
            samples=samples,
            training=_training(cfg, assembly, tables) if cfg.task == "fit" else None,
            doctor=shlex.join(["hrpose", "doctor", *(f"data.{key}={cfg.data[key]}" for key in _DATA_KEYS)]),
        )
    )


def _categories(cfg: DictConfig) -> dict[str, int]:
    """Count the annotations with keypoints by category if `data.category` is set; otherwise return no counts."""
    if not isinstance(cfg.data.get("category"), str) or cfg.data.category == "all":
        return {}
    content = read_json(Path(cfg.data.val_annotations))
    names = {str(entry["id"]): str(entry["name"]) for entry in content["categories"]}
    return Counter(names[str(row["category_id"])] for row in content["annotations"] if row.get("keypoints"))


def _instances(split: str, table: InstanceTable) -> Instances:
    return Instances(
        name={"train": "training", "val": "validation"}[split],
        keypoints=table.keypoints.astype(np.float64),
        labelled=table.visibility > 0,
        bbox=table.bbox,
        image_sizes=table.image_sizes[table.image_index].astype(np.float64),
    )


def _samples(assembly: Assembly, *, trained: bool) -> tuple[dict[str, InstanceTable], dict[str, float]]:
    """Return the tables of both sets, and the AR of a sample of each by preprocessing."""
    tables: dict[str, InstanceTable] = {}
    recalls: dict[str, float] = {}
    for split in ("val", "train"):
        try:
            table, rows, batch = assembly.datamodule.sample(split, _NUM_CROPS)
        except (DataError, OSError) as error:  # a test needs no training set
            logger.info("Skipped the %s set: %s", split, error)
            continue
        tables[split] = table
        if isinstance(assembly.module, PoseModule) and len(rows) and not is_bottom_up(assembly.module.codec):
            for name, (images, flip_test) in _variants(assembly, split, batch, trained=trained).items():
                recalls[name] = _recall(assembly.module, RawBatch({**batch, "images": images}), table, rows, flip_test=flip_test)
    return tables, recalls


def _variants(assembly: Assembly, split: str, batch: RawBatch, *, trained: bool) -> dict[str, tuple[Tensor, bool]]:
    """Return the images of a sample by preprocessing, and whether to use the flip test.

    A network that this run trained is evaluated with the configured preprocessing only.
    """
    flip_test, data = assembly.pose_module.flip_test, assembly.datamodule
    images = data.normalization(batch["images"])
    if split == "train":
        return {"train": (images, flip_test)}
    variants = {"val": (images, flip_test)}
    if flip_test:
        variants["val, no flip test"] = images, False
    if trained:
        return variants
    normalization = data.normalization
    plain = batch["images"].permute(0, 3, 1, 2).float() / 255
    ordered = plain.flip(1) if normalization.channel_order == "bgr" else plain
    return variants | {
        "val, red and blue swapped": (data.normalization(batch["images"].flip(-1)), flip_test),
        "val, not normalised": (ordered, flip_test),
        "val, 0 to 255": (ordered * 255, flip_test),
        "val, normalised": (Normalization(normalization.channel_order)(batch["images"]), flip_test),
    }


def _recall(module: PoseModule, batch: RawBatch, table: InstanceTable, rows: NDArray[np.int64], *, flip_test: bool) -> float:
    """Estimate the poses of a sample and return AR; 0 if the outputs are not finite."""
    configured, training = module.flip_test, module.training
    module.flip_test = flip_test
    module.eval()
    try:
        images = batch["images"].to(next(module.net.parameters(), torch.zeros(())))  # device and precision
        poses = module.predict_step(cast("Batch", {**batch, "images": images}), 0)
    except NonFinitePosesError:
        return 0.0
    finally:
        module.flip_test = configured
        module.train(training)
    labelled = table.visibility[rows] > 0
    annotated, areas = table.keypoints[rows].astype(np.float64), table.area[rows].astype(np.float64)
    return average_recall(poses.keypoints, annotated, labelled, areas, module.skeleton.sigmas)


def _training(cfg: DictConfig, assembly: Assembly, tables: Mapping[str, InstanceTable]) -> Training | None:
    """Return the history of the training; None without a step."""
    module = assembly.pose_module
    history = callbacks_of(assembly.trainer, LossHistory)[0]
    if not history.losses or "train" not in tables:
        return None
    parameters = list(module.net.parameters())
    trained = sum(p.numel() for p in parameters if p.requires_grad) / max(1, sum(p.numel() for p in parameters))
    return Training(
        losses=history.losses,
        num_steps=history.num_steps,
        rate=float(cfg.optim.lr),
        trained_share=trained if cfg.weights is None else 1.0,
        num_instances=len(tables["train"]),
        usual_rate=0.1 if "SGD" in cfg.optim._target_ else 1e-3,
        blank_loss=_blank_loss(assembly),
    )


def _blank_loss(assembly: Assembly) -> float | None:
    """Compute the loss of heatmaps of zeros for a sample of training crops; None for codecs without heatmaps."""
    module = assembly.pose_module
    if is_bottom_up(module.codec):
        return None
    _, _, batch = assembly.datamodule.sample("train", _NUM_CROPS)
    target, weight = module.codec.encode(batch["keypoints"], batch["visibility"])
    if target.ndim != 4:
        return None
    with torch.no_grad():
        return float(module.loss.cpu()(torch.zeros_like(target), target, weight))
