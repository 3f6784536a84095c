"""The run that a checkpoint is from, held against the run that is to use it: both must mean the same by its outputs."""

import logging
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from hrpose.config import ConfigError, needs_drawing, plain
from hrpose.skeletons import COCO, Skeleton
from hrpose.weights.files import WeightsError, read_weight_file

logger = logging.getLogger(__name__)

_OF_ONE_RUN = ("ckpt_path=", "paths.run=", "hydra.")  # words that another run cannot share


@dataclass(frozen=True)
class Origin:
    """What a checkpoint of hrpose tells of its run.

    Attributes:
        file: the checkpoint.
        config: the run's configuration.
        keypoint_names: what its network finds.
        flip_pairs: its mirror pairs; None where it has none, or an older version wrote it.
        words: the words of its command line; None where its folder does not tell.
    """

    file: Path
    config: Mapping[str, Any]
    keypoint_names: tuple[str, ...]
    flip_pairs: Any
    words: tuple[str, ...] | None

    def advice(self, verb: str) -> str:
        """Say how to use the checkpoint as its run did."""
        if self.words is None:
            return (
                f"It is of the run '{self.config.get('name')}': give the words of that run, experiment, model and data."
            )
        words = " ".join(shlex.quote(word) for word in (*self.words, f"ckpt_path={self.file}"))
        return f"With the words of its own run: hrpose {verb} {words}"


def read_origin(file: str | Path | None) -> Origin | None:
    """Read what a checkpoint tells of its run; None for other files, which tell nothing.

    Raises:
        WeightsError: if it is a checkpoint that cannot be read.
    """
    if file is None or Path(file).suffix != ".ckpt" or not Path(file).is_file():
        return None
    told = read_weight_file(Path(file)).hyper_parameters
    config, skeleton = told.get("config"), told.get("skeleton")
    if not isinstance(config, Mapping) or not isinstance(skeleton, Mapping):
        return None
    names = tuple(skeleton.get("keypoint_names", ()))
    return Origin(Path(file), config, names, skeleton.get("flip_pairs"), _words_of_run(Path(file)))


def check_origin(cfg: DictConfig, origin: Origin | None) -> None:
    """Compare a checkpoint with the configuration that is to use it, before data is drawn and a network built.

    Raises:
        ConfigError: the people of the synthetic dataset would be drawn for a network that finds something else.

    A codec other than that of the checkpoint reads its outputs wrongly, and photos that are read otherwise look otherwise: both
    are warned of.
    """
    if origin is None:
        return
    if needs_drawing(cfg) and origin.keypoint_names != COCO.keypoint_names:
        raise ConfigError(
            f"{origin.file} finds {len(origin.keypoint_names)} keypoints ({', '.join(origin.keypoint_names[:3])}, ...), but "
            f"data=synthetic are people with those of COCO. {origin.advice(cfg.task)}"
        )
    unlike = _differences(origin.config.get("codec"), plain(cfg.codec))
    if unlike:
        logger.warning(
            "%s was trained with another codec (there | here): %s. %s",
            origin.file,
            "; ".join(unlike),
            origin.advice(cfg.task),
        )
    _check_reading(cfg, origin)


def _check_reading(cfg: DictConfig, origin: Origin) -> None:
    there, here = origin.config.get("data"), cfg.data
    there = there if isinstance(there, Mapping) else {}
    depth = there.get("bit_depth"), here.get("bit_depth")
    if there.get("upright") and not here.get("upright"):
        logger.warning("%s was trained with data.upright=true, here the EXIF orientation is ignored.", origin.file)
    if None not in depth and depth[0] != depth[1]:
        logger.warning("%s was trained with data.bit_depth=%s, here it is %s.", origin.file, *depth)


def trained_bit_depth(origin: Origin | None) -> int | None:
    """Return the bit depth of the photos that a checkpoint was trained on; None where they had 8 bits, or nothing is known."""
    data = {} if origin is None else origin.config.get("data")
    depth = data.get("bit_depth") if isinstance(data, Mapping) else None
    return depth if isinstance(depth, int) else None


def check_flip_pairs(skeleton: Skeleton, origin: Origin | None) -> None:
    """Warn if the same keypoints have other mirror pairs than those that the checkpoint was trained with."""
    if origin is None or origin.flip_pairs is None or origin.keypoint_names != skeleton.keypoint_names:
        return
    here = [list(pair) for pair in skeleton.flip_pairs]
    if origin.flip_pairs != here:
        logger.warning(
            "%s was trained with the mirror pairs %s, but the flip test uses %s. Set skeleton.flip_pairs to those of training.",
            origin.file,
            origin.flip_pairs,
            here,
        )


@contextmanager
def advised(cfg: DictConfig, origin: Origin | None) -> Iterator[None]:
    """Say how to use a checkpoint where its weights turn out not to fit."""
    try:
        yield
    except WeightsError as error:
        if origin is None:
            raise
        raise WeightsError(f"{error} {origin.advice(cfg.task)}") from error


def _differences(there: Any, here: Any) -> list[str]:
    """Name the entries that both have and that differ; those that only one has are of another version."""
    if not isinstance(there, Mapping) or not isinstance(here, Mapping):
        return []
    return [f"codec.{name}: {there[name]} | {value}" for name, value in here.items() if there.get(name, value) != value]


def _words_of_run(checkpoint: Path) -> tuple[str, ...] | None:
    """Read the words that Hydra has noted in the folder of the run; checkpoints lie one folder below."""
    file = checkpoint.absolute().parent.parent / ".hydra" / "overrides.yaml"
    if not file.is_file():
        return None
    words = [str(word) for word in OmegaConf.load(file)]
    return tuple(word for word in words if not word.startswith(_OF_ONE_RUN))
