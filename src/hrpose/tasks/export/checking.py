"""Hold an exported file against the weights: keypoint by keypoint, and by AP where annotated data is at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig

from hrpose.config import build
from hrpose.estimator import ExportedEngine, TorchEngine
from hrpose.export import MAX_SHIFTED, Comparer, Comparison, ExportedPoses
from hrpose.export.check import distances
from hrpose.export.ties import TOLERANCE, find_ties
from hrpose.inference import collect_poses, predict_heatmaps
from hrpose.structures import CropBatch
from hrpose.tasks.export.crops import CropSource
from hrpose.tasks.export.on_photos import PhotoComparison, compare_on_photos
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
        max_shifted: share of confident keypoints that may move far, see `Comparison.faults_beside`; None where the file has to be
            exact, or AP is measured.
        on_photos: how far they are apart where the file crops by itself; None for a file that takes crops.
    """

    crops: str
    comparison: Comparison
    ap_before: float | None
    ap_after: float | None
    max_ap_loss: float
    exact: bool
    max_shifted: float | None = None
    on_photos: PhotoComparison | None = None

    @property
    def faults(self) -> list[str]:
        """Say what is wrong; an empty list if nothing is."""
        faults = []
        if self.comparison.not_finite:
            faults.append(
                f"{self.comparison.not_finite:.1%} of its keypoints or scores are NaN or infinite: its precision overflows; "
                "export with precision=fp32"
            )
        if self.max_shifted is not None:
            faults += self.comparison.faults_beside(self.max_shifted)
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

    @property
    def bounds(self) -> str | None:
        """What the keypoints of a file of less precision are held against; None where AP is, or every single keypoint."""
        return None if self.max_shifted is None else self.comparison.describe_bounds(self.max_shifted)

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
        expected, (keypoints, scores) = reference(batch), run.find_keypoints(batch)
        comparer.update(
            (keypoints, scores),
            (expected.keypoints, expected.keypoint_scores),
            _ties(reference, batch, keypoints, expected.keypoints),
            sides=batch["scale"].numpy().max(axis=1),
            confidence=reference.keypoint_score_threshold,
        )
        if metrics and np.isfinite(keypoints).all() and np.isfinite(scores).all():
            metrics["weights"].update_poses(expected)
            metrics["file"].update_poses(
                collect_poses(keypoints, scores, batch, score_threshold=run.keypoint_score_threshold)
            )
    comparison = comparer.compare()
    measured = measured and not comparison.not_finite  # without all poses there is no AP
    before, after = [float(metric.compute()["AP"]) for metric in metrics.values()] if measured else (None, None)
    precision = exported.record.precision
    loss = cfg.max_ap_loss if cfg.max_ap_loss is not None else MAX_AP_LOSS[precision]
    exact = precision == "fp32"
    max_shifted = None if exact or measured else MAX_SHIFTED[precision]
    takes_photos = exported.record.form == "photo"
    on_photos = compare_on_photos(exported, reference, source, cfg.num_crops) if takes_photos else None
    return CheckResult(source.name, comparison, before, after, loss, exact, max_shifted, on_photos)


@torch.inference_mode()
def _ties(
    reference: TorchEngine, batch: CropBatch, found: NDArray[np.float64], expected: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Look for ties in the crops whose keypoints (B, K, 2) have moved; the others need no look."""
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
