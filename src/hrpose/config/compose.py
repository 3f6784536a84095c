"""Compose the configuration of a verb from the conf folder, and explain every wrong override."""

import copy
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec

from hydra.core.object_type import ObjectType
from hydra.errors import HydraException
from omegaconf import DictConfig, open_dict

from hrpose.config.advice import did_you_mean, replace_argument
from hrpose.config.loading import Tree, config_loader, last_change, load
from hrpose.config.overrides import (
    COMPOSE_ERRORS,
    SEARCH_PATH,
    expand_sweep,
    find_intervals,
    find_override_faults,
    is_swept,
    normalise_overrides,
    one_line,
    sample_sweep,
    search_path_fault,
)
from hrpose.errors import ConfigError, OverrideError
from hrpose.files import conf_dir

_SEARCH = "hydra_plugins.hrpose_optuna.OptunaSweeper"
_PARTS = ("codec", "size")  # groups that files of `model/` may select


def compose(verb: str, overrides: Sequence[str] = ()) -> DictConfig:
    """Return a new configuration of a verb, as on the command line, without changing the state of Hydra.

    It is not validated; see `validate`.

    Args:
        verb: name of a primary configuration in `conf_dir()`, such as "fit" or "test".
        overrides: as on the command line: `["experiment=tiny", "optim.lr=5e-4"]`; `+experiment=tiny` is the same.

    Raises:
        ConfigError: if overrides are wrong, with all of them and suggestions.
    """
    texts = tuple(normalise_overrides(overrides))
    return copy.deepcopy(_compose(verb, texts, last_change()))


def compose_sweep(verb: str, overrides: Sequence[str]) -> DictConfig:
    """Compose the overrides without swept values, with the node `hydra`, as Hydra's sweepers do."""
    with config_loader() as loader:
        return load(loader, verb, [text for text in overrides if not is_swept(text)])


