"""Compose configurations from the conf folder, validate them, and build their objects.

This is the only package below `tasks` that imports Hydra. Composing does not import the targets of a configuration, so wrong
overrides are reported within a second. Validating imports them, and with them torch.
"""

from hrpose.config.build import build, plain
from hrpose.config.compose import advise_flag, compose, compose_sweep, describe_choices, expand_jobs, find_choices, unpublished
from hrpose.config.overrides import write_override
from hrpose.config.paths import claimed_folders, find_checkpoint, needs_drawing, open_run_folder, remove_unused_folder
from hrpose.config.validate import check, validate
from hrpose.errors import ConfigError
from hrpose.files import conf_dir

__all__ = [
    "ConfigError",
    "advise_flag",
    "build",
    "check",
    "claimed_folders",
    "compose",
    "compose_sweep",
    "conf_dir",
    "describe_choices",
    "expand_jobs",
    "find_checkpoint",
    "find_choices",
    "needs_drawing",
    "open_run_folder",
    "plain",
    "remove_unused_folder",
    "unpublished",
    "validate",
    "write_override",
]
