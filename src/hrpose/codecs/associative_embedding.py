"""Associative embedding: heatmaps of all instances of an image, and a tag per keypoint that identifies its instance.

Newell, Huang, Deng, "Associative Embedding: End-to-End Learning for Joint Detection and Grouping", NIPS 2017; Cheng et al.,
"HigherHRNet", CVPR 2020. The targets equal HigherHRNet's official code in every rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, TypeGuard

import torch
from torch import Tensor

from hrpose.codecs.base import check_permutation, check_sizes
from hrpose.codecs.grouping import Floats, find_instances
from hrpose.errors import check_counts, check_positive
from hrpose.geometry import Grid


class GroupingTarget(NamedTuple):
    """The target of a batch of images."""

    heatmaps: tuple[Tensor, ...]  # (B, K, h, w) float32 for each output
    # (B, N, K) int64 index of the tag of each keypoint in the flattened (K, h, w) tag maps of the first output; -1 for none
    tags: Tensor


@dataclass(frozen=True)
class AssociativeEmbedding:
    """Heatmaps, the maximum over the instances, at each resolution of the network, and tags at the first.

    Convention:
        A keypoint (x, y) of the input is in the cell (int(x / stride), int(y / stride)), truncated towards zero.

    Attributes:
        input_size: width and height of the training windows in pixels; whole images are resized so that their short side is the
            shorter of the two.
        strides: input pixels per cell of each output, the one with the tags first.
        sigma: standard deviation of the Gaussians in cells, the same at every resolution.
        scales: relative sizes of the inputs that a whole image is predicted at; 1 must be among them.
        max_instances: instances per image with trained tags, in the order of the annotation file. Heatmaps show all.
        refine: whether to fill missing keypoints of an instance from the highest cell with a near tag.

    Raises:
        ValueError: if a number is not positive, `input_size` is not a multiple of the strides, or 1 is not among the scales.

    Example:
        >>> codec = AssociativeEmbedding(input_size=(64, 64))
        >>> target, masks = codec.encode(torch.full((1, 2, 17, 2), 32.0), torch.ones(1, 2, 17))
        >>> [tuple(heatmaps.shape) for heatmaps in target.heatmaps], tuple(target.tags.shape)
        ([(1, 17, 16, 16), (1, 17, 32, 32)], (1, 30, 17))
    """

    input_size: tuple[int, int]
    strides: tuple[int, ...] = (4, 2)
    sigma: float = 2.0
    max_instances: int = 30
    scales: tuple[float, ...] = (1.0,)
    refine: bool = True
    grid: ClassVar[Grid] = "plain"
    bottom_up: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_sizes(self)
        object.__setattr__(self, "strides", tuple(self.strides))
        object.__setattr__(self, "scales", tuple(self.scales))
        check_positive("sigma", self.sigma, "heatmap cells (2 in the paper)")
        check_counts(max_instances=self.max_instances)
        for stride in self.strides:
            check_counts(strides=stride)
        for scale in self.scales:
            check_positive("scales", scale, "scales, such as [0.5, 1, 2]")
        if 1 not in self.scales or len(set(self.scales)) < len(self.scales):
            raise ValueError(f"Expected argument `scales` to hold different numbers, including 1, but got {self.scales}.")
        if not self.strides or any(side % stride for side in self.input_size for stride in self.strides):
            raise ValueError(
                "Expected arguments `strides` to hold at least one number and `input_size` to be a multiple of each, but got "
                f"{self.strides} and {self.input_size}."
            )

    @property
    def heatmap_sizes(self) -> tuple[tuple[int, int], ...]:
        """Width and height of the heatmaps of each output in training."""
        width, height = self.input_size
        return tuple((width // stride, height // stride) for stride in self.strides)

    def num_channels(self, num_keypoints: int) -> int:
        """Return the number of heatmaps of an output: one per keypoint. The network adds the tag maps."""
        return num_keypoints

    def encode(
        self, keypoints: Tensor, visibility: Tensor, masks: Sequence[Tensor] | None = None
    ) -> tuple[GroupingTarget, tuple[Tensor, ...]]:
        """Compute the targets of images with P instances each.

        Args:
            keypoints: (B, P, K, 2) in input pixels.
            visibility: (B, P, K); 0 is unlabelled, as are all keypoints of padding rows.
            masks: (B, h, w) for each output, False where the loss does not count; None counts everything.

        Returns:
            target: heatmaps and tags. Keypoints outside the heatmap have neither, instances beyond `max_instances` have no tags.
            target_weight: the masks, (B, h, w) bool for each output.

        Raises:
            ValueError: if the shapes do not match.
        """
        if keypoints.ndim != 4 or keypoints.shape[3] != 2 or visibility.shape != keypoints.shape[:3]:
            raise ValueError(
                "Expected arguments `keypoints` and `visibility` to be (B, P, K, 2) and (B, P, K), but got the shapes "
                f"{tuple(keypoints.shape)} and {tuple(visibility.shape)}."
            )
        sizes, count, device = self.heatmap_sizes, len(keypoints), keypoints.device
        cells = [_cells(keypoints / stride, visibility, size) for stride, size in zip(self.strides, sizes, strict=True)]
        heatmaps = tuple(_paint(*found, size, self.sigma) for found, size in zip(cells, sizes, strict=True))
        if masks is None:
            masks = [torch.ones(count, height, width, dtype=torch.bool, device=device) for width, height in sizes]
        return GroupingTarget(heatmaps, self._tags(*cells[0])), tuple(masks)

    def decode(self, heatmaps: Tensor, tags: Tensor) -> list[tuple[Floats, Floats, Floats]]:
        """Find the instances of each image.

        Args:
            heatmaps: (B, K, H, W) float32 of the size of the network's input.
            tags: (B, K, T, h, w) float32 of any size; T is 2 with a flip test, otherwise 1.

        Returns:
            For each image with N instances: keypoints (N, K, 2) in input pixels, (0, 0) where missing; keypoint scores (N, K), 0
            where missing; and instance scores (N,), the mean keypoint scores before missing keypoints are filled.
        """
        return [find_instances(*maps, refine=self.refine) for maps in zip(heatmaps, tags, strict=True)]

    def flip_back(self, outputs: Sequence[Tensor], flip_permutation: Sequence[int]) -> list[Tensor]:
        """Convert the outputs of `HigherHRNet` for mirrored images to those of the original images; see `Codec.flip_back`."""
        count = outputs[0].shape[1] // 2
        check_permutation(flip_permutation, count)
        order = [*flip_permutation, *(count + index for index in flip_permutation)]
        return [output[:, order[: output.shape[1]]].flip(-1) for output in outputs]

    def _tags(self, cells: Tensor, inside: Tensor) -> Tensor:
        """Return the indices of the tags of the first instances, (B, max_instances, K), -1 for none."""
        width, height = self.heatmap_sizes[0]
        count, _, num_keypoints = inside.shape
        channel = torch.arange(num_keypoints, device=cells.device)
        places = torch.where(inside, (channel * height + cells[..., 1]) * width + cells[..., 0], -1)
        places = places[:, : self.max_instances]
        padding = places.new_full((count, self.max_instances - places.shape[1], num_keypoints), -1)
        return torch.cat([places, padding], dim=1)


def is_bottom_up(codec: object) -> TypeGuard[AssociativeEmbedding]:
    """Check whether a codec finds all instances of a whole image, instead of one in each crop."""
    return bool(getattr(codec, "bottom_up", False))


def _cells(points: Tensor, visibility: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the cells of points (B, P, K, 2), int64, and which of them are labelled and inside, (B, P, K)."""
    limits = points.new_tensor(size)
    inside = ((points > -1) & (points < limits)).all(-1) & (visibility > 0)
    return torch.where(inside[..., None], points, 0).to(torch.int64), inside


