"""Learning-rate schedules that torch has only in parts."""

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
    """Return torch's OneCycleLR, made to work for every number of steps.

    torch divides by the length of each phase in steps. That of the rise is `pct_start * total_steps - 1`: 0 for 5 steps and a
    share of 0.2. Such a phase is left out here, and the run starts with `max_lr`. A run of one step has `max_lr`; torch gives it
    the last, lowest rate. All other rates and momenta are those of torch.

    Args:
        optimizer: of its rates only the ratio to that of the first group is used.
        total_steps: of the optimizer in the whole run.
        max_lr: highest rate, of the first group of parameters; or the rates of all groups.
        pct_start: share of the steps in which the rate rises, at least 0 and below 1.
        div_factor: the first rate is `max_lr / div_factor`.
        final_div_factor: the last rate is the first one divided by it.

    Raises:
        ValueError: if an argument is out of range.
    """
    if not 0 <= pct_start < 1:
        raise ValueError(f"Expected argument `pct_start` to be at least 0 and below 1, but got {pct_start}.")
    share, steps = float(pct_start), total_steps
    if steps == 1:  # the first of two steps, if there is no rise
        share, steps = 0.5, 2
    if share * steps - 1 in (0.0, steps - 1):
        share *= 1 - 1e-9  # the phase ends just before a step, which belongs to the next phase
    rates = [group["lr"] for group in optimizer.param_groups]
    if not isinstance(max_lr, list) and len(set(rates)) > 1:
        max_lr = [max_lr * rate / rates[0] for rate in rates]
    schedule = OneCycleLR(
        optimizer,
        max_lr,
        total_steps=steps,
        pct_start=share,
        div_factor=div_factor,
        final_div_factor=final_div_factor,
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
