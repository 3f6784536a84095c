"""Try the parts of a run before it starts: each alone, network, codec and loss on meta tensors, and training steps.

The steps find a batch size that fits in memory, `data.batch_size=auto`.
"""

import copy
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from hydra.utils import get_class
from lightning import Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim import Optimizer

from hrpose.codecs import Codec, is_bottom_up
from hrpose.config import ConfigError, build, conf_dir, needs_drawing, plain
from hrpose.data.datamodule import PoseDataModule
from hrpose.errors import is_out_of_memory
from hrpose.export import is_exported
from hrpose.metrics import KeypointAveragePrecision
from hrpose.models.checks import NUM_IMAGES, heatmap_size_of, refuses_one_image, run_on_shapes
from hrpose.skeletons import COCO

logger = logging.getLogger(__name__)

_SOME_STEPS = 1000  # of a schedule, before the data determines their number
_SOME_KEYPOINTS = 133  # before the skeleton is known: the most that a loss may need
_LARGEST = 1024  # batch size
_SLOWEST = 4.0  # seconds of a step; a larger batch would not train faster
_MAX_SHARE = 0.8  # of the memory of a GPU that a step may take


def dry_run_config(cfg: DictConfig, num_keypoints: int = _SOME_KEYPOINTS) -> None:
    """Build network and loss on the meta device, without memory for weights, and run a batch of meta tensors.

    A custom network that cannot be built on the meta device is checked when it is assembled.
    """
    codec: Codec = build(cfg.codec)
    try:
        with torch.device("meta"):
            net: nn.Module = build(cfg.model, num_keypoints=codec.num_channels(num_keypoints))
            loss: nn.Module = build(cfg.loss)
    except (NotImplementedError, RuntimeError):
        return
    dry_run(net, codec, loss, num_keypoints)


def check_parts(cfg: DictConfig) -> None:
    """Build all parts that need no data, to find invalid arguments before anything is drawn or written.

    A custom data module is not built, because it may read its files immediately.

    Raises:
        ConfigError: if a part refuses its arguments, or the parts are incompatible.
    """
    _check_optimizer(cfg)
    for name, node in (cfg.get("callbacks") or {}).items():
        try:
            build(node)
        except MisconfigurationException as error:
            raise ConfigError(f"callbacks.{name}: {error}") from error
    if get_class(cfg.metric._target_) is KeypointAveragePrecision:
        build(cfg.metric, sigmas=COCO.sigmas)
    if cfg.weights is not None and is_exported(cfg.weights):
        return
    augment = [build(node) for node in cfg.augment.values() if node is not None]
    pixel_transforms = build(cfg.pixels)
    parts = {name: plain(cfg[name]) for name in ("codec", "model", "loss")}
    drawn = needs_drawing(cfg)
    _dry_run_parts(OmegaConf.to_yaml(OmegaConf.create(parts)), COCO.num_keypoints if drawn else _SOME_KEYPOINTS)
    if drawn and get_class(cfg.data._target_) is PoseDataModule:
        build(cfg.data, codec=build(cfg.codec), skeleton=COCO, augment=augment, pixel_transforms=pixel_transforms)


@lru_cache(maxsize=128)
def _dry_run_parts(parts: str, num_keypoints: int) -> None:
    """Check codec, model and loss of a YAML string once, because the jobs of a sweep may share them."""
    dry_run_config(OmegaConf.create(parts), num_keypoints)  # type: ignore[arg-type]  # a mapping gives a DictConfig


def _check_optimizer(cfg: DictConfig) -> None:
    """Build optimizer and schedule for a temporary parameter."""
    key = "optim"
    try:
        optimizer = build(cfg.optim)([nn.Parameter(torch.zeros(1))])
        key = "schedule"
        if cfg.schedule is not None:
            build(cfg.schedule)(optimizer, **({"total_steps": _SOME_STEPS} if cfg.schedule_interval == "step" else {}))
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from error


def dry_run(net: nn.Module, codec: Codec, loss: nn.Module, num_keypoints: int) -> None:
    """Run encode, network, decode and loss on a batch of meta tensors; warn if a part does not support them.

    Raises:
        ConfigError: if the parts are incompatible; the message has the overrides that fit the network.
    """
    try:
        outputs = run_on_shapes(net, codec.input_size)
        _check_kind(net, codec, outputs)
        check_heatmap_size(net, codec, outputs)
        if not is_bottom_up(codec):
            with _advised("codec", net, codec, outputs):
                codec.decode(outputs[:, -1] if outputs.ndim == 5 else outputs)  # the last of several stacks predicts
        shape = (NUM_IMAGES, 1, num_keypoints) if is_bottom_up(codec) else (NUM_IMAGES, num_keypoints)
        target, weight = codec.encode(torch.empty(*shape, 2, device="meta"), torch.empty(shape, device="meta"))
        shapes = {name: tensor.to("meta") for name, tensor in (*loss.named_parameters(), *loss.named_buffers())}
        with _advised("loss", net, codec, outputs):
            functional_call(loss, shapes, (outputs, target, weight))
    except (NotImplementedError, RuntimeError, TypeError) as error:
        logger.warning("Could not check model, codec and loss before the training: %s", error)


