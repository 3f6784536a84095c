"""`PoseEstimator`: images and boxes in, poses in image pixels out."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, overload

from numpy.typing import ArrayLike
from torch import device as Device
from torch import nn

from hrpose.codecs import Codec, is_bottom_up
from hrpose.estimator.boxes import read_bboxes, spread_over_images
from hrpose.estimator.crops import Cutter, Request, fit_request
from hrpose.estimator.detectors import BoxFile, Detector
from hrpose.estimator.engine import Engine, Precision, TorchEngine, choose_device
from hrpose.estimator.exported_engine import open_engine
from hrpose.estimator.from_weights import NetworkMaker, read_parts
from hrpose.estimator.stream import OnError, estimate_one, estimate_stream, estimate_whole_images
from hrpose.export import is_exported
from hrpose.media.images import Reading
from hrpose.media.load import ImageSource
from hrpose.skeletons import Skeleton
from hrpose.structures import Poses
from hrpose.weights.fetch import find_weights

_Numbers: TypeAlias = ArrayLike | None
# options of the class; all others are the engine's
_OWN = ("bbox_padding", "batch_size", "detector", "upright", "bit_depth", "num_threads")


class PoseEstimator:
    """Estimate poses in images with the code that validates a network.

    Crops of several images share a batch, and images are read while the network computes. A bottom-up network (`HigherHRNet`)
    finds all instances of an image and takes neither boxes nor a detector.

    Args:
        engine: estimates the poses of batches of crops; `from_network`, `from_checkpoint` and `from_file` make one.
        bbox_padding: factor by which boxes are enlarged.
        batch_size: crops in one batch, from one or several images.
        detector: finds boxes in images without boxes: image (H, W, 3) uint8 RGB -> boxes (N, 4) x, y, width, height, and scores
            (N,); or a `BoxFile`. Without a detector the whole image is the box of one instance.
        upright: apply the EXIF orientation of images from files, as viewers do (see `load_image`); None applies it unless the
            boxes are from a file.
        bit_depth: bits used by images of 16 bits per channel, 8 to 16; None measures each image, with a warning.
        num_threads: threads that read images; None uses the number of processors, at most 16.

    Attributes:
        upright: as given, or as the checkpoint was trained; None if neither states it.
        reading: orientation and scale of images from files.

    Raises:
        TypeError: if `engine` is a network.
        ValueError: if an argument is out of range.

    Example:
        >>> estimator = PoseEstimator.from_checkpoint("runs/tiny/monday/checkpoints/best.ckpt")  # doctest: +SKIP
        >>> poses = estimator("image.jpg", bbox=[[48, 240, 195, 371]])  # doctest: +SKIP
        >>> poses.keypoints[0], poses.scores[0]  # doctest: +SKIP
        >>> hrpose.draw_poses("image.jpg", poses)  # doctest: +SKIP
    """

    def __init__(
        self,
        engine: Engine,
        *network: Any,
        bbox_padding: float = 1.25,
        batch_size: int = 64,
        detector: Detector | BoxFile | None = None,
        upright: bool | None = None,
        bit_depth: int | None = None,
        num_threads: int | None = None,
    ) -> None:
        if network or isinstance(engine, nn.Module):  # the arguments of earlier versions
            raise TypeError("Expected one engine, but got a network. Use PoseEstimator.from_network(net, codec, skeleton).")
        for name, value in {"bbox_padding": bbox_padding, "batch_size": batch_size, "num_threads": num_threads}.items():
            if value is not None and value <= 0:
                raise ValueError(f"Expected `{name}` to be positive, but got {value}.")
        if not (detector is None or callable(detector) or isinstance(detector, BoxFile)):
            raise ValueError(f"Expected `detector` to be a callable or a BoxFile, but got {type(detector).__name__}.")
        self.engine = engine
        self.batch_size = batch_size
        self.num_threads = num_threads or min(16, os.cpu_count() or 1)
        self.upright = upright
        self.reading = Reading(not isinstance(detector, BoxFile) if upright is None else upright, bit_depth)
        codec = getattr(engine, "codec", None)
        self._fit = partial(fit_request, codec=codec, reading=self.reading) if is_bottom_up(codec) else None
        if self._fit is not None and detector is not None:
            raise ValueError(
                "Expected no `detector` for a bottom-up network, which finds all instances, but got "
                f"{type(detector).__name__}. Remove it."
            )
        self._cutter = Cutter(engine.input_size, engine.grid, bbox_padding, self.reading, detector)

    @classmethod
    def from_network(
        cls,
        net: nn.Module,
        codec: Codec,
        skeleton: Skeleton,
        *,
        device: str | Device = "auto",
        precision: Precision = "32",
        **options: Any,
    ) -> PoseEstimator:
        """Make an estimator from a network.

        Args:
            net: images (B, 3, H, W) -> heatmaps; it is moved to the device and set to eval mode.
            codec: decodes the heatmaps; its `input_size` and `grid` define the crops.
            skeleton: the keypoints.
            device: "auto" selects the first available of CUDA, MPS and the CPU.
            precision: "32"; "bf16" or "16" compute the convolutions in half precision.
            options: arguments of the class or of `TorchEngine`, such as `flip_test` and `backend`.

        Raises:
            TypeError: if an option is unknown.
            ValueError: if an argument is out of range.
        """
        own = {name: options.pop(name) for name in _OWN if name in options}
        return cls(TorchEngine(net, codec, skeleton, device=device, precision=precision, **options), **own)

    @classmethod
    def from_checkpoint(
        cls,
        file: str | Path,
        *,
        device: str | Device | None = None,
        precision: Precision | None = None,
        flip_test: bool | None = None,
        detector: Detector | BoxFile | None = None,
        model: NetworkMaker | None = None,
        codec: Codec | None = None,
        skeleton: Skeleton | None = None,
        **options: Any,
    ) -> PoseEstimator:
        """Make an estimator from a weight file.

        A checkpoint of hrpose describes the network, codec, skeleton, padding and normalisation of its validation. In other
        weights (the HRNet authors', MMPose's) the network is recognised by its tensors, and the rest is assumed with a warning.
        Nothing in the file is executed.

        Args:
            file: weights, as for `load_weights`, or the name of published ones (docs/weights.md). Exported files (.onnx, .xml)
                are opened with `from_file`.
            device: None selects the first available of CUDA, MPS and the CPU.
            precision: None uses the precision of the checkpoint's validation, "32" for other weights.
            flip_test: None is as in the checkpoint's validation, True for other weights.
            detector: finds boxes in images without boxes.
            model: the network, or a function from the number of output channels to it, if the file does not describe one of
                hrpose's networks; the weights are loaded into it.
            codec: decodes the heatmaps; needed if the file does not describe it.
            skeleton: the keypoints; needed if the file does not describe them.
            options: other arguments of the class or of `TorchEngine`, which replace those of the checkpoint.

        Raises:
            WeightsError: if the file cannot be read, or does not fit the network.
            ExportedFileError: if an exported file cannot be used, or was exported with other settings.
            TypeError: if an option is unknown.
            ValueError: if `model`, `codec` or `skeleton` is needed, or an argument is out of range.
        """
        given = {"precision": None if precision is None else str(precision), "flip_test": flip_test}
        options |= {name: value for name, value in given.items() if value is not None}
        if is_exported(file):
            chosen = {"device": device or "cpu", "detector": detector}
            return cls.from_file(file, codec=codec, skeleton=skeleton, **chosen, **options)
        parts = read_parts(find_weights(str(file)), model=model, codec=codec, skeleton=skeleton)
        settings = dict(parts.settings)
        where = choose_device(device or "auto")
        if settings.get("precision") == "16" and where.type == "cpu":
            settings["precision"] = "bf16"  # as for 16-mixed on the CPU in training
        settings |= options
        return cls.from_network(parts.net, parts.codec, parts.skeleton, device=where, detector=detector, **settings)

    @classmethod
    def from_file(
        cls, file: str | Path, *, codec: Codec | None = None, skeleton: Skeleton | None = None, **options: Any
    ) -> PoseEstimator:
        """Make an estimator from an exported file.

        Args:
            file: .onnx or .xml of `hrpose export`, or a network of another tool that maps images to heatmaps.
            codec: for a file of another tool; None assumes the paper's with the sizes of the file.
            skeleton: for a file of another tool; None assumes COCO or MPII by the number of heatmaps.
            options: arguments of the class and `keypoint_score_threshold`; for a file of another tool also of `TorchEngine`.

        Raises:
            ExportedFileError: if the file cannot be used, was exported with other settings, or its codec or skeleton is unknown.
        """
        own = {name: options.pop(name) for name in _OWN if name in options}
        engine, reading = open_engine(file, codec=codec, skeleton=skeleton, settings=options)
        return cls(engine, **{**reading, **own})

    @classmethod
    def from_engine(cls, engine: Engine, **options: Any) -> PoseEstimator:
        """Call the class; deprecated.

        Warns:
            DeprecationWarning: with the replacement.
        """
        warnings.warn("PoseEstimator.from_engine(...) is now PoseEstimator(...).", DeprecationWarning, stacklevel=2)
        return cls(engine, **options)

    @property
    def skeleton(self) -> Skeleton:
        """The keypoints."""
        return self.engine.skeleton

    @property
    def is_bottom_up(self) -> bool:
        """Whether the network finds all instances of an image without boxes."""
        return self._fit is not None

    @overload
    def __call__(
        self, images: list[Any] | tuple[Any, ...], *, bbox: Any = ..., bbox_xyxy: Any = ..., bbox_scores: Any = ...
    ) -> list[Poses]: ...

    @overload
    def __call__(
        self, images: ImageSource, *, bbox: _Numbers = ..., bbox_xyxy: _Numbers = ..., bbox_scores: _Numbers = ...
    ) -> Poses: ...

    def __call__(self, images: Any, *, bbox: Any = None, bbox_xyxy: Any = None, bbox_scores: Any = None) -> Any:
        """Estimate the poses in one image, or in a list of images.

        Args:
            images: an image in any form that `load_image` takes (path, open file, bytes, array, tensor, Pillow), or a list.
            bbox: boxes (N, 4) x, y, width, height in image pixels, or (4,) for one box; for a list of images a list of these or
                None. Without boxes the detector is used; without a detector the whole image is the box.
            bbox_xyxy: corners left, top, right, bottom instead of `bbox`.
            bbox_scores: confidence (N,) of the boxes, a factor of the instance scores; by default 1.

        Returns:
            The poses, one row per box in the same order, or per instance that a bottom-up network finds; for a list of images a
            list. `image_ids` are the positions in the list.

        Raises:
            ValueError: if an image cannot be loaded, or its boxes are invalid.
        """
        if not isinstance(images, list | tuple):
            request = _request(0, images, bbox, bbox_xyxy, bbox_scores)
            if self._fit is not None:
                return replace(self.engine(self._fit(request)), skeleton=self.skeleton)
            return estimate_one(self.engine, self._cutter, request, batch_size=self.batch_size)
        columns = [
            spread_over_images(name, values, len(images))
            for name, values in {"bbox": bbox, "bbox_xyxy": bbox_xyxy, "bbox_scores": bbox_scores}.items()
        ]
        rows = zip(images, *columns, strict=True)
        return list(self._estimate((_request(place, *row) for place, row in enumerate(rows)), None))

    def stream(self, items: Iterable[tuple[ImageSource, Any, Any]], *, on_error: OnError | None = None) -> Iterator[Poses]:
        """Estimate the poses of any number of images, such as a video, with few of them in memory at the same time.

        Args:
            items: triples (image, bbox, bbox_scores): an image in any form that `load_image` takes, boxes (N, 4) x, y, width,
                height or None, and their scores (N,) or None. Some are read ahead to fill a batch.
            on_error: called with the number and the error of an unusable image, which then has no poses; None raises the error.

        Yields:
            The poses of each image in their order; `image_ids` count the images.
        """
        requests = (_request(place, image, bbox, None, scores) for place, (image, bbox, scores) in enumerate(items))
        yield from self._estimate(requests, on_error)

    def _estimate(self, requests: Iterable[Request], on_error: OnError | None) -> Iterator[Poses]:
        if self._fit is not None:
            return estimate_whole_images(self.engine, self._fit, requests, num_threads=self.num_threads, on_error=on_error)
        options = {"batch_size": self.batch_size, "num_threads": self.num_threads}
        return estimate_stream(self.engine, self._cutter, requests, **options, on_error=on_error)


def _request(image_id: int, image: ImageSource, bbox: Any, bbox_xyxy: Any, scores: Any) -> Request:
    return Request(image, image_id, read_bboxes(bbox, bbox_xyxy, scores))
