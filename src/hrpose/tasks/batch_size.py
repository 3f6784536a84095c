"""Find a batch size that fits in memory: `data.batch_size=auto`."""

import copy
import logging
import time
from collections.abc import Callable
from typing import Any

import torch
from lightning import Trainer
from torch import nn
from torch.optim import Optimizer

from hrpose.config import ConfigError
from hrpose.data.datamodule import PoseDataModule
from hrpose.errors import is_out_of_memory

logger = logging.getLogger(__name__)

_LARGEST = 1024
_SLOWEST = 4.0  # seconds of a step; a larger batch would not train faster
_MAX_SHARE = 0.8  # of the memory of a GPU that a step may take


def find_batch_size(
    net: nn.Module, loss: nn.Module, optimizer: Callable[..., Optimizer], datamodule: PoseDataModule, trainer: Trainer
) -> int:
    """Double the batch size until a training step no longer fits in memory, or takes seconds.

    The steps train a copy, so network, loss and random numbers do not change. The data module has been set up; the trainer states
    the device and the precision.

    Returns:
        The largest power of two that fits, at most the number of training instances.

    Raises:
        ConfigError: if two samples do not fit, or there are several processes.
    """
    if trainer.world_size > 1:
        raise ConfigError(
            f"data.batch_size: auto needs one process, found {trainer.world_size}. Run one epoch with trainer.devices=1, and set "
            "the batch size from its log."
        )
    largest, size, reason = min(_LARGEST, len(datamodule.train_table)), 2, ""
    found, device = 0, trainer.strategy.root_device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        parts = nn.ModuleList([copy.deepcopy(net), copy.deepcopy(loss)]).to(device).train()
        trained = optimizer([parameter for parameter in parts.parameters() if parameter.requires_grad])
        while size <= largest and not reason:
            reason = _try(parts, trained, trainer, datamodule, size)
            found = size if not reason.startswith("memory") else found
            size *= 2
    if not found:
        raise ConfigError("data.batch_size: a batch of 2 does not fit in memory. Set a smaller size or model.")
    logger.info("data.batch_size=auto: %d (%s). The learning rate is not changed.", found, reason or f"at most {largest}")
    return found


def _try(parts: nn.ModuleList, optimizer: Optimizer, trainer: Trainer, datamodule: PoseDataModule, size: int) -> str:
    """Run one step with a batch size; return why a larger one cannot be used, "" if it may fit."""
    (net, loss), device = parts, trainer.strategy.root_device
    start = time.monotonic()
    try:
        crops: Any = datamodule.crops(datamodule.train_table, train=True).__getitems__([0] * size)
        batch = datamodule.on_after_batch_transfer({name: value.to(device) for name, value in crops.items()}, 0)
        with trainer.precision_plugin.train_step_context():
            value = loss(net(batch["images"]), batch["target"], batch["target_weight"])
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return f"memory is too small for {size}"
    if device.type == "cuda":
        share = torch.cuda.max_memory_reserved(device) / torch.cuda.get_device_properties(device).total_memory
        if share > _MAX_SHARE:
            return f"it takes {100 * share:.0f} % of the memory"
    seconds = time.monotonic() - start
    return f"a step takes {seconds:.0f} s" if seconds > _SLOWEST else ""
