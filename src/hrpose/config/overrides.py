"""Explain what is wrong with `key=value` words: all of them at once, where Hydra stops at the first."""

import glob
import re
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
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
from hrpose.config.signatures import UnknownTargetError, find_signature
from hrpose.moved import gone_message

# Keys whose values are paths; those of the group `paths` are too.
_PATHS = (
    "source",
    "weights",
    "ckpt_path",
    "annotations",
    "results",
    "boxes",
    "a",
    "b",
    "detector.file",
    "detector.model",
)
_MOST_LISTED = 20  # options beside one that was probably meant
COMPOSE_ERRORS = (HydraException, OmegaConfBaseException)


def normalise_override(text: str) -> str:
    """Bring a word to the form that Hydra reads as it was meant.

    `+experiment=x` is `experiment=x`: the experiment is in the defaults list, so both are meant alike. Values that are paths may
    have any characters: what Hydra's grammar would refuse, or take for something else although there is a file of this name, is
    put in quotes. A list of several values stays one, to be swept.
    """
    bare = text.lstrip("+")
    if bare.startswith("experiment="):
        return bare
    key, equals, value = text.partition("=")
    if equals and (key.lstrip("+") in _PATHS or key.startswith("paths.")) and not _is_read_as_meant(value):
        return f"{key}={quote(value)}"
    return text


def quote(text: str) -> str:
    """Put a text in quotes, so that Hydra takes it for nothing else: backslashes count before a quote and at the end only."""
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text.replace("${", r"\${"))
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    return f"'{escaped}{trailing * chr(92)}'"


def _is_read_as_meant(value: str) -> bool:
    """Tell whether Hydra reads a path as it stands, or as its user knows, who has quoted it or gives several to be swept."""
    try:
        override = OverridesParser.create().parse_override(f"path={value}")
    except HydraException:
        return False
    if not override.is_sweep_override() and override.value() == value:
        return "${" not in value or not _names_a_file(value)
    return not _names_a_file(value) or value.isdecimal()


def _names_a_file(value: str) -> bool:
    path = Path(value).expanduser()
    return bool(value) and (path.exists() or bool(glob.glob(str(path), recursive=True)))  # noqa: PTH207 - absolute ones too


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


class Shelf:
    """The conf folder as one verb sees it, with the folders that `hydra.searchpath` adds."""

    def __init__(self, loader: ConfigLoader, verb: str, overrides: Sequence[str]) -> None:
        self.loader = loader
        self.verb = verb
        self.added = [text for text in overrides if text.startswith("hydra.searchpath=")]

    def options(self, group: str) -> list[str]:
        """List the options of a group; none if there is no such group."""
        return self._list(group, ObjectType.CONFIG)

    def groups(self, parent: str = "") -> list[str]:
        """List all groups of options, nested ones too."""
        found: list[str] = []
        for name in self._list(parent, ObjectType.GROUP):
            group = f"{parent}/{name}" if parent else name
            found += [group, *self.groups(group)]
        return found

    def _list(self, group: str, kind: ObjectType) -> list[str]:
        if not self.added:
            return self.loader.get_group_options(group, kind)
        return self.loader.get_group_options(group, kind, self.verb, self.added)  # reads the primary file each time

    def load(self, overrides: Sequence[str]) -> DictConfig:
        """Compose, Hydra's own node included."""
        return self.loader.load_configuration(self.verb, [*self.added, *overrides], RunMode.RUN, from_shell=False)


def find_override_faults(loader: ConfigLoader, verb: str, overrides: Sequence[str]) -> list[tuple[str, str]]:
    """Find every override that does not fit the configuration of a verb.

    Args:
        loader: reads the conf folder.
        verb: the primary configuration.
        overrides: normalised words.

    Returns:
        The word and what is wrong with it, for each fault; empty if no word can be blamed.
    """
    shelf = Shelf(loader, verb, overrides)
    faults: list[tuple[str, str]] = []
    groups: list[Override] = []
    values: list[Override] = []
    for text in overrides:
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException:
            faults.append((text, f"{text!r} is not of the form key=value.{_grammar_advice(shelf, text)}"))
            continue
        if override.is_sweep_override():
            faults.append((text, _several_values(override)))
        elif not shelf.options(override.key_or_group) and (gone := gone_message(text)):
            faults.append((text, f"{override.key_or_group}: {gone}"))
        elif not isinstance(override.value(), dict) and shelf.options(override.key_or_group):
            groups.append(override)
        else:
            values.append(override)
    right, group_faults = _choose_groups(shelf, groups)
    faults += group_faults
    try:
        return faults + (_value_faults(shelf, shelf.load(right), values) if values else [])
    except COMPOSE_ERRORS:
        return faults  # the files themselves do not fit together: there is nothing to compare keys with


def one_line(error: BaseException) -> str:
    """Give an error's text, and that of its cause, in one line."""
    texts = dict.fromkeys((str(error), str(error.__cause__ or "")))
    return " ".join(line.strip() for text in texts for line in text.splitlines() if line.strip())


