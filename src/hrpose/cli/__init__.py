"""The command `hrpose`: a verb, then Hydra's words."""

from hrpose.cli.entry import main
from hrpose.cli.words import VERBS, Command, parse

__all__ = ["VERBS", "Command", "main", "parse"]
