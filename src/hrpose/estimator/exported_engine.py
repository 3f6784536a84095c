"""Engines that run exported files."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from hrpose.codecs import AssociativeEmbedding, Codec, HeatmapCodec
from hrpose.estimator.engine import Engine, TorchEngine
from hrpose.export import ExportedFileError, ExportedMaps, ExportedNetwork, ExportedPoses, open_exported
from hrpose.inference import collect_image_poses, collect_poses
from hrpose.skeletons import COCO, MPII, Skeleton
from hrpose.structures import CropBatch, Poses, WholeImageBatch

logger = logging.getLogger(__name__)

_PRECISIONS = {"fp32": "32", "fp16": "16"}  # as the estimator calls them
_SKELETONS = {skeleton.num_keypoints: skeleton for skeleton in (COCO, MPII)}
_ON_CPU = {"device": ("cpu", "auto"), "backend": ("auto",)}  # values that are valid for every file


class ExportedEngine:
    """Estimate the poses of batches of crops with an exported file, on the CPU.

    Args:
        exported: the file.
        keypoint_score_threshold: the instance score is of keypoints with a higher score; None uses the file's threshold.
    """

    def __init__(self, exported: ExportedPoses, *, keypoint_score_threshold: float | None = None) -> None:
        record = exported.record
        self.exported = exported
        self.input_size, self.grid, self.skeleton = record.input_size, record.codec.grid, record.skeleton
        own = record.keypoint_score_threshold
        self.keypoint_score_threshold = own if keypoint_score_threshold is None else keypoint_score_threshold

    def __call__(self, batch: CropBatch) -> Poses:
        """Estimate the poses of a batch, in its order, in image pixels."""
        return collect_poses(*self.find_keypoints(batch), batch, score_threshold=self.keypoint_score_threshold)

    def find_keypoints(self, batch: CropBatch) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Return the output of the file: keypoints (B, K, 2) in image pixels and scores (B, K), which may not be finite."""
        return self.exported(batch["images"].cpu().numpy(), batch["image_from_input"].cpu().numpy())


class ExportedImageEngine:
    """Estimate the poses of whole images with an exported bottom-up network, on the CPU.

    The file returns heatmaps and tags, and the codec finds the instances.

    Args:
        exported: the file.
    """

    def __init__(self, exported: ExportedMaps) -> None:
        record = exported.record
        self.exported = exported
        self.input_size, self.grid, self.skeleton = record.input_size, record.codec.grid, record.skeleton
        self.codec = cast(AssociativeEmbedding, record.codec)

    def __call__(self, batch: WholeImageBatch) -> Poses:
        """Estimate the poses of a whole image."""
        images = (batch["images"], *batch["rescaled"])
        size = (images[0].shape[1], images[0].shape[2])
        return collect_image_poses([self.exported(view) for view in images], self.codec, batch, size)


def open_engine(
    file: str | Path, *, codec: Codec | None, skeleton: Skeleton | None, settings: Mapping[str, Any]
) -> tuple[Engine, dict[str, Any]]:
    """Open an exported file as an engine; arguments and errors are those of `PoseEstimator.from_file`.

    The settings of a network are arguments of `TorchEngine`. For a file that returns poses only `keypoint_score_threshold` can be
    changed, all others must be as exported.

    Returns:
        The engine, and the arguments of `PoseEstimator` for padding and for reading images.
    """
    opened = open_exported(file)
    settings = {name: value for name, value in settings.items() if str(value) not in _ON_CPU.get(name, ())}
    if isinstance(opened, ExportedNetwork):
        codec, skeleton = codec or _assume_codec(opened), skeleton or _assume_skeleton(opened)
        opened.check_channels(codec.num_channels(skeleton.num_keypoints), codec.input_size)
        return TorchEngine(opened, codec, skeleton, **{"device": "cpu", **settings}), {}
    record = opened.record
    threshold = settings.pop("keypoint_score_threshold", None)
    own = {"flip_test": record.flip_test, "codec": record.codec, "skeleton": record.skeleton}
    own["precision"] = _PRECISIONS.get(record.precision, record.precision)
    settings |= {name: value for name, value in {"codec": codec, "skeleton": skeleton}.items() if value is not None}
    for name, value in settings.items():
        if name not in own or own[name] != value:
            raise ExportedFileError(
                f"Expected `{name}` of {file} as it was exported ({own.get(name, 'fixed in the file')!r}), but got {value!r}. "
                "Export the weights again."
            )
    if isinstance(opened, ExportedMaps):
        return ExportedImageEngine(opened), {"upright": record.upright or None, "bit_depth": record.bit_depth}
    reading = {"bbox_padding": record.bbox_padding, "upright": record.upright or None, "bit_depth": record.bit_depth}
    return ExportedEngine(opened, keypoint_score_threshold=threshold), reading


def _assume_codec(network: ExportedNetwork) -> Codec:
    file = network.runtime.file
    (height, width), (rows, columns) = network.runtime.inputs[0].shape[2:], network.runtime.outputs[0].shape[2:]
    if height is None or width is None or rows is None or columns is None:
        raise ExportedFileError(f"Expected `codec`, because {file} has dynamic sizes, but got none.")
    codec = HeatmapCodec(input_size=(width, height), heatmap_size=(columns, rows))
    logger.info("%s does not describe its codec and normalisation; the paper's are assumed: %s", file, codec)
    return codec


def _assume_skeleton(network: ExportedNetwork) -> Skeleton:
    file, count = network.runtime.file, network.runtime.outputs[0].shape[1]
    if count not in _SKELETONS:
        raise ExportedFileError(f"Expected `skeleton`, because {file} returns {count} heatmaps, but got none.")
    logger.info("%s returns %d heatmaps; the keypoints of %s are assumed", file, count, _SKELETONS[count].name)
    return _SKELETONS[count]
