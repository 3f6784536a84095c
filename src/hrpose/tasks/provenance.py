"""The run that wrote a checkpoint, compared with the run that uses it."""

import logging
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from omegaconf import DictConfig

from hrpose.config import ConfigError, needs_drawing, plain
from hrpose.skeletons import COCO, Skeleton
from hrpose.weights.files import WeightsError, read_weight_file

logger = logging.getLogger(__name__)

_LARGEST_FILE = 2**20  # bytes of overrides
_OF_ONE_RUN = ("ckpt_path=", "paths.run=", "hydra.")  # overrides that another run cannot share


@dataclass(frozen=True)
class Provenance:
    """The run that wrote a checkpoint."""

    file: Path  # the checkpoint
    config: Mapping[str, Any]
    keypoint_names: tuple[str, ...]
    flip_pairs: Any  # None if an older version wrote the checkpoint
    overrides: tuple[str, ...] | None  # None if the folder of the run lacks them

    def advice(self, verb: str) -> str:
        """Return a sentence with the overrides that the run used."""
        if self.overrides is None:
            return f"Use the overrides of its run '{self.config.get('name')}': experiment, model and data."
        return f"With the overrides of its run: hrpose {verb} {shlex.join([*self.overrides, f'ckpt_path={self.file}'])}"

    @property
    def data(self) -> Mapping[str, Any]:
        """The configuration of the data; empty if the checkpoint does not state it."""
        data = self.config.get("data")
        return data if isinstance(data, Mapping) else {}

    @property
    def bit_depth(self) -> int | None:
        """The bit depth of the training images; None if they had 8 bits, or the checkpoint does not state it."""
        depth = self.data.get("bit_depth")
        return depth if isinstance(depth, int) else None

    def check(self, cfg: DictConfig) -> None:
        """Warn if the codec or the reading of images differs from a configuration that uses the checkpoint.

        Raises:
            ConfigError: if people would be drawn for a network with other keypoints.
        """
        if needs_drawing(cfg) and self.keypoint_names != COCO.keypoint_names:
            raise ConfigError(
                f"{self.file} predicts {len(self.keypoint_names)} keypoints ({', '.join(self.keypoint_names[:3])}, ...), but "
                f"data=synthetic draws people with the keypoints of COCO. {self.advice(cfg.task)}"
            )
        if unlike := _differences(self.config.get("codec"), plain(cfg.codec)):
            text, advice = "; ".join(unlike), self.advice(cfg.task)
            logger.warning("%s was trained with another codec (checkpoint | now): %s. %s", self.file, text, advice)
        if self.data.get("upright") and not cfg.data.get("upright"):
            logger.warning("%s was trained with data.upright=true, now EXIF orientation is ignored. Set it.", self.file)
        depths = self.bit_depth, cfg.data.get("bit_depth")
        if None not in depths and depths[0] != depths[1]:
            logger.warning("%s was trained with data.bit_depth=%s, now it is %s.", self.file, *depths)

    def check_flip_pairs(self, skeleton: Skeleton) -> None:
        """Warn if the same keypoints have other mirror pairs than in training."""
        pairs = [list(pair) for pair in skeleton.flip_pairs]
        if self.flip_pairs not in (None, pairs) and self.keypoint_names == skeleton.keypoint_names:
            logger.warning(
                "%s was trained with the mirror pairs %s, but the flip test uses %s. Set skeleton.flip_pairs as in training.",
                *(self.file, self.flip_pairs, pairs),
            )


def read_provenance(file: str | Path | None) -> Provenance | None:
    """Read the provenance of a checkpoint of hrpose; None for other files."""
    if file is None or Path(file).suffix != ".ckpt" or not Path(file).is_file():
        return None
    stored = read_weight_file(Path(file)).hyper_parameters
    config, skeleton = stored.get("config"), stored.get("skeleton")
    if not isinstance(config, Mapping) or not isinstance(skeleton, Mapping):
        return None
    names = skeleton.get("keypoint_names")
    names = tuple(map(str, names)) if isinstance(names, list | tuple) else ()
    return Provenance(Path(file), config, names, skeleton.get("flip_pairs"), _overrides_of(Path(file)))


@contextmanager
def advised(cfg: DictConfig, provenance: Provenance | None) -> Iterator[None]:
    """Add the overrides of the checkpoint's run to a WeightsError."""
    try:
        yield
    except WeightsError as error:
        if provenance is None:
            raise
        raise WeightsError(f"{error} {provenance.advice(cfg.task)}") from error


def _differences(stored: Any, now: Any) -> list[str]:
    """List the entries that both have and that differ; other versions may have further entries."""
    if not isinstance(stored, Mapping) or not isinstance(now, Mapping):
        return []
    return [f"codec.{name}: {stored[name]} | {new}" for name, new in now.items() if stored.get(name, new) != new]


def _overrides_of(checkpoint: Path) -> tuple[str, ...] | None:
    """Read the overrides that Hydra saved in the folder of the run, as plain YAML without interpolation."""
    file = checkpoint.absolute().parent.parent / ".hydra" / "overrides.yaml"
    try:
        overrides = yaml.safe_load(file.read_bytes()[:_LARGEST_FILE]) if file.is_file() else None
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None
    if not isinstance(overrides, list) or not all(isinstance(override, str) for override in overrides):
        return None
    return tuple(override for override in overrides if not override.startswith(_OF_ONE_RUN))
