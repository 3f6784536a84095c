"""The command `hrpose`: a verb, then overrides and flags."""

from hrpose.cli.arguments import VERBS, Command, parse
from hrpose.cli.main import main

__all__ = ["VERBS", "Command", "main", "parse"]
