"""Cut crops out of images and normalise them, for training, validation and the estimator."""

from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import get_worker_info

from hrpose.codecs import AssociativeEmbedding
from hrpose.geometry import Grid, center_scale_from_bbox, fit_whole_image, input_from_image, invert_affine
from hrpose.structures import Crop, CropBatch, WholeImageBatch

ChannelOrder: TypeAlias = Literal["rgb", "bgr"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def crops_of_bboxes(bbox: NDArray[np.float64], input_size: tuple[int, int], padding: float) -> list[Crop]:
    """Return the crops of boxes.

    Args:
        bbox: (N, 4) x, y, width, height in image pixels.
        input_size: (width, height) of the network's input; the crops get its aspect ratio.
        padding: factor by which the boxes are enlarged.
    """
    centers, scales = center_scale_from_bbox(bbox, input_size[0] / input_size[1], padding)
    return [
        Crop(center, scale, extent=extent) for center, scale, extent in zip(centers, scales, bbox[:, 2:] * padding, strict=True)
    ]


def crop_matrices(crops: Sequence[Crop], input_size: tuple[int, int], grid: Grid) -> NDArray[np.float64]:
    """Return the matrices input_from_image (N, 2, 3) of crops."""
    matrices = [input_from_image(c.center, c.scale, c.rotation, input_size, flip=c.flip, grid=grid) for c in crops]
    return np.array(matrices, np.float64).reshape(len(crops), 2, 3)


def warp_crops(image: NDArray[np.uint8], matrices: NDArray[np.float64], pixels: NDArray[np.uint8], slots: Iterable[int]) -> None:
    """Warp an image into crops of a batch, with bilinear interpolation; pixels outside the image are black.

    Args:
        image: (H, W, 3) uint8.
        matrices: (N, 2, 3) input_from_image.
        pixels: (N, H, W, 3) uint8, written in place.
        slots: indices of the crops of this image.
    """
    height, width = pixels.shape[1:3]
    for slot in slots:
        cv2.warpAffine(image, matrices[slot], (width, height), dst=pixels[slot], flags=cv2.INTER_LINEAR)


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


def fit_image(image: NDArray[np.uint8], codec: AssociativeEmbedding, *, image_id: int = 0) -> WholeImageBatch:
    """Warp a whole image to the inputs of a network, at each of the codec's scales.

    Args:
        image: (H, W, 3) uint8 RGB.
        codec: states the short side of the input, and the scales.
        image_id: of the image.
    """
    others = [scale for scale in codec.scales if scale != 1]
    sizes, center, scale = fit_whole_image(image.shape[1::-1], min(codec.input_size), [1.0, *others])
    matrices = np.stack([input_from_image(center, scale, 0.0, size) for size in sizes])
    images = []
    for slot, size in enumerate(sizes):
        images.append(empty_images(1, size))
        warp_crops(image, matrices[slot : slot + 1], images[slot].numpy(), [0])
    return WholeImageBatch(
        images=images[0],
        rescaled=tuple(images[1:]),
        image_from_input=torch.from_numpy(invert_affine(matrices[:1])),
        center=torch.from_numpy(center[None]),
        scale=torch.from_numpy(scale[None]),
        image_ids=torch.tensor([image_id]),
    )


def empty_images(count: int, input_size: tuple[int, int]) -> Tensor:
    """Allocate (count, H, W, 3) uint8; in a worker in shared memory, as torch's collate does, which saves a copy."""
    width, height = input_size
    shape = (count, height, width, 3)
    if get_worker_info() is None:
        return torch.empty(shape, dtype=torch.uint8)
    storage = torch.UntypedStorage._new_shared(count * height * width * 3)  # type: ignore[no-untyped-call]
    return torch.empty(0, dtype=torch.uint8).set_(storage).view(shape)


class Normalization:
    """Compute (image / 255 - mean) / std in the channel order of the network.

    Args:
        channel_order: of the network's input. The official ResNets were trained on "bgr", with mean and std in the order of RGB.
        mean: of the three channels of the input, where 1 is full brightness.
        std: of the three channels of the input.

    Raises:
        ValueError: if the order is unknown, mean or std are not three numbers, or a std is not positive.
    """

    def __init__(
        self, channel_order: ChannelOrder = "rgb", mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD
    ) -> None:
        if channel_order not in ("rgb", "bgr"):
            raise ValueError(f'Expected `channel_order` to be "rgb" or "bgr", but got {channel_order!r}.')
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ValueError(
                "Expected `mean` and `std` to be three numbers each, one per channel, with a positive std, but got "
                f"{list(mean)} and {list(std)}."
            )
        self.channel_order: ChannelOrder = channel_order
        self.mean, self.std = tuple(map(float, mean)), tuple(map(float, std))
        self._row_factors: dict[tuple[torch.device, int], tuple[Tensor, Tensor]] = {}

    def __call__(self, images: Tensor) -> Tensor:
        """Normalise a batch of crops on their device.

        Args:
            images: (B, H, W, 3) uint8 RGB.

        Returns:
            (B, 3, H, W) float32 in channels_last memory, the layout of the input.
        """
        if self.channel_order == "bgr":
            images = images.flip(-1)
        count, height, width, channels = images.shape
        factor, offset = self._row_factors_on(images.device, width)
        rows = images.reshape(count, height, width * channels)
        return torch.addcmul(offset, rows, factor).view(count, height, width, channels).permute(0, 3, 1, 2)

    def undo(self, images: Tensor) -> NDArray[np.uint8]:
        """Convert normalised images (B, 3, H, W) back to RGB (B, H, W, 3) uint8."""
        pixels = images.detach().permute(0, 2, 3, 1).to("cpu", torch.float64).numpy()
        images_uint8 = ((pixels * self.std + self.mean) * 255).round().clip(0, 255).astype(np.uint8)
        return np.ascontiguousarray(images_uint8[..., ::-1]) if self.channel_order == "bgr" else images_uint8

    def _row_factors_on(self, device: torch.device, width: int) -> tuple[Tensor, Tensor]:
        """Return factor and offset of a row of `width` RGB pixels; the multiply-add of whole rows is fast."""
        if (device, width) not in self._row_factors:
            mean, std = np.array(self.mean), np.array(self.std)
            self._row_factors[device, width] = (
                torch.tensor(np.tile(1 / (255 * std), width), dtype=torch.float32, device=device),
                torch.tensor(np.tile(-mean / std, width), dtype=torch.float32, device=device),
            )
        return self._row_factors[device, width]
