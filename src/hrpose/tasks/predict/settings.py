"""The settings of a prediction as plain Python values, from which every process builds an estimator."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from hrpose.config import build, find_checkpoint, plain
from hrpose.estimator import Detector, PoseEstimator
from hrpose.visualize import PosePainter
from hrpose.weights.fetch import find_weights

_DESCRIBED = (  # keys of the configuration
    *("annotations", "boxes", "min_bbox_score", "detector", "model", "codec", "skeleton", "flip_test", "precision"),
    *("oks_nms_threshold", "upright", "bit_depth"),
)
_OPTIONS = ("batch_size", "num_threads", "backend", "upright", "bit_depth")  # of the estimator, unless they are null


@dataclass(frozen=True)
class Settings:
    """The network, and how its poses are processed."""

    weights: Path
    device: str  # as for `PoseEstimator`
    options: dict[str, Any]  # other arguments of `PoseEstimator.from_checkpoint`
    parts: dict[str, dict[str, Any]]  # nodes with a `_target_` for parts that the weight file lacks: codec, skeleton, model
    detector: dict[str, Any] | None  # a node with a `_target_`
    painter: PosePainter | None  # draws the poses
    oks_nms_threshold: float | None  # OKS above which two poses are duplicates; None keeps all
    boxes_from_file: bool  # boxes or annotations come from files; by default such images are not rotated by EXIF
    measured_depth: int | None = None  # bits that 16-bit images use, for networks that do not state a bit depth
    category_id: int = 1  # of the instances in the result file
    picture_dir: Path = Path("pictures")  # folder of the annotated pictures
    described: Mapping[str, Any] = field(default_factory=dict)  # settings that the poses depend on, as plain containers
    torch_threads: int | None = None  # threads of torch in a process; None does not change them

    def build_detector(self) -> Detector | None:
        """Build the detector, on the device of the network unless it has another one."""
        if self.detector is None:
            return None
        device = {"device": self.device} if self.detector.get("device") == "auto" else {}
        detector: Detector = build(OmegaConf.create(self.detector | device))
        return detector

    def build_estimator(self, detector: Detector | None) -> PoseEstimator:
        """Read the weights and build the estimator."""
        nodes = {name: OmegaConf.create(node) for name, node in self.parts.items()}
        parts = {name: build(node) for name, node in nodes.items() if name != "model"}
        if "model" in nodes:
            parts["model"] = lambda channels: build(nodes["model"], num_keypoints=channels)
        device = None if self.device == "auto" else self.device
        return PoseEstimator.from_checkpoint(self.weights, device=device, detector=detector, **parts, **self.options)


def read_settings(cfg: DictConfig) -> Settings:
    """Read the settings from a configuration of the verb `predict`."""
    weights = find_checkpoint(cfg) or find_weights(cfg.weights)
    options = {"precision": None if cfg.precision is None else str(cfg.precision), "flip_test": cfg.flip_test}
    return Settings(
        weights=weights,
        device=cfg.device,
        options=options | {name: cfg[name] for name in _OPTIONS if cfg[name] is not None},
        parts={name: plain(cfg[name]) for name in ("codec", "skeleton", "model") if cfg.get(name) is not None},
        detector=plain(cfg.get("detector")),
        painter=build(cfg.draw),
        oks_nms_threshold=cfg.oks_nms_threshold,
        boxes_from_file=cfg.annotations is not None or cfg.boxes is not None,
        picture_dir=Path(cfg.paths.run) / "pictures",
        described={"weights": str(weights), **{name: plain(cfg.get(name)) for name in _DESCRIBED}},
    )
