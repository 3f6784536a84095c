"""The verbs of the command line, one module and one function of the same name for each."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from omegaconf import DictConfig

from hrpose.config import validate


def run(verb: str, cfg: DictConfig) -> Any:
    """Validate a composed configuration and do what the verb says.

    Args:
        verb: "fit", "test", ...
        cfg: composed for this verb.

    Returns:
        What the verb returns: a record of `hrpose.tasks.results`, or a number.

    Raises:
        ConfigError: the configuration has faults; nothing heavy was imported to find them.
    """
    validate(cfg)
    return find_task(verb)(cfg)


def find_task(verb: str) -> Callable[[DictConfig], Any]:
    """Import the function of a verb, and torch and Lightning with it, which takes seconds."""
    task: Callable[[DictConfig], Any] = getattr(import_module(f"hrpose.tasks.{verb}"), verb)
    return task


def check(verb: str, cfg: DictConfig) -> None:
    """Check the parts of a task that need no data, before anything is drawn, downloaded or written.

    Args:
        verb: "fit", "test", ...
        cfg: composed for this verb, and validated.

    Raises:
        ValueError: what a part refuses; a ConfigError has its key.
    """
    if verb in ("fit", "test"):
        import_module("hrpose.tasks.dry_run").check_parts(cfg)
