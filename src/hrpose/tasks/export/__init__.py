"""hrpose export: export weights to one file from uint8 crops to keypoints in image pixels, and check it against the weights."""

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig
from rich.console import Console
from torch import nn

from hrpose.codecs import is_bottom_up
from hrpose.config import ConfigError, build, find_checkpoint, needs_drawing
from hrpose.data.crops import IMAGENET_MEAN, IMAGENET_STD
from hrpose.estimator import TorchEngine
from hrpose.estimator.from_weights import read_parts
from hrpose.export import ExportedMaps, ExportedPoses, ExportRecord, Feed, is_exported, open_exported
from hrpose.export.write import SUFFIX_OF, check_choice, write_export
from hrpose.files import write_json
from hrpose.report.table import say
from hrpose.tasks.export.check import (
    CheckResult,
    CropSource,
    MapsResult,
    check_file,
    check_maps,
    find_crops,
    find_images,
    list_images,
    state_measurement,
)
from hrpose.weights.fetch import find_weights

logger = logging.getLogger(__name__)

_ENGINE_SETTINGS = ("flip_test", "channel_order", "mean", "std", "keypoint_score_threshold")
_OF_DATA = ("bbox_padding", "channel_order", "mean", "std", "upright", "bit_depth")
_ONE_COLOUR, _LOW_CONTRAST = 2.0, 8.0  # standard deviation of grey levels, of the channel with the most


class ExportCheckError(ValueError):
    """An exported file differs from its weights by more than the tolerance."""


@dataclass(frozen=True)
class ExportResult:
    """The result of `hrpose export`.

    Attributes:
        run_dir: folder of the run.
        file: the exported file.
        report: the JSON file with the result of the check.
        ap_before: AP of the weights in torch; None if not measured.
        ap_after: AP of the exported file; None if not measured.
    """

    run_dir: Path
    file: Path
    report: Path
    ap_before: float | None
    ap_after: float | None


def export(cfg: DictConfig) -> ExportResult:
    """Export weights to a file, check it, and write the result of the check to <name>.export.json in the same folder.

    Raises:
        ConfigError: if the format does not support the configuration.
        ExportCheckError: if the file differs from the weights by more than the tolerance; it is not deleted.
    """
    stem = Path(cfg.weights or cfg.ckpt_path).stem
    file = Path(cfg.output) if cfg.output is not None else Path(cfg.paths.run, f"{stem}{SUFFIX_OF[cfg.format]}")
    if cfg.opset is not None and cfg.format != "onnx":
        raise ConfigError(f"opset: it is an option of format=onnx, but format is {cfg.format}. Remove it.")
    try:
        check_choice(cfg.format, cfg.precision, file)
    except ValueError as error:
        raise ConfigError(f"format: {error}") from error
    if needs_drawing(cfg):
        build(cfg.prepare)
    if cfg.weights is not None and is_exported(cfg.weights):
        raise ConfigError(f"weights: expected a checkpoint or weights, but {cfg.weights} is an exported file.")
    weights = find_checkpoint(cfg) or find_weights(cfg.weights)
    net, record = read_network(cfg, weights)
    result: CheckResult | MapsResult
    with tempfile.TemporaryDirectory() as folder:
        if is_bottom_up(record.codec):
            result = _export_maps(cfg, net, record, weights, file, Path(folder))
        else:
            source = find_crops(cfg, record, weights, Path(folder))
            record = replace(record, protocols=state_measurement(cfg, source))
            result = _export_poses(cfg, net, record, source, file)
    report = file.with_name(f"{file.stem}.export.json")
    content = {"file": str(file), "weights": str(weights), "format": cfg.format, "precision": cfg.precision}
    content |= {"protocols": record.protocols, **result.to_dict()}
    write_json(report, content, undefined_as_null=True, indent=2)
    say(Console(), f"The check: {'FAILED' if result.faults else 'passed'}, see {report}")
    if result.faults:
        raise ExportCheckError(f"{file} was written, but {'; '.join(result.faults)}. See {report}.")
    before, after = (result.ap_before, result.ap_after) if isinstance(result, CheckResult) else (None, None)
    return ExportResult(Path(cfg.paths.run), file, report, before, after)


