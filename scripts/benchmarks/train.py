"""Measure the images per second of a training step (forward, loss, backward, optimizer), with Lightning and with a plain loop.

python scripts/benchmarks/train.py                                  HRNet-W32 256x192, on the GPU if there is one
python scripts/benchmarks/train.py --batch-size 4 --steps 2         short, for a CPU
python scripts/benchmarks/train.py experiment=w48_384x288 --precision bf16 --memory-format channels_last --compile on

Overrides select network, codec, loss and optimizer, as in `hrpose fit`. The batch is already on the device, normalised and with
targets, so neither data loading nor transfers are measured. The plain loop trains the same network with the same settings without
Lightning. Compilation takes minutes on a CPU, where it is off by default.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from lightning import Callback, Trainer
from machine import describe_machine
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.data import DataLoader

from hrpose.config import build, compose
from hrpose.models import compile_network
from hrpose.module import PoseModule
from hrpose.skeletons import COCO
from hrpose.structures import Batch

PRECISIONS = {"fp32": "32-true", "tf32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
SWITCH = {"off": (False,), "on": (True,), "both": (False, True)}


@dataclass(frozen=True)
class Cell:
    """One combination of settings.

    Attributes:
        precision: "fp32", "tf32", "bf16" or "fp16".
        memory_format: "contiguous" or "channels_last".
        compiled: whether the network is compiled.
    """

    precision: str
    memory_format: str
    compiled: bool


def main(arguments: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Print one row per combination.

    Returns:
        The rows: the fields of the cell; `hrpose` and `plain`, images per second, or the reason why a cell is not supported.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", default=["experiment=w32_256x192"], help="as in `hrpose fit`")
    parser.add_argument("--batch-size", type=int, help="default: 128 on a GPU, 8 on a CPU")
    parser.add_argument("--steps", type=int, help="timed steps; default: 50 on a GPU, 3 on a CPU")
    parser.add_argument("--warm-up", type=int, help="steps before the timed ones; default: 5 on a GPU, 1 on a CPU")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--memory-format", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--compile", choices=SWITCH, help="default: both on a GPU, off on a CPU")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda if there is one")
    options = parser.parse_args(arguments)
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    on_gpu = device.type == "cuda"
    if on_gpu and not torch.cuda.is_available():
        parser.error("torch finds no CUDA device here")
    batch_size = options.batch_size or (128 if on_gpu else 8)
    steps = options.steps or (50 if on_gpu else 3)
    warm_up = options.warm_up or (5 if on_gpu else 1)
    torch.backends.cudnn.benchmark = True  # as in conf/trainer/default.yaml
    switch = SWITCH[options.compile or ("both" if on_gpu else "off")]
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # warnings about devices and loaders do not matter here
    warnings.filterwarnings("ignore", module="lightning")
    cfg = compose("fit", options.overrides)
    cells = [Cell(*values) for values in itertools.product(options.precision, options.memory_format, switch)]
    rows = [measure(cfg, cell, device, batch_size, steps, warm_up) for cell in cells]
    width, height = cfg.codec.input_size
    table = Table(
        title=f"{cfg.model._target_.rpartition('.')[2]} {width}x{height}, training, batch {batch_size}, images per second",
        caption=f"plain: the same step without Lightning; {steps} steps after {warm_up}.",
    )
    for name in ("precision", "memory format", "compile", "hrpose", "plain", "ratio"):
        table.add_column(name, justify="right" if name in ("hrpose", "plain", "ratio") else "left")
    for row in rows:
        rates = [row["hrpose"], row["plain"]]
        shown = [rate.partition(":")[0] if isinstance(rate, str) else f"{rate:.2f}" for rate in rates]
        shown += ["" if any(isinstance(rate, str) for rate in rates) else f"{rates[0] / rates[1]:.2f}"]
        table.add_row(row["precision"], row["memory_format"], "on" if row["compiled"] else "off", *shown)
    console = Console()
    console.print(table)
    for reason in dict.fromkeys(row[side] for row in rows for side in ("hrpose", "plain") if ":" in str(row[side])):
        console.print(reason)
    console.print(describe_machine(device))
    return rows


def measure(cfg: DictConfig, cell: Cell, device: torch.device, batch_size: int, steps: int, warm_up: int) -> dict[str, Any]:
    """Measure one cell with both loops."""
    row: dict[str, Any] = vars(cell).copy()
    refusal = "needs a GPU" if device.type == "cpu" and cell.precision in ("tf32", "fp16") else None
    for side, train in (("hrpose", time_lightning), ("plain", time_plain)):
        row[side] = refusal or _attempt(lambda train=train: train(cfg, cell, device, batch_size, steps, warm_up))
        if isinstance(row[side], float):
            row[side] = batch_size * steps / row[side]
    return row


def _attempt(work: Callable[[], float]) -> float | str:
    """Return the seconds, or the reason for a failure: no compiler, no operator for the precision, too little memory."""
    torch.compiler.reset()
    try:
        return work()
    except torch.OutOfMemoryError:
        return "out of memory"
    except RuntimeError as error:  # errors of the compiler are RuntimeErrors too
        return f"not supported: {type(error).__name__}: {str(error).strip().splitlines()[0]:.100}"


def time_lightning(cfg: DictConfig, cell: Cell, device: torch.device, batch_size: int, steps: int, warm_up: int) -> float:
    """Return the seconds of the steps with hrpose's module and a Trainer."""
    torch.manual_seed(0)
    codec = build(cfg.codec)
    module = PoseModule(
        build(cfg.model, num_keypoints=codec.num_channels(COCO.num_keypoints)),
        codec,
        build(cfg.loss),
        COCO,
        optimizer=build(cfg.optim),
        channels_last=cell.memory_format == "channels_last",
        compile=cell.compiled,
    )
    clock = _Clock(device, warm_up)
    with _float32_precision(cell):
        trainer = Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=1,
            benchmark=True,
            precision=PRECISIONS[cell.precision],  # type: ignore[arg-type]
            max_steps=warm_up + steps,
            callbacks=[clock],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        batch = make_batch(cfg, cell, device, batch_size)
        trainer.fit(module, DataLoader([batch] * (warm_up + steps), batch_size=None))  # type: ignore[type-var, arg-type]
    return clock.seconds


