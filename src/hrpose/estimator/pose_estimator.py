"""The way in for everybody who has a trained network and photos: images and boxes in, poses in photo pixels out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

from numpy.typing import ArrayLike
from torch import device as Device
from torch import nn

from hrpose.codecs import Codec
from hrpose.data.normalization import IMAGENET_MEAN, IMAGENET_STD, ChannelOrder
from hrpose.estimator.boxes import read_bboxes, spread_over_images
from hrpose.estimator.crops import Cutter, Request
from hrpose.estimator.detectors import BoxFile, Detector
from hrpose.estimator.engine import Engine, Precision, TorchEngine, choose_device
from hrpose.estimator.exported_engine import open_engine, take_backend
from hrpose.estimator.from_weights import read_parts
from hrpose.estimator.stream import OnError, estimate_one, estimate_stream
from hrpose.export import is_exported
from hrpose.media.images import Reading
from hrpose.media.load import ImageSource
from hrpose.skeletons import Skeleton
from hrpose.structures import Poses
from hrpose.weights.fetch import find_weights

_OF_ESTIMATOR = (
    "bbox_padding",
    "batch_size",
    "detector",
    "upright",
    "bit_depth",
    "num_threads",
)  # what is not the engine's


class PoseEstimator:
    """Estimate poses in photos, by the same code that validates a network.

    Persons of several images share a batch; photos are read while the network computes.

    Args:
        net: images (B, 3, H, W) -> heatmaps; it is moved to the device and put into eval mode.
        codec: reads the heatmaps; its `input_size` and `grid` say how crops are cut.
        skeleton: the keypoints.
        flip_test: average with the heatmaps of the mirrored crop: better by about a point of AP, at twice the time.
        bbox_padding: factor by which boxes are enlarged.
        channel_order: of the network's input. The official ResNets were trained on "bgr".
        mean: of the input's first, second and third channel, with 1 for full brightness.
        std: of the input's first, second and third channel, with 1 for full brightness.
        device: "auto" takes the first there is of CUDA, MPS and the CPU.
        precision: "32"; "bf16" or "16" calculate the convolutions in half precision.
        batch_size: crops in one batch, from as many images as it takes.
        keypoint_score_threshold: keypoints that score above it count for the instance score.
        channels_last: keep activations in NHWC order, as training does by default.
        detector: finds persons in images that come without boxes: image (H, W, 3) uint8 RGB -> boxes (N, 4) x, y, width,
            height, and scores (N,); or a `BoxFile`. Without one the whole image is taken as the box of one person.
        upright: turn photos that come as files upright by their EXIF orientation, as viewers do (see `load_image`); None does
            so unless the boxes come from a file.
        bit_depth: bits that photos of 16 bits per channel use, 8 to 16; None takes those that each photo uses, with a warning.
        num_threads: threads that read photos; None takes as many as there are processors, 16 at most.
        backend: what computes the network: "torch"; on the CPU also "auto", the fastest of what is installed that finds the same
            keypoints, measured once, or one of `hrpose.export.accelerate` by name ("openvino", "onnxruntime", "frozen", ...).

    Attributes:
        upright: as given, or as the checkpoint was trained; None where neither says.
        reading: orientation and scale of photos that come as files.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> estimator = PoseEstimator.from_checkpoint("runs/tiny/monday/checkpoints/best.ckpt")  # doctest: +SKIP
        >>> poses = estimator("photo.jpg", bbox=[[48, 240, 195, 371]])  # doctest: +SKIP
        >>> poses.keypoints[0], poses.scores[0]  # doctest: +SKIP
        >>> hrpose.draw_poses("photo.jpg", poses)  # doctest: +SKIP
    """

    def __init__(
        self,
        net: nn.Module,
        codec: Codec,
        skeleton: Skeleton,
        *,
        flip_test: bool = True,
        bbox_padding: float = 1.25,
        channel_order: ChannelOrder = "rgb",
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        device: str | Device = "auto",
        precision: Precision = "32",
        batch_size: int = 64,
        keypoint_score_threshold: float = 0.2,
        channels_last: bool = True,
        detector: Detector | BoxFile | None = None,
        upright: bool | None = None,
        bit_depth: int | None = None,
        num_threads: int | None = None,
        backend: str = "torch",
    ) -> None:
        if backend != "torch":
            net = take_backend(net, codec, backend, device=device, precision=precision)
        engine = TorchEngine(
            net,
            codec,
            skeleton,
            flip_test=flip_test,
            channel_order=channel_order,
            mean=mean,
            std=std,
            device=device,
            precision=precision,
            keypoint_score_threshold=keypoint_score_threshold,
            channels_last=channels_last,
        )
        self._set(engine, bbox_padding, batch_size, detector, upright, bit_depth, num_threads)

    @classmethod
    def from_engine(
        cls,
        engine: Engine,
        *,
        bbox_padding: float = 1.25,
        batch_size: int = 64,
        detector: Detector | BoxFile | None = None,
        upright: bool | None = None,
        bit_depth: int | None = None,
        num_threads: int | None = None,
    ) -> PoseEstimator:
        """Make an estimator of anything that turns crops into poses; the other arguments are those of the class.

        Raises:
            ValueError: if an argument is out of range.
        """
        estimator = cls.__new__(cls)
        estimator._set(engine, bbox_padding, batch_size, detector, upright, bit_depth, num_threads)
        return estimator

    @classmethod
    def from_checkpoint(
        cls,
        file: str | Path,
        *,
        device: str | Device | None = None,
        precision: Precision | None = None,
        flip_test: bool | None = None,
        detector: Detector | BoxFile | None = None,
        model: nn.Module | None = None,
        codec: Codec | None = None,
        skeleton: Skeleton | None = None,
        **options: Any,
    ) -> PoseEstimator:
        """Make an estimator of a weight file.

        A checkpoint of hrpose says itself what network, codec, skeleton, padding and normalisation it was validated with, and
        nothing else is needed. Of other weights (the HRNet authors', MMPose's) the network is recognised by its tensors;
        what no weight file tells is assumed, and the log says what. Nothing in the file is executed.

        Args:
            file: weights, as `load_weights` takes them, or the name of published ones (docs/weights.md); or an exported file
                (.onnx, .xml, .torchscript), as `hrpose export` writes it, or of another tool a network that maps images to
                heatmaps.
            device: None takes the first there is of CUDA, MPS and the CPU.
            precision: None takes that of the checkpoint's own validation, "32" for other weights.
            flip_test: None takes that of the checkpoint's own validation, True for other weights.
            detector: finds persons in images that come without boxes.
            model: the network, where the file does not say or it is not one of hrpose's; the weights are loaded into it.
            codec: reads the heatmaps, where the file does not say.
            skeleton: the keypoints, where the file does not say.
            options: any other argument of the class; it wins over what the checkpoint says.

        Raises:
            WeightsError: if the file cannot be read, or does not fit the network.
            ExportedFileError: if an exported file cannot be used, or was written for something else than what is asked for.
            ValueError: if it takes `model`, `codec` or `skeleton` to use the file, or an argument is out of range.
        """
        given = {"precision": None if precision is None else str(precision), "flip_test": flip_test}
        given = {name: value for name, value in given.items() if value is not None}
        if is_exported(file):
            return cls._from_exported(
                file, codec, skeleton, {**given, "device": device or "cpu"}, {**options, "detector": detector}
            )
        parts = read_parts(find_weights(str(file)), model=model, codec=codec, skeleton=skeleton)
        chosen = choose_device(device or "auto")
        settings = dict(parts.settings)
        if settings.get("precision") == "16" and chosen.type == "cpu":
            settings["precision"] = "bf16"  # what 16-mixed is on the CPU in training too
        settings |= given | options
        return cls(parts.net, parts.codec, parts.skeleton, device=chosen, detector=detector, **settings)

    @classmethod
    def _from_exported(
        cls,
        file: str | Path,
        codec: Codec | None,
        skeleton: Skeleton | None,
        asked: dict[str, Any],
        options: dict[str, Any],
    ) -> PoseEstimator:
        own = {name: options.pop(name) for name in _OF_ESTIMATOR if name in options}
        engine, settled = open_engine(file, codec=codec, skeleton=skeleton, settings={**asked, **options})
        return cls.from_engine(engine, **{**settled, **own})

    def _set(
        self,
        engine: Engine,
        bbox_padding: float,
        batch_size: int,
        detector: Detector | BoxFile | None,
        upright: bool | None,
        bit_depth: int | None,
        num_threads: int | None,
    ) -> None:
        for name, value in {"bbox_padding": bbox_padding, "batch_size": batch_size, "num_threads": num_threads}.items():
            if value is not None and value <= 0:
                raise ValueError(f"Expected `{name}` to be positive, but got {value}.")
        if not (detector is None or callable(detector) or isinstance(detector, BoxFile)):
            raise ValueError(f"Expected `detector` to be called with an image, but got {type(detector).__name__}.")
        self.engine = engine
        self.batch_size = batch_size
        self.num_threads = num_threads or min(16, os.cpu_count() or 1)
        self.upright = upright
        self.reading = Reading(not isinstance(detector, BoxFile) if upright is None else upright, bit_depth)
        self._cutter = Cutter(engine.input_size, engine.grid, bbox_padding, self.reading, detector)

    @property
    def skeleton(self) -> Skeleton:
        """The keypoints that come out."""
        return self.engine.skeleton

    @overload
    def __call__(
        self, images: list[Any] | tuple[Any, ...], *, bbox: Any = ..., bbox_xyxy: Any = ..., bbox_scores: Any = ...
    ) -> list[Poses]: ...

    @overload
    def __call__(
        self,
        images: ImageSource,
        *,
        bbox: ArrayLike | None = ...,
        bbox_xyxy: ArrayLike | None = ...,
        bbox_scores: ArrayLike | None = ...,
    ) -> Poses: ...

    def __call__(self, images: Any, *, bbox: Any = None, bbox_xyxy: Any = None, bbox_scores: Any = None) -> Any:
        """Estimate the poses in one image, or in a list of images.

        Args:
            images: an image as `load_image` takes it (path, open file, bytes, array, tensor, Pillow), or a list of them.
            bbox: boxes (N, 4) x, y, width, height in photo pixels, or (4,) for one person; for a list of images a list, with
                None for images without. Images without boxes go to the detector; without a detector the whole image is the box.
            bbox_xyxy: the same as corners left, top, right, bottom, instead of `bbox`.
            bbox_scores: confidence (N,) of the boxes, a factor of the instance scores; 1 by default.

        Returns:
            The poses, a row for each box, in its order; for a list of images a list. `image_ids` are the places in the list.

        Raises:
            ValueError: if an image cannot be loaded, or boxes cannot be of it.
        """
        if not isinstance(images, list | tuple):
            request = _request(0, images, bbox, bbox_xyxy, bbox_scores)
            return estimate_one(self.engine, self._cutter, request, batch_size=self.batch_size)
        columns = [
            spread_over_images(name, values, len(images))
            for name, values in {"bbox": bbox, "bbox_xyxy": bbox_xyxy, "bbox_scores": bbox_scores}.items()
        ]
        rows = zip(images, *columns, strict=True)
        return list(self._estimate((_request(place, *row) for place, row in enumerate(rows)), None))

    def stream(
        self, items: Iterable[tuple[ImageSource, Any, Any]], *, on_error: OnError | None = None
    ) -> Iterator[Poses]:
        """Estimate the poses of any number of images, a video say, with a few of them in memory at a time.

        Args:
            items: triples (image, bbox, bbox_scores): an image as `load_image` takes it, boxes (N, 4) x, y, width, height or
                None, and their scores (N,) or None. Some are taken ahead, to fill a batch.
            on_error: called with the number and the error of an image that cannot be used; that image then has no poses.
                None raises the error.

        Yields:
            The poses of each image, in their order; `image_ids` count the images.
        """
        requests = (_request(place, image, bbox, None, scores) for place, (image, bbox, scores) in enumerate(items))
        yield from self._estimate(requests, on_error)

    def _estimate(self, requests: Iterable[Request], on_error: OnError | None) -> Iterator[Poses]:
        options = {"batch_size": self.batch_size, "num_threads": self.num_threads}
        return estimate_stream(self.engine, self._cutter, requests, **options, on_error=on_error)


def _request(image_id: int, image: ImageSource, bbox: Any, bbox_xyxy: Any, scores: Any) -> Request:
    return Request(image, image_id, *read_bboxes(bbox, bbox_xyxy, scores))
