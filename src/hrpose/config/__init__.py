"""Configuration: find the conf folder, compose from it, validate, and build.

The only room below the tasks that knows Hydra. Nothing here imports torch, lightning or any other of the libraries that a
configuration names, before `build` does.
"""

from hrpose.conf_files import conf_dir
from hrpose.config.build import build, plain
from hrpose.config.choices import brought_along, unpublished
from hrpose.config.compose import compose
from hrpose.config.errors import ConfigError
from hrpose.config.files import find_checkpoint, needs_drawing
from hrpose.config.run_folders import claimed_folders, open_run_folder
from hrpose.config.validate import check, validate

__all__ = [
    "ConfigError",
    "brought_along",
    "build",
    "check",
    "claimed_folders",
    "compose",
    "conf_dir",
    "find_checkpoint",
    "needs_drawing",
    "open_run_folder",
    "plain",
    "unpublished",
    "validate",
]
