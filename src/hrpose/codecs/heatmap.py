"""The paper's codec: a Gaussian on a heatmap, and the highest cell moved a quarter towards its higher neighbour.

Xiao, Wu, Wei, "Simple Baselines for Human Pose Estimation and Tracking", ECCV 2018; Sun et al., "Deep High-Resolution
Representation Learning for Human Pose Estimation", CVPR 2019, section 3. Equal to the official code in every rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class HeatmapCodec:
    """Gaussian heatmaps, decoded by argmax and quarter offset.

    Convention:
        Cell c of the heatmap stands for the input pixel c * stride, stride = input_size / heatmap_size.

    Attributes:
        input_size: width and height of the network input in pixels.
        heatmap_size: width and height of the heatmaps in cells.
        sigma: standard deviation of the Gaussian in cells; the paper's is 2 for 256x192 and 3 for 384x288.

    Raises:
        ValueError: if a size is not two positive whole numbers, the input size is no multiple of the heatmap size, or
            sigma is not positive.

    Example:
        >>> codec = HeatmapCodec(input_size=(192, 256), heatmap_size=(48, 64), sigma=2.0)
        >>> target, target_weight = codec.encode(torch.tensor([[[100.0, 42.0]]]), torch.ones(1, 1))
        >>> codec.decode(target)[0]
        tensor([[[100.,  44.]]])
    """

    input_size: tuple[int, int]
    heatmap_size: tuple[int, int]
    sigma: float = 2.0

    def __post_init__(self) -> None:
        for name in ("input_size", "heatmap_size"):
            object.__setattr__(self, name, _checked_size(name, getattr(self, name)))
        if any(pixels % cells for pixels, cells in zip(self.input_size, self.heatmap_size, strict=True)):
            quarter = tuple(max(1, pixels // 4) for pixels in self.input_size)
            raise ValueError(
                "Expected argument `input_size` to be a multiple of `heatmap_size` in width and in height, but got "
                f"{self.input_size} and {self.heatmap_size}. HRNet's heatmaps have a quarter of the input's size: {quarter}."
            )
        if isinstance(self.sigma, bool) or not isinstance(self.sigma, int | float) or not 0 < self.sigma < math.inf:
            raise ValueError(
                f"Expected argument `sigma` to be a positive number of heatmap cells (2 for 48x64), but got {self.sigma!r}."
            )

    @property
    def stride(self) -> tuple[int, int]:
        """Input pixels per heatmap cell in x and in y."""
        return self.input_size[0] // self.heatmap_size[0], self.input_size[1] // self.heatmap_size[1]

    def encode(self, keypoints: Tensor, visibility: Tensor) -> tuple[Tensor, Tensor]:
        """Paint a Gaussian of height 1 at the cell nearest to each keypoint, cut off 3 sigma away along each axis.

        A keypoint whose square lies wholly outside weighs 0 and its heatmap is empty, and so does one that is NaN or
        infinite; one outside but near the border keeps its weight and the part of its Gaussian that is inside. Occluded
        keypoints (visibility 1) count like visible ones.

        Args:
            keypoints: (B, K, 2) in input pixels, of any floating type.
            visibility: (B, K); 0 stands for unlabelled.

        Returns:
            target: (B, K, h, w) float32.
            target_weight: (B, K, 1) float32.

        Raises:
            ValueError: if the shapes do not belong together.
        """
        if keypoints.ndim != 3 or keypoints.shape[2] != 2 or visibility.shape != keypoints.shape[:2]:
            raise ValueError(
                "Expected arguments `keypoints` and `visibility` to be (B, K, 2) and (B, K), but got the shapes "
                f"{tuple(keypoints.shape)} and {tuple(visibility.shape)}."
            )
        points = keypoints if keypoints.dtype == torch.float64 else keypoints.float()
        radius = math.ceil(3 * self.sigma)
        weight = visibility.float().clamp(max=1)
        profiles = []
        for axis in (0, 1):
            # Truncated toward zero like int() in the official code: -0.9 becomes cell 0, not cell -1.
            mean = torch.trunc(points[..., axis] / self.stride[axis] + 0.5)
            weight = weight * ((mean - radius < self.heatmap_size[axis]) & (mean + radius + 1 >= 0))
            distance = (torch.arange(self.heatmap_size[axis], device=points.device) - mean[..., None]).float()
            gaussian = torch.exp(distance.square() / (-2 * self.sigma**2))
            profiles.append(torch.where(distance.abs() <= radius, gaussian, 0.0))
        rows = torch.where(weight[..., None] > 0.5, profiles[1], 0.0)
        return rows[..., :, None] * profiles[0][..., None, :], weight[..., None]

    def decode(self, heatmaps: Tensor) -> tuple[Tensor, Tensor]:
        """Take the highest cell of each heatmap, moved by a quarter of a cell along both axes towards the higher neighbour.

        Of equal cells the first in reading order wins. Cells on the border or beside it are not moved. A heatmap without
        a positive cell gives (0, 0); its score is its maximum all the same, and NaN where it holds a NaN.

        Args:
            heatmaps: (B, K, h, w).

        Returns:
            keypoints: (B, K, 2) float32 in input pixels.
            scores: (B, K) float32, the height of the highest cell.

        Raises:
            ValueError: if the heatmaps have another size than `heatmap_size`.
        """
        width, height = self.heatmap_size
        if heatmaps.ndim != 4 or heatmaps.shape[2:] != (height, width):
            raise ValueError(
                f"Expected argument `heatmaps` to be (B, K, {height}, {width}), but got the shape {tuple(heatmaps.shape)}. "
                "The codec's input_size and heatmap_size have to be those that the network sees and puts out."
            )
        heatmaps = heatmaps.float().contiguous()
        cells, scores = _highest_cells(heatmaps)
        x, y = cells.unbind(-1)
        left, right = _at(heatmaps, (x - 1).clamp(min=0), y), _at(heatmaps, (x + 1).clamp(max=width - 1), y)
        above, below = _at(heatmaps, x, (y - 1).clamp(min=0)), _at(heatmaps, x, (y + 1).clamp(max=height - 1))
        inside = (x > 1) & (x < width - 1) & (y > 1) & (y < height - 1)
        uphill = torch.stack([torch.sign(right - left), torch.sign(below - above)], dim=-1)
        moved = cells.float() + 0.25 * inside[..., None] * uphill
        keypoints = torch.stack([moved[..., axis] * self.stride[axis] for axis in (0, 1)], dim=-1)
        return keypoints, scores

    def flip_back(self, heatmaps: Tensor, flip_permutation: Sequence[int]) -> Tensor:
        """Mirror the heatmaps of mirrored images back, give each to its counterpart, and move them one cell to the right.

        The crop's center lies at W/2, not at (W - 1)/2, so mirroring moves the heatmaps by about one cell against those of
        the images as they are; the official code moves them back. The first column keeps its values.

        Args:
            heatmaps: (B, K, h, w) of the mirrored images.
            flip_permutation: K indices; entry k is the keypoint that keypoint k becomes in the mirror.

        Returns:
            (B, K, h, w) heatmaps of the images as they are.

        Raises:
            ValueError: if `flip_permutation` is not a permutation of the K keypoints.
        """
        num_keypoints = heatmaps.shape[1]
        if sorted(flip_permutation) != list(range(num_keypoints)):
            raise ValueError(
                f"Expected argument `flip_permutation` to be a permutation of 0 to {num_keypoints - 1}, one entry for each of "
                f"the {num_keypoints} heatmaps, but got {list(flip_permutation)}."
            )
        mirrored = heatmaps.flip(-1).unbind(1)
        named = torch.stack([mirrored[index] for index in flip_permutation], dim=1)
        return torch.cat([named[..., :1], named[..., :-1]], dim=-1)


def heatmap_accuracy(heatmaps: Tensor, target: Tensor, threshold: float = 0.5) -> tuple[Tensor, Tensor]:
    """Measure how often the highest cell lies near the target's: the accuracy that the official code shows while it trains.

    Distances are divided by a tenth of the heatmap's size, x by the height and y by the width as in the official code.
    Keypoints whose target peaks in the first two columns or rows (an empty target peaks at (0, 0)) are left out.

    Args:
        heatmaps: (B, K, h, w).
        target: (B, K, h, w).
        threshold: largest distance that counts as right, exclusive.

    Returns:
        accuracy: 0-dimensional mean over the keypoints that were measured; 0 if none was.
        per_keypoint: (K,) share of persons; NaN where a keypoint was not measured.
    """
    height, width = target.shape[2:]
    actual = _highest_cells(target.float())[0]
    offset = (_highest_cells(heatmaps.float())[0] - actual).float()
    distance = torch.hypot(offset[..., 0] * (10 / height), offset[..., 1] * (10 / width))
    measured = (actual > 1).all(-1)
    per_keypoint = ((distance < threshold) & measured).sum(0) / measured.sum(0)
    return per_keypoint.nanmean().nan_to_num(0.0), per_keypoint


def _highest_cells(heatmaps: Tensor) -> tuple[Tensor, Tensor]:
    """Find the first highest cell in reading order: (B, K, 2) int64 x and y, (0, 0) unless positive; and its height (B, K)."""
    cell = _first_argmax(heatmaps.flatten(2))
    x, y = cell % heatmaps.shape[3], cell // heatmaps.shape[3]
    scores = _at(heatmaps, x, y)
    return torch.stack([x, y], dim=-1) * (scores > 0)[..., None], scores


def _first_argmax(values: Tensor) -> Tensor:
    """Take the argmax along the last axis; on a CPU by numpy, which takes a tenth of torch's time."""
    recorded = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    if values.device.type == "cpu" and not recorded:
        return torch.from_numpy(values.detach().numpy().argmax(-1))
    return values.argmax(-1)


def _at(heatmaps: Tensor, x: Tensor, y: Tensor) -> Tensor:
    batch = torch.arange(heatmaps.shape[0], device=heatmaps.device)
    keypoint = torch.arange(heatmaps.shape[1], device=heatmaps.device)
    return heatmaps[batch[:, None], keypoint, y, x]


def _checked_size(name: str, size: Sequence[int]) -> tuple[int, int]:
    sides = tuple(size) if isinstance(size, Sequence) else (size,)
    whole = all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in sides)
    if len(sides) != 2 or not whole:
        raise ValueError(
            f"Expected argument `{name}` to be two positive whole numbers (width, height), but got {size!r}."
        )
    return sides[0], sides[1]
