"""The verbs of the command line: one module per verb, with a function of the same name.

The function takes a composed and validated configuration of the verb, and returns a record of what it found and wrote.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from omegaconf import DictConfig

from hrpose.config import validate


def run(verb: str, cfg: DictConfig) -> Any:
    """Validate a composed configuration, run the verb and return its result.

    Raises:
        ConfigError: if the configuration has faults; nothing slow is imported to find them.
    """
    validate(cfg)
    return find_task(verb)(cfg)


def find_task(verb: str) -> Callable[[DictConfig], Any]:
    """Import the function of a verb; torch and Lightning come with it, which takes seconds."""
    task: Callable[[DictConfig], Any] = getattr(import_module(f"hrpose.tasks.{verb}"), verb)
    return task


def check(verb: str, cfg: DictConfig) -> None:
    """Check the parts of a validated configuration that need no data, before anything is drawn, downloaded or written.

    Raises:
        ValueError: if a part refuses its arguments; a ConfigError names the key.
    """
    if verb in ("fit", "test"):
        import_module("hrpose.tasks.dry_run").check_parts(cfg)
