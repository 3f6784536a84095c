"""RLE: a network predicts coordinates and sigmas, and a flow learns the distribution of its errors.

Li et al., "Human Pose Regression with Residual Log-likelihood Estimation", ICCV 2021 (https://arxiv.org/abs/2107.11291). The flow
is by Dinh, Sohl-Dickstein, Bengio, "Density Estimation using Real NVP", ICLR 2017.

Legend: B batch, K keypoints.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from hrpose.errors import check_choice

_Base = Literal["laplace", "gaussian"]
_LEAST_SIGMA = 1e-9  # in input sizes; keeps logarithms finite
_NUM_COUPLINGS = 6  # as in the code of RLE
_WIDTH = 64


class RLELoss(nn.Module):
    """The negative log-likelihood of errors under a simple density times a ratio that a flow learns.

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