def _check_kind(net: nn.Module, codec: Codec, outputs: Tensor | list[Tensor]) -> None:
    """Raise ConfigError unless networks of several outputs have a bottom-up codec, and others have none."""
    if isinstance(outputs, Tensor) == is_bottom_up(codec):
        advice = "a list of outputs: expected a bottom-up codec. Set codec=associative_embedding."
        if is_bottom_up(codec):
            advice = "one output: expected a network such as HigherHRNet. Set model=higher_hrnet_w32."
        match = f"{type(codec).__name__} does not match model ({type(net).__name__})"
        raise ConfigError(f"codec: {match}, which returns {advice}")


def check_heatmap_size(net: nn.Module, codec: Codec, outputs: Tensor) -> None:
    """Raise ConfigError unless the codec's heatmaps have the size of the network's, if both have heatmaps."""
    expected = getattr(codec, "heatmap_size", None)
    found = heatmap_size_of(outputs)
    if expected is not None and found is not None and found != tuple(expected):
        branch = "model.heatmap_branch, " if hasattr(net, "heatmap_branch") else ""
        raise ConfigError(
            f"codec.heatmap_size: expected {list(found)}, the size of the heatmaps of model ({type(net).__name__}) for "
            f"codec.input_size={list(codec.input_size)}, but got {list(expected)}. Set codec.heatmap_size="
            f"[{found[0]},{found[1]}], or change {branch}model or codec."
        )


def settle_last_batch(net: nn.Module, codec: Codec, datamodule: PoseDataModule, num_processes: int = 1) -> None:
    """Drop a last batch of one sample if the network cannot train on it; `num_processes` divide the samples equally.

    Raises:
        ConfigError: if a process would have batches of one sample only.
    """
    try:
        if not refuses_one_image(net, codec.input_size):
            return
    except (NotImplementedError, RuntimeError, TypeError):
        return  # `dry_run` has reported that the network cannot run on shapes alone
    width, height = codec.input_size
    reason = f"crops of {width}x{height} have features of one cell, and batch norm cannot train on a single value"
    share = math.ceil(datamodule.num_train_samples / num_processes)
    if datamodule.batch_size == 1 or share == 1:
        among = f" in each of {num_processes} processes" if num_processes > 1 else ""
        raise ConfigError(
            f"data.batch_size: expected batches of at least 2 samples{among}, because {reason}, but got {datamodule.batch_size} "
            f"for {datamodule.num_train_samples} training samples. Set data.batch_size=2 or more"
            f"{', trainer.devices=1' if num_processes > 1 else ''}, or choose a larger size."
        )
    datamodule.drop_single_sample = True
    if share % datamodule.batch_size == 1:
        logger.info("The last batch of an epoch, of one sample, is dropped: %s", reason)


@contextmanager
def _advised(part: str, net: nn.Module, codec: Codec, outputs: Tensor | list[Tensor]) -> Iterator[None]:
    """Raise the ValueError of a part that does not match the network as a ConfigError with overrides that do."""
    try:
        yield
    except ValueError as error:
        shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else [tuple(output.shape) for output in outputs]
        raise ConfigError(
            f"{part}: it does not match model ({type(net).__name__}), which returns the shape {shape} for {NUM_IMAGES} images. "
            f"{error}\nMatching overrides: {_fitting_overrides(codec, outputs)}."
        ) from error


def _fitting_overrides(codec: Codec, outputs: Tensor | list[Tensor]) -> str:
    if not isinstance(outputs, Tensor):
        return "codec=associative_embedding loss=associative_embedding, with codec.strides of its outputs"
    if outputs.ndim >= 4 and codec.num_channels(1) == 3:
        return "loss=offset"
    if outputs.ndim >= 4:
        return f"{_codec_override('heatmap', codec)} loss=mse, or {_codec_override('integral', codec)} loss=integral"
    if outputs.shape[-1] in (2, 4):
        return f"{_codec_override('regression', codec)} loss={'rle' if outputs.shape[-1] == 4 else 'regression'}"
    return f"{_codec_override('simcc', codec)} loss=simcc"


def _codec_override(family: str, codec: Codec) -> str:
    """Return the overrides that choose a codec for crops of the same size."""
    width, height = codec.input_size
    if (conf_dir() / "size" / f"{height}x{width}.yaml").is_file():
        return f"codec={family} size={height}x{width}"
    return f"codec={family} codec.input_size=[{width},{height}]"


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
