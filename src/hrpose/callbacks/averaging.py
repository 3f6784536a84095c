"""The moving average of the weights, which validations and checkpoints take instead of the weights themselves."""

from functools import partial

import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor


class MovingAverage(WeightAveraging):
    """Keep an exponential moving average of the weights and the batch norm statistics.

    What does not change, such as a frozen backbone, is its own average to the bit: the average moves by a share of the
    difference. The sum of two shares, as in `EMAWeightAveraging`, is rounded in each step.

    Args:
        decay: share of the average that a step keeps.

    Raises:
        ValueError: if `decay` is not between 0 and 1.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay <= 1:
            raise ValueError(f"Expected argument `decay` to be between 0 and 1, but got {decay}.")
        super().__init__(avg_fn=partial(_move, share=1 - decay))


def _move(average: Tensor, current: Tensor, _num_averaged: Tensor, *, share: float) -> Tensor:
    """Return the average, moved by a share of the way to the current values; counters are copied."""
    return torch.lerp(average, current, share) if average.is_floating_point() else current
