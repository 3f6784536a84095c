"""hrpose convert: labels of an annotation tool as COCO keypoint files."""

import logging

from omegaconf import DictConfig
from rich.console import Console

from hrpose.annotations.converters import Conversion, convert_labels, write_labels
from hrpose.config import ConfigError, plain
from hrpose.report.table import say

_OPTIONS = (
    *("out", "format", "images", "names", "category", "flip_pairs", "bbox_margin", "split", "split_by", "seed"),
    *("archive", "archive_size"),
)
_LABELS = ("out", "bbox_margin", "keypoint_score_threshold")

logger = logging.getLogger(__name__)


def convert(cfg: DictConfig) -> Conversion | None:
    """Convert a source, and print what was written and how to train on it.

    Args:
        cfg: a composed and validated configuration of the verb `convert`.

    Returns:
        What was written; None with `to`, which writes the labels of a tool.

    Raises:
        ConfigError: if a key has no effect beside `to`.
        DataError: as `convert_labels` and `write_labels`.
    """
    if cfg.to is not None:
        _refuse_unused(cfg)
        say(Console(), write_labels(cfg.source, cfg.to, images=cfg.images, **{name: cfg[name] for name in _LABELS}))
        return None
    conversion = convert_labels(cfg.source, **{name: plain(cfg[name]) for name in _OPTIONS})
    say(Console(), conversion.describe())
    return conversion


def _refuse_unused(cfg: DictConfig) -> None:
    """Raise for keys that have no effect beside `to`, and for one that is needed."""
    unused = [
        name for name in ("format", "names", "category", "flip_pairs", "split_by", "archive") if cfg[name] is not None
    ]
    faults = [f"{name}: it has no effect beside to={cfg.to}. Leave it out." for name in unused]
    if cfg.images is None:
        faults.append(f"images: to={cfg.to} needs the folder of the images. Give images=<folder>.")
    if faults:
        raise ConfigError(*faults)
