"""Samples of whole images: windows with all instances and masks of unlabelled regions for training, whole images for validation.

One matrix per sample maps the image to the window. Each mask has its own matrix for each output of the network, because it is
warped from the image, as in HigherHRNet's official code.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from hrpose.annotations.regions import LabelledImages, counted_pixels
from hrpose.codecs import AssociativeEmbedding
from hrpose.data.crops import empty_images, fit_image, warp_crops
from hrpose.data.dataset import Key, rank_stored, sample_generator, split_key
from hrpose.data.pixels import PixelStage
from hrpose.data.transforms import CropTransform, HalfBody
from hrpose.geometry import input_from_image, invert_affine, transform_points
from hrpose.media.archives import archives_of
from hrpose.media.folders import check_images_exist
from hrpose.media.images import STORED, Reading, read_image
from hrpose.skeletons import Skeleton
from hrpose.structures import Crop, ImageBatch, InstanceTable, WholeImageBatch


class ImageDataset(Dataset[ImageBatch]):
    """Windows of whole images, addressed by (epoch, index); a plain index is of epoch 0.

    The window is the largest square around the middle of the image, changed by the augmentation; pixels outside the image are
    black and masked. `__getitems__` returns a batch; use `collate_fn=keep_batch` in a DataLoader.

    Args:
        images: the images with their instances.
        codec: defines the size of the windows and of the masks.

    The other arguments are those of `PoseDataset`.

    Raises:
        MissingDataError: if images are missing.
        ValueError: if a transform needs the box of one instance.
    """

    def __init__(
        self,
        images: LabelledImages,
        image_dir: str | Path,
        codec: AssociativeEmbedding,
        skeleton: Skeleton,
        *,
        augment: Sequence[CropTransform] = (),
        pixel_transforms: Any = None,
        seed: int = 0,
        reading: Reading = STORED,
    ) -> None:
        check_images_exist([images.table.file_names[int(row)] for row in images.rows], image_dir)
        if any(isinstance(step, HalfBody) for step in augment):
            raise ValueError(
                "Expected `augment` to change windows of whole images, but got HalfBody, which needs the crop of one instance. "
                "Set augment.half_body=null or augment=higher_hrnet."
            )
        self.images, self.codec, self.skeleton = images, codec, skeleton
        self.image_dir = str(image_dir)
        self._archives = archives_of(image_dir)  # pickled for the workers
        self.augment = tuple(augment)
        self.pixel_stage = PixelStage(pixel_transforms) if pixel_transforms is not None else None
        self.seed, self.reading = seed, reading
        # instances are sorted by image
        self._first = np.searchsorted(images.table.image_index, np.arange(len(images.table.image_ids) + 1))

    def __len__(self) -> int:
        return len(self.images)

    def stored_order(self) -> NDArray[np.int64]:
        """Return the samples in the order in which their images are stored: by place in archives, otherwise by name."""
        names = [self.images.table.file_names[int(row)] for row in self.images.rows]
        return np.argsort(rank_stored(names, self.image_dir), kind="stable")

    def __getitem__(self, key: Key) -> ImageBatch:
        """Return a batch of one image."""
        return self.__getitems__([key])

    def __getitems__(self, keys: Sequence[Key]) -> ImageBatch:
        """Return a batch of windows.

        Raises:
            IndexError: if an index is out of range.
            DataError: if an image is missing or damaged, or its size differs from the annotations.
        """
        table, codec = self.images.table, self.codec
        rows, crops, generators = zip(*(self._place(key) for key in keys), strict=True)
        matrices = np.stack([_window_matrix(crop, codec.input_size) for crop in crops])
        pixels = empty_images(len(keys), codec.input_size)
        for slot, row in enumerate(rows):
            width, height = table.image_sizes[row].tolist()
            file = f"{self.image_dir}/{table.file_names[row]}"
            warp_crops(read_image(file, size=(width, height), reading=self.reading), matrices, pixels.numpy(), [slot])
            if self.pixel_stage is not None:
                pixels.numpy()[slot] = self.pixel_stage(pixels.numpy()[slot], generators[slot])
        keypoints, visibility = self._move_keypoints(rows, crops, matrices)
        return ImageBatch(
            images=pixels,
            keypoints=torch.from_numpy(keypoints),
            visibility=torch.from_numpy(visibility),
            masks=self._warp_masks(rows, crops),
            image_from_input=torch.from_numpy(invert_affine(matrices)),
            image_ids=torch.from_numpy(table.image_ids[list(rows)]),
        )

    def _place(self, key: Key) -> tuple[int, Crop, np.random.Generator]:
        """Return the image of a key, its window and the generator of the sample."""
        epoch, index = split_key(key, len(self))
        row, rng = int(self.images.rows[index]), sample_generator(self.seed, epoch, index)
        size = self.images.table.image_sizes[row].astype(np.float64)
        scale = size.min() * np.array(self.codec.input_size) / min(self.codec.input_size)
        crop = Crop(size / 2, scale)
        instances = slice(self._first[row], self._first[row + 1])
        keypoints, visibility = self.images.table.keypoints[instances], self.images.table.visibility[instances]
        for transform in self.augment:
            crop = transform(crop, keypoints.reshape(-1, 2), visibility.ravel(), rng)
        return row, crop, rng

    def _move_keypoints(
        self, rows: Sequence[int], crops: Sequence[Crop], matrices: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Transform the keypoints of all instances to the windows; images with fewer instances are padded."""
        table = self.images.table
        most = max(int(self._first[row + 1] - self._first[row]) for row in rows)
        keypoints = np.zeros((len(rows), most, table.num_keypoints, 2), np.float32)
        visibility = np.zeros(keypoints.shape[:3], np.uint8)
        for slot, (row, crop) in enumerate(zip(rows, crops, strict=True)):
            instances = np.arange(self._first[row], self._first[row + 1])
            order = list(self.skeleton.flip_permutation) if crop.flip else slice(None)
            labels = table.visibility[instances][:, order]
            moved = transform_points(table.keypoints[instances][:, order], matrices[slot])
            visibility[slot, : len(instances)] = labels
            keypoints[slot, : len(instances)] = np.where(labels[..., None] > 0, moved, 0)
        return keypoints, visibility

    def _warp_masks(self, rows: Sequence[int], crops: Sequence[Crop]) -> tuple[Tensor, ...]:
        """Warp the mask of each image to each size of the heatmaps: (B, h, w) bool, False outside the image."""
        sizes = self.codec.heatmap_sizes
        masks = [np.empty((len(rows), height, width), np.bool_) for width, height in sizes]
        for slot, (row, crop) in enumerate(zip(rows, crops, strict=True)):
            counted = 255 * counted_pixels(self.images.regions[row], self.images.table.image_sizes[row].tolist())
            for size, mask in zip(sizes, masks, strict=True):
                mask[slot] = cv2.warpAffine(counted, _window_matrix(crop, size), size, flags=cv2.INTER_LINEAR) > 127
        return tuple(torch.from_numpy(mask) for mask in masks)