def _export_poses(cfg: DictConfig, net: nn.Module, record: ExportRecord, source: CropSource, file: Path) -> CheckResult:
    """Export a top-down network, and check the keypoints of the file."""
    feeds = _calibration(cfg, source) if cfg.precision == "int8" else ()
    write_export(net, record, file, cfg.format, feeds=feeds, opset=cfg.opset)
    exported = open_exported(file)
    assert isinstance(exported, ExportedPoses)
    console = Console()
    say(console, f"Wrote {file} ({_size(file) / 1e6:.1f} MB). Checking it on {source.name}.")
    settings = {name: getattr(record, name) for name in _ENGINE_SETTINGS}
    reference = TorchEngine(net, record.codec, record.skeleton, device="cpu", **settings)  # fp32, as validated
    result = check_file(cfg, exported, reference, source)
    say(console, f"Keypoints: {result.comparison}")
    if result.max_shifted is not None:
        say(console, f"Bounds: {result.comparison.describe_bounds(result.max_shifted)}")
    if result.ap_before is not None and result.ap_after is not None:
        say(console, f"AP: {result.ap_before:.4f} of the weights in torch, {result.ap_after:.4f} of the file")
    return result


def _export_maps(cfg: DictConfig, net: nn.Module, record: ExportRecord, weights: Path, file: Path, folder: Path) -> MapsResult:
    """Export a bottom-up network, and check the heatmaps and tags of the file."""
    try:
        write_export(net, record, file, cfg.format, opset=cfg.opset)
    except ValueError as error:
        raise ConfigError(f"precision: {error}") from error
    exported = open_exported(file)
    assert isinstance(exported, ExportedMaps)
    name, images = find_images(cfg, weights, folder)
    say(Console(), f"Wrote {file} ({_size(file) / 1e6:.1f} MB). Checking it on {len(images)} images of {name}.")
    return check_maps(exported, net, name, images)


def read_network(cfg: DictConfig, file: Path) -> tuple[nn.Module, ExportRecord]:
    """Read the network of a weight file, on the CPU in eval mode, and make the record of the exported file.

    Missing settings come from the configuration or, if it has none, from the paper.
    """
    given = {name: build(cfg[name]) for name in ("codec", "skeleton") if cfg.get(name) is not None}
    if cfg.get("model") is not None:
        given["model"] = lambda channels: build(cfg.model, num_keypoints=channels)
    parts = read_parts(file, **given)
    settings = {**{name: cfg.data[name] for name in _OF_DATA if name in cfg.data}, **parts.settings}
    record = ExportRecord(
        precision=cfg.precision,
        skeleton=parts.skeleton,
        codec=parts.codec,
        flip_test=cfg.flip_test if cfg.flip_test is not None else settings.get("flip_test", True),
        heatmaps=cfg.heatmaps,
        bbox_padding=float(settings.get("bbox_padding", 1.25)),
        keypoint_score_threshold=cfg.keypoint_score_threshold,
        channel_order=settings.get("channel_order", "rgb"),
        mean=tuple(settings.get("mean", IMAGENET_MEAN)),
        std=tuple(settings.get("std", IMAGENET_STD)),
        source=file.name,
        upright=bool(settings.get("upright")),
        bit_depth=settings.get("bit_depth"),
    )
    return parts.net.eval(), record


def _calibration(cfg: DictConfig, source: CropSource) -> list[Feed]:
    """Return single crops for calibration, from `photos` if it is set, otherwise from the annotated data."""
    if cfg.photos is not None:
        source = replace(source, datamodule=None, images=list_images(cfg.photos)[: cfg.num_calibration])
    elif source.datamodule is None:
        raise ConfigError("photos: int8 needs real images for calibration. Set photos=<folder>, or data with images.")
    feeds = [
        (batch["images"][row : row + 1].numpy(), batch["image_from_input"][row : row + 1].numpy())
        for batch in source.batches(cfg.num_calibration)
        for row in range(len(batch["images"]))
    ]
    _check_contrast([images[0] for images, _ in feeds])
    return feeds


def _check_contrast(crops: Sequence[NDArray[np.uint8]]) -> None:
    """Warn about crops (H, W, 3) with little contrast in their middle; raise ConfigError if most have a single colour."""
    middles = [crop[len(crop) // 3 : -(len(crop) // 3), crop.shape[1] // 3 : -(crop.shape[1] // 3)] for crop in crops]
    contrast = np.array([middle.std(axis=(0, 1)).max() for middle in middles])
    plain, low = int((contrast < _ONE_COLOUR).sum()), int((contrast < _LOW_CONTRAST).sum())
    if 2 * plain > len(crops):
        raise ConfigError(
            f"photos: expected images as in later use, but {plain} of {len(crops)} calibration crops have a single colour. int8 "
            "measures the ranges of all activations on them. Set photos=<folder> with other images."
        )
    if plain or 2 * low > len(crops):
        logger.warning(
            "%d of %d calibration crops have a single colour, %d have little contrast. int8 measures the ranges of all "
            "activations on them: set photos=<folder> with images as in later use.",
            *(plain, len(crops), low),
        )


def _size(file: Path) -> int:
    weights = file.with_suffix(".bin")
    return file.stat().st_size + (weights.stat().st_size if file.suffix == ".xml" else 0)
