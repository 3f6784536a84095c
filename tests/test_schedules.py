"""The schedules: one cycle of any length, and warm-up steps with milestone epochs."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import LinearLR, MultiStepLR, OneCycleLR

from hrpose.schedules import one_cycle, warmup_multistep


def optimizer(rate=1.0):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)


def rates(schedule, count):
    """Collect the rates of the next steps."""
    found = []
    for _ in range(count):
        found.append(schedule.get_last_lr()[0])
        schedule.optimizer.step()
        schedule.step()
    return found


def test_rates_are_those_of_torchs_warm_up_and_milestones():
    found = warmup_multistep(optimizer(5e-4), total_steps=60, num_epochs=6, milestones=[4, 5], warmup_steps=15)
    sgd = optimizer(5e-4)
    warm, fall = LinearLR(sgd, 0.001, total_iters=14), MultiStepLR(sgd, [40, 50])
    want = []
    for _ in range(60):
        want.append(sgd.param_groups[0]["lr"])
        sgd.step()
        warm.step()
        fall.step()
    assert rates(found, 60) == pytest.approx(want, rel=1e-6)


def test_rates_equal_those_of_mmpose():
    # 149,813 persons, 512 per step: 293 steps to an epoch
    schedule = warmup_multistep(optimizer(5e-4), total_steps=293 * 210, num_epochs=210)
    rate = [5e-4 * schedule.lr_lambdas[0](step) for step in (0, 250, 499, 293 * 170 - 1, 293 * 170, 293 * 200)]
    assert rate == pytest.approx([5e-7, 5e-4 * (0.001 + 0.999 * 250 / 499), 5e-4, 5e-4, 5e-5, 5e-6])


@pytest.mark.parametrize("num_devices", [1, 4])
def test_milestones_are_epochs_on_any_number_of_devices(num_devices):
    steps = 80 // num_devices
    schedule = warmup_multistep(optimizer(), total_steps=10 * steps, num_epochs=10, milestones=[7], warmup_steps=0)
    found = rates(schedule, 10 * steps)
    assert found == pytest.approx([1.0] * 7 * steps + [0.1] * 3 * steps)


def test_a_resumed_and_extended_run_has_the_rates_of_an_uninterrupted_one():
    arguments = {"milestones": [3, 4], "warmup_steps": 7}
    whole = rates(warmup_multistep(optimizer(), total_steps=50, num_epochs=5, **arguments), 50)
    first = warmup_multistep(optimizer(), total_steps=20, num_epochs=2, **arguments)
    begun = rates(first, 13)
    second = warmup_multistep(optimizer(), total_steps=50, num_epochs=5, **arguments)
    second.load_state_dict(first.state_dict())
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    assert begun + rates(second, 37) == pytest.approx(whole)


@pytest.mark.parametrize("counts", [(0, 5), (50, 0), (50, -1)])
def test_a_run_without_steps_or_epochs_is_refused(counts):
    with pytest.raises(ValueError, match=r"Set trainer\.max_epochs"):
        warmup_multistep(optimizer(), total_steps=counts[0], num_epochs=counts[1])


def settings_of(make, total_steps, **arguments):
    """Collect rate and first beta of every step, and of the one after the last, which schedules compute too."""
    adam = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=7.0)
    schedule = make(adam, total_steps=total_steps, max_lr=2e-3, **arguments)
    found = []
    for _ in range(total_steps):
        (group,) = adam.param_groups
        found.append((group["lr"], group["betas"][0]))
        adam.step()
        schedule.step()
    assert schedule.total_steps == total_steps
    return found


cycles = {
    "pct_start": st.one_of(st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.3, 0.5, 0.6, 0.75]), st.floats(0, 0.99)),
    "div_factor": st.sampled_from([10.0, 25.0]),
}


@given(total_steps=st.integers(1, 60), **cycles)
def test_a_cycle_may_have_any_length(total_steps, **arguments):
    found = settings_of(one_cycle, total_steps, **arguments)
    assert all(0 < rate <= 2e-3 for rate, _ in found)
    if total_steps != 2:  # which can be the first rate, 2e-4 at most, and the last one
        assert max(rate for rate, _ in found) > 2.5e-4


@given(total_steps=st.integers(2, 60), **cycles)
def test_a_cycle_equals_that_of_torch_where_torch_supports_it(total_steps, **arguments):
    try:
        want = settings_of(OneCycleLR, total_steps, **arguments)
    except ZeroDivisionError:
        return
    assert settings_of(one_cycle, total_steps, **arguments) == want


@pytest.mark.parametrize("total_steps", range(1, 13))
def test_a_short_cycle_starts_at_or_rises_to_its_highest_rate_and_falls(total_steps):
    found = [rate for rate, _ in settings_of(one_cycle, total_steps, pct_start=0.2)]
    top = found.index(max(found))
    assert found[:top] == sorted(found[:top])
    assert found[top:] == sorted(found[top:], reverse=True)
    assert top <= total_steps // 5
    if total_steps in (1, 5, 10):
        assert found[top] == 2e-3


@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5])
def test_a_cycle_that_never_falls_is_refused(share):
    with pytest.raises(ValueError, match="pct_start"):
        one_cycle(optimizer(), total_steps=10, max_lr=1.0, pct_start=share)


def test_one_cycle_keeps_the_ratio_of_the_groups():
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in (1e-3, 1e-4)]
    schedule = one_cycle(torch.optim.SGD(groups), total_steps=20, max_lr=0.5)
    alone = rates(one_cycle(optimizer(), total_steps=20, max_lr=0.5), 20)
    for rate in alone:
        assert schedule.get_last_lr() == pytest.approx([rate, 0.1 * rate])
        schedule.optimizer.step()
        schedule.step()