def _window_matrix(crop: Crop, size: tuple[int, int]) -> NDArray[np.float64]:
    """Return the matrix of a window; a mirrored window is the exact mirror image: x becomes width - 1 - x."""
    matrix = input_from_image(crop.center, crop.scale, crop.rotation, size)
    if crop.flip:
        matrix[0] = [0, 0, size[0] - 1] - matrix[0]
    return matrix


class WholeImages(Dataset[WholeImageBatch]):
    """All images of a table in its order, fitted to the input as in prediction; each is a batch. Keys are as for `ImageDataset`.

    Args:
        table: its images, with instances or without.
        image_dir: image folder or archives, which must contain all images.
        codec: defines the sizes of the inputs.
        reading: orientation and scale of the images.

    Raises:
        MissingDataError: if images are missing.
    """

    def __init__(
        self, table: InstanceTable, image_dir: str | Path, codec: AssociativeEmbedding, *, reading: Reading = STORED
    ) -> None:
        check_images_exist(table.file_names.tolist(), image_dir)
        self.table, self.image_dir, self.codec, self.reading = table, str(image_dir), codec, reading
        self._archives = archives_of(image_dir)  # pickled for the workers

    def __len__(self) -> int:
        return len(self.table.image_ids)

    def __getitem__(self, key: Key) -> WholeImageBatch:
        """Read one image and fit it into the input."""
        row = key[1] if isinstance(key, tuple) else key
        width, height = self.table.image_sizes[row].tolist()
        size = (width, height) if height else None  # may be unknown for images without annotations
        image = read_image(f"{self.image_dir}/{self.table.file_names[row]}", size=size, reading=self.reading)
        return fit_image(image, self.codec, image_id=int(self.table.image_ids[row]))
