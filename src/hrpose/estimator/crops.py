"""Make the input of an engine: crops of an image and its boxes, or a whole image. The datasets use the same functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from hrpose.codecs import AssociativeEmbedding
from hrpose.data.crops import cut_crops, fit_image
from hrpose.estimator.boxes import Boxes, Floats, check_inside, read_detections, touching
from hrpose.estimator.detectors import BoxFile, Detector
from hrpose.estimator.detectors.boxes import Image
from hrpose.geometry import Grid
from hrpose.media.images import Reading
from hrpose.media.load import ImageSource, load_image
from hrpose.structures import CropBatch, WholeImageBatch


@dataclass(frozen=True, eq=False)
class Request:
    """An image for which poses are estimated."""

    image: ImageSource
    image_id: int  # of its poses
    boxes: Boxes | None = None  # None uses the detector or, without one, the whole image

    def load(self, reading: Reading) -> Image:
        """Load the image; raise ValueError if it cannot be loaded."""
        return load_image(self.image, upright=reading.upright, bit_depth=reading.bit_depth)


@dataclass(frozen=True, eq=False)
class ImageCrops:
    """The crops of one image and their boxes (N, 4)."""

    batch: CropBatch
    bbox: Floats


@dataclass(frozen=True)
class Cutter:
    """Cuts crops of instances out of images."""

    input_size: tuple[int, int]  # (width, height) of the crops
    grid: Grid  # of the codec
    padding: float  # factor by which boxes are enlarged
    reading: Reading  # orientation and scale of images from files
    detector: Detector | BoxFile | None = None  # finds boxes in images without boxes

    def prepare(self, request: Request) -> ImageCrops | Image:
        """Load an image and cut its crops; return the image if the detector has to find the boxes first.

        Raises:
            ValueError: if the image cannot be loaded, or its boxes are invalid.
        """
        image = request.load(self.reading)
        size = (image.shape[1], image.shape[0])
        if request.boxes is not None:
            check_inside(request.boxes[0], size)
            return self._cut(image, request.boxes, request.image_id)
        if isinstance(self.detector, BoxFile):
            return self._cut(image, self.detector.of(request.image), request.image_id)
        if self.detector is not None:
            return image
        return self._cut(image, (np.array([[0.0, 0.0, *size]]), np.ones(1)), request.image_id)

    def detect(self, prepared: ImageCrops | Image, request: Request) -> ImageCrops:
        """Return the crops of a prepared image, after running the detector if it has to find the boxes."""
        if isinstance(prepared, ImageCrops):
            return prepared
        assert self.detector is not None
        assert not isinstance(self.detector, BoxFile)
        return self._cut(prepared, read_detections(self.detector(prepared)), request.image_id)

    def _cut(self, image: Image, boxes: Boxes, image_id: int) -> ImageCrops:
        """Cut the boxes that overlap the image."""
        inside = touching(boxes[0], (image.shape[1], image.shape[0]))
        bbox, scores = (values[inside] for values in boxes)
        batch = cut_crops(
            image, bbox, self.input_size, grid=self.grid, padding=self.padding, bbox_scores=scores, image_id=image_id
        )
        return ImageCrops(batch, bbox)


def fit_request(request: Request, *, codec: AssociativeEmbedding, reading: Reading) -> WholeImageBatch:
    """Load an image and fit it to the input of a bottom-up network; raise ValueError if it cannot be loaded or has boxes."""
    if request.boxes is not None:
        raise ValueError(
            "Expected no boxes for a bottom-up network, which finds all instances of an image, but got "
            f"{len(request.boxes[0])}. Remove the boxes."
        )
    return fit_image(request.load(reading), codec, image_id=request.image_id)


def join(batches: Sequence[CropBatch]) -> CropBatch:
    """Concatenate batches of crops."""
    columns = {name: [cast(Any, batch)[name] for batch in batches] for name in batches[0]}
    return cast(CropBatch, {name: torch.cat(column) for name, column in columns.items()})


def take_rows(batch: CropBatch, rows: slice) -> CropBatch:
    """Return a slice of a batch of crops."""
    return cast(CropBatch, {name: cast(torch.Tensor, values)[rows] for name, values in batch.items()})
