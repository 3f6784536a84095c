"""Build the parts of a run from its configuration: data, network, metrics, trainer."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from hydra.utils import get_class
from lightning import Trainer, seed_everything
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, ProgressBar
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.plugins.io import AsyncCheckpointIO, CheckpointIO, TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, ListConfig
from torch import nn

from hrpose.annotations.coco_rows import list_first
from hrpose.callbacks import LossHistory
from hrpose.callbacks.signals import SignalCheckpoint
from hrpose.codecs import Codec
from hrpose.config import ConfigError, build, needs_drawing, plain
from hrpose.data.datamodule import PoseDataModule
from hrpose.data.transforms import RandomFlip
from hrpose.estimator import ExportedEngine, ExportedImageEngine
from hrpose.export import ExportedMaps, ExportedNetwork, ExportedPoses, ExportRecord, plain_codec
from hrpose.files import write_atomically
from hrpose.metrics import KeypointAveragePrecision, PCKh, PoseMetric
from hrpose.models import count_parameters
from hrpose.module import MetricModule, PoseModule
from hrpose.report import PckhProtocol, Protocol
from hrpose.report.protocol import Benchmark
from hrpose.skeletons import Skeleton
from hrpose.structures import Poses
from hrpose.tasks.dry_run import check_parts, dry_run, find_batch_size, settle_last_batch
from hrpose.tasks.protocols import state_protocols
from hrpose.tasks.resume import requeue_file
from hrpose.weights import load_weights
from hrpose.weights.fetch import find_weights

logger = logging.getLogger(__name__)

AnyCallback = TypeVar("AnyCallback", bound=Callback)
_SUPPRESSED = ("Tip:", "Detected KeyboardInterrupt", "Received SIGTERM")  # log lines of Lightning; the command reports signals


@dataclass(frozen=True)
class Assembly:
    """The parts of a run."""

    module: MetricModule
    datamodule: PoseDataModule
    trainer: Trainer
    protocols: dict[str, Protocol | PckhProtocol]

    @property
    def pose_module(self) -> PoseModule:
        """The module of a network; an `ExportedModule` is an error."""
        assert isinstance(self.module, PoseModule)
        return self.module


class ExportedModule(MetricModule):
    """Measure an exported file that estimates poses, on uint8 crops from the loaders. Arguments are those of `MetricModule`."""

    def __init__(
        self, engine: ExportedEngine | ExportedImageEngine, metrics: Mapping[str, PoseMetric], **stored: dict[str, Any] | None
    ) -> None:
        super().__init__(engine.skeleton, metrics, **stored)
        self.engine = engine

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Poses:
        """Estimate the poses of one batch."""
        return self.engine(batch)


def assemble(cfg: DictConfig, *, bit_depth: int | None = None, net: ExportedNetwork | None = None) -> Assembly:
    """Build data, network and trainer from a composed and validated configuration.

    Parts that need no data are checked first, then the skeleton is built, because the number of channels, the mirror pairs and
    the OKS sigmas depend on it.

    Args:
        cfg: the configuration.
        bit_depth: of 16-bit images, as in the checkpoint's training; used if the configuration does not set it.
        net: the network of an exported file; None builds the configured network.
    """
    trainer, skeleton = _begin(cfg)
    codec: Codec = build(cfg.codec)
    datamodule = build_datamodule(cfg, codec, skeleton, bit_depth)
    _check_flip_pairs(skeleton, datamodule.augment if cfg.task == "fit" else (), flip_test=cfg.flip_test)
    loss: nn.Module = build(cfg.loss)
    network: nn.Module = _build_network(cfg, codec, loss, skeleton) if net is None else net
    if net is not None:
        net.check_channels(codec.num_channels(skeleton.num_keypoints), codec.input_size)
    rules = {"flip_test": cfg.flip_test, "keypoint_score_threshold": cfg.keypoint_score_threshold}
    metrics, protocols = _build_metrics(cfg, datamodule, skeleton, codec, rules)
    if cfg.task == "fit" and isinstance(datamodule, PoseDataModule):  # a user may have another one
        if cfg.data.batch_size == "auto":
            datamodule.batch_size = find_batch_size(network, loss, build(cfg.optim), datamodule, trainer)
        settle_last_batch(network, codec, datamodule, trainer.world_size)
    module = PoseModule(
        network,
        codec,
        loss,
        skeleton,
        optimizer=build(cfg.optim),
        backbone_factor=cfg.optim.get("backbone_factor", 1.0),
        schedule=build(cfg.schedule) if cfg.schedule is not None else None,
        schedule_interval=cfg.schedule_interval,
        metrics=metrics,
        channels_last=cfg.channels_last,
        compile=cfg.compile,
        **rules,
        **_stored(cfg, datamodule, protocols),
    )
    return Assembly(module, datamodule, trainer, protocols)


def assemble_exported(cfg: DictConfig, exported: ExportedPoses | ExportedMaps) -> Assembly:
    """Build data and trainer for an exported file that estimates poses, with its codec and flip test."""
    record = exported.record
    trainer, skeleton = _begin(cfg)
    _compare_with_record(cfg, record, skeleton)
    datamodule = build_datamodule(cfg, record.codec, skeleton, record.bit_depth)
    rules = {"flip_test": record.flip_test, "keypoint_score_threshold": cfg.keypoint_score_threshold}
    metrics, protocols = _build_metrics(cfg, datamodule, skeleton, record.codec, rules)
    engine: ExportedEngine | ExportedImageEngine
    if isinstance(exported, ExportedMaps):
        engine = ExportedImageEngine(exported)
    else:
        engine = ExportedEngine(exported, keypoint_score_threshold=cfg.keypoint_score_threshold)
    module = ExportedModule(engine, metrics, **_stored(cfg, datamodule, protocols))
    return Assembly(module, datamodule, trainer, protocols)


def callbacks_of(trainer: Trainer, kind: type[AnyCallback]) -> list[AnyCallback]:
    """Return the trainer's callbacks of a class."""
    return [callback for callback in trainer.callbacks if isinstance(callback, kind)]  # type: ignore[attr-defined]


