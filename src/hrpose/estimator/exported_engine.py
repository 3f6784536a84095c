"""Exported files in the place of a network: an engine for files that give poses, and what is known of mere networks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hrpose.codecs import Codec, HeatmapCodec
from hrpose.data.crops import crop_matrices, crops_of_bboxes
from hrpose.estimator.engine import Engine, TorchEngine, choose_device
from hrpose.export import ExportedFileError, ExportedNetwork, ExportedPoses, ExportRecord, open_exported
from hrpose.export.accelerate import accelerate
from hrpose.export.choose import choose_backend
from hrpose.geometry import Grid, transform_points
from hrpose.inference import collect_poses
from hrpose.skeletons import COCO, MPII, Skeleton
from hrpose.structures import CropBatch, Poses

logger = logging.getLogger(__name__)

_PRECISIONS = {"fp32": "32", "fp16": "16"}  # as the estimator calls them
_BLOCK = 4
_SKELETONS = {skeleton.num_keypoints: skeleton for skeleton in (COCO, MPII)}


class ExportedEngine:
    """An exported file that estimates the poses of batches of crops, on the CPU.

    A file that takes a photo and boxes is handed each crop as a photo, see `photo_of_crop`.

    Args:
        exported: the file.
        keypoint_score_threshold: keypoints that score above it count for the instance score; None takes that of the file.
    """

    def __init__(self, exported: ExportedPoses, *, keypoint_score_threshold: float | None = None) -> None:
        self.exported = exported
        own = exported.record.keypoint_score_threshold
        self.keypoint_score_threshold = own if keypoint_score_threshold is None else keypoint_score_threshold

    @property
    def input_size(self) -> tuple[int, int]:
        """Width and height of the crops in pixels."""
        return self.exported.record.input_size

    @property
    def grid(self) -> Grid:
        """How the pixels of a crop lie in its box."""
        return self.exported.record.codec.grid

    @property
    def skeleton(self) -> Skeleton:
        """The keypoints that come out."""
        return self.exported.record.skeleton

    def __call__(self, batch: CropBatch) -> Poses:
        """Estimate the poses of a batch, in its order, in pixels of the photos."""
        return collect_poses(*self.find_keypoints(batch), batch, score_threshold=self.keypoint_score_threshold)

    def find_keypoints(self, batch: CropBatch) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Return keypoints (B, K, 2) in pixels of the photos and scores (B, K) as the file gives them, finite or not."""
        images, matrices = batch["images"].cpu().numpy(), batch["image_from_input"].cpu().numpy()
        look = self.exported if self.exported.record.form == "crops" else self._look_at_photos
        return look(images, matrices)

    def _look_at_photos(
        self, crops: NDArray[np.uint8], matrices: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Hand over crops (B, H, W, 3) one by one; take what is found through image_from_input (B, 2, 3) to the real photos."""
        record, count = self.exported.record, self.skeleton.num_keypoints
        keypoints, scores = np.zeros((len(crops), count, 2)), np.zeros((len(crops), count), np.float32)
        for row, crop in enumerate(crops):
            photo, bbox = photo_of_crop(crop, record)
            placed = crops_of_bboxes(bbox[None], record.input_size, record.bbox_padding)
            found, scores[row : row + 1] = self.exported(photo, bbox[None])
            keypoints[row] = transform_points(found[0], crop_matrices(placed, record.input_size, self.grid)[0])
        return transform_points(keypoints, matrices), scores


def photo_of_crop(crop: NDArray[np.uint8], record: ExportRecord) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Make of a crop a photo and a box, of which a file of the form "photo" cuts this very crop, bit for bit.

    Each pixel becomes a block of 4 x 4: wherever in its block a place falls, up to 1.5 pixels from the middle, bilinear
    interpolation finds the pixel. The places are 4 pixels apart; in the grid "udp", whose steps in x and y differ for a box of
    the input's shape, nearly so: of sides up to 1 : 4 all are in their blocks.

    Args:
        crop: (H, W, 3).
        record: of the file.

    Returns:
        photo: (4 H, 4 W, 3).
        bbox: (4,) x, y, width, height in its pixels.
    """
    size, grid = np.array(record.input_size, np.float64), record.codec.grid
    zoom = {"plain": _BLOCK, "dark": _BLOCK - (_BLOCK - 1) / size[0], "udp": _BLOCK - _BLOCK / size.max()}[grid]
    middle = (_BLOCK * size - 1) / 2 + (_BLOCK / 2 if grid == "plain" else 0.0)  # see `input_from_image`
    box_size = zoom * size / record.bbox_padding
    photo = crop.repeat(_BLOCK, axis=0).repeat(_BLOCK, axis=1)
    return photo, np.concatenate([middle - box_size / 2, box_size])


def open_engine(
    file: str | Path, *, codec: Codec | None, skeleton: Skeleton | None, settings: Mapping[str, Any]
) -> tuple[Engine, dict[str, Any]]:
    """Open an exported file as an engine.

    Args:
        file: .onnx, .xml or .torchscript.
        codec: of a mere network; None assumes the paper's, of the sizes of the file.
        skeleton: of a mere network; None assumes COCO or MPII by the number of heatmaps.
        settings: what is asked for: of a file that gives poses `keypoint_score_threshold` can be chosen, all else was settled
            when it was written; of a mere network all arguments of `TorchEngine` can.

    Returns:
        The engine, and what the file says of the images: arguments of `PoseEstimator.from_engine`.

    Raises:
        ExportedFileError: if the file cannot be used, or was written for something else than what is asked for.
        ValueError: if the keypoints of a mere network cannot be told.
    """
    opened = open_exported(file)
    if isinstance(opened, ExportedNetwork):
        codec, skeleton = codec or _assume_codec(opened), skeleton or _assume_skeleton(opened)
        opened.check_channels(codec.num_channels(skeleton.num_keypoints), codec.input_size)
        return TorchEngine(opened, codec, skeleton, **{"device": "cpu", **settings}), {}
    record, wanted = opened.record, dict(settings)
    threshold = wanted.pop("keypoint_score_threshold", None)
    own = {"flip_test": record.flip_test, "codec": record.codec, "skeleton": record.skeleton}
    own["precision"] = _PRECISIONS.get(record.precision, record.precision)
    wanted |= {name: value for name, value in {"codec": codec, "skeleton": skeleton}.items() if value is not None}
    for name, value in wanted.items():
        if name == "device" and str(value) in ("cpu", "auto"):
            continue
        if name not in own or own[name] != value:
            was = f"{own[name]!r}" if name in own else "settled when it was written"
            raise ExportedFileError(
                f"Expected no other `{name}` than that of {file} ({was}), but got {value!r}. Export anew."
            )
    of_images = {"bbox_padding": record.bbox_padding, "upright": record.upright or None, "bit_depth": record.bit_depth}
    return ExportedEngine(opened, keypoint_score_threshold=threshold), of_images


def take_backend(
    net: nn.Module, codec: Codec, backend: str, *, device: str | torch.device, precision: str
) -> nn.Module:
    """Let another engine compute a network on the CPU.

    Args:
        net: images to heatmaps; it stays as it is.
        codec: its input size, and how keypoints are read.
        backend: "auto" measures what is installed; or a name of `hrpose.export.accelerate`.
        device: "auto" or the CPU; "auto" on a machine with a GPU leaves the network to torch.
        precision: "32"; "bf16" lets "auto" take engines that compute in bf16.

    Raises:
        ValueError: if the device is not the CPU, or there is no such backend.
        ModuleNotFoundError: if the backend is not installed.
    """
    chosen = choose_device(device)
    if chosen.type != "cpu":
        if backend == "auto":
            return net
        raise ValueError(
            f"Expected `device` to be the CPU for backend={backend!r}, but got {chosen}. Leave the backend out."
        )
    net = net.to(chosen).eval()
    if backend == "auto":
        return choose_backend(net, codec, half=precision == "bf16")
    return accelerate(net, codec.input_size, backend)


def _assume_codec(network: ExportedNetwork) -> Codec:
    (height, width), (rows, columns) = network.runtime.inputs[0].shape[2:], network.runtime.outputs[0].shape[2:]
    if None in (height, width, rows, columns):
        raise ExportedFileError(
            f"Expected `codec`, because the sizes of {network.runtime.file} are free, but got none."
        )
    codec = HeatmapCodec(input_size=(width or 1, height or 1), heatmap_size=(columns or 1, rows or 1))
    logger.info(
        "%s does not say how it is decoded and normalised: the paper's way is assumed, %s", network.runtime.file, codec
    )
    return codec


def _assume_skeleton(network: ExportedNetwork) -> Skeleton:
    count = network.runtime.outputs[0].shape[1]
    if count not in _SKELETONS:
        raise ExportedFileError(
            f"Expected `skeleton`, because {network.runtime.file} gives {count} heatmaps, but got none."
        )
    logger.info(
        "%s gives %d heatmaps: the keypoints of %s are assumed", network.runtime.file, count, _SKELETONS[count].name
    )
    return _SKELETONS[count]
