"""Ranges of numbers that are used long after a run has begun, or that libraries take without a check."""

from collections.abc import Iterator, Mapping

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

# Key -> least value, most value. Null and true or false are not compared. What a part checks when it is built is not listed.
_RANGES: Mapping[str, tuple[float, float]] = {
    "seed": (0, 2**32 - 1),
    "data.seed": (0, 2**32 - 1),
    "threads": (1, float("inf")),
    "data.area_from_bbox": (0, float("inf")),
    "trainer.accumulate_grad_batches": (1, float("inf")),
    "trainer.check_val_every_n_epoch": (1, float("inf")),
    "trainer.gradient_clip_val": (0, float("inf")),
    "trainer.log_every_n_steps": (0, float("inf")),
    "trainer.num_sanity_val_steps": (-1, float("inf")),
    "callbacks.early_stopping.patience": (0, float("inf")),
    "callbacks.progress.refresh_rate": (0, float("inf")),
    "optim.lr": (0, float("inf")),
    "schedule.max_lr": (0, float("inf")),
    "metric.max_detections": (1, float("inf")),
    "metric.oks_nms_threshold": (0, 1),
}
_POSITIVE = ("data.bbox_padding",)


def find_range_faults(cfg: DictConfig) -> Iterator[tuple[str, str]]:
    """Find numbers out of their range.

    Yields:
        Keys, each with the range and what was found.
    """
    for key in (*_RANGES, *_POSITIVE):
        try:
            value = OmegaConf.select(cfg, key)
        except OmegaConfBaseException:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        least, most = _RANGES.get(key, (0, float("inf")))
        if key in _POSITIVE and not value > 0:
            yield key, f"expected a number above 0, but got {value}."
        elif not least <= value <= most:
            bound = f"at least {least}" if most == float("inf") else f"a number from {least} to {most}"
            yield key, f"expected {bound}, but got {value}."
