"""From an image and boxes to the crops that an engine looks at, by the code of the datasets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hrpose.data.crops import cut_crops
from hrpose.estimator.boxes import Floats, check_inside, read_detections, touching, whole_image
from hrpose.estimator.detectors import BoxFile, Detector
from hrpose.estimator.detectors.boxes import Image
from hrpose.geometry import Grid
from hrpose.media.images import Reading
from hrpose.media.load import ImageSource, load_image
from hrpose.structures import CropBatch


@dataclass(frozen=True, eq=False)
class Request:
    """An image to look at.

    Attributes:
        image: anything that `load_image` takes.
        image_id: the number that its poses will carry.
        bbox: (N, 4) x, y, width, height in photo pixels; None asks the detector or, without one, takes the whole image.
        bbox_scores: (N,); None stands for 1.
    """

    image: ImageSource
    image_id: int
    bbox: Floats | None = None
    bbox_scores: Floats | None = None


@dataclass(frozen=True, eq=False)
class PhotoCrops:
    """The crops of one photo, with the boxes (N, 4) that they were made of."""

    batch: CropBatch
    bbox: Floats


@dataclass(frozen=True)
class Cutter:
    """Cuts persons out of photos.

    Attributes:
        input_size: (width, height) of the crops.
        grid: how the pixels of a crop lie in its box.
        padding: factor by which boxes are enlarged.
        reading: orientation and scale of photos that come as files.
        detector: asked for the boxes of images that come without.
    """

    input_size: tuple[int, int]
    grid: Grid
    padding: float
    reading: Reading
    detector: Detector | BoxFile | None

    def prepare(self, request: Request) -> PhotoCrops | Image:
        """Load an image and cut its persons out; where the detector has to be asked first, return the image.

        Raises:
            ValueError: if the image cannot be loaded, or the boxes cannot be of it.
        """
        image = load_image(request.image, upright=self.reading.upright, bit_depth=self.reading.bit_depth)
        if request.bbox is None and isinstance(self.detector, BoxFile):
            return self._cut_inside(image, *self.detector.of(request.image), request.image_id)
        if request.bbox is None and self.detector is not None:
            return image
        size = (image.shape[1], image.shape[0])
        bbox = whole_image(size) if request.bbox is None else request.bbox
        check_inside(bbox, size)
        return self._cut(image, bbox, request.bbox_scores, request.image_id)

    def detect(self, image: Image, image_id: int) -> PhotoCrops:
        """Ask the detector for persons and cut them out; boxes that lie outside the image are left out.

        Raises:
            ValueError: if the detector returns anything else than boxes and scores.
        """
        assert self.detector is not None
        assert not isinstance(self.detector, BoxFile)
        return self._cut_inside(image, *read_detections(self.detector(image)), image_id)

    def cut_nothing(self) -> PhotoCrops:
        """Give the crops of a photo without persons."""
        return self._cut(np.zeros((1, 1, 3), np.uint8), np.zeros((0, 4)), None, 0)

    def _cut_inside(self, image: Image, bbox: Floats, scores: Floats, image_id: int) -> PhotoCrops:
        inside = touching(bbox, (image.shape[1], image.shape[0]))
        return self._cut(image, bbox[inside], scores[inside], image_id)

    def _cut(self, image: Image, bbox: Floats, scores: Floats | None, image_id: int) -> PhotoCrops:
        batch = cut_crops(
            image,
            bbox,
            self.input_size,
            grid=self.grid,
            padding=self.padding,
            bbox_scores=scores,
            image_id=image_id,
        )
        return PhotoCrops(batch, bbox)
