"""The loss between distributions of bins along the axes.

Legend: B batch, K keypoints, X Y bins along x and along y.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SimccLoss(nn.Module):
    """Kullback-Leibler divergence from the target's bins to those of the network, along x and along y.

    Li et al., "SimCC: a Simple Coordinate Classification Perspective for Human Pose Estimation", ECCV 2022. As in the official
    code the divergence of an axis is divided by its number of bins; it is averaged over all keypoints, those of weight 0
    included.

    Args:
        input_size: width and height of the network input in pixels; bins along the axes are as W to H.

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
        """Compare logits (B, K, X + Y) with the shares of a target (B, K, X + Y) under weights (B, K, 1).

        Returns:
            A 0-dimensional tensor.

        Raises:
            ValueError: if the shapes do not belong together.
        """
        width, height = self.input_size
        fitting = logits.ndim == 3 and logits.shape == target.shape and target.shape[2] % (width + height) == 0
        if not fitting or target_weight.shape != (*target.shape[:2], 1):
            raise ValueError(
                "Expected arguments `logits`, `target` and `target_weight` to be (B, K, X + Y), (B, K, X + Y) and (B, K, 1), "
                f"X + Y a multiple of {width} + {height}, but got the shapes {tuple(logits.shape)}, {tuple(target.shape)} and "
                f"{tuple(target_weight.shape)}. The loss `simcc` belongs to a network of bins (model=simcc_50) and its codec "
                "(codec=simcc)."
            )
        columns = target.shape[2] * width // (width + height)
        exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
        errors = [
            F.kl_div(bins.log_softmax(dim=2), shares, reduction="none").mean(dim=2)
            for bins, shares in zip(exact.tensor_split([columns], 2), target.tensor_split([columns], 2), strict=True)
        ]
        return (target_weight[..., 0] * torch.stack(errors).sum(dim=0)).mean()

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"input_size={self.input_size}"
