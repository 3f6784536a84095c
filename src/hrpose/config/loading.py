"""Compose with Hydra, with a cache of the files for each choice of groups."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from omegaconf import DictConfig
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


def chosen_options(loader: ConfigLoader, verb: str, added: Sequence[str] = ()) -> dict[str, str | list[str] | None]:
    """Return the default option of each group, a list if several can be chosen; `added` are overrides of `hydra.searchpath`."""
    if added:
        return _chosen_options(loader, verb, added)
    return dict(_known_options(verb, last_change()))


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


@lru_cache(maxsize=16)
def _known_options(verb: str, last_change: int) -> dict[str, str | list[str] | None]:
    return _chosen_options(GlobalHydra.instance().config_loader(), verb, ())


def _chosen_options(loader: ConfigLoader, verb: str, added: Sequence[str]) -> dict[str, str | list[str] | None]:
    choices: dict[str, str | list[str] | None] = dict(load(loader, verb, added).hydra.runtime.choices)
    for default in loader.compute_defaults_list(verb, list(added), RunMode.RUN).defaults:
        group, _, option = str(default.config_path).rpartition("/")
        if group and group not in choices:  # a list of options, which Hydra does not record
            choices[group] = [option]
    return {group: option for group, option in sorted(choices.items()) if not group.startswith("hydra")}
