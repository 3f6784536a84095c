"""The parts of a prediction, described in plain Python so that every process can build its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from hrpose.config import build, find_checkpoint, plain
from hrpose.estimator import Detector, PoseEstimator
from hrpose.media.images import Reading
from hrpose.visualize import PosePainter
from hrpose.weights.fetch import find_weights

_OPTIONS = ("batch_size", "num_threads", "backend", "upright", "bit_depth")


@dataclass(frozen=True)
class Settings:
    """What the network is, and what is wanted of it.

    Attributes:
        weights: the checkpoint or weight file.
        device: where to compute, as `PoseEstimator` takes it.
        options: other arguments of `PoseEstimator.from_checkpoint`.
        parts: nodes with a `_target_` of what the weight file does not tell: codec, skeleton.
        detector: a node with a `_target_`; None where there is no detector.
        painter: draws the poses; None where no pictures are wanted.
        oks_nms_threshold: OKS above which two poses are of the same person; None keeps all.
        by_file: whether boxes or annotations come from files, and so the photos are read as they are stored, unless something
            else is said.
        measured_depth: bits that the photos of 16 bits per channel use, for networks that do not say theirs; None where there
            are none.
    """

    weights: Path
    device: str
    options: dict[str, Any]
    parts: dict[str, dict[str, Any]]
    detector: dict[str, Any] | None
    painter: PosePainter | None
    oks_nms_threshold: float | None
    by_file: bool
    measured_depth: int | None = None

    def on_device(self, device: str) -> Settings:
        """Give the same settings for another device."""
        return replace(self, device=device)

    def reading_of(self, estimator: PoseEstimator) -> Reading:
        """Return how the photos are read: as is said, else as the network was trained."""
        upright = not self.by_file if estimator.upright is None else estimator.upright
        return Reading(upright, estimator.reading.bit_depth or self.measured_depth)

    def build_detector(self) -> Detector | None:
        """Build the detector, on the device of the network unless it has one of its own."""
        if self.detector is None:
            return None
        node = self.detector | ({"device": self.device} if self.detector.get("device") == "auto" else {})
        detector: Detector = build(OmegaConf.create(node))
        return detector

    def build_estimator(self, detector: Detector | None) -> PoseEstimator:
        """Read the weights and build the estimator."""
        parts = {name: build(OmegaConf.create(node)) for name, node in self.parts.items()}
        device = None if self.device == "auto" else self.device
        return PoseEstimator.from_checkpoint(self.weights, device=device, detector=detector, **parts, **self.options)


def read_settings(cfg: DictConfig) -> Settings:
    """Take the settings out of a configuration of the verb `predict`."""
    checkpoint = find_checkpoint(cfg)
    options = {"precision": None if cfg.precision is None else str(cfg.precision), "flip_test": cfg.flip_test}
    options |= {
        name: cfg[name]
        for name in ("batch_size", "num_threads", "backend", "upright", "bit_depth")
        if cfg[name] is not None
    }
    return Settings(
        weights=checkpoint or find_weights(cfg.weights),
        device=cfg.device,
        options=options,
        parts={name: plain(cfg[name]) for name in ("codec", "skeleton") if cfg.get(name) is not None},
        detector=None if cfg.get("detector") is None else plain(cfg.detector),
        painter=None if cfg.draw is None else build(cfg.draw),
        oks_nms_threshold=cfg.oks_nms_threshold,
        by_file=cfg.annotations is not None or cfg.boxes is not None,
    )
