"""Names of earlier versions and what replaces them: one table for imports, messages and docs/migration.md."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED: Mapping[str, str] = {
    "hrpose.backends": "hrpose.export",
    "hrpose.cli.speech": "hrpose.cli.messages",
    "hrpose.codecs.udp_offset": "hrpose.codecs.udp",
    "hrpose.data.coco": "hrpose.annotations.coco",
    "hrpose.data.detections": "hrpose.annotations.detections",
    "hrpose.data.download": "hrpose.download.coco",
    "hrpose.data.errors": "hrpose.errors",
    "hrpose.data.fetch": "hrpose.download.http",
    "hrpose.data.images": "hrpose.media.images",
    "hrpose.data.load": "hrpose.media.load",
    "hrpose.data.mpii": "hrpose.annotations.mpii",
    "hrpose.data.mpii_truth": "hrpose.annotations.mpii",
    "hrpose.data.person_files": "hrpose.annotations.reader",
    "hrpose.data.photo_boxes": "hrpose.annotations.detections",
    "hrpose.data.synthetic": "hrpose.synthetic",
    "hrpose.data.video": "hrpose.media.video",
    "hrpose.data.weights": "hrpose.weights.fetch",
    "hrpose.estimator.checkpoints": "hrpose.estimator.from_weights",
    "hrpose.estimator.exported": "hrpose.estimator.exported_engine",
    "hrpose.losses.simcc": "hrpose.losses.coordinates",
    "hrpose.models.backbone": "hrpose.models.checks",
    "hrpose.models.load_weights": "hrpose.weights.load_weights",
    "hrpose.models.recognise": "hrpose.weights.formats",
    "hrpose.models.save_weights": "hrpose.weights.save_weights",
    "hrpose.models.weight_files": "hrpose.weights.files",
    "hrpose.models.weight_writing": "hrpose.weights.convert",
    "hrpose.models.weights": "hrpose.weights.load",
    "hrpose.published": "hrpose.weights.published",
    "hrpose.skeletons.bodies": "hrpose.skeletons.known",
    "hrpose.skeletons.whole_bodies": "hrpose.skeletons.known",
    "hrpose.visualize.heatmaps": "hrpose.visualize.sheets",
    "hrpose.visualize.painter": "hrpose.visualize.poses",
}
"""Dotted names of Python modules and functions, old to new; names below a module move with it."""

GONE: Mapping[str, str] = {
    "hrpose bench": "make bench or python scripts/benchmarks/{data,metric,inference,codecs}.py",
}
"""Verbs, experiments, options and keys that are no longer available, each with its replacement.

The key is an override (`format=torchscript`), the name of an override whatever its value (`input`), a group and its option
(`codec=dark_256x192`, `experiment=w48_256x192_dark`), or a verb (`hrpose bench`). The value is what to write instead: overrides
or a command, alternatives joined by " or ". An option of this name in the user's own configuration folder is used as it is.
"""

GONE_DEFAULTS: dict[str, object] = {}
"""Top-level keys that are gone, with the default that they had: a stored configuration with this value is accepted."""


def new_name(target: str) -> str | None:
    """Return the present name of a moved module, class or function; None if it has not moved.

    Args:
        target: a dotted name, such as the `_target_` of a node.
    """
    for old, new in sorted(MOVED.items(), reverse=True):
        if target == old or target.startswith(f"{old}."):
            return new + target.removeprefix(old)
    return None


def replacement(override: str) -> str | None:
    """Return what replaces a verb, an experiment, an option or a key that is gone; None if it is not in `GONE`.

    Args:
        override: `key=value`, with or without `+` in front, or `hrpose <verb>`.
    """
    bare = override.lstrip("+~")
    return GONE.get(bare) or GONE.get(bare.partition("=")[0])


def gone_message(override: str) -> str | None:
    """Return what is wrong with an override that is gone, and its replacement; None if it is not in `GONE`."""
    new = replacement(override)
    if new is None:
        return None
    value = override.partition("=")[2]
    return f"{repr(value) if override.lstrip('+~') in GONE and value else 'it'} is no longer available. Use {new}."


class MovedModules:
    """A finder and loader that imports a moved module by its old name; the last one on `sys.meta_path`.

    Warns:
        DeprecationWarning: with the new name.
    """

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return how to load a moved module; None for every other name."""
        return ModuleSpec(name, self) if name in MOVED else None  # type: ignore[arg-type]  # a loader by its methods

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module at its new place."""
        warnings.warn(f"{spec.name} is now {MOVED[spec.name]}.", DeprecationWarning, stacklevel=2)
        return _Alias(spec.name, import_module(MOVED[spec.name]))

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: the module has been executed at its new place."""


class _Alias(ModuleType):
    """A module under its old name: every attribute is that of the module at its new place."""

    def __init__(self, name: str, module: ModuleType) -> None:
        super().__init__(name, module.__doc__)
        self.__dict__["_module"] = module

    def __getattr__(self, name: str) -> object:
        return getattr(self.__dict__["_module"], name)


def install() -> None:
    """Make the old names importable, once per process."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(MovedModules())
