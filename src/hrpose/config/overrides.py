"""Explain what is wrong with `key=value` words: all of them at once, where Hydra stops at the first."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hrpose.config.errors import did_you_mean

COMPOSE_ERRORS = (HydraException, OmegaConfBaseException)


def normalise_override(text: str) -> str:
    """Take `+experiment=x` for `experiment=x`: the experiment is in the defaults list, so both are meant alike."""
    bare = text.lstrip("+")
    return bare if bare.startswith("experiment=") else text


def expand_sweep(overrides: Sequence[str]) -> list[tuple[str, ...]]:
    """Give the overrides of every job of a sweep: `["a=1,2", "b=3"]` -> `[("a=1", "b=3"), ("a=2", "b=3")]`.

    Overrides with mistakes, and ranges that only a sweeper plugin can draw from, stay as they are and are left out, respectively.
    """
    parser = OverridesParser.create()
    choices: list[list[str]] = []
    for text in overrides:
        try:
            override = parser.parse_override(text)
        except HydraException:
            choices.append([text])
            continue
        if not override.is_sweep_override():
            choices.append([text])
        elif override.is_discrete_sweep():
            choices.append([f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()])
    return list(product(*choices))


def find_override_faults(loader: ConfigLoader, verb: str, overrides: Sequence[str]) -> list[str]:
    """Find every override that does not fit the configuration of a verb.

    Args:
        loader: reads the conf folder.
        verb: the primary configuration.
        overrides: normalised words.

    Returns:
        One text for each fault, opening with the override's key; empty if none can be blamed.
    """
    faults: list[str] = []
    groups: list[Override] = []
    values: list[Override] = []
    for text in overrides:
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException:
            faults.append(f"{text!r} is not of the form key=value. {_quoting_advice(text)}")
            continue
        if override.is_sweep_override():
            faults.append(_several_values(override))
        else:
            (groups if _is_group(loader, override) else values).append(override)
    cfg, group_faults = _choose_groups(loader, verb, groups)
    faults += group_faults
    if cfg is not None:
        keys = [*_leaves(cfg), *_groups(loader)]
        faults += [fault for override in values if (fault := _value_fault(loader, cfg, override, keys))]
    return faults


def one_line(error: BaseException) -> str:
    """Give an error's text, and that of its cause, in one line."""
    texts = dict.fromkeys((str(error), str(error.__cause__ or "")))
    return " ".join(line.strip() for text in texts for line in text.splitlines() if line.strip())


def _quoting_advice(text: str) -> str:
    if "=" not in text:
        return "Every word after the flags has an '='."
    return "Put values with spaces, commas or brackets in quotes inside quotes: 'name=\"a, b\"'."


def _several_values(override: Override) -> str:
    key, _, values = str(override.input_line).lstrip("+").partition("=")
    return (
        f"{key}: got several values ({values}) for one run. Add -m to run them all as a sweep, "
        f"write '{key}=[{values}]' for a list, or quote a text that has commas."
    )


def _is_group(loader: ConfigLoader, override: Override) -> bool:
    return not isinstance(override.value(), dict) and bool(_options(loader, override.key_or_group))


def _options(loader: ConfigLoader, group: str) -> list[str]:
    return loader.get_group_options(group, ObjectType.CONFIG)


def _choose_groups(loader: ConfigLoader, verb: str, groups: Sequence[Override]) -> tuple[DictConfig | None, list[str]]:
    """Compose with the group choices that are right, and name those that are not."""
    faults: list[str] = []
    right: list[str] = []
    for override in groups:
        wrong = _wrong_options(loader, override)
        assert override.input_line is not None
        try:
            if not wrong:
                _load(loader, verb, [*right, override.input_line])
                right.append(override.input_line)
        except COMPOSE_ERRORS as error:
            advice = f"Write {override.input_line[1:]} without '+'." if override.is_add() else one_line(error)
            wrong = [f"{override.key_or_group}: {advice}"]
        faults += wrong
    try:
        return _load(loader, verb, right), faults
    except COMPOSE_ERRORS:
        return None, faults


def _load(loader: ConfigLoader, verb: str, overrides: list[str]) -> DictConfig:
    return loader.load_configuration(verb, overrides, RunMode.RUN, from_shell=False)


def _wrong_options(loader: ConfigLoader, override: Override) -> list[str]:
    group, value = override.key_or_group, override.value()
    chosen = value if isinstance(value, list) else [value]
    options = _options(loader, group)
    return [
        f"{group}: there is no option '{option}'.{did_you_mean(str(option), options)} There are {', '.join(options)}."
        for option in chosen
        if option is not None and str(option) not in options
    ]


def _value_fault(loader: ConfigLoader, cfg: DictConfig, override: Override, keys: Sequence[str]) -> str | None:
    """Say what is wrong with an override of a value, or None."""
    key = override.key_or_group
    if override.package is not None:
        return f"{key}: there is no such group.{did_you_mean(key, _groups(loader))}"
    found, owner, stands = _walk(cfg, key)
    if override.is_add() or override.is_force_add():
        if found and override.is_add() and not isinstance(stands, DictConfig | ListConfig) and stands is not None:
            return f"{key}: it is there already. Write {override.input_line.lstrip('+')} without '+'."  # type: ignore[union-attr]
        return None if found or stands is None or isinstance(stands, DictConfig) else _nothing_below(key, owner, stands)
    if found:
        return None
    if owner and stands is None:
        group = owner.replace(".", "/")
        options = _options(loader, group)
        advice = f" Switch it on with {group}={options[0]}." if options else ""
        return f"{key}: {owner} is null, so there is nothing below it.{advice}"
    if not isinstance(stands, DictConfig | ListConfig):
        return _nothing_below(key, owner, stands)
    advice = did_you_mean(key, keys)
    if not advice and not override.is_delete():
        advice = f" To add it, write +{override.input_line}."
    return f"{key}: there is no such key.{advice}"


def _nothing_below(key: str, owner: str, stands: object) -> str:
    return f"{key}: {owner} is {stands!r}, so there is nothing below it."


def _walk(cfg: DictConfig, key: str) -> tuple[bool, str, object]:
    """Follow a dotted key: whether it is there; how far it goes; what stands there."""
    here: object = cfg
    gone: list[str] = []
    for part in key.split("."):
        if isinstance(here, DictConfig) and part in here.keys():  # noqa: SIM118 (`in` a DictConfig is False for ???)
            here = _value(here, part)
        elif isinstance(here, ListConfig) and part.isdigit() and int(part) < len(here):
            here = _value(here, int(part))
        else:
            return False, ".".join(gone), here
        gone.append(part)
    return True, key, here


def _value(node: DictConfig | ListConfig, key: Any) -> Any:
    if OmegaConf.is_missing(node, key):
        return "???"
    try:
        return node[key]
    except OmegaConfBaseException:
        return "${...}"


def _leaves(node: DictConfig | ListConfig, prefix: str = "") -> Iterator[str]:
    """List all dotted keys, those of branches too; Hydra's own come last."""
    names: list[Any] = list(node.keys()) if isinstance(node, DictConfig) else list(range(len(node)))
    for name in sorted(names, key=lambda name: name == "hydra"):
        value = _value(node, name)
        yield f"{prefix}{name}"
        if isinstance(value, DictConfig | ListConfig):
            yield from _leaves(value, f"{prefix}{name}.")


def _groups(loader: ConfigLoader, parent: str = "") -> list[str]:
    """List all groups of options, nested ones too."""
    found: list[str] = []
    for name in loader.list_groups(parent):
        group = f"{parent}/{name}" if parent else name
        found += [group, *_groups(loader, group)]
    return found
