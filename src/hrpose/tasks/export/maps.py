"""Compare the heatmaps and tags of an exported bottom-up network with those of torch, on whole images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from omegaconf import DictConfig
from torch import nn

from hrpose.codecs import AssociativeEmbedding
from hrpose.data.crops import Normalization, fit_image
from hrpose.export import ExportedMaps
from hrpose.inference import predict_maps
from hrpose.media.load import load_image
from hrpose.synthetic import write_dataset
from hrpose.tasks.export.check import data_of, list_images

_NUM_IMAGES = 8
_TOLERANCE = 1e-3  # of a heatmap or tag, relative to the largest one of the image


@dataclass(frozen=True)
class MapsResult:
    """The result of the check.

    Attributes:
        images: what the file was checked on.
        num_images: how many.
        largest: the largest difference of a heatmap or tag, as a share of the largest heatmap or tag of its image.
    """

    images: str
    num_images: int
    largest: float

    @property
    def faults(self) -> list[str]:
        """What is wrong; an empty list if the check passed."""
        if self.largest <= _TOLERANCE:  # not of NaN
            return []
        return [f"its heatmaps or tags differ from those of the weights by {self.largest:.2g} of the largest"]

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain containers."""
        return {**vars(self), "faults": self.faults}

    def __str__(self) -> str:
        return f"The check: {'FAILED' if self.faults else 'passed'}, {self.num_images} images of {self.images}."


def find_images(cfg: DictConfig, weights: Path, folder: Path) -> tuple[str, list[Path]]:
    """Find images: of `photos`, of the checkpoint's or the configuration's data, or drawn into a folder; with their name."""
    nodes = [
        node for node in (data_of(weights), cfg.data) if node is not None and Path(str(node["val_images"])).is_dir()
    ]
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
