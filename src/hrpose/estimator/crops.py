"""Make the input of an engine: crops of an image and its boxes, or a whole image. The datasets use the same functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from hrpose.codecs import AssociativeEmbedding
from hrpose.data.crops import cut_crops, fit_image
from hrpose.estimator.boxes import Floats, check_inside, read_detections, touching
from hrpose.estimator.detectors import BoxFile, Detector
from hrpose.estimator.detectors.boxes import Image
from hrpose.geometry import Grid
from hrpose.media.images import Reading
from hrpose.media.load import ImageSource, load_image
from hrpose.structures import CropBatch, WholeImageBatch


@dataclass(frozen=True, eq=False)
class Request:
    """An image for which poses are estimated.

    Attributes:
        image: any form that `load_image` takes.
        image_id: id for its poses.
        bbox: (N, 4) x, y, width, height in image pixels; None uses the detector or, without one, the whole image.
        bbox_scores: (N,); by default 1.
    """

    image: ImageSource
    image_id: int
    bbox: Floats | None = None
    bbox_scores: Floats | None = None


@dataclass(frozen=True, eq=False)
class ImageCrops:
    """The crops of one image and their boxes (N, 4)."""

    batch: CropBatch
    bbox: Floats


@dataclass(frozen=True)
class Cutter:
    """Cuts crops of instances out of images.

    Attributes:
        input_size: (width, height) of the crops.
        grid: pixel grid of the codec.
        padding: factor by which boxes are enlarged.
        reading: orientation and scale of images from files.
        detector: finds boxes in images without boxes.
    """

    input_size: tuple[int, int]
    grid: Grid
    padding: float
    reading: Reading
    detector: Detector | BoxFile | None = None

    def prepare(self, request: Request) -> ImageCrops | Image:
        """Load an image and cut its crops; return the image if the detector has to find the boxes first.

        Raises:
            ValueError: if the image cannot be loaded, or its boxes are invalid.
        """
        image = load_image(request.image, upright=self.reading.upright, bit_depth=self.reading.bit_depth)
        if request.bbox is None and isinstance(self.detector, BoxFile):
            return self._cut_inside(image, *self.detector.of(request.image), request.image_id)
        if request.bbox is None and self.detector is not None:
            return image
        size = (image.shape[1], image.shape[0])
        bbox = np.array([[0.0, 0.0, *size]]) if request.bbox is None else request.bbox
        check_inside(bbox, size)
        return self.cut(image, bbox, request.bbox_scores, request.image_id)

    def detect(self, image: Image, image_id: int) -> ImageCrops:
        """Run the detector and cut the crops of its boxes inside the image.

        Raises:
            ValueError: if the detector returns anything other than boxes and scores.
        """
        assert self.detector is not None
        assert not isinstance(self.detector, BoxFile)
        return self._cut_inside(image, *read_detections(self.detector(image)), image_id)

    def _cut_inside(self, image: Image, bbox: Floats, scores: Floats, image_id: int) -> ImageCrops:
        inside = touching(bbox, (image.shape[1], image.shape[0]))
        return self.cut(image, bbox[inside], scores[inside], image_id)

    def cut(self, image: Image, bbox: Floats, scores: Floats | None = None, image_id: int = 0) -> ImageCrops:
        """Cut boxes (N, 4) x, y, width, height with scores (N,) out of an image (H, W, 3)."""
        batch = cut_crops(
            image, bbox, self.input_size, grid=self.grid, padding=self.padding, bbox_scores=scores, image_id=image_id
        )
        return ImageCrops(batch, bbox)


@dataclass(frozen=True)
class Fitter:
    """Fits whole images to the input of a bottom-up network.

    Attributes:
        codec: defines the sizes of the input.
        reading: orientation and scale of images from files.
    """

    codec: AssociativeEmbedding
    reading: Reading

    def prepare(self, request: Request) -> WholeImageBatch:
        """Load an image and fit it.

        Raises:
            ValueError: if the image cannot be loaded, or boxes are given.
        """
        if request.bbox is not None:
            raise ValueError(
                "Expected no boxes for a bottom-up network, which finds all instances of an image, but got "
                f"{len(request.bbox)}. Remove the boxes."
            )
        image = load_image(request.image, upright=self.reading.upright, bit_depth=self.reading.bit_depth)
        return fit_image(image, self.codec, image_id=request.image_id)


def join(batches: Sequence[CropBatch]) -> CropBatch:
    """Concatenate batches of crops."""
    columns = {name: [cast(Any, batch)[name] for batch in batches] for name in batches[0]}
    return cast(CropBatch, {name: torch.cat(column) for name, column in columns.items()})


def take_rows(batch: CropBatch, rows: slice) -> CropBatch:
    """Return a slice of a batch of crops."""
    return cast(CropBatch, {name: cast(torch.Tensor, values)[rows] for name, values in batch.items()})
