"""Losses of networks that predict coordinates: regressed (also with sigmas, RLE), as soft-argmax of heatmaps, or in bins (SimCC).

They raise ValueError if the shapes do not match.

Legend: B batch, S stacks, K keypoints, h w heatmap, X Y bins along x and along y. Coordinates are (x, y) divided by the width and
height of the input, or of the heatmap for soft-argmax, so the loss does not depend on the size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hrpose.errors import check_choice
from hrpose.soft_argmax import soft_argmax

_Base = Literal["laplace", "gaussian"]
_LEAST_SIGMA = 1e-9  # in input sizes; keeps logarithms finite
_NUM_COUPLINGS = 6  # as in the code of RLE
_WIDTH = 64


def coordinate_errors(coordinates: Tensor, target: Tensor, target_weight: Tensor, beta: float) -> Tensor:
    """Compute the weighted smooth L1 distance of each keypoint, its mean over x and y, in float32: (B, K).

    The weight (B, K, 1) multiplies coordinates and target (B, K, 2), as in MMPose. Up to the distance beta the error is
    d^2 / (2 beta), above it is d - beta / 2; beta 0 is L1.
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


class RLELoss(nn.Module):
    """The negative log-likelihood of errors under a simple density times a ratio that a flow learns.

    Li et al., "Human Pose Regression with Residual Log-likelihood Estimation", ICCV 2021 (https://arxiv.org/abs/2107.11291).

    With e = (coordinates - target) / sigma and the flow's density G, the loss of a keypoint is the sum over x and y of
    log(sigma) - log G(e) - log Q(e). Q is the simple density with its sigma: Laplace, -log Q = log(2 sigma) + |e|, or Gaussian,
    log(sigma sqrt(2 pi)) + e^2 / 2. log(sigma) counts twice, as in the official code and MMPose. The weighted sum over keypoints
    is averaged over instances.

    The flow is part of the loss: it is trained with the network, stored in checkpoints, and not needed for prediction.

    Args:
        base: the simple density Q; Laplace is best in the paper.

    Example:
        >>> loss = RLELoss()
        >>> outputs = torch.tensor([[[0.5, 0.5, 0.1, 0.1]]])  # x, y and their sigmas
        >>> exact, wrong = (loss(outputs, torch.tensor([[[x, 0.5]]]), torch.ones(1, 1, 1)) for x in (0.5, 0.9))
        >>> bool(exact < wrong)
        True
    """

    def __init__(self, base: _Base = "laplace") -> None:
        super().__init__()
        check_choice("base", base, get_args(_Base))
        self.base = base
        self.flow = RealNVP()

    def forward(self, answers: Tensor, target: Tensor, target_weight: Tensor) -> Tensor:
        """Compute the loss, a scalar, of coordinates and sigmas (B, K, 4), a target (B, K, 2) and weights (B, K, 1).

        The loss is computed in float32. It is negative for small sigmas.

        Raises:
            ValueError: if the shapes do not match.
        """
        if answers.shape != (*target.shape[:2], 4) or target_weight.shape != (*target.shape[:2], 1):
            raise ValueError(
                "Expected arguments `answers`, `target` and `target_weight` to be (B, K, 4), (B, K, 2) and (B, K, 1), but got "
                f"the shapes {tuple(answers.shape)}, {tuple(target.shape)} and {tuple(target_weight.shape)}. The loss `rle` "
                "requires a network that outputs coordinates and sigmas (model=rle_50) and codec=regression."
            )
        exact = answers.to(torch.promote_types(answers.dtype, torch.float32))
        sigma = exact[..., 2:].clamp(min=_LEAST_SIGMA)
        error = (exact[..., :2] - target) / sigma
        if self.base == "laplace":
            minus_log_q = (2 * sigma).log() + error.abs()
        else:
            minus_log_q = (sigma * math.sqrt(2 * math.pi)).log() + 0.5 * error.square()
        losses = sigma.log() - self.flow.log_density(error)[..., None] + minus_log_q
        return (target_weight * losses).sum(dim=(1, 2)).mean()


class RealNVP(nn.Module):
    """A density over points of the plane: a standard Gaussian transformed by invertible couplings.

    Dinh, Sohl-Dickstein, Bengio, "Density Estimation using Real NVP", ICLR 2017.

    Each coupling keeps one of the two numbers and scales and shifts the other depending on it; the kept one alternates. Initial
    weights are so small that the density is the Gaussian's.

    Example:
        >>> round(RealNVP().log_density(torch.zeros(1, 2)).item(), 2)  # -log(2 pi)
        -1.84
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_scales = nn.ModuleList(nn.Sequential(_perceptron(), nn.Tanh()) for _ in range(_NUM_COUPLINGS))
        self.shifts = nn.ModuleList(_perceptron() for _ in range(_NUM_COUPLINGS))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight, gain=0.01)
                nn.init.zeros_(module.bias)

    def log_density(self, points: Tensor) -> Tensor:
        """Compute the logarithm of the density (...) at points (..., 2) in their precision, also under autocast."""
        kind = points.device.type if torch.amp.is_autocast_available(points.device.type) else "cpu"
        with torch.autocast(kind, enabled=False):
            kept, moved = points.unbind(-1)
            log_determinant = torch.zeros_like(kept)
            for log_scale, shift in zip(self.log_scales, self.shifts, strict=True):
                step = log_scale(kept[..., None])[..., 0]
                moved = (moved - shift(kept[..., None])[..., 0]) * torch.exp(-step)
                log_determinant = log_determinant - step
                kept, moved = moved, kept
        return -0.5 * (kept.square() + moved.square()) - math.log(2 * math.pi) + log_determinant


def _perceptron() -> nn.Sequential:
    return nn.Sequential(nn.Linear(1, _WIDTH), nn.LeakyReLU(), nn.Linear(_WIDTH, _WIDTH), nn.LeakyReLU(), nn.Linear(_WIDTH, 1))
