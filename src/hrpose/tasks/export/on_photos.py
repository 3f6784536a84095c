"""Hold a file that takes photos against the weights on whole photos with their boxes.

The check on crops gives such a file each crop as a photo, so that both see the same pixels. Here it has to find the crop itself:
bilinearly, as OpenCV does, which rounds places and weights otherwise. So grey levels differ by one here and there, keypoints by
small fractions of a pixel, and one that hangs on a tie of two places may jump.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hrpose.estimator import TorchEngine
from hrpose.export import ExportedPoses
from hrpose.export.check import distances
from hrpose.tasks.export.crops import CropSource, crop_photo

_MOST_BOXES = 64  # the whole of the data has been looked at as crops
_MOST_IN_CROP = (
    0.1  # pixels of the crop, in the median: a hundred times what rounding does, a fifth of a shift by half a pixel
)


@dataclass(frozen=True)
class PhotoComparison:
    """How far a file that crops by itself and the network on OpenCV's crops are apart.

    Attributes:
        num_photos: photos that both have looked at.
        num_boxes: people in them.
        largest: the largest difference of a keypoint, in photo pixels.
        median: the median difference, in photo pixels.
        median_in_crop: the median difference, in pixels of the crop.
        moved: share of keypoints that are more than a pixel of the crop off.
    """

    num_photos: int
    num_boxes: int
    largest: float
    median: float
    median_in_crop: float
    moved: float

    @property
    def agrees(self) -> bool:
        """Whether the file crops as OpenCV does."""
        return self.median_in_crop <= _MOST_IN_CROP

    def __str__(self) -> str:
        """Say it in one line."""
        return (
            f"median difference {self.median:.2g} px ({self.median_in_crop:.2g} px of the crop), largest {self.largest:.2g} px, "
            f"{self.moved:.2%} over a pixel of the crop, for {self.num_boxes} boxes on {self.num_photos} photos, cropped by "
            "the file"
        )


def compare_on_photos(
    exported: ExportedPoses, reference: TorchEngine, source: CropSource, limit: int
) -> PhotoComparison:
    """Run a file of the form "photo" on photos, and the network on the crops that OpenCV cuts out of them.

    Args:
        exported: the file.
        reference: the network.
        source: where the photos are.
        limit: boxes to look at, at most; 64 are enough.

    Raises:
        ValueError: if there are no boxes.
    """
    apart, apart_in_crops, num_photos = [], [], 0
    for photo, boxes in source.photos_with_boxes(min(limit, _MOST_BOXES)):
        batch = crop_photo(photo, boxes, source.record)
        off = distances(exported(photo, boxes)[0], reference(batch).keypoints)
        zoom = np.linalg.norm(batch["image_from_input"].numpy()[:, 0, :2], axis=-1)  # photo pixels for one of the crop
        apart.append(off)
        apart_in_crops.append(off / zoom[:, None])
        num_photos += 1
    if not apart:
        raise ValueError("Expected boxes to compare on, but there are none. Give photos=<folder with photos>.")
    off, off_in_crops = np.concatenate(apart), np.concatenate(apart_in_crops)
    return PhotoComparison(
        num_photos=num_photos,
        num_boxes=len(off),
        largest=float(off.max()),
        median=float(np.median(off)),
        median_in_crop=float(np.median(off_in_crops)),
        moved=float((~(off_in_crops <= 1)).mean()),
    )
