"""Learning-rate schedules that torch lacks or has only in part."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR


def one_cycle(
    optimizer: Optimizer,
    *,
    total_steps: int,
    max_lr: float | list[float],
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> OneCycleLR:
    """Return torch's OneCycleLR, fixed for small numbers of steps.

    torch divides by the length of each phase, and the rise can have `pct_start * total_steps - 1` = 0 steps. Here this phase is
    left out, and the run begins with `max_lr`. A run of one step has `max_lr` instead of the lowest rate. All other rates and
    momenta are as in torch.

    Args:
        optimizer: only the ratios of the rates of its groups are used.
        total_steps: optimizer steps of the whole run.
        max_lr: highest rate of the first group of parameters, or the rates of all groups.
        pct_start: share of the steps in which the rate rises, at least 0 and below 1.
        div_factor: the first rate is `max_lr / div_factor`.
        final_div_factor: the last rate is the first one divided by it.

    Raises:
        ValueError: if an argument is out of range.
    """
    if not 0 <= pct_start < 1:
        raise ValueError(f"Expected argument `pct_start` to be at least 0 and below 1, but got {pct_start}.")
    share, steps = float(pct_start), total_steps
    if steps == 1:  # the first of two steps without a rise
        share, steps = 0.5, 2
    if share * steps - 1 in (0.0, steps - 1):
        share *= 1 - 1e-9  # end the phase just before a step, which is then part of the next phase
    rates = [group["lr"] for group in optimizer.param_groups]
    if not isinstance(max_lr, list) and len(set(rates)) > 1:
        max_lr = [max_lr * rate / rates[0] for rate in rates]
    schedule = OneCycleLR(
        optimizer, max_lr, total_steps=steps, pct_start=share, div_factor=div_factor, final_div_factor=final_div_factor
    )
    schedule.total_steps = total_steps
    return schedule


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
    """Return a schedule with a linear warm-up over the first steps and a drop after each milestone epoch.

    It steps after every optimizer step. The rate depends only on the number of steps, so resumed runs have the same rates, and
    runs can be extended.

    Convention:
        The first step has warmup_factor times the full rate, and step number `warmup_steps` (counted from 1) the full rate, as in
        MMEngine's LinearLR. After each milestone the rate is multiplied by gamma.

    Args:
        optimizer: with the full rate.
        total_steps: optimizer steps of the whole run.
        num_epochs: epochs of the whole run; an epoch has total_steps / num_epochs steps.
        milestones: numbers of completed epochs.
        gamma: factor at each milestone.
        warmup_steps: optimizer steps; 0 or 1 for no warm-up.
        warmup_factor: of the first step.

    Raises:
        ValueError: if there are no steps or epochs.
    """
    if total_steps < 1 or num_epochs < 1:
        raise ValueError(
            "Expected arguments `total_steps` and `num_epochs` to be at least 1, because milestones are epochs, but got "
            f"{total_steps} and {num_epochs}. Set trainer.max_epochs, not only trainer.max_steps."
        )
    ends = sorted(round(milestone * total_steps / num_epochs) for milestone in milestones)

    def factor(step: int) -> float:
        rising = min(1.0, step / (warmup_steps - 1)) if warmup_steps > 1 else 1.0
        return (warmup_factor + (1 - warmup_factor) * rising) * gamma ** bisect_right(ends, step)

    return LambdaLR(optimizer, factor)
