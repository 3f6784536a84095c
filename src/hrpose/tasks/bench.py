"""hrpose bench: measure speed."""

from typing import Any

from omegaconf import DictConfig

from hrpose.config import build, needs_drawing


def bench(cfg: DictConfig) -> Any:
    """Run the measurement that the configuration names and print its table.

    Args:
        cfg: a composed configuration of the verb `bench`.

    Returns:
        What the measurement returns: its table as plain Python.
    """
    if needs_drawing(cfg):
        build(cfg.prepare)
    return build(cfg.bench)()
