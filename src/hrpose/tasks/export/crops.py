"""What an exported file is checked and calibrated on: annotated data, a folder with photos, or people drawn for it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from hrpose.annotations.coco import read_annotations
from hrpose.config import ConfigError, build, plain
from hrpose.data.crops import cut_crops
from hrpose.data.datamodule import PoseDataModule
from hrpose.errors import DataError
from hrpose.export import ExportRecord
from hrpose.media.images import Reading, read_image
from hrpose.media.source import PHOTO_SUFFIXES
from hrpose.structures import CropBatch
from hrpose.synthetic import write_dataset
from hrpose.weights.files import read_weight_file

logger = logging.getLogger(__name__)

_BATCH = 16


@dataclass(frozen=True)
class CropSource:
    """Crops to check on.

    Attributes:
        name: what they are, for the report.
        datamodule: whose validation persons they are; None for photos without annotations.
        photos: files, each of which is taken whole as a box; of annotated data none.
        record: how they are cut.
    """

    name: str
    datamodule: PoseDataModule | None
    photos: tuple[Path, ...]
    record: ExportRecord

    def batches(self, limit: int | None = None) -> Iterator[CropBatch]:
        """Give the crops in batches, at most so many."""
        left = limit if limit is not None else 1 << 62
        for batch in self._all():
            if left <= 0:
                return
            rows = {name: values[:left] for name, values in dict[str, Any](batch).items()}
            yield CropBatch(**rows)  # type: ignore[typeddict-item]
            left -= len(batch["images"])

    def photos_with_boxes(self, limit: int) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float64]]]:
        """Give photos (H, W, 3) with the boxes (N, 4) of the people in them, together at most so many boxes."""
        left = limit
        for file, boxes in self._files_with_boxes():
            if left <= 0:
                return
            photo = read_image(file, reading=self._reading)
            whole = np.array([[0, 0, photo.shape[1], photo.shape[0]]], float)
            yield photo, whole if boxes is None else boxes[:left]
            left -= 1 if boxes is None else len(boxes)

    @property
    def _reading(self) -> Reading:
        """Orientation and scale of the photos."""
        if self.datamodule is not None:
            return self.datamodule.reading
        return Reading(self.record.upright, self.record.bit_depth)

    def _files_with_boxes(self) -> Iterator[tuple[Path, NDArray[np.float64] | None]]:
        if self.datamodule is None:
            yield from ((file, None) for file in self.photos)
            return
        table = self.datamodule.val_tables[self.datamodule.val_boxes[0]]
        for index in dict.fromkeys(table.image_index.tolist()):
            yield self.datamodule.val_images / table.file_names[index], table.bbox[table.image_index == index]

    def _all(self) -> Iterator[CropBatch]:
        if self.datamodule is None:
            yield from (
                crop_whole(self.photos[start : start + _BATCH], self.record)
                for start in range(0, len(self.photos), _BATCH)
            )
            return
        loaders = self.datamodule.val_dataloader()
        yield from (loaders[0] if isinstance(loaders, list) else loaders)


def find_crops(cfg: DictConfig, record: ExportRecord, weights: Path, folder: Path) -> CropSource:
    """Find crops: of the configuration's data, of the checkpoint's, of `photos`, or of people drawn in a folder.

    Args:
        cfg: of the verb `export`.
        record: how crops are cut.
        weights: whose own configuration may name its data.
        folder: where people may be drawn.
    """
    for origin, node in (("data", cfg.data), ("the checkpoint's data", _data_of(weights))):
        if node is not None and _at_hand(node, record):
            return CropSource(f"{origin}, {node['val_annotations']}", _datamodule(cfg, node, record), (), record)
    if cfg.photos is not None:
        return CropSource(f"photos in {cfg.photos}", None, find_photos(cfg.photos), record)
    logger.info("No data at hand: people are drawn to check on. Give photos=<folder>, or data=... paths.data=...")
    write_dataset(folder / "drawn", num_train=1, num_val=24, seed=cfg.seed)
    drawn = tuple(sorted((folder / "drawn" / "val2017").iterdir()))
    return CropSource("drawn people", None, drawn, record)


def find_photos(folder: str | Path) -> tuple[Path, ...]:
    """List the photos of a folder and the folders in it.

    Raises:
        ConfigError: if there are none.
    """
    found = tuple(sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in PHOTO_SUFFIXES))
    if not found:
        raise ConfigError(
            f"photos: expected a folder with photos ({', '.join(PHOTO_SUFFIXES)}), but {folder} has none."
        )
    return found


def crop_whole(photos: Sequence[Path], record: ExportRecord) -> CropBatch:
    """Cut each photo as if it were the box of one person."""
    parts = []
    for file in photos:
        photo = read_image(file, reading=Reading(record.upright, record.bit_depth))
        parts.append(crop_photo(photo, np.array([[0, 0, photo.shape[1], photo.shape[0]]], float), record))
    columns = {name: [dict[str, Any](part)[name] for part in parts] for name in parts[0]}
    return cast(CropBatch, {name: torch.cat(column) for name, column in columns.items()})


def crop_photo(photo: NDArray[np.uint8], boxes: NDArray[np.float64], record: ExportRecord) -> CropBatch:
    """Cut boxes (N, 4) x, y, width, height out of a photo (H, W, 3)."""
    return cut_crops(photo, boxes, record.input_size, grid=record.codec.grid, padding=record.bbox_padding)


def photo_feed(batch: CropBatch) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Give the images and places of a batch, as an exported file takes them."""
    return batch["images"].numpy(), batch["image_from_input"].numpy()


def _data_of(weights: Path) -> Mapping[str, Any] | None:
    """Give what a checkpoint of hrpose says of its data; only paths and names are taken from it."""
    config = read_weight_file(weights).hyper_parameters.get("config")
    data = config.get("data") if isinstance(config, Mapping) else None
    if not isinstance(data, Mapping):
        return None
    names = ("train_annotations", "train_images", "val_annotations", "val_images", "category")
    told = {name: data[name] for name in names if isinstance(data.get(name), str)}
    return told if {"val_annotations", "val_images"} <= set(told) else None


def _at_hand(node: Mapping[str, Any], record: ExportRecord) -> bool:
    """Tell whether annotated persons with the right keypoints are there."""
    file = Path(str(node["val_annotations"]))
    if not file.is_file() or not Path(str(node["val_images"])).is_dir():
        return False
    try:
        count = read_annotations(file, category=node.get("category")).visibility.shape[1]
    except DataError as error:
        logger.warning("%s", error)
        return False
    if count != record.skeleton.num_keypoints:
        logger.info("%s has %d keypoints, the weights %d: it is left out", file, count, record.skeleton.num_keypoints)
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