def _paint(cells: Tensor, inside: Tensor, size: tuple[int, int], sigma: float) -> Tensor:
    """Draw a Gaussian in a square around each cell (B, P, K, 2) and take the maximum over the instances, (B, K, h, w)."""
    (width, height), (count, _, num_keypoints), device = size, inside.shape, cells.device
    reach = torch.arange(-math.floor(3 * sigma + 1), math.floor(3 * sigma + 1) + 1, device=device)
    x, y = (cells[..., axis, None] + reach for axis in (0, 1))
    shown = ((y >= 0) & (y < height))[..., :, None] & ((x >= 0) & (x < width))[..., None, :] & inside[..., None, None]
    profile = torch.exp(reach.square() / (-2 * sigma**2))
    heights = (profile[:, None] * profile).expand(shown.shape)
    first = torch.arange(count * num_keypoints, device=device).view(count, 1, num_keypoints, 1, 1) * (width * height)
    outside = count * num_keypoints * width * height  # an additional cell for values outside
    places = torch.where(shown, first + y[..., :, None] * width + x[..., None, :], outside)
    flat = torch.zeros(outside + 1, device=device)
    flat.scatter_reduce_(0, places.flatten(), heights.flatten(), "amax")
    return flat[:-1].view(count, num_keypoints, height, width)
