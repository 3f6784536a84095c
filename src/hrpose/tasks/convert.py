"""hrpose convert: labels of an annotation tool as COCO keypoint files."""

import logging

from omegaconf import DictConfig
from rich.console import Console

from hrpose.annotations.converters import Conversion, convert_labels
from hrpose.config import plain
from hrpose.report.table import say

_OPTIONS = ("out", "format", "images", "names", "category", "flip_pairs", "bbox_margin", "split", "split_by", "seed")

logger = logging.getLogger(__name__)


def convert(cfg: DictConfig) -> Conversion:
    """Convert a source, and print what was written and how to train on it.

    Args:
        cfg: a composed and validated configuration of the verb `convert`.

    Raises:
        DataError: as `convert_labels`.
    """
    conversion = convert_labels(cfg.source, **{name: plain(cfg[name]) for name in _OPTIONS})
    say(Console(), conversion.describe())
    return conversion
