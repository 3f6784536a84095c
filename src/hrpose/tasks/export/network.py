"""The network that is exported, and what its file will say of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from torch import nn

from hrpose.config import ConfigError, build, find_checkpoint
from hrpose.data.normalization import IMAGENET_MEAN, IMAGENET_STD
from hrpose.estimator import TorchEngine
from hrpose.estimator.from_weights import read_parts
from hrpose.export import ExportRecord, is_exported
from hrpose.weights import WeightsError, load_weights
from hrpose.weights.fetch import find_weights

_OF_DATA = ("bbox_padding", "channel_order", "mean", "std", "upright", "bit_depth")


@dataclass(frozen=True)
class ExportSubject:
    """What is exported.

    Attributes:
        file: the weights.
        net: with these weights, on the CPU, in eval mode.
        record: what the exported file will say of itself.
    """

    file: Path
    net: nn.Module
    record: ExportRecord

    def torch_engine(self) -> TorchEngine:
        """Give what the exported file is held against: the network in torch, in fp32."""
        record = self.record
        return TorchEngine(
            self.net,
            record.codec,
            record.skeleton,
            flip_test=record.flip_test,
            channel_order=record.channel_order,
            mean=record.mean,
            std=record.std,
            device="cpu",
            keypoint_score_threshold=record.keypoint_score_threshold,
        )


def read_subject(cfg: DictConfig) -> ExportSubject:
    """Read the weights. What they do not say of themselves comes from the configuration, then from the paper.

    Raises:
        ConfigError: if the weights are an exported file already.
        WeightsError: if they cannot be used, or hold NaN or infinity.
    """
    if is_exported(cfg.weights):
        raise ConfigError(f"weights: {cfg.weights} is an exported file already. Give the checkpoint or the weights.")
    file = find_checkpoint(cfg) or find_weights(cfg.weights)
    parts = read_parts(file, codec=_part(cfg, "codec"), skeleton=_part(cfg, "skeleton"))
    net = parts.net
    if cfg.get("model") is not None:
        net = build(cfg.model, num_keypoints=parts.codec.num_channels(parts.skeleton.num_keypoints))
        load_weights(net, file, keypoint_names=parts.skeleton.keypoint_names).check_complete()
    check_finite_weights(net, file)
    told = {**_of_data(cfg), **parts.settings}
    flip_test = cfg.flip_test if cfg.flip_test is not None else told.get("flip_test", True)
    record = ExportRecord(
        form=cfg.input,
        precision=cfg.precision,
        skeleton=parts.skeleton,
        codec=parts.codec,
        flip_test=flip_test,
        heatmaps=cfg.heatmaps,
        bbox_padding=float(told.get("bbox_padding", 1.25)),
        keypoint_score_threshold=cfg.keypoint_score_threshold,
        channel_order=told.get("channel_order", "rgb"),
        mean=tuple(told.get("mean", IMAGENET_MEAN)),
        std=tuple(told.get("std", IMAGENET_STD)),
        source=file.name,
        upright=bool(told.get("upright")),
        bit_depth=told.get("bit_depth"),
    )
    return ExportSubject(file, net.eval(), record)


def check_finite_weights(net: nn.Module, file: Path) -> None:
    """Refuse a network with NaN or infinity in its weights, before anything is written.

    Raises:
        WeightsError: with the names of the first tensors.
    """
    broken = [name for name, tensor in net.state_dict().items() if not tensor.isfinite().all()]
    if broken:
        shown = ", ".join(broken[:3]) + (", ..." if len(broken) > 3 else "")
        raise WeightsError(
            f"Expected finite weights in {file}, found NaN or infinity in {len(broken)} tensors ({shown}): the training has "
            "diverged, or the file is damaged. Take an earlier checkpoint."
        )


def _part(cfg: DictConfig, name: str) -> Any:
    return build(cfg[name]) if cfg.get(name) is not None else None


def _of_data(cfg: DictConfig) -> dict[str, Any]:
    return {name: cfg.data[name] for name in _OF_DATA if name in cfg.data}
