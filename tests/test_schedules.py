"""The schedule of warm-up steps and milestone epochs."""

import pytest
import torch
from torch.optim.lr_scheduler import LinearLR, MultiStepLR

from hrpose.schedules import warmup_multistep


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
    ours = warmup_multistep(optimizer(5e-4), total_steps=60, num_epochs=6, milestones=[4, 5], warmup_steps=15)
    sgd = optimizer(5e-4)
    warm, fall = LinearLR(sgd, 0.001, total_iters=14), MultiStepLR(sgd, [40, 50])
    want = []
    for _ in range(60):
        want.append(sgd.param_groups[0]["lr"])
        sgd.step()
        warm.step()
        fall.step()
    assert rates(ours, 60) == pytest.approx(want, rel=1e-6)


def test_mmposes_numbers():
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


def test_a_resumed_and_prolonged_run_has_the_rates_of_an_undisturbed_one():
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
