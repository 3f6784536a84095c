"""Compose a verb's configuration from the conf folder, with every mistake explained."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

import hydra
from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from omegaconf import DictConfig

from hrpose.conf_files import conf_dir
from hrpose.config.errors import ConfigError, OverrideError, did_you_mean
from hrpose.config.overrides import COMPOSE_ERRORS, find_override_faults, normalise_override, one_line


def compose(verb: str, overrides: Sequence[str] = ()) -> DictConfig:
    """Compose the configuration of a verb, as the command line does.

    Leaves no Hydra state behind, so it can be called again and again, in a notebook and within a run alike.

    Args:
        verb: "fit", "test", ...: the name of a primary configuration in `conf_dir()`.
        overrides: what would stand behind the verb: `["experiment=tiny", "optim.lr=5e-4"]`; `+experiment=tiny` is the same.

    Returns:
        A configuration of its own: changing it changes no other. It is not validated; see `validate`.

    Raises:
        ConfigError: the overrides do not fit; all of them are named, with what was probably meant.
    """
    texts = tuple(normalise_override(text) for text in overrides)
    return copy.deepcopy(_compose(verb, texts, _last_change()))


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


@lru_cache(maxsize=128)
def _compose(verb: str, overrides: tuple[str, ...], last_change: int) -> DictConfig:
    """Compose once for the same words and files; `last_change` is there to forget what was read before the files changed."""
    with config_loader() as loader:
        verbs = [name for name in loader.get_group_options("", ObjectType.CONFIG) if not name.startswith("_")]
        if verb not in verbs and not any(text.startswith("hydra.searchpath=") for text in overrides):
            raise ConfigError(f"there is no verb '{verb}'.{did_you_mean(verb, verbs)} There are {', '.join(verbs)}.")
        try:
            return hydra.compose(verb, list(overrides))
        except COMPOSE_ERRORS as error:
            faults = find_override_faults(loader, verb, overrides)
            refusal = OverrideError(*([fault for _, fault in faults] or [one_line(error)]))
            wrong = {text for text, _ in faults}
            refusal.sound = tuple(text for text in overrides if text not in wrong) if wrong else ()
            raise refusal from error


def _last_change() -> int:
    """Give the time of the newest change in the conf folder, in nanoseconds."""
    folder = conf_dir()
    return max(path.stat().st_mtime_ns for path in (folder, *folder.rglob("*")))
