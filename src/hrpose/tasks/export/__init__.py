"""hrpose export: write weights as one file from bytes to keypoints in pixels, and hold it against them."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig
from rich.console import Console

from hrpose.config import ConfigError, build, needs_drawing
from hrpose.estimator.exported_engine import photo_of_crop
from hrpose.export import SUFFIX_OF, ExportedPoses, Feed, check_choice, open_exported, write_export, write_int8
from hrpose.files import write_json
from hrpose.report.table import say
from hrpose.structures import CropBatch
from hrpose.tasks.export.checking import CheckResult, check_file, state_measurement
from hrpose.tasks.export.crops import CropSource, crop_whole, find_crops, find_photos, photo_feed
from hrpose.tasks.export.network import ExportSubject, read_subject

logger = logging.getLogger(__name__)

_ONE_COLOUR, _LOW_CONTRAST = 2.0, 8.0  # standard deviation of grey levels, of the channel with the most


class ExportCheckError(ValueError):
    """A file was written, but it is not what the weights are."""


def export(cfg: DictConfig) -> Path:
    """Write the file, check it, and leave export.json with what came of the check beside it.

    Args:
        cfg: a composed and validated configuration of the verb `export`.

    Returns:
        The file.

    Raises:
        ConfigError: if something is asked for that the format does not have.
        ExportCheckError: if the file differs from the weights by more than is allowed; it stays where it is.
    """
    stem = Path(cfg.weights or cfg.ckpt_path).stem
    file = Path(cfg.output) if cfg.output is not None else Path(cfg.paths.run, f"{stem}{SUFFIX_OF[cfg.format]}")
    try:
        check_choice(cfg.format, cfg.precision, file, cfg.input)
    except ValueError as error:
        raise ConfigError(f"format: {error}") from error
    if needs_drawing(cfg):
        build(cfg.prepare)
    subject = read_subject(cfg)
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        source = find_crops(cfg, subject.record, subject.file, Path(folder))
        subject = replace(subject, record=replace(subject.record, protocols=state_measurement(cfg, source)))
        exported = _write(cfg, subject, source, file)
        say(console, f"Written: {file} ({_size(file) / 1e6:.1f} MB). Now it is checked on {source.name}.")
        result = check_file(cfg, exported, subject.torch_engine(), source)
    report = file.with_name(f"{file.stem}.export.json")
    content: dict[str, Any] = {
        "file": str(file),
        "weights": str(subject.file),
        "format": cfg.format,
        "precision": cfg.precision,
    }
    content["protocols"] = subject.record.protocols
    write_json(report, {**content, **result.to_dict()}, undefined_as_null=True, indent=2)
    _show(result, console, report)
    if result.faults:
        raise ExportCheckError(f"{file} was written, but {'; '.join(result.faults)}. See {report}.")
    return file


def _write(cfg: DictConfig, subject: ExportSubject, source: CropSource, file: Path) -> ExportedPoses:
    """Write the file and open it."""
    record = subject.record
    if cfg.precision == "int8":
        write_int8(subject.net, record, file, cfg.format, _calibration(cfg, source))
    else:
        write_export(subject.net, record, file, cfg.format)
    opened = open_exported(file)
    assert isinstance(opened, ExportedPoses)
    return opened


def _calibration(cfg: DictConfig, source: CropSource) -> list[Feed]:
    """Return crops, one by one: of the photos that are given, else of the persons that are checked on.

    Raises:
        ConfigError: if there are no photos, or most crops show nothing.
    """
    record = source.record
    crops = [
        (image, place)
        for batch in _calibration_batches(cfg, source)
        for image, place in zip(*photo_feed(batch), strict=True)
    ]
    _check_contrast([image for image, _ in crops])
    if record.form == "crops":
        return [(image[None], place[None]) for image, place in crops]
    photos = (photo_of_crop(image, record) for image, _ in crops)
    return [(photo, bbox[None]) for photo, bbox in photos]


def _calibration_batches(cfg: DictConfig, source: CropSource) -> Iterator[CropBatch]:
    if cfg.photos is not None:
        return (crop_whole([file], source.record) for file in find_photos(cfg.photos)[: cfg.num_calibration])
    if source.datamodule is None:
        raise ConfigError("photos: int8 is calibrated on real photos. Give photos=<folder>, or data with photos.")
    return source.batches(cfg.num_calibration)


def _check_contrast(images: Sequence[NDArray[np.uint8]]) -> None:
    """Warn of crops (H, W, 3) with little contrast in their middle, which tell nothing of the ranges of activations.

    Raises:
        ConfigError: if most of them have a single colour.
    """
    middles = [
        image[len(image) // 3 : -(len(image) // 3), image.shape[1] // 3 : -(image.shape[1] // 3)] for image in images
    ]
    contrast = np.array([middle.std(axis=(0, 1)).max() for middle in middles])
    plain, low = int((contrast < _ONE_COLOUR).sum()), int((contrast < _LOW_CONTRAST).sum())
    if 2 * plain > len(images):
        raise ConfigError(
            f"photos: expected images like those that the network will see, but {plain} of {len(images)} calibration crops have "
            "a single colour. int8 takes the ranges of all activations from them. Give photos=<folder> with other images."
        )
    if plain or 2 * low > len(images):
        logger.warning(
            "%d of %d calibration crops have a single colour, %d have little contrast. int8 takes the ranges of all activations "
            "from them: give photos=<folder> with images like those that the network will see.",
            *(plain, len(images), low),
        )


def _size(file: Path) -> int:
    weights = file.with_suffix(".bin")
    return file.stat().st_size + (weights.stat().st_size if file.suffix == ".xml" else 0)


def _show(result: CheckResult, console: Console, report: Path) -> None:
    say(console, f"Keypoints: {result.comparison}")
    if result.bounds is not None:
        say(console, f"Bounds: {result.bounds}")
    if result.on_photos is not None:
        say(console, f"On photos: {result.on_photos}")
    if result.ap_before is not None and result.ap_after is not None:
        say(console, f"AP: {result.ap_before:.4f} of the weights in torch, {result.ap_after:.4f} of the file")
    say(console, f"The check: {'passed' if not result.faults else 'FAILED'}, see {report}")
