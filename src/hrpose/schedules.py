"""Learning-rate schedules that torch has only in parts."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def warmup_multistep(
    optimizer: Optimizer,
    *,
    total_steps: int,
    num_epochs: int,
    milestones: Sequence[int] = (170, 200),
    gamma: float = 0.1,
    warmup_steps: int = 500,
    warmup_factor: float = 0.001,
) -> LambdaLR:
    """Raise the rate linearly over the first steps, and drop it after each milestone: warm-up in steps, milestones in epochs.

    It steps after every step of the optimizer. The rate is a function of the number of steps alone, so a run that is resumed goes
    on with the same rates; and because milestones are epochs, it can be prolonged too.

    Convention:
        The first step has warmup_factor times the rate, and step number `warmup_steps` (counted from 1) the whole of it, as in
        MMEngine's LinearLR. In the first steps after a milestone's epoch the rate is gamma times that before.

    Args:
        optimizer: with the highest rate.
        total_steps: of the optimizer in the whole run.
        num_epochs: of the whole run; an epoch has total_steps / num_epochs steps.
        milestones: epochs done.
        gamma: factor at each milestone.
        warmup_steps: steps of the optimizer; 0 or 1 does without a warm-up.
        warmup_factor: of the first step.

    Raises:
        ValueError: if there are no steps or epochs.
    """
    if total_steps < 1 or num_epochs < 1:
        raise ValueError(
            "Expected arguments `total_steps` and `num_epochs` to be at least 1, because milestones are epochs, but got "
            f"{total_steps} and {num_epochs}. Set trainer.max_epochs, and not trainer.max_steps alone."
        )
    ends = sorted(round(milestone * total_steps / num_epochs) for milestone in milestones)

    def factor(step: int) -> float:
        rising = min(1.0, step / (warmup_steps - 1)) if warmup_steps > 1 else 1.0
        return (warmup_factor + (1 - warmup_factor) * rising) * gamma ** bisect_right(ends, step)

    return LambdaLR(optimizer, factor)
