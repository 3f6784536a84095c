"""torchrun with two processes on one machine, and as two machines on loopback, against one process."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

DATA = (
    "paths.data=ds", "prepare.num_train=6", "prepare.num_val=6", "data.num_workers=0", "trainer.accelerator=cpu", "threads=1",
    "callbacks.pictures=null", "callbacks.progress=null", "trainer.precision=32-true",
)  # fmt: skip
DDP = ("trainer.devices=2", "trainer.strategy=ddp")
FROZEN = """
from lightning.pytorch import Callback
from torch import nn

class FrozenBatchNorm(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        for part in pl_module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.eval()
"""
TRAIN = (
    "trainer.limit_train_batches=1", "trainer.max_epochs=20", "trainer.limit_val_batches=0", "trainer.num_sanity_val_steps=0",
    "schedule=none", "+callbacks.frozen={_target_: frozen.FrozenBatchNorm}",
)  # fmt: skip


def start(folder: Path, *arguments: str, torchrun: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
    hrpose = str(Path(sys.executable).with_name("hrpose"))
    command = [sys.executable, "-m", "torch.distributed.run", *torchrun, hrpose] if torchrun else [hrpose]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    log = folder / f"{len(list(folder.glob('*.log')))}.log"  # a pipe that nobody reads would block at 64 KB
    with log.open("w") as stream:
        return subprocess.Popen([*command, *arguments], cwd=folder, env=environment, stdout=stream, stderr=stream)


def finish(*processes: subprocess.Popen[bytes]) -> None:
    assert [process.wait(timeout=600) for process in processes] == [0] * len(processes)


def free_port() -> str:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return str(server.getsockname()[1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained checkpoint, the drawn data, and a callback of the user's own."""
    path = tmp_path_factory.mktemp("machines")
    (path / "frozen.py").write_text(FROZEN)
    finish(start(path, "fit", *DATA, "trainer.max_epochs=4", "data.batch_size=4", "paths.run=start", "data.val_boxes=[gt]"))
    return path


def measured(run: Path) -> list[dict[str, float]]:
    return [json.loads((run / "results" / f"report_{kind}.json").read_text())["numbers"] for kind in ("gt", "det")]


@pytest.mark.slow
def test_ap_is_the_same_to_the_bit_on_one_process_two_processes_and_two_machines(folder: Path) -> None:
    test = ("test", "ckpt_path=start/checkpoints/last.ckpt", *DATA)
    finish(start(folder, *test, "paths.run=one"))
    finish(start(folder, *test, *DDP, "paths.run=two", torchrun=("--nproc-per-node=2", f"--master-port={free_port()}")))
    nodes = ("--nnodes=2", "--nproc-per-node=1", "--master-addr=127.0.0.1", f"--master-port={free_port()}")
    machines = ("trainer.num_nodes=2", "trainer.strategy=ddp", "paths.run=machines")
    finish(*(start(folder, *test, *machines, torchrun=(*nodes, f"--node-rank={rank}")) for rank in (0, 1)))
    expected = measured(folder / "one")
    assert measured(folder / "two") == expected
    assert measured(folder / "machines") == expected


@pytest.mark.slow
def test_weights_after_20_steps_are_those_of_one_process_with_the_same_batch_where_batch_norm_is_frozen(folder: Path) -> None:
    """The last bits differ, because gradients are summed in another order."""
    fit = ("fit", "weights=start/checkpoints/last.ckpt", *DATA, *TRAIN)
    finish(start(folder, *fit, "data.batch_size=8", "paths.run=fit_one"))
    torchrun = ("--nproc-per-node=2", f"--master-port={free_port()}")
    finish(start(folder, *fit, *DDP, "data.batch_size=4", "paths.run=fit_two", torchrun=torchrun))
    states = [
        torch.load(folder / run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for run in ("fit_one", "fit_two")
    ]
    start_state = torch.load(folder / "start" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    one, two, before = (
        torch.cat([value.double().flatten() for value in state.values() if value.is_floating_point()])
        for state in (*states, start_state)
    )
    assert (one - before).norm() > 1e-3 * before.norm()  # they have moved
    assert (one - two).norm() < 1e-5 * one.norm()