def time_plain(cfg: DictConfig, cell: Cell, device: torch.device, batch_size: int, steps: int, warm_up: int) -> float:
    """Return the seconds of the steps in a loop without Lightning."""
    torch.manual_seed(0)
    codec = build(cfg.codec)
    net: nn.Module = build(cfg.model, num_keypoints=codec.num_channels(COCO.num_keypoints)).to(device).train()
    net = net.to(memory_format=FORMATS[cell.memory_format])  # type: ignore[call-overload]
    loss_function: nn.Module = build(cfg.loss).to(device)
    optimizer = build(cfg.optim)([*net.parameters(), *loss_function.parameters()])
    batch = make_batch(cfg, cell, device, batch_size)
    if cell.compiled:
        compile_network(net)
    scaler = torch.amp.GradScaler(device.type, enabled=cell.precision == "fp16")
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(cell.precision)
    start = 0.0
    with _float32_precision(cell):
        for step in range(warm_up + steps):
            if step == warm_up:
                start = _now(device)
            with torch.autocast(device.type, half, enabled=half is not None):
                loss = loss_function(net(batch["images"]), batch["target"], batch["target_weight"])
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        return _now(device) - start


def make_batch(cfg: DictConfig, cell: Cell, device: torch.device, batch_size: int) -> Batch:
    """Draw a batch of normalised images and keypoints, with the codec's targets, on the device."""
    codec = build(cfg.codec)
    width, height = codec.input_size
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch_size, 3, height, width, generator=generator)
    keypoints = torch.rand(batch_size, COCO.num_keypoints, 2, generator=generator) * torch.tensor([width, height])
    target, weight = codec.encode(keypoints, torch.full(keypoints.shape[:2], 2))
    return Batch(  # type: ignore[typeddict-item]  # a training step only reads these three keys
        images=images.to(device).contiguous(memory_format=FORMATS[cell.memory_format]),
        target=target.to(device),
        target_weight=weight.to(device),
    )


class _Clock(Callback):
    """Measure the time from the first step after the warm-up to the last."""

    def __init__(self, device: torch.device, warm_up: int) -> None:
        self.seconds = 0.0
        self._device, self._warm_up, self._start = device, warm_up, 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == self._warm_up:
            self._start = _now(self._device)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.seconds = _now(self._device) - self._start


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@contextmanager
def _float32_precision(cell: Cell) -> Iterator[None]:
    """Enable or disable TF32 inside the block."""
    backends = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = cell.precision != "fp32"
    try:
        yield
    finally:
        for backend, allowed in zip(backends, before, strict=True):
            backend.allow_tf32 = allowed


if __name__ == "__main__":
    main()
