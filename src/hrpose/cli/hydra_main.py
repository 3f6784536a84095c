"""From a command to Hydra: its main is called with the words in the order that it understands."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hrpose.cli.arguments import Command

if TYPE_CHECKING:
    from omegaconf import DictConfig


def hand_to_hydra(command: Command, task: Callable[["DictConfig"], Any]) -> None:
    """Call Hydra's main with the flags behind the overrides, where it understands them."""
    # slow to import
    import hydra

    # and Hydra comes in with it
    from hrpose.config import conf_dir

    given = sys.argv
    program = "hrpose" if "install" in " ".join(command.overrides) else f"hrpose {command.verb}"
    sys.argv = [program, *command.overrides, *command.flags]
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=command.verb)(task)()
    finally:
        sys.argv = given