def _begin(cfg: DictConfig) -> tuple[Trainer, Skeleton]:
    """Build the trainer, check the parts that need no data, draw synthetic data if it is used, and build the skeleton."""
    _silence_libraries()
    trainer = build_trainer(cfg)
    check_parts(cfg)
    seed_everything(cfg.seed, workers=True, verbose=False)
    if needs_drawing(cfg):
        build(cfg.prepare)
    skeleton: Skeleton = build(cfg.skeleton)
    return trainer, skeleton


def _compare_with_record(cfg: DictConfig, record: ExportRecord, skeleton: Skeleton) -> None:
    """Raise ConfigError for other keypoints, and log differences between the exported file and the configuration."""
    if record.skeleton.keypoint_names != skeleton.keypoint_names:
        raise ConfigError(
            f"weights: expected a network for the {skeleton.num_keypoints} keypoints of the data ('{skeleton.name}'), but "
            f"{cfg.weights} has the {record.skeleton.num_keypoints} of '{record.skeleton.name}'."
        )
    pairs = {"codec": (plain_codec(record.codec), plain_codec(build(cfg.codec))), "flip_test": (record.flip_test, cfg.flip_test)}
    for name, (of_file, configured) in pairs.items():
        if of_file != configured:
            logger.info("%s: using the exported file's value %s instead of %s", name, of_file, configured)
    if (padding := cfg.data.get("bbox_padding", record.bbox_padding)) != record.bbox_padding:
        logger.warning("data.bbox_padding is %g, but the file was exported for %g.", padding, record.bbox_padding)


def _build_metrics(
    cfg: DictConfig, datamodule: PoseDataModule, skeleton: Skeleton, codec: Codec, rules: Mapping[str, Any]
) -> tuple[dict[str, PoseMetric], dict[str, Protocol | PckhProtocol]]:
    """Build the metric and the protocol of each source of boxes, and read the data."""
    benchmark: Benchmark = build(cfg.protocol)
    metrics = {boxes: build_metric(cfg.metric, skeleton, datamodule, benchmark) for boxes in datamodule.val_boxes}
    protocols = state_protocols(datamodule, codec, metrics, benchmark, **rules)
    datamodule.setup("fit" if cfg.task == "fit" else "test")  # measures the bit depth, which checkpoints store
    return metrics, protocols


def _stored(cfg: DictConfig, datamodule: PoseDataModule, protocols: Mapping[str, Any]) -> dict[str, Any]:
    """Return the module's arguments `config` and `protocols`, which checkpoints store.

    Both are plain containers, which `torch.load` reads with `weights_only`. The configuration has the measured bit depth and
    batch size.
    """
    config: dict[str, Any] = plain(cfg)
    config["data"]["bit_depth"] = datamodule.reading.bit_depth
    if config["data"].get("batch_size") == "auto" and datamodule.batch_size:
        config["data"]["batch_size"] = datamodule.batch_size
    return {"config": config, "protocols": {boxes: protocol.to_dict() for boxes, protocol in protocols.items()}}


