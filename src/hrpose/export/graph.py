"""What an exported file computes: from bytes to keypoints in pixels of the photo, as one module of torch.

The steps are those of `hrpose.inference.estimate_poses` and of the crop before it; here they are written with operations
that every engine has.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hrpose.codecs import Codec
from hrpose.geometry import Grid


class CropGraph(nn.Module):
    """Crops in, keypoints in photo pixels out.

    Args:
        net: images (B, 3, H, W) to heatmaps (B, C, h, w).
        codec: reads the heatmaps.
        flip_permutation: K indices for the flip test; None leaves it out.
        mean: of the network's channels, with 1 for full brightness.
        std: of the network's channels, with 1 for full brightness.
        channel_order: of the network's input, "rgb" or "bgr".
        dtype: of the network's arithmetic.
        heatmaps: whether the heatmaps go out too.
    """

    factor: Tensor
    offset: Tensor

    def __init__(
        self,
        net: nn.Module,
        codec: Codec,
        *,
        flip_permutation: Sequence[int] | None,
        mean: Sequence[float],
        std: Sequence[float],
        channel_order: str = "rgb",
        dtype: torch.dtype = torch.float32,
        heatmaps: bool = False,
    ) -> None:
        super().__init__()
        self.net = net.to(dtype).eval()
        self.codec = codec
        self.flip_permutation = list(flip_permutation) if flip_permutation is not None else None
        self.reverse = channel_order == "bgr"
        self.dtype = dtype
        self.heatmaps = heatmaps
        means, deviations = torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64)
        self.register_buffer("factor", (1 / (255 * deviations)).float()[:, None, None])
        self.register_buffer("offset", (-means / deviations).float()[:, None, None])

    def forward(self, images: Tensor, image_from_input: Tensor) -> tuple[Tensor, ...]:
        """Estimate.

        Args:
            images: (B, H, W, 3) uint8 RGB.
            image_from_input: (B, 2, 3) float32.

        Returns:
            keypoints: (B, K, 2) float32 in photo pixels.
            scores: (B, K) float32.
            heatmaps: (B, C, h, w) float32, if they were asked for.
        """
        heatmaps = self.predict(images)
        keypoints, scores = self.codec.decode(heatmaps)
        placed = transformed(keypoints, image_from_input)
        return (placed, scores, heatmaps) if self.heatmaps else (placed, scores)

    def predict(self, images: Tensor) -> Tensor:
        """Compute the heatmaps (B, C, h, w) of crops (B, H, W, 3) uint8; with the flip test in one pass of twice as many."""
        pixels = images.flip(-1) if self.reverse else images
        inputs = (pixels.permute(0, 3, 1, 2).float() * self.factor + self.offset).to(self.dtype)
        if self.flip_permutation is None:
            heatmaps: Tensor = self.net(inputs).float()
            return heatmaps
        both: Tensor = self.net(torch.cat([inputs, inputs.flip(-1)])).float()
        straight, mirrored = both.reshape(2, -1, *both.shape[1:]).unbind(0)
        turned: Tensor = self.codec.flip_back(mirrored, self.flip_permutation)
        return (straight + turned) * 0.5


class PhotoGraph(nn.Module):
    """A photo and boxes in, keypoints in photo pixels out: crops it, bilinearly as OpenCV does, and goes on as `CropGraph`.

    Args:
        crops: what comes after the crop.
        bbox_padding: factor by which the boxes are enlarged.
    """

    def __init__(self, crops: CropGraph, bbox_padding: float) -> None:
        super().__init__()
        self.crops = crops
        self.bbox_padding = bbox_padding

    def forward(self, image: Tensor, boxes: Tensor) -> tuple[Tensor, ...]:
        """Estimate.

        Args:
            image: (H, W, 3) uint8 RGB.
            boxes: (B, 4) float32 x, y, width, height in photo pixels.

        Returns:
            What `CropGraph` returns.
        """
        codec = self.crops.codec
        image_from_input = matrices_from_boxes(boxes, codec.input_size, codec.grid, self.bbox_padding)
        results: tuple[Tensor, ...] = self.crops(warped(image, image_from_input, codec.input_size), image_from_input)
        return results


def transformed(points: Tensor, matrices: Tensor) -> Tensor:
    """Map points (B, K, 2) through matrices (B, 2, 3), in float32.

    Multiplied and added, not as a matrix product, which engines may compute in lower precision. On a photo 6,000 pixels wide
    the rounding is below 0.002 pixels.
    """
    x, y = points[..., 0:1], points[..., 1:2]
    return x * matrices[:, None, :, 0] + y * matrices[:, None, :, 1] + matrices[:, None, :, 2]


def matrices_from_boxes(boxes: Tensor, input_size: tuple[int, int], grid: Grid, padding: float) -> Tensor:
    """Give image_from_input (B, 2, 3) of the upright crops of boxes (B, 4): `hrpose.geometry` as a graph.

    Convention:
        See `hrpose.geometry`: the center of the box lands on (W/2, H/2), or on ((W - 1)/2, (H - 1)/2) for "dark" and "udp".
    """
    width, height = input_size
    aspect_ratio = width / height
    box_width, box_height = boxes[:, 2], boxes[:, 3]
    scale_x = torch.maximum(box_width, box_height * aspect_ratio) * padding
    scale_y = torch.maximum(box_height, box_width / aspect_ratio) * padding
    if grid == "plain":
        step_x, step_y, middle = scale_x / width, scale_x / width, (width / 2, height / 2)
    elif grid == "udp":
        step_x, step_y, middle = scale_x / (width - 1), scale_y / (height - 1), ((width - 1) / 2, (height - 1) / 2)
    else:
        step_x, step_y, middle = (
            (scale_x - 1) / (width - 1),
            (scale_x - 1) / (width - 1),
            ((width - 1) / 2, (height - 1) / 2),
        )
    zero = torch.zeros_like(step_x)
    first = torch.stack([step_x, zero, boxes[:, 0] + box_width * 0.5 - step_x * middle[0]], dim=-1)
    second = torch.stack([zero, step_y, boxes[:, 1] + box_height * 0.5 - step_y * middle[1]], dim=-1)
    return torch.stack([first, second], dim=1)


def warped(image: Tensor, image_from_input: Tensor, input_size: tuple[int, int]) -> Tensor:
    """Take upright crops (B, H, W, 3) uint8 out of a photo (H, W, 3) uint8, bilinearly; outside the photo it is black.

    Only the four neighbours of each pixel are gathered, so a large photo is not copied for every person.
    """
    rows, columns = image.shape[0], image.shape[1]
    across = torch.arange(input_size[0], device=image.device, dtype=torch.float32)
    down = torch.arange(input_size[1], device=image.device, dtype=torch.float32)
    x = across * image_from_input[:, 0, 0:1] + image_from_input[:, 0, 2:3]
    y = down * image_from_input[:, 1, 1:2] + image_from_input[:, 1, 2:3]
    top, bottom = _neighbours(y, rows)
    left, right = _neighbours(x, columns)
    flat = image.reshape(-1, 3)
    total = torch.zeros(1, device=image.device)
    size = (-1, input_size[1], input_size[0])
    for row, row_weight in (top, bottom):
        for column, column_weight in (left, right):
            places = row[:, :, None] * columns + column[:, None, :]
            pixels = flat.index_select(0, places.flatten()).view(*size, 3).float()
            total = total + pixels * (row_weight[:, :, None] * column_weight[:, None, :])[..., None]
    return torch.floor(total + 0.5).clamp(0, 255).to(torch.uint8)


def _neighbours(places: Tensor, length: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Give the two whole places (B, n) int64 around each place, and their weights: 0 outside 0 to length - 1."""
    bounded = places.clamp(-2.0, float(2**24))  # what lies far outside is as black as what lies near
    first = torch.floor(bounded)
    fraction = bounded - first
    results = []
    for offset, weight in ((0, 1 - fraction), (1, fraction)):
        place = first.long() + offset
        inside = (place >= 0) & (place <= length - 1)
        results.append((place.clamp(0, length - 1), weight * inside))
    return results[0], results[1]
