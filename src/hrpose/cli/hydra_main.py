"""From a command to Hydra, which composes and runs, and completes arguments with the tab key."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from hrpose.cli.arguments import POSITIONAL, VERBS, Command

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


def complete(arguments: Sequence[str]) -> int:
    """Answer the shell, or give it the script that asks.

    Args:
        arguments: `query=<shell>` with the line typed so far in COMP_LINE, or `install=<shell>`.
    """
    line = os.environ.get("COMP_LINE", "")
    typed = line.split()
    verb = typed[1] if len(typed) > 1 else ""
    if not any(argument.startswith("query=") for argument in arguments):
        verb = "fit"  # the script is the same for all verbs
    elif verb not in VERBS or (len(typed) == 2 and not line.endswith(" ")):
        print(" ".join(known for known in VERBS if known.startswith(verb)))
        return 0
    rest = typed[2:]
    if verb in POSITIONAL:  # Hydra cannot read what has no key; what is being typed stays
        typing = [] if line.endswith(" ") else rest[-1:]
        rest = [text for text in rest[: len(rest) - len(typing)] if "=" in text] + typing
    os.environ["COMP_LINE"] = " ".join(["hrpose", *rest]) + (" " if line.endswith(" ") else "")
    hand_to_hydra(Command(verb, ("--shell-completion",), tuple(arguments)), lambda cfg: None)
    return 0