def build_datamodule(cfg: DictConfig, codec: Codec, skeleton: Skeleton, bit_depth: int | None) -> PoseDataModule:
    """Build the data module with the bit depth of the configuration, the checkpoint or the exported file."""
    configured = cfg.data.get("bit_depth")
    datamodule: PoseDataModule = build(
        cfg.data,
        codec=codec,
        skeleton=skeleton,
        augment=[build(node) for node in cfg.augment.values() if node is not None],
        pixel_transforms=build(cfg.pixels) if cfg.pixels is not None else None,
        bit_depth=bit_depth if configured is None else configured,
    )
    return datamodule


def _check_flip_pairs(skeleton: Skeleton, augment: Sequence[Any], *, flip_test: bool) -> None:
    """Warn if images are mirrored without mirror pairs of keypoints, or log the configured pairs."""
    names = skeleton.keypoint_names
    used = ["augment.flip"] if any(isinstance(step, RandomFlip) and step.probability > 0 for step in augment) else []
    used += ["flip_test"] if flip_test else []
    if used and skeleton.lacks_flip_pairs:
        logger.warning(
            "No mirror pair in the names of the %d keypoints of skeleton '%s' (%s), but %s mirrored images, so left and "
            "right would be confused. Set skeleton.flip_pairs=[[a,b],...], by name or index from 0; skeleton.flip_pairs=[] if "
            "there are none; or augment.flip=null flip_test=false if mirrored images are not realistic.",
            *(len(names), skeleton.name, list_first(names, 5)),
            f"{used[0]} uses" if len(used) == 1 else " and ".join(used) + " use",
        )
    elif skeleton.flip_pairs_given:
        pairs = ", ".join(f"{names[one]} - {names[two]}" for one, two in skeleton.flip_pairs)
        logger.info("Configured mirror pairs: %s", pairs or "none")


def _build_network(cfg: DictConfig, codec: Codec, loss: nn.Module, skeleton: Skeleton) -> nn.Module:
    """Build the network and load its weights."""
    net: nn.Module = build(cfg.model, num_keypoints=codec.num_channels(skeleton.num_keypoints))
    dry_run(net, codec, loss, skeleton.num_keypoints)
    logger.info("%s: %.2f M parameters", type(net).__name__, count_parameters(net) / 1e6)
    if cfg.weights is not None:
        names, training = skeleton.keypoint_names, cfg.task == "fit"
        report = load_weights(net, find_weights(cfg.weights), keypoint_names=names, fresh_head=training)
        logger.info("%s", report)
        if not training:
            report.check_complete()
            if report.kind.startswith("MMPose") and cfg.data.channel_order != "rgb":
                logger.warning(
                    "%s is from MMPose, whose networks expect RGB images, but data.channel_order is %s. Add "
                    "data.channel_order=rgb.",
                    *(report.file, cfg.data.channel_order),
                )
    elif cfg.task == "fit" and cfg.ckpt_path is None and cfg.callbacks.get("freeze") is not None:
        logger.warning(
            "callbacks.freeze: the backbone is frozen, but its weights are random. Set weights=<file or published name>."
        )
    return net


def build_metric(
    node: DictConfig, skeleton: Skeleton, datamodule: PoseDataModule, benchmark: Benchmark | None = None
) -> PoseMetric:
    """Build a metric with its ground truth: head boxes for PCKh, annotations and sigmas for others."""
    benchmark = benchmark or Benchmark()
    target = get_class(node._target_)
    if benchmark.measure == "pckh" and not issubclass(target, PCKh):
        raise ConfigError(
            f"protocol: expected a metric of PCKh for {benchmark.name}, but got {target.__name__}. Add metric=pckh, with "
            "data=mpii skeleton=mpii."
        )
    if issubclass(target, PCKh):
        given: dict[str, Any] = {"ground_truth": datamodule.mpii_truth}
    else:
        truth = benchmark.adjust(datamodule.ground_truth, datamodule.files.area_from_bbox)
        given = {"sigmas": skeleton.sigmas, "ground_truth": truth}
        if issubclass(target, KeypointAveragePrecision) and (fields := datamodule.files.keypoint_fields):
            given["area_keypoints"] = next(iter(fields.values()))
    metric: PoseMetric = build(node, **given)
    return metric


