"""What `hrpose test` does with an exported file: it takes the network's place, or that of the whole way to the poses."""

import logging
from dataclasses import dataclass

from omegaconf import DictConfig
from torch import nn

from hrpose.codecs import Codec
from hrpose.config import ConfigError, build
from hrpose.estimator import ExportedEngine
from hrpose.export import ExportedNetwork, ExportedPoses, is_exported, open_exported, plain_codec
from hrpose.skeletons import Skeleton

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Subject:
    """What is measured, as far as an exported file decides it.

    Attributes:
        codec: the file's own, else the configuration's.
        flip_test: the file's own, else the configuration's.
        keypoint_score_threshold: the configuration's.
        opened: the file; None for a network of torch.
    """

    codec: Codec
    flip_test: bool
    keypoint_score_threshold: float
    opened: ExportedPoses | ExportedNetwork | None = None

    @property
    def bit_depth(self) -> int | None:
        """Bits of the photos of 16 bits that the file's network was trained on; None where it does not say."""
        return self.opened.record.bit_depth if isinstance(self.opened, ExportedPoses) else None

    @property
    def engine(self) -> ExportedEngine | None:
        """What estimates poses in the place of network and codec, if the file does."""
        if not isinstance(self.opened, ExportedPoses):
            return None
        return ExportedEngine(self.opened, keypoint_score_threshold=self.keypoint_score_threshold)


def choose_subject(cfg: DictConfig, skeleton: Skeleton) -> Subject:
    """Open the weights if they are an exported file, and settle codec and flip test; where a file decides, the log says so.

    Raises:
        ConfigError: if the task is to train, or the file is for other keypoints.
        ExportedFileError: if the file cannot be used.
    """
    threshold = cfg.keypoint_score_threshold
    codec: Codec = build(cfg.codec)
    if not is_exported(cfg.weights):
        return Subject(codec, cfg.flip_test, threshold)
    if cfg.get("task") == "fit":
        raise ConfigError(
            f"weights: an exported file cannot be trained: {cfg.weights}. Give a checkpoint or weights of torch."
        )
    opened = open_exported(cfg.weights)
    if isinstance(opened, ExportedNetwork):
        opened.check_channels(codec.num_channels(skeleton.num_keypoints), codec.input_size)
        return Subject(codec, cfg.flip_test, threshold, opened)
    record = opened.record
    if record.skeleton.keypoint_names != skeleton.keypoint_names:
        raise ConfigError(
            f"weights: {cfg.weights} estimates the {record.skeleton.num_keypoints} keypoints of skeleton "
            f"'{record.skeleton.name}', but the data has the {skeleton.num_keypoints} of '{skeleton.name}'."
        )
    decided = {"codec": (plain_codec(record.codec), plain_codec(codec)), "flip_test": (record.flip_test, cfg.flip_test)}
    for name, (of_file, configured) in decided.items():
        if of_file != configured:
            logger.info("%s: the exported file decides: %s, not %s", name, of_file, configured)
    if record.bbox_padding != cfg.data.get("bbox_padding", record.bbox_padding):
        logger.warning(
            "data.bbox_padding is %g, but the file was exported for %g.", cfg.data.bbox_padding, record.bbox_padding
        )
    return Subject(record.codec, record.flip_test, threshold, opened)


def stand_in(opened: ExportedPoses | ExportedNetwork) -> nn.Module:
    """Give what stands in the network's place: a network in a file, or nothing where the file gives the poses itself."""
    return opened if isinstance(opened, ExportedNetwork) else nn.Identity()
