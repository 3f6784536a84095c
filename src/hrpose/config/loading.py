"""Compose with Hydra, with a cache of the files for each choice of groups, and read the keys and values of a configuration."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hrpose.files import conf_dir


@contextmanager
def config_loader() -> Iterator[ConfigLoader]:
    """Provide Hydra's loader of the conf folder in a `with` block, and restore Hydra's state afterwards."""
    before = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            yield GlobalHydra.instance().config_loader()
    finally:
        GlobalHydra.instance().hydra = before


def load(loader: ConfigLoader, verb: str, overrides: Sequence[str]) -> DictConfig:
    """Compose as Hydra's loader does, including the node `hydra`.

    A command composes the same groups several times, so files are cached by the choice of groups, and values are set in a copy.
    Overrides must be normalised.

    Raises:
        HydraException: if an override is wrong.
        ValueError: if the option of a group is a number.
    """
    texts = list(overrides)
    parsed = OverridesParser.create().parse_overrides(texts)
    if any(map(_concerns_hydra, parsed)):
        return loader.load_configuration(verb, texts, RunMode.RUN, from_shell=False)
    groups = tuple(text for text, override in zip(texts, parsed, strict=True) if _is_group(override))
    cfg = copy.deepcopy(_load_groups(verb, groups, last_change()))
    try:
        ConfigLoaderImpl._apply_overrides_to_config([each for each in parsed if not _is_group(each)], cfg)
    except OmegaConfBaseException as error:
        raise ConfigCompositionException from error
    return cfg


def last_change() -> int:
    """Return the time of the last change in the conf folder, in nanoseconds."""
    folder = conf_dir()
    return max(path.stat().st_mtime_ns for path in (folder, *folder.rglob("*")))


def _concerns_hydra(override: Override) -> bool:
    """Check for overrides that only Hydra can process: its own keys, and several values, which it rejects for one run."""
    key = override.key_or_group
    return not key or key.partition("/")[0].partition(".")[0] == "hydra" or override.is_sweep_override()


def _is_group(override: Override) -> bool:
    """Check whether an override chooses an option of a group, as Hydra does."""
    return not isinstance(override.value(), dict) and (conf_dir() / override.key_or_group).is_dir()


@lru_cache(maxsize=64)
def _load_groups(verb: str, groups: tuple[str, ...], last_change: int) -> DictConfig:
    """Read and merge the files, cached for the same time of their last change."""
    return GlobalHydra.instance().config_loader().load_configuration(verb, list(groups), RunMode.RUN, from_shell=False)


class Tree:
    """The groups and keys of a verb, including those of folders added with overrides of `hydra.searchpath`."""

    def __init__(self, loader: ConfigLoader, verb: str, added: Sequence[str] = ()) -> None:
        self.loader, self.verb, self.added = loader, verb, tuple(added)
        self.cfg = self.load([])  # without overrides, or with those that choose options
        self.choices = dict(_default_options(verb, self.added, last_change()))

    def load(self, overrides: Sequence[str]) -> DictConfig:
        """Compose, including the node `hydra`."""
        return load(self.loader, self.verb, [*self.added, *overrides])

    def options(self, group: str, *, own: bool = True) -> list[str]:
        """Return the options of a group, with `own` also those of added folders; empty if there is no such group."""
        if not group or group.startswith("."):
            return []
        where = (self.verb, self.added) if own and self.added else ()
        return self.loader.get_group_options(group, ObjectType.CONFIG, *where)

    def keys(self) -> list[str]:
        """Return all dotted keys and all groups, except Hydra's."""
        return [key for key in [*(entry[0] for entry in entries(self.cfg)), *self.choices] if not key.startswith("hydra")]

    def has(self, key: str) -> bool:
        """Check whether a group or key exists; a key below null or after `+` needs only an existing parent."""
        bare = key.removeprefix("+")
        found, owner, value = self.walk(bare)
        return found or bare in self.choices or bool(owner and (value is None or key != bare))

    def walk(self, key: str) -> tuple[bool, str, object]:
        """Follow a dotted key; return whether it exists, its longest existing part, and the value of this part."""
        value: object = self.cfg
        parts = key.split(".")
        for depth, part in enumerate(parts):
            names = {str(name): name for name in _names(value)}
            if part not in names or not isinstance(value, DictConfig | ListConfig):
                return False, ".".join(parts[:depth]), value
            value = value_at(value, part, "???" if OmegaConf.is_missing(value, names[part]) else "${...}")
        return True, key, value

    def describe(self) -> str:
        """Return a sentence with the groups that have several options, and the keys."""
        choosable = [group for group in self.choices if len(self.options(group)) > 1]
        groups = f"the groups {', '.join(choosable)}; " if choosable else ""
        keys = [str(key) for key in self.cfg if key not in ("hydra", "task", *self.choices)]
        return f"{self.verb} has {groups}the keys {', '.join(keys)}."


@lru_cache(maxsize=16)
def _default_options(verb: str, added: tuple[str, ...], last_change: int) -> dict[str, str | list[str] | None]:
    """Return the default option of each group, a list if several can be chosen."""
    loader = GlobalHydra.instance().config_loader()
    choices: dict[str, str | list[str] | None] = dict(load(loader, verb, added).hydra.runtime.choices)
    for default in loader.compute_defaults_list(verb, list(added), RunMode.RUN).defaults:
        group, _, option = str(default.config_path).rpartition("/")
        if group and group not in choices:  # a list of options, which Hydra does not record
            choices[group] = [option]
    return {group: option for group, option in sorted(choices.items()) if not group.startswith("hydra")}


def value_at(node: DictConfig | ListConfig, key: str, default: object = None) -> Any:
    """Return the value of a dotted key; the default if there is none, it is missing (`???`) or cannot be resolved."""
    return OmegaConf.select(node, key, default=default, throw_on_resolution_failure=False)


def entries(node: DictConfig | ListConfig, prefix: str = "") -> Iterator[tuple[str, Any, Any, object]]:
    """Yield the full key of every entry, its node, its name in this node, and its value; None if missing or an interpolation."""
    for name in _names(node):
        value = None if OmegaConf.is_missing(node, name) or OmegaConf.is_interpolation(node, name) else node[name]
        yield f"{prefix}{name}", node, name, value
        if isinstance(value, DictConfig | ListConfig):
            yield from entries(value, f"{prefix}{name}.")


def _names(node: object) -> list[Any]:
    if isinstance(node, ListConfig):
        return list(range(len(node)))
    return list(node.keys()) if isinstance(node, DictConfig) else []


def find_targets(cfg: DictConfig) -> list[tuple[str, DictConfig]]:
    """Return the full keys of all nodes with a `_target_`, and the nodes."""
    return [(key, value) for key, _, _, value in entries(cfg) if isinstance(value, DictConfig) and is_target(value)]


def is_target(value: object) -> bool:
    """Check whether a value is a node with a `_target_`."""
    return isinstance(value, DictConfig | dict) and "_target_" in value