def _silence_libraries() -> None:
    """Suppress advertisements of libraries and warnings about their own code."""
    warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")  # FrequentLogging changes the interval
    warnings.filterwarnings("ignore", message=".*sync_dist=True.*")  # the metrics are synchronised already
    for handler in logging.getLogger().handlers:
        handler.addFilter(lambda record: not any(text in record.getMessage() for text in _SUPPRESSED))


def build_trainer(cfg: DictConfig) -> Trainer:
    """Build the trainer with its callbacks and loggers; raise ConfigError for settings that this machine does not support."""
    callbacks = _named(cfg.callbacks)
    has_bar = any(isinstance(callback, ProgressBar) for callback in callbacks)  # otherwise Lightning would add one
    at_signals = [SignalCheckpoint(requeue_file(cfg))] if cfg.trainer.get("enable_checkpointing", True) else []
    parts = {
        "callbacks": [*callbacks, LossHistory(), *at_signals],
        "logger": _named(cfg.logger),
        "plugins": build_plugins(cfg.trainer.get("plugins")),
        "default_root_dir": cfg.trainer.get("default_root_dir", cfg.paths.run),
        "enable_progress_bar": cfg.trainer.get("enable_progress_bar", has_bar),
    }
    try:
        trainer: Trainer = build(cfg.trainer, **parts)
    except (MisconfigurationException, ImportError) as error:  # an accelerator's library may be missing
        chosen = ", ".join(f"{name}={cfg.trainer.get(name)}" for name in ("accelerator", "devices", "strategy", "precision"))
        raise ConfigError(
            f"trainer: expected settings that this machine supports, but got {chosen}. Lightning: {str(error).strip()} "
            "trainer.accelerator=auto uses the available device."
        ) from error
    return trainer


@rank_zero_only
def connect_loggers(cfg: DictConfig, trainer: Trainer) -> None:
    """Connect to Weights & Biases before training, if the run logs there."""
    nodes = [node for node in (cfg.logger or {}).values() if node is not None]
    for node, built in zip(nodes, trainer.loggers, strict=True):
        if not isinstance(built, WandbLogger) or node.get("offline"):
            continue
        logger.info("Connecting to Weights & Biases for at most a minute. logger.wandb.offline=true needs no connection.")
        try:
            _ = built.experiment
        except Exception as error:
            if type(error).__module__.partition(".")[0] != "wandb":
                raise
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ConfigError(
                f"logger.wandb: no connection ({reason}). Set logger.wandb.offline=true and upload the run later with "
                "`wandb sync`, or check the network and `wandb login`."
            ) from error


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write each checkpoint to the folder of its target, and rename it when it is complete.

    Lightning writes it to the temporary folder. On another file system the move is a copy, and a process that is killed during
    the copy leaves an incomplete checkpoint.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Save a checkpoint; Lightning saves to paths with a protocol (`s3://...`)."""
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        with write_atomically(path) as partial, partial.open("wb") as stream:
            try:
                torch.save(checkpoint, stream)
            except RuntimeError as error:  # on a full disk torch fails again when it closes its archive
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from None
                raise


def build_plugins(nodes: DictConfig | ListConfig | None) -> list[Any]:
    """Build the plugins of `trainer.plugins`, and add `AtomicCheckpointIO` unless one of them writes checkpoints."""
    given = [] if nodes is None else list(nodes) if isinstance(nodes, ListConfig) else [nodes]
    plugins = [build(node) if isinstance(node, DictConfig) else node for node in given]
    writers = [plugin for plugin in plugins if isinstance(plugin, CheckpointIO)]
    for writer in writers:
        if isinstance(writer, AsyncCheckpointIO) and writer.checkpoint_io is None:
            writer.checkpoint_io = AtomicCheckpointIO()
    return plugins if writers else [*plugins, AtomicCheckpointIO()]


def _named(nodes: DictConfig | None) -> list[Any]:
    """Build the named nodes of a group, except those that are null."""
    parts = []
    for node in (nodes or {}).values():
        try:
            parts += [build(node)] if node is not None else []
        except ImportError as error:  # an optional library is missing or broken
            raise ConfigError(f"{node._get_full_key(None)}: {error}") from error
    return parts
