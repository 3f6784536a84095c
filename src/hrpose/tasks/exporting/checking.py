"""Hold an exported file against the weights: keypoint by keypoint, and by AP where annotated data is at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig

from hrpose.backends import ExportedPoses
from hrpose.backends.ties import TOLERANCE, find_ties
from hrpose.config import build
from hrpose.estimator import ExportedEngine, TorchEngine
from hrpose.export import Comparer, Comparison
from hrpose.export.check import distances
from hrpose.inference import predict_heatmaps
from hrpose.structures import CropBatch, Poses
from hrpose.tasks.exporting.crops import CropSource
from hrpose.tasks.exporting.on_photos import PhotoComparison, compare_on_photos
from hrpose.tasks.protocols import state_protocols

MAX_AP_LOSS = {"fp32": 0.001, "fp16": 0.005, "bf16": 0.005, "int8": 0.02}


@dataclass(frozen=True)
class CheckResult:
    """What came of the check.

    Attributes:
        crops: what it was made on.
        comparison: how far file and network are apart.
        ap_before: the AP of the weights in torch, in fp32; None where it was not measured.
        ap_after: the AP of the file.
        max_ap_loss: what they may differ by.
        exact: whether the file has to agree keypoint by keypoint, as fp32 does.
        on_photos: how far they are apart where the file crops by itself; None for a file that takes crops.
    """

    crops: str
    comparison: Comparison
    ap_before: float | None
    ap_after: float | None
    max_ap_loss: float
    exact: bool
    on_photos: PhotoComparison | None = None

    @property
    def faults(self) -> list[str]:
        """Say what is wrong; an empty list if nothing is."""
        faults = []
        if self.exact and not self.comparison.agrees:
            faults.append(f"its keypoints are not those of the weights, {self.comparison.reason}: {self.comparison}")
        if self.exact and self.on_photos is not None and not self.on_photos.agrees:
            faults.append(f"on photos with their boxes its keypoints are not those of the weights: {self.on_photos}")
        if self.ap_before is not None and self.ap_after is not None:
            off = abs(self.ap_after - self.ap_before)
            if not off <= self.max_ap_loss:
                faults.append(
                    f"its AP is {self.ap_after:.4f}, that of the weights {self.ap_before:.4f}; allowed is {self.max_ap_loss}"
                )
        return faults

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain containers."""
        on_photos = None if self.on_photos is None else dict(vars(self.on_photos))
        return {**vars(self), "comparison": dict(vars(self.comparison)), "on_photos": on_photos, "faults": self.faults}


def check_file(cfg: DictConfig, exported: ExportedPoses, reference: TorchEngine, source: CropSource) -> CheckResult:
    """Run file and network on the same crops.

    A file that takes photos is given each crop as a photo, so that both see the same pixels, and after that whole photos, see
    `on_photos`.
    """
    measured = cfg.measure_ap and source.datamodule is not None
    metrics = {side: _metric(cfg, source) for side in ("weights", "file")} if measured else {}
    run = ExportedEngine(exported)
    comparer = Comparer()
    for batch in source.batches(None if measured else cfg.num_crops):
        expected, found = reference(batch), run(batch)
        comparer.update(
            (found.keypoints, found.keypoint_scores),
            (expected.keypoints, expected.keypoint_scores),
            _ties(reference, batch, found, expected),
        )
        for metric, poses in zip(metrics.values(), (expected, found), strict=False):
            metric.update_poses(poses)
    measurements = [float(metric.compute()["AP"]) for metric in metrics.values()]
    before, after = measurements if measured else (None, None)
    loss = cfg.max_ap_loss if cfg.max_ap_loss is not None else MAX_AP_LOSS[exported.record.precision]
    exact = exported.record.precision == "fp32"
    takes_photos = exported.record.form == "photo"
    on_photos = compare_on_photos(exported, reference, source, cfg.num_crops) if takes_photos else None
    return CheckResult(source.name, comparer.compare(), before, after, loss, exact, on_photos)


@torch.inference_mode()
def _ties(reference: TorchEngine, batch: CropBatch, found: Poses, expected: Poses) -> NDArray[np.bool_]:
    """Look for ties in the crops whose keypoints have moved; the others need no look."""
    tied = np.zeros(found.keypoint_scores.shape, bool)
    moved = (~(distances(found.keypoints, expected.keypoints) <= TOLERANCE)).any(axis=1)
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
    return build(cfg.metric, sigmas=source.record.skeleton.sigmas, ground_truth=source.datamodule.ground_truth)


def state_measurement(cfg: DictConfig, source: CropSource) -> dict[str, Any]:
    """State how AP is measured on annotated data, by the kind of boxes, as plain containers; of mere photos nothing."""
    if source.datamodule is None:
        return {}
    boxes = source.datamodule.val_boxes[0]
    stated = state_protocols(
        source.datamodule,
        source.record.codec,
        {boxes: _metric(cfg, source)},
        flip_test=source.record.flip_test,
        keypoint_score_threshold=source.record.keypoint_score_threshold,
    )
    return {boxes: stated[boxes].to_dict()}
