"""UDP: sizes in steps between pixels, so that crops, heatmaps and mirrored images are aligned exactly.

Two forms: Gaussian heatmaps, and (section 3.3) a disk around the keypoint with the offset from each of its cells. Huang et al.,
"The Devil is in the Details: Delving into Unbiased Data Processing for Human Pose Estimation", CVPR 2020; offsets from Papandreou
et al., "Towards Accurate Multi-person Pose Estimation in the Wild", CVPR 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import torch
from torch import Tensor

from hrpose.codecs.base import check_heatmaps, check_kernel, check_keypoints, check_sizes
from hrpose.codecs.cells import (
    cells_from_input,
    draw_gaussians,
    flipped_back,
    gaussian_blur,
    highest_cells,
    input_from_cells,
    nearest_cells,
    newton_steps,
    values_at,
    windows_at,
)
from hrpose.errors import check_choice, check_positive
from hrpose.geometry import Grid

Smoothing: TypeAlias = Literal["official", "mmpose"]
_LOWEST, _HIGHEST = 0.001, 50.0  # heights are clamped to these before the logarithm


@dataclass(frozen=True)
class UdpCodec:
    """Gaussian heatmaps on the UDP grid, decoded by blur, logarithm and one Newton step from the highest cell.

    Convention:
        Cell c of the heatmap corresponds to the input pixel c * (input_size - 1) / (heatmap_size - 1), along each axis.

    Attributes:
        input_size: width and height of the network input in pixels.
        heatmap_size: width and height of the heatmaps in cells.
        sigma: standard deviation of the Gaussian in cells; the paper's is 2 for 256x192 and 3 for 384x288.
        blur_kernel: odd width in cells of the blur before decoding; 1 does not blur. The official code uses 7, MMPose 11.
        smoothing: "official" pads heatmaps by reflection and stretches the blurred ones from their lowest to their highest cell;
            "mmpose" pads with zeros and scales them to their original height.

    Raises:
        ValueError: if a size is not two whole numbers above 1, or another argument is out of range.

    Example:
        >>> codec = UdpCodec(input_size=(192, 256), heatmap_size=(48, 64), sigma=2.0)
        >>> target, target_weight = codec.encode(torch.tensor([[[100.0, 42.0]]]), torch.ones(1, 1))
        >>> codec.decode(target)[0].round(decimals=1)
        tensor([[[100.,  42.]]])
    """

    input_size: tuple[int, int]
    heatmap_size: tuple[int, int]
    sigma: float = 2.0
    blur_kernel: int = 7
    smoothing: Smoothing = "official"
    grid: ClassVar[Grid] = "udp"

    def __post_init__(self) -> None:
        check_sizes(self, least=2)
        check_positive("sigma", self.sigma, "heatmap cells (2 for 48x64)")
        check_kernel("blur_kernel", self.blur_kernel, self.heatmap_size)
        check_choice("smoothing", self.smoothing, ("official", "mmpose"))

    def num_channels(self, num_keypoints: int) -> int:
        """Return the number of heatmaps: one per keypoint."""
        return num_keypoints

    def encode(self, keypoints: Tensor, visibility: Tensor) -> tuple[Tensor, Tensor]:
        """Draw a Gaussian around each keypoint, truncated 3 sigma from the nearest cell along each axis: (B, K, h, w).

        A keypoint with its square entirely outside, NaN or infinite has weight 0 and an empty heatmap. See `Codec.encode`.
        """
        check_keypoints(keypoints, visibility)
        cells = cells_from_input(keypoints, self.input_size, self.heatmap_size, self.grid)
        return draw_gaussians(cells, nearest_cells(cells), visibility, self.heatmap_size, self.sigma, truncated=True)

    def decode(self, heatmaps: Tensor) -> tuple[Tensor, Tensor]:
        """Move the highest cell to the maximum of a parabola fitted to the logarithm of the blurred heatmap.

        Border cells are repeated outside. A step has no bound. A heatmap without a positive cell gives (0, 0). The score is the
        height of the highest cell before the blur. See `Codec.decode`.
        """
        check_heatmaps(heatmaps, self.heatmap_size)
        heatmaps = heatmaps.float().contiguous()
        cells, scores = highest_cells(heatmaps)
        blurred = gaussian_blur(heatmaps, self.blur_kernel, mirrored_border=self.smoothing == "official")
        floor = blurred.amin((2, 3)) if self.smoothing == "official" else torch.zeros_like(scores)
        height = (scores / (blurred.amax((2, 3)) - floor))[..., None, None]
        restored = (windows_at(blurred, cells, 1) - floor[..., None, None]) * height
        step = _step_to_top(restored.clamp(_LOWEST, _HIGHEST).log())
        moved = cells + torch.where((scores > 0)[..., None], step, 0.0)
        return input_from_cells(moved, self.input_size, self.heatmap_size, self.grid), scores

    def flip_back(self, heatmaps: Tensor, flip_permutation: Sequence[int]) -> Tensor:
        """Mirror heatmaps back without a shift. See `Codec.flip_back`."""
        return flipped_back(heatmaps, flip_permutation, self.grid)


def _step_to_top(logs: Tensor) -> Tensor:
    """Return the step (..., 2) to the maximum of a parabola (..., 3, 3), from differences over one cell."""
    middle = logs[..., 1, 1]
    left, right, above, below = logs[..., 1, 0], logs[..., 1, 2], logs[..., 0, 1], logs[..., 2, 1]
    dxx, dyy = right - 2 * middle + left, below - 2 * middle + above
    dxy = 0.5 * (logs[..., 2, 2] - right - below + 2 * middle - left - above + logs[..., 0, 0])
    gradient = torch.stack([0.5 * (right - left), 0.5 * (below - above)], dim=-1)
    return newton_steps(gradient, (dxx, dxy, dyy))


@dataclass(frozen=True)
class UdpOffsetCodec:
    """Three channels per keypoint on the UDP grid: disk, x offset, y offset; its loss is `HeatmapOffsetMSELoss`.

    Convention:
        Channel 3k is the disk of keypoint k: 1 within `radius` of it, else 0. Channels 3k + 1 and 3k + 2 are the x and y offsets
        from each cell of the disk to the keypoint, in radii; they are 0 outside the disk. Cell c corresponds to the input pixel
        c * (input_size - 1) / (heatmap_size - 1), along each axis.

    Attributes:
        input_size: width and height of the network input in pixels.
        heatmap_size: width and height of the heatmaps in cells.
        radius: of the disk in cells. The official code uses 4; MMPose 0.0546875 of the longer side of the heatmap, 3.5 of 64.
        disk_kernel: odd width in cells of the blur of the disks before decoding; 1 does not blur. Official 15, MMPose 23.
        offset_kernel: the same for the offsets. Official 7, MMPose 1. 7x7 cells exceed a disk of radius 4, which moves an ideal
            target by up to an eighth of an input pixel; 5 or less decode it exactly.

    Raises:
        ValueError: if a size is not two whole numbers above 1, or another argument is out of range.

    Example:
        >>> codec = UdpOffsetCodec(input_size=(192, 256), heatmap_size=(48, 64))
        >>> target, target_weight = codec.encode(torch.tensor([[[100.0, 42.0]]]), torch.ones(1, 1))
        >>> target.shape
        torch.Size([1, 3, 64, 48])
    """

    input_size: tuple[int, int]
    heatmap_size: tuple[int, int]
    radius: float = 4.0
    disk_kernel: int = 15
    offset_kernel: int = 7
    grid: ClassVar[Grid] = "udp"

    def __post_init__(self) -> None:
        check_sizes(self, least=2)
        check_positive("radius", self.radius, "heatmap cells (4 for 48x64)")
        for name in ("disk_kernel", "offset_kernel"):
            check_kernel(name, getattr(self, name), self.heatmap_size)

    def num_channels(self, num_keypoints: int) -> int:
        """Return the number of heatmaps: three per keypoint."""
        return 3 * num_keypoints

    def encode(self, keypoints: Tensor, visibility: Tensor) -> tuple[Tensor, Tensor]:
        """Draw the disk of each keypoint and the offsets to it: (B, 3K, h, w).

        A keypoint outside the image keeps its weight, as in the official code; its disk is truncated at the border or empty. A
        NaN or infinite keypoint has weight 0. See `Codec.encode`.
        """
        check_keypoints(keypoints, visibility)
        weight = visibility.float().clamp(max=1) * keypoints.isfinite().all(-1)
        cells = cells_from_input(keypoints, self.input_size, self.heatmap_size, self.grid)
        across, down = (
            (cells[..., axis, None] - torch.arange(self.heatmap_size[axis], device=cells.device)) / self.radius for axis in (0, 1)
        )
        offsets = across[..., None, :], down[..., :, None]
        disk = (offsets[0].square() + offsets[1].square() <= 1) & (weight[..., None, None] > 0.5)
        channels = [disk.float(), *(torch.where(disk, offset, 0.0).float() for offset in offsets)]
        return torch.stack(channels, dim=2).flatten(1, 2), weight[..., None]

    def decode(self, heatmaps: Tensor) -> tuple[Tensor, Tensor]:
        """Add the blurred offsets of the highest cell of the blurred disk to this cell.

        Blurs pad by reflection. A disk without a positive cell gives (0, 0); an offset longer than the input is ignored. The
        score is the height of the highest cell of the blurred disk. See `Codec.decode`.
        """
        check_heatmaps(heatmaps, self.heatmap_size)
        _check_triples(heatmaps)
        disk, *offsets = (heatmaps[:, channel::3].float() for channel in range(3))
        cells, scores = highest_cells(gaussian_blur(disk, self.disk_kernel, mirrored_border=True).contiguous())
        smooth = [gaussian_blur(offset, self.offset_kernel, mirrored_border=True) for offset in offsets]
        step = self.radius * torch.stack([values_at(offset, *cells.unbind(-1)) for offset in smooth], dim=-1)
        sound = (scores > 0)[..., None] & (step.abs() < max(self.input_size)).all(-1, keepdim=True)
        moved = cells + torch.where(sound, step, 0.0)
        return input_from_cells(moved, self.input_size, self.heatmap_size, self.grid), scores

    def flip_back(self, heatmaps: Tensor, flip_permutation: Sequence[int]) -> Tensor:
        """Mirror the heatmaps back, exchange the three channels of each pair, and negate the x offsets. See `Codec.flip_back`."""
        _check_triples(heatmaps)
        disk, across, down = (flipped_back(heatmaps[:, channel::3], flip_permutation, self.grid) for channel in range(3))
        return torch.stack([disk, -across, down], dim=2).flatten(1, 2)


def _check_triples(heatmaps: Tensor) -> None:
    if heatmaps.shape[1] % 3:
        raise ValueError(
            f"Expected argument `heatmaps` to have three channels per keypoint (disk, x, y), but got {heatmaps.shape[1]}. The "
            "network needs codec.num_channels(num_keypoints) outputs."
        )