def _grammar_advice(shelf: Shelf, text: str) -> str:
    if "=" in text:
        return " Put values with spaces, commas or brackets in quotes inside quotes: 'name=\"a, b\"'."
    groups = sorted(shelf.groups(), key=lambda group: group != "experiment")
    meant = [f"{group}={text}" for group in groups if text in shelf.options(group)]
    return f" Did you mean {', or '.join(meant[:3])}?" if meant else " Every word after the flags has an '='."


def _several_values(override: Override) -> str:
    key, _, values = str(override.input_line).lstrip("+").partition("=")
    return (
        f"{key}: got several values ({values}) for one run. Add -m to run them all as a sweep, "
        f"write '{key}=[{values}]' for a list, or quote a text that has commas."
    )


def _choose_groups(shelf: Shelf, groups: Sequence[Override]) -> tuple[list[str], list[tuple[str, str]]]:
    """Part the group choices that can be composed from the faults of the others."""
    faults: list[tuple[str, str]] = []
    right: list[str] = []
    for override in groups:
        text = str(override.input_line)
        wrong = _wrong_options(shelf, override)
        try:
            if not wrong:
                shelf.load([*right, text])
                right.append(text)
        except COMPOSE_ERRORS as error:
            advice = f"write {text[1:]} without '+'." if override.is_add() else one_line(error)
            wrong = [f"{override.key_or_group}: {advice}"]
        faults += [(text, fault) for fault in wrong]
    return right, faults


def _wrong_options(shelf: Shelf, override: Override) -> list[str]:
    group, value = override.key_or_group, override.value()
    chosen = value if isinstance(value, list) else [value]
    options = shelf.options(group)
    faults = []
    for option in chosen:
        if option is not None and str(option) not in options:
            if gone := gone_message(f"{group}={option}"):
                faults.append(f"{group}: {gone}")
                continue
            meant = did_you_mean(str(option), options)
            is_long = meant and len(options) > _MOST_LISTED
            there = f"{len(options)}: hrpose {shelf.verb} --help lists them" if is_long else ", ".join(options)
            faults.append(f"{group}: there is no option '{option}'.{meant} There are {there}.")
    return faults


def _value_faults(shelf: Shelf, cfg: DictConfig, values: Sequence[Override]) -> list[tuple[str, str]]:
    keys = [*_leaves(cfg), *shelf.groups()]
    of_ours = [key for key in keys if not key.startswith("hydra")]
    faults: list[tuple[str, str]] = []
    for override in values:
        known = keys if override.key_or_group.startswith("hydra") else of_ours
        if fault := _value_fault(shelf, cfg, override, known):
            faults.append((str(override.input_line), fault))
    return faults


def _value_fault(shelf: Shelf, cfg: DictConfig, override: Override, keys: Sequence[str]) -> str | None:
    """Say what is wrong with an override of a value, or None."""
    key = override.key_or_group
    if override.package is not None:
        return f"{key}: there is no such group.{did_you_mean(key, shelf.groups())}"
    found, owner, stands = _walk(cfg, key)
    is_branch = isinstance(stands, DictConfig | ListConfig)
    if override.is_add() and found and stands is not None and not is_branch:
        return f"{key}: it is there already. Write {str(override.input_line).lstrip('+')} without '+'."
    if found or override.is_add() or override.is_force_add():
        return None
    if owner and stands is None:
        group = owner.replace(".", "/")
        options = shelf.options(group)
        advice = f" Switch it on with {group}={options[0]}." if options else ""
        return f"{key}: {owner} is null, so there is nothing below it.{advice}"
    if not is_branch:
        return f"{key}: {owner} is {stands!r}, so there is nothing below it."
    if isinstance(stands, DictConfig) and (taken := _argument_advice(stands, key, str(override.input_line))):
        return f"{key}: {taken}"
    advice = did_you_mean(key, keys)
    if not advice and not override.is_delete():
        advice = f" To add it, write +{override.input_line}."
    return f"{key}: there is no such key.{advice}"


def _argument_advice(node: DictConfig, key: str, text: str) -> str:
    """Tell of an argument that a node's target takes although the configuration does not mention it."""
    target, name = node.get("_target_"), key.rpartition(".")[2]
    if not isinstance(target, str):
        return ""
    try:
        arguments = [argument for argument in find_signature(target).parameters if argument not in node]
    except UnknownTargetError:
        return ""
    if name in arguments:
        return f"the configuration does not mention it, but {target} takes it: write +{text}."
    close = did_you_mean(name, arguments, prefix=f"+{key.rpartition('.')[0]}.", cutoff=0.85)
    return f"there is no such key.{close}" if close else ""


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
    """List all dotted keys, those of branches too."""
    names: list[Any] = list(node.keys()) if isinstance(node, DictConfig) else list(range(len(node)))
    for name in names:
        value = _value(node, name)
        yield f"{prefix}{name}"
        if isinstance(value, DictConfig | ListConfig):
            yield from _leaves(value, f"{prefix}{name}.")
