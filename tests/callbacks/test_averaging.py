"""The moving average of the weights."""

from functools import partial

import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from hrpose.callbacks import MovingAverage
from hrpose.callbacks.averaging import _move


def test_the_average_moves_by_its_share_and_keeps_what_does_not_change() -> None:
    average, current, number = torch.tensor([1.0, 0.1]), torch.tensor([2.0, 0.1]), torch.tensor(3)
    moved = _move(average, current, number, share=0.25)
    assert moved.tolist() == [1.25, average[1].item()]
    assert _move(torch.tensor(4), torch.tensor(6), number, share=0.25) == 6


def test_the_average_of_equal_weights_is_exact() -> None:
    torch.manual_seed(0)
    net = torch.nn.BatchNorm1d(1000)
    torch.nn.init.normal_(net.weight)
    averaged = AveragedModel(net, avg_fn=partial(_move, share=0.001), use_buffers=True)
    for _ in range(20):
        averaged.update_parameters(net)
    assert all(torch.equal(tensor, net.state_dict()[name]) for name, tensor in averaged.module.state_dict().items())


def test_a_decay_is_a_share() -> None:
    with pytest.raises(ValueError, match="decay"):
        MovingAverage(decay=1.5)