def expand_jobs(verb: str, overrides: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the overrides of all jobs of a sweep; of a search, jobs with each value that can be chosen."""
    try:
        hydra = compose_sweep(verb, overrides).hydra
    except COMPOSE_ERRORS:
        return expand_sweep(overrides)  # an override is wrong, and the check of the jobs names it
    sweeper, launcher = hydra.sweeper, hydra.launcher
    given = {text.partition("=")[0] for text in overrides}
    params = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items() if key not in given]
    texts = [*params, *overrides]
    searches, faults = sweeper._target_ == _SEARCH, []
    if launcher._target_.endswith(".LocalLauncher"):
        faults = [
            f"hydra.launcher.{key}: submitit_local starts one process per job, but got {launcher[key]}. "
            "Lightning starts the further ones: trainer.devices=2 trainer.strategy=ddp."
            for key in ("tasks_per_node", "nodes")
            if launcher[key] != 1
        ]
    if not faults and searches:
        faults = _search_faults(sweeper, texts)
    elif not faults:
        keys = (text.partition("=")[0] for text in find_intervals(texts))
        faults = [f"{key}: only hydra/sweeper=optuna chooses from an interval." for key in keys]
    if faults:
        raise ConfigError(*faults)
    return sample_sweep(texts) if searches else expand_sweep(texts)


def _search_faults(sweeper: DictConfig, overrides: Sequence[str]) -> list[str]:
    """Return why Optuna cannot search."""
    faults = [
        f"hydra.sweeper.{name}: expected a number above 0, but got {sweeper[name]!r}."
        for name in ("num_trials", "num_parallel")
        if not isinstance(sweeper[name], int) or sweeper[name] < 1
    ]
    if find_spec("optuna") is None:
        faults.append("hydra/sweeper: optuna is not installed. Install it with: pip install 'hrpose[sweep]'.")
    if not any(map(is_swept, overrides)):
        faults.append("hydra.sweeper.params: expected a range to search, such as 'optim.lr=interval(1e-4, 1e-2)', found none.")
    return faults


def describe_choices(verb: str, overrides: Sequence[str]) -> list[str]:
    """Return sentences on implied choices of a job: codec and size that a network selects, and inputs wider than high."""
    lines = [
        f"codec.input_size=[{size[1]},{size[2]}] is (width, height), so crops are wider than high."
        for text in overrides
        if (size := re.fullmatch(r"codec\.input_size=\[(\d+), *(\d+)\]", text)) and int(size[1]) > int(size[2])
    ]
    chosen = [text for text in overrides if text.startswith("model=")]
    free = [part for part in _PARTS if not any(text.startswith(f"{part}=") for text in overrides)]
    if not chosen or not free or any(".input_size=" in text for text in overrides):
        return lines
    without = [text for text in overrides if text not in chosen and not text.startswith(("model.", "+model.", "++model."))]
    try:
        now, before = (find_choices(verb, texts) for texts in (overrides, without))
    except COMPOSE_ERRORS:
        return lines  # another override needs the codec or size of the network, so the user knows it
    changed = [part for part in free if now.get(part) != before.get(part)]
    if changed:
        selected, alone = (" ".join(f"{part}={names.get(part)}" for part in changed) for names in (now, before))
        lines.append(
            f"{chosen[-1]} selects {selected}; experiment={now.get('experiment')} alone has {alone}. "
            f"Override it with {' and '.join(f'{part}=...' for part in changed)}."
        )
    return lines


def find_choices(verb: str, overrides: Sequence[str]) -> Mapping[str, str | None]:
    """Compose, and return the option of each group."""
    texts = normalise_overrides(overrides)
    with config_loader() as loader:
        choices: Mapping[str, str | None] = load(loader, verb, texts).hydra.runtime.choices
    return choices


def unpublished(cfg: DictConfig, choices: Mapping[str, str | None]) -> list[str]:
    """Return a sentence on a combination of codec and size that the file of the size does not list in `published`.

    None if the input size differs from the group `size`. `choices` has the option of each group.
    """
    codec, size = choices.get("codec"), cfg.get("size")
    if not (codec and size) or cfg.codec.input_size != size.input_size or codec in size.get("published", (codec,)):
        return []
    return [f"codec={codec} size={choices.get('size')}: this combination is not published. Its settings are chosen by hrpose."]


def advise_flag(verb: str, flag: str, value: str) -> str:
    """Return the override to use instead of a flag `--key value` of another tool."""
    key = flag.lstrip("-").replace("-", "_")
    with config_loader() as loader:
        tree = Tree(loader, verb)
        advice = "" if tree.has(key) else replace_argument(tree, key, value) or did_you_mean(key, tree.keys()).strip()
    return advice or f"Write it without dashes: {key}={value or '...'}."


@lru_cache(maxsize=128)
def _compose(verb: str, overrides: tuple[str, ...], last_change: int) -> DictConfig:
    """Compose, cached for the same overrides and time of the last change of the files."""
    with config_loader() as loader:
        verbs = [name for name in loader.get_group_options("", ObjectType.CONFIG) if not name.startswith("_")]
        if verb not in verbs and not any(text.startswith(SEARCH_PATH) for text in overrides):
            raise ConfigError(f"there is no verb '{verb}'.{did_you_mean(verb, verbs)} There are {', '.join(verbs)}.")
        try:
            if any(map(_is_suspect, overrides)) and find_override_faults(loader, verb, overrides):
                raise HydraException
            cfg = load(loader, verb, overrides)
        except COMPOSE_ERRORS as error:
            try:
                faults = find_override_faults(loader, verb, overrides)
            except COMPOSE_ERRORS:  # the configuration files are inconsistent
                faults = []
            refusal = OverrideError(*(dict.fromkeys(fault for _, fault in faults) or [one_line(error)]))
            wrong = {text for text, _ in faults}
            refusal.sound = tuple(text for text in overrides if text not in wrong) if wrong else ()
            raise refusal from error
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg


def _is_suspect(text: str) -> bool:
    """Check whether Hydra would accept an override, or only warn, that may be wrong: added groups, lists and folders."""
    key, _, value = text.partition("=")
    is_group = (conf_dir() / key.lstrip("+")).is_dir()
    return (key == SEARCH_PATH and bool(search_path_fault(text))) or (is_group and (key.startswith("+") or value.startswith("[")))
