"""Losses of networks that predict coordinates: regressed, as the soft-argmax of heatmaps, or classified into bins (SimCC).

They raise ValueError if the shapes do not match.

Legend: B batch, S stacks, K keypoints, h w heatmap, X Y bins along x and along y. Coordinates are (x, y) divided by the width and
height of the input, or of the heatmap for soft-argmax, so the loss does not depend on the size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hrpose.soft_argmax import soft_argmax


def coordinate_errors(coordinates: Tensor, target: Tensor, target_weight: Tensor, beta: float) -> Tensor:
    """Compute the weighted smooth L1 distance of each keypoint, its mean over x and y, in float32: (B, K).

    Args:
        coordinates: (B, K, 2).
        target: (B, K, 2).
        target_weight: (B, K, 1), multiplies coordinates and target, as in MMPose.
        beta: the distance up to which the error is d^2 / (2 beta); above it is d - beta / 2. 0 is L1.
    """
    exact = coordinates.to(torch.promote_types(coordinates.dtype, torch.float32))
    return F.smooth_l1_loss(exact * target_weight, target * target_weight, reduction="none", beta=beta).mean(dim=2)


class CoordinateLoss(nn.Module):
    """Smooth L1 distance between regressed and true coordinates, averaged over all keypoints, those of weight 0 included.

    Girshick, "Fast R-CNN", ICCV 2015, equation 3. Coordinates are between 0 and 1, so with `beta` 1 this is half the squared
    error, as in DeepPose (Toshev, Szegedy, CVPR 2014) and MMPose.

    Args:
        beta: the distance up to which the error is squared, in units of the input's size; 0 is L1.

    Raises:
        ValueError: if `beta` is negative.

    Example:
        >>> loss = CoordinateLoss()
        >>> float(loss(torch.ones(2, 3, 2), torch.zeros(2, 3, 2), torch.ones(2, 3, 1)))
        0.5
    """

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        self.beta = _checked_beta(beta)

    def forward(self, coordinates: Tensor, target: Tensor, target_weight: Tensor) -> Tensor:
        """Compute the loss, a scalar, of coordinates (B, K, 2), a target (B, K, 2) and weights (B, K, 1)."""
        keypoints = target.shape[:2]
        if target.shape != (*keypoints, 2) or coordinates.shape != target.shape or target_weight.shape != (*keypoints, 1):
            raise ValueError(
                "Expected arguments `coordinates`, `target` and `target_weight` to be (B, K, 2), (B, K, 2) and (B, K, 1), but "
                f"got the shapes {tuple(coordinates.shape)}, {tuple(target.shape)} and {tuple(target_weight.shape)}. The loss "
                "`regression` requires a network that outputs coordinates (model=deeppose_50) and codec=regression; use loss=rle "
                "for coordinates with sigmas."
            )
        return coordinate_errors(coordinates, target, target_weight, self.beta).mean()


class IntegralLoss(nn.Module):
    """L1 distance between the soft-argmax of heatmaps and the true coordinates (Sun et al., ECCV 2018).

    The heatmaps are not supervised; the network learns their spread.

    Args:
        beta: the distance up to which the error is squared instead, in units of the heatmap's size; the paper's loss is L1, 0.

    Raises:
        ValueError: if `beta` is negative.

    Example:
        >>> loss = IntegralLoss()
        >>> float(loss(torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 2), torch.ones(2, 3, 1)))  # the center is at cell 1.5
        0.375
    """

    def __init__(self, beta: float = 0.0) -> None:
        super().__init__()
        self.beta = _checked_beta(beta)

    def forward(self, heatmaps: Tensor, target: Tensor, target_weight: Tensor) -> Tensor:
        """Compute the loss, a scalar, of heatmaps (B, K, h, w) or (B, S, K, h, w), a target (B, K, 2) and weights (B, K, 1).

        The target is in units of the heatmap's size. The losses of stacks are summed.
        """
        keypoints = target.shape[:2]
        fitting = heatmaps.ndim in (4, 5) and (heatmaps.shape[0], heatmaps.shape[-3]) == tuple(keypoints)
        if not fitting or target.shape != (*keypoints, 2) or target_weight.shape != (*keypoints, 1):
            raise ValueError(
                "Expected arguments `heatmaps`, `target` and `target_weight` to be (B, K, h, w), (B, K, 2) and (B, K, 1), but "
                f"got the shapes {tuple(heatmaps.shape)}, {tuple(target.shape)} and {tuple(target_weight.shape)}. The loss "
                "`integral` requires a network that outputs heatmaps and codec=integral."
            )
        stacks = heatmaps.unbind(1) if heatmaps.ndim == 5 else (heatmaps,)
        sizes = torch.tensor(heatmaps.shape[:-3:-1], device=target.device)
        errors = [coordinate_errors(soft_argmax(maps) / sizes, target, target_weight, self.beta) for maps in stacks]
        return torch.stack(errors).sum(dim=0).mean()


def _checked_beta(beta: float) -> float:
    if not 0 <= beta < math.inf:
        raise ValueError(f"Expected argument `beta` to be a distance of at least 0, but got {beta!r}.")
    return beta


class SimccLoss(nn.Module):
    """Kullback-Leibler divergence of the network's bins from the target's, along x and along y.

    Li et al., "SimCC: a Simple Coordinate Classification Perspective for Human Pose Estimation", ECCV 2022. As in the official
    code, the divergence of an axis is divided by its number of bins, and averaged over all keypoints, those of weight 0 included.

    Args:
        input_size: width and height of the network input in pixels, the ratio of the bins along x and y.

    Example:
        >>> loss = SimccLoss(input_size=(4, 4))
        >>> certain = torch.tensor([[[1.0, 0, 0, 0, 1, 0, 0, 0]]])
        >>> round(float(loss(torch.zeros(1, 1, 8), certain, torch.ones(1, 1, 1))), 4)  # 2 log(4) / 4
        0.6931
    """

    def __init__(self, input_size: Sequence[int]) -> None:
        super().__init__()
        self.input_size = (input_size[0], input_size[1])

    def forward(self, logits: Tensor, target: Tensor, target_weight: Tensor) -> Tensor:
        """Compute the loss, a scalar, of logits (B, K, X + Y), a target (B, K, X + Y) and weights (B, K, 1)."""
        width, height = self.input_size
        fitting = logits.ndim == 3 and logits.shape == target.shape and target.shape[2] % (width + height) == 0
        if not fitting or target_weight.shape != (*target.shape[:2], 1):
            raise ValueError(
                "Expected arguments `logits`, `target` and `target_weight` to be (B, K, X + Y), (B, K, X + Y) and (B, K, 1), "
                f"X + Y a multiple of {width} + {height}, but got the shapes {tuple(logits.shape)}, {tuple(target.shape)} and "
                f"{tuple(target_weight.shape)}. The loss `simcc` requires a network that outputs bins (model=simcc_50) and "
                "codec=simcc."
            )
        columns = target.shape[2] * width // (width + height)
        exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
        errors = [
            F.kl_div(bins.log_softmax(dim=2), shares, reduction="none").mean(dim=2)
            for bins, shares in zip(exact.tensor_split([columns], 2), target.tensor_split([columns], 2), strict=True)
        ]
        return (target_weight[..., 0] * torch.stack(errors).sum(dim=0)).mean()
