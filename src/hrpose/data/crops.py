"""From a photo and a place in it to the pixels that the network sees: the one warp of training, validation and the estimator."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import get_worker_info

from hrpose.geometry import Grid, center_scale_from_bbox, input_from_image, invert_affine
from hrpose.structures import Crop, CropBatch


def crops_of_bboxes(bbox: NDArray[np.float64], input_size: tuple[int, int], padding: float) -> list[Crop]:
    """Place the crops of boxes.

    Args:
        bbox: (N, 4) x, y, width, height in photo pixels.
        input_size: (width, height) of the network's input; the crops get its aspect ratio.
        padding: factor by which the boxes are enlarged.
    """
    centers, scales = center_scale_from_bbox(bbox, input_size[0] / input_size[1], padding)
    return [
        Crop(center, scale, extent=extent)
        for center, scale, extent in zip(centers, scales, bbox[:, 2:] * padding, strict=True)
    ]


def crop_matrices(crops: Sequence[Crop], input_size: tuple[int, int], grid: Grid) -> NDArray[np.float64]:
    """Give the matrices input_from_image (N, 2, 3) of crops."""
    matrices = np.empty((len(crops), 2, 3), np.float64)
    for slot, crop in enumerate(crops):
        matrices[slot] = input_from_image(crop.center, crop.scale, crop.rotation, input_size, flip=crop.flip, grid=grid)
    return matrices


def warp_crops(
    photo: NDArray[np.uint8], matrices: NDArray[np.float64], pixels: NDArray[np.uint8], slots: Iterable[int]
) -> None:
    """Take pixels from a photo into their places in a batch, bilinearly; what lies outside the photo is black.

    Args:
        photo: (H, W, 3) uint8.
        matrices: (N, 2, 3) input_from_image.
        pixels: (N, H, W, 3) uint8, written to.
        slots: which of the N belong to this photo.
    """
    height, width = pixels.shape[1:3]
    for slot in slots:
        cv2.warpAffine(photo, matrices[slot], (width, height), dst=pixels[slot], flags=cv2.INTER_LINEAR)


def cut_crops(
    image: NDArray[np.uint8],
    bbox: NDArray[np.float64],
    input_size: tuple[int, int],
    *,
    grid: Grid,
    padding: float,
    bbox_scores: NDArray[np.float64] | None = None,
    image_id: int = 0,
) -> CropBatch:
    """Cut boxes out of one image.

    Args:
        image: (H, W, 3) uint8 RGB.
        bbox: (N, 4) x, y, width, height in image pixels.
        input_size: (width, height) of the crops.
        grid: how the pixels of a crop lie in its box; the codec's.
        padding: factor by which the boxes are enlarged.
        bbox_scores: (N,); 1 by default.
        image_id: of the image.
    """
    count = len(bbox)
    crops = crops_of_bboxes(bbox, input_size, padding)
    matrices = crop_matrices(crops, input_size, grid)
    images = empty_images(count, input_size)
    warp_crops(image, matrices, images.numpy(), range(count))
    return CropBatch(
        images=images,
        image_from_input=torch.from_numpy(invert_affine(matrices)),
        center=torch.from_numpy(np.array([crop.center for crop in crops]).reshape(count, 2)),
        scale=torch.from_numpy(np.array([crop.scale for crop in crops]).reshape(count, 2)),
        bbox_scores=torch.from_numpy(np.ones(count) if bbox_scores is None else bbox_scores),
        image_ids=torch.full((count,), image_id, dtype=torch.int64),
        instance_ids=torch.arange(count),
    )


def empty_images(count: int, input_size: tuple[int, int]) -> Tensor:
    """Allocate (count, H, W, 3) uint8; in a worker in shared memory, as torch's own collate does, so it is not copied again."""
    width, height = input_size
    shape = (count, height, width, 3)
    if get_worker_info() is None:
        return torch.empty(shape, dtype=torch.uint8)
    storage = torch.UntypedStorage._new_shared(count * height * width * 3)  # type: ignore[no-untyped-call]
    return torch.empty(0, dtype=torch.uint8).set_(storage).view(shape)
