"""A small normalising flow over the plane.

Dinh, Sohl-Dickstein, Bengio, "Density Estimation using Real NVP", ICLR 2017.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_NUM_COUPLINGS = 6  # as in the code of RLE
_WIDTH = 64


class RealNVP(nn.Module):
    """A density over points of the plane: a standard Gaussian seen through couplings that can be undone.

    Each coupling keeps one of the two numbers and moves the other by a scale and a shift that depend on the kept one; the
    kept one changes from coupling to coupling. Weights start so small that the density is the Gaussian's.

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
        """Compute the logarithm of the density at points (..., 2), as (...); in the points' own precision under autocast too."""
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
    return nn.Sequential(
        nn.Linear(1, _WIDTH), nn.LeakyReLU(), nn.Linear(_WIDTH, _WIDTH), nn.LeakyReLU(), nn.Linear(_WIDTH, 1)
    )
