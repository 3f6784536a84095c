"""hrpose convert: convert labels of an annotation tool to COCO keypoint files."""

from omegaconf import DictConfig
from rich.console import Console

from hrpose.annotations.converters import Conversion, convert_labels, write_labels
from hrpose.config import ConfigError, plain
from hrpose.report.table import say

_OPTIONS = (
    *("out", "format", "images", "names", "category", "flip_pairs", "bbox_margin", "split", "split_by", "seed"),
    *("archive", "archive_size"),
)
_LABEL_OPTIONS = ("out", "bbox_margin", "keypoint_score_threshold")
_UNUSED_WITH_TO = ("format", "names", "category", "flip_pairs", "split_by", "archive")


def convert(cfg: DictConfig) -> Conversion | None:
    """Convert a source, and print the files and the command that trains on them.

    Returns:
        The conversion; None with `to`, which converts COCO files to labels of a tool.

    Raises:
        ConfigError: if a key has no effect together with `to`, or `images` is missing.
        DataError: as `convert_labels` and `write_labels`.
    """
    if cfg.to is None:
        conversion = convert_labels(cfg.source, **{name: plain(cfg[name]) for name in _OPTIONS})
        say(Console(), conversion.describe())
        return conversion
    unused = [name for name in _UNUSED_WITH_TO if cfg[name] is not None]
    faults = [f"{name}: it has no effect with to={cfg.to}. Remove it." for name in unused]
    if cfg.images is None:
        faults.append(f"images: to={cfg.to} needs the folder of the images. Set images=<folder>.")
    if faults:
        raise ConfigError(*faults)
    options = {name: cfg[name] for name in _LABEL_OPTIONS}
    say(Console(), write_labels(cfg.source, cfg.to, images=cfg.images, **options))
    return None
