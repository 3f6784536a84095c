"""Load what Hydra composes: the files once for the same choices of groups, the values into a copy."""

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
    """Lend Hydra's loader of the conf folder; whatever Hydra had in hand before is put back."""
    before = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            yield GlobalHydra.instance().config_loader()
    finally:
        GlobalHydra.instance().hydra = before


def load(loader: ConfigLoader, verb: str, overrides: Sequence[str]) -> DictConfig:
    """Compose as Hydra's loader does, its own node included.

    Hydra puts values into what the files make, so files are read again only where other groups are chosen: a command composes
    the same groups several times.

    Args:
        loader: lent by `config_loader`.
        verb: the primary configuration.
        overrides: normalised.

    Raises:
        HydraException: an override does not fit; ValueError: it chooses a group by a number.
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
    """Give the option of each group that is chosen without overrides; a list where several can be.

    Args:
        loader: lent by `config_loader`.
        verb: the primary configuration.
        added: overrides of `hydra.searchpath`.
    """
    if added:
        return _chosen_options(loader, verb, added)
    return dict(_known_options(verb, last_change()))


def last_change() -> int:
    """Give the time of the newest change in the conf folder, in nanoseconds."""
    folder = conf_dir()
    return max(path.stat().st_mtime_ns for path in (folder, *folder.rglob("*")))


def _concerns_hydra(override: Override) -> bool:
    """Check for what Hydra has to see itself: its own keys, and several values for one run, which it refuses."""
    key = override.key_or_group
    return not key or key.partition("/")[0].partition(".")[0] == "hydra" or override.is_sweep_override()


def _is_group(override: Override) -> bool:
    """Check as Hydra does whether an override chooses an option."""
    return not isinstance(override.value(), dict) and (conf_dir() / override.key_or_group).is_dir()


@lru_cache(maxsize=64)
def _load_groups(verb: str, groups: tuple[str, ...], last_change: int) -> DictConfig:
    """Read and merge the files once; `last_change` is there to forget what was read before they changed."""
    return GlobalHydra.instance().config_loader().load_configuration(verb, list(groups), RunMode.RUN, from_shell=False)


@lru_cache(maxsize=16)
def _known_options(verb: str, last_change: int) -> dict[str, str | list[str] | None]:
    return _chosen_options(GlobalHydra.instance().config_loader(), verb, ())


def _chosen_options(loader: ConfigLoader, verb: str, added: Sequence[str]) -> dict[str, str | list[str] | None]:
    choices: dict[str, str | list[str] | None] = dict(load(loader, verb, added).hydra.runtime.choices)
    for default in loader.compute_defaults_list(verb, list(added), RunMode.RUN).defaults:
        group, _, option = str(default.config_path).rpartition("/")
        if group and group not in choices:  # of a list of options, which Hydra leaves out
            choices[group] = [option]
    return {group: option for group, option in sorted(choices.items()) if not group.startswith("hydra")}
