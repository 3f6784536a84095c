"""Words completed with the tab key: the shell asks, Hydra knows the keys and options, and the verbs are ours."""

import os
from collections.abc import Sequence

from hrpose.cli.arguments import PLACES, VERBS, Command
from hrpose.cli.hydra_main import hand_to_hydra


def complete(words: Sequence[str]) -> int:
    """Answer the shell, or give it the script that asks.

    Args:
        words: `query=<shell>` with the line typed so far in COMP_LINE, or `install=<shell>`.
    """
    line = os.environ.get("COMP_LINE", "")
    typed = line.split()
    verb = typed[1] if len(typed) > 1 else ""
    if not any(word.startswith("query=") for word in words):
        verb = "fit"  # the script is the same for all verbs
    elif verb not in VERBS or (len(typed) == 2 and not line.endswith(" ")):
        print(" ".join(known for known in VERBS if known.startswith(verb)))
        return 0
    rest = typed[2:]
    if verb in PLACES:  # Hydra cannot read what has no key; the word that is being typed stays
        typing = [] if line.endswith(" ") else rest[-1:]
        rest = [word for word in rest[: len(rest) - len(typing)] if "=" in word] + typing
    os.environ["COMP_LINE"] = " ".join(["hrpose", *rest]) + (" " if line.endswith(" ") else "")
    hand_to_hydra(Command(verb, ("--shell-completion",), tuple(words)), lambda cfg: None)
    return 0
