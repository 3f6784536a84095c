"""`data.batch_size=auto` uses the largest batch that fits, and changes nothing else."""

from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.plugins.precision import Precision
from torch import nn

from hrpose.config import ConfigError
from hrpose.tasks import dry_run
from hrpose.tasks.dry_run import find_batch_size


class Net(nn.Module):
    """A network that has memory for a number of images."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.layer, self.norm, self.room = nn.Linear(3, 1), nn.BatchNorm1d(1), room
        self.seen: list[int] = []

    def __deepcopy__(self, memo):
        copied = Net(self.room)
        copied.load_state_dict(self.state_dict())
        copied.seen = self.seen
        return copied

    def forward(self, images):
        self.seen.append(len(images))
        if len(images) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return self.norm(self.layer(images + torch.rand(1)))


def find(net, *, instances=1000, processes=1):
    def raw(rows):
        return {"images": torch.ones(len(rows), 3), "target": torch.zeros(1), "target_weight": torch.ones(1)}

    data = SimpleNamespace(
        train_table=range(instances),
        crops=lambda table, train: SimpleNamespace(__getitems__=raw),
        on_after_batch_transfer=lambda batch, loader: batch,
    )
    trainer = SimpleNamespace(
        world_size=processes, strategy=SimpleNamespace(root_device=torch.device("cpu")), precision_plugin=Precision()
    )
    loss = type("Loss", (nn.Module,), {"forward": lambda self, outputs, *_: outputs.square().sum()})()
    return find_batch_size(net, loss, torch.optim.Adam, data, trainer)


@pytest.mark.parametrize(("room", "found"), [(2, 2), (17, 16), (300, 256), (10**6, 512)])
def test_the_largest_batch_that_fits_is_used(room, found):
    assert find(Net(room)) == found


def test_the_batch_size_is_at_most_the_number_of_instances():
    assert find(Net(1000), instances=12) == 8


def test_the_search_changes_neither_network_nor_random_numbers():
    net = Net(64)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    find(net)
    assert net.seen == [2, 4, 8, 16, 32, 64, 128]
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert torch.equal(torch.rand(1), expected)


def test_the_search_ends_when_a_step_becomes_slow(monkeypatch):
    seconds = iter(range(0, 1000, 3))
    monkeypatch.setattr(dry_run.time, "monotonic", lambda: next(seconds))
    monkeypatch.setattr(dry_run, "_SLOWEST", 2.0)
    assert find(Net(1000)) == 2


def test_several_processes_and_too_little_memory_are_refused():
    with pytest.raises(ConfigError, match=r"^data\.batch_size"):
        find(Net(1))
    with pytest.raises(ConfigError, match=r"^data\.batch_size.*trainer\.devices"):
        find(Net(9), processes=2)


def test_errors_other_than_out_of_memory_are_raised():
    net = Net(4)
    net.norm = nn.BatchNorm1d(7)
    with pytest.raises(RuntimeError):
        find(net)
