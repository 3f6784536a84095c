"""The verbs of the command line, one module and one function of the same name for each."""

import logging
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
        What the task returns: AP for `fit` and `test`.

    Raises:
        ConfigError: the configuration has faults; nothing heavy was imported to find them.
    """
    validate(cfg)
    # torch and lightning come in with the task, seconds after a faulty configuration would have been refused
    task = getattr(import_module(f"hrpose.tasks.{verb}"), verb)
    if logging.root.handlers:
        logging.getLogger("lightning").handlers.clear()  # it has put one of its own there; every line would come twice
    return task(cfg)


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
