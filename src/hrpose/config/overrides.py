"""Explain overrides that do not fit the configuration of a verb: all of them at once, where Hydra stops at the first.

Nothing that a `_target_` names is imported: every override is compared with the composed configuration.
"""

import glob
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from hrpose.config.advice import did_you_mean, replace_argument, replace_bare
from hrpose.moved import gone_message

# What composing raises for overrides and files that do not fit. Hydra raises a plain ValueError for `model=1`.
COMPOSE_ERRORS = (HydraException, OmegaConfBaseException, YAMLError, ValueError)
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


def normalise_override(text: str) -> str:
    """Return an override in the form that Hydra reads as it was meant.

    `+experiment=x` is `experiment=x`, because the experiment is in the defaults list. A path may have any characters: what
    Hydra's grammar would refuse, or take for something else although there is a file of this name, is put in quotes. A list of
    several values stays one, to be swept.
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
    """Check whether Hydra reads a path as it stands, or as its user knows, who has quoted it or gives several to be swept."""
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
    """Return the overrides of every job of a sweep: `["a=1,2", "b=3"]` -> `[("a=1", "b=3"), ("a=2", "b=3")]`.

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


class Tree:
    """The groups and keys of one verb, with the folders that `hydra.searchpath` adds to the conf folder.

    Args:
        loader: reads the conf folder.
        verb: the primary configuration.
        overrides: normalised; those of `hydra.searchpath` that can be used are taken.
    """

    def __init__(self, loader: ConfigLoader, verb: str, overrides: Sequence[str]) -> None:
        self.loader = loader
        self.verb = verb
        self.added = [text for text in overrides if text.startswith(SEARCH_PATH) and not search_path_fault(text)]

    @cached_property
    def choices(self) -> dict[str, str | list[str] | None]:
        """The groups of the verb, each with the option that is chosen without overrides; a list where several can be."""
        found: dict[str, str | list[str] | None] = {
            str(group): option for group, option in self.load([]).hydra.runtime.choices.items()
        }
        listed = self.loader.compute_defaults_list(self.verb, self.added, RunMode.RUN).defaults
        for path in (Path(default.config_path) for default in listed if default.config_path):
            if (
                len(path.parts) > 1 and path.parent.as_posix() not in found
            ):  # of a list of options, which Hydra leaves out
                found[path.parent.as_posix()] = [path.name]
        return {group: option for group, option in sorted(found.items()) if not group.startswith("hydra")}

    def options(self, group: str) -> list[str]:
        """Return the options of a group, in every verb; none if there is no such group."""
        if not group or group.startswith("."):
            return []
        if not self.added:
            return self.loader.get_group_options(group, ObjectType.CONFIG)
        return self.loader.get_group_options(group, ObjectType.CONFIG, self.verb, self.added)

    def load(self, overrides: Sequence[str]) -> DictConfig:
        """Compose, Hydra's own node included."""
        return self.loader.load_configuration(self.verb, [*self.added, *overrides], RunMode.RUN, from_shell=False)

    def describe(self) -> str:
        """Return what can be given: the groups of which an option can be chosen, and the keys."""
        choosable = [group for group in self.choices if len(self.options(group)) > 1]
        groups = f"the groups {', '.join(choosable)}; " if choosable else ""
        keys = [str(key) for key in self.load([]) if key not in ("hydra", "task", *self.choices)]
        return f"{self.verb} has {groups}the keys {', '.join(keys)}."


def find_override_faults(loader: ConfigLoader, verb: str, overrides: Sequence[str]) -> list[tuple[str, str]]:
    """Find every override that does not fit the configuration of a verb.

    Args:
        loader: reads the conf folder.
        verb: the primary configuration.
        overrides: normalised.

    Returns:
        The override and what is wrong with it, for each fault; empty if no override can be blamed.
    """
    tree = Tree(loader, verb, overrides)
    faults: list[tuple[str, str]] = []
    groups: list[Override] = []
    values: list[Override] = []
    bare = [text for text in overrides if "=" not in text and not text.startswith("~")]
    if bare:
        faults.append((bare[0], _bare_fault(tree, bare)))
        faults += [(text, faults[0][1]) for text in bare[1:]]
    for text in overrides:
        if text in bare or text in tree.added:
            continue
        if text.startswith(SEARCH_PATH):
            faults.append((text, search_path_fault(text)))
            continue
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException:
            faults.append((text, _grammar_fault(text)))
            continue
        if not override.key_or_group:
            faults.append((text, f"{text!r} has no key. Write key=value."))
        elif override.is_sweep_override():
            faults.append((text, _several_values(override)))
        elif not isinstance(override.value(), dict) and (tree.options(override.key_or_group)):
            groups.append(override)
        elif gone := gone_message(text):
            faults.append((text, f"{override.key_or_group}: {gone}"))
        else:
            values.append(override)
    right, group_faults = _choose_groups(tree, groups)
    faults += group_faults
    try:
        return faults + (_value_faults(tree, tree.load(right), right, values) if values else [])
    except COMPOSE_ERRORS:
        return faults  # the files themselves do not fit together: there is nothing to compare keys with


def replace_flag(loader: ConfigLoader, verb: str, name: str, value: str) -> str:
    """Return what to write for a flag that does not exist: other tools have `--key value` where this one has `key=value`."""
    tree = Tree(loader, verb, [])
    cfg, key = tree.load([]), name.lstrip("-").replace("-", "_")
    if not (key in tree.choices or _walk(cfg, key)[0]):
        if advice := _other_tool(tree, cfg, key, value):
            return advice
        if close := did_you_mean(key, [known for known in _keys(tree, cfg) if not known.startswith("hydra")]):
            return close.strip()
    return f"Values are given without dashes: {key}={value or '...'}."


def one_line(error: BaseException) -> str:
    """Return an error's text, and that of its cause, in one line."""
    texts = dict.fromkeys((str(error), str(error.__cause__ or "")))
    return " ".join(line.strip() for text in texts for line in text.splitlines() if line.strip())


SEARCH_PATH = "hydra.searchpath"


def search_path_fault(text: str) -> str:
    """Check the folders that `hydra.searchpath` adds; return an empty text if they can be used."""
    folders = re.fullmatch(r"\[(.*)\]", text.partition("=")[2].strip())
    for folder in folders[1].split(",") if folders else ():
        scheme, _, path = folder.strip(" '\"").partition("://")
        if scheme != "pkg" and not (scheme == "file" and Path(path).is_dir()):
            return f"{SEARCH_PATH}: there is no folder {folder}. Add a folder of your own with --config-dir <folder>."
    return (
        ""
        if folders
        else f"{SEARCH_PATH}: expected a list of folders. Add a folder of your own with --config-dir <folder>."
    )


def _grammar_fault(text: str) -> str:
    key, _, value = text.partition("=")
    key, value = key.strip(), value.strip()
    if not re.fullmatch(r"[+~]*[\w@/-]+([.][\w-]+)*", key):
        advice = f" {key!r} is no key: write names joined by dots."
    elif text != f"{key}={value}" and "'" not in value and _parses(f"{key}={value}"):
        advice = f" Write it without spaces: {key}={value}."
    elif '"' not in value and _parses(f'{key}="{value}"'):
        advice = f" Put the value in quotes, and these in quotes of the shell: '{key}=\"{value}\"'."
    else:
        advice = " Put values with spaces, commas or brackets in quotes inside quotes: 'name=\"a, b\"'."
    return f"{text!r} is not of the form key=value.{advice}"


def _parses(text: str) -> bool:
    try:
        OverridesParser.create().parse_override(text)
    except HydraException:
        return False
    return True


def _bare_fault(tree: Tree, texts: Sequence[str]) -> str:
    """Explain arguments without an '=': a file, or an option without its group."""
    shown = " ".join(texts)
    meant = [f"{group}={texts[0]}" for group in sorted(tree.choices, key=lambda group: group != "experiment")]
    meant = [text for text in meant if texts[0] in tree.options(text.partition("=")[0])]
    if meant and len(texts) == 1:
        return f"{shown!r} is not of the form key=value. Did you mean {', or '.join(meant[:3])}?"
    cfg = tree.load([])
    keys = _keys(tree, cfg)
    close = did_you_mean(texts[0], keys).strip() if texts[0] not in keys else ""
    advice = replace_bare(tree.verb, texts, lambda key: _is_known(tree, cfg, key)) or close or "Write key=value."
    return f"{shown!r} is not of the form key=value. {advice}"


def _several_values(override: Override) -> str:
    key, _, values = str(override.input_line).lstrip("+").partition("=")
    return (
        f"{key}: got several values ({values}) for one run. Add -m to run them all as a sweep, "
        f"write '{key}=[{values}]' for a list, or quote a text that has commas."
    )


def _choose_groups(tree: Tree, groups: Sequence[Override]) -> tuple[list[str], list[tuple[str, str]]]:
    """Part the group choices that can be composed from the faults of the others."""
    faults: list[tuple[str, str]] = []
    right: list[str] = []
    for override in groups:
        text = str(override.input_line)
        wrong = _group_faults(tree, override)
        if not wrong:
            try:
                tree.load([*right, text])
                right.append(text)
            except COMPOSE_ERRORS as error:
                wrong = [f"{override.key_or_group}: {_file_fault(tree, text, error)}"]
        faults += [(text, fault) for fault in wrong]
    return right, faults


def _group_faults(tree: Tree, override: Override) -> list[str]:
    group, value, text = override.key_or_group, override.value(), str(override.input_line)
    written = text.partition("=")[2]
    is_own = override.is_add() and group not in tree.choices and not _is_ours(tree, group)
    if group not in tree.choices and not is_own and group.partition("/")[0] != "hydra":
        if advice := _other_tool(tree, tree.load([]), group, written):
            return [f"{group}: {tree.verb} has no such group. {advice}"]
        return [f"{group}: {tree.verb} has no such group. {tree.describe()}"]
    if override.package is not None:
        return [f"{group}: a group has one place in the configuration. Write {group}={written}."]
    if override.is_delete():
        chosen = tree.choices.get(group)
        return [f"{group}: it is {chosen}, not {value}. Write ~{group}."] if value not in (None, "", chosen) else []
    if override.is_add() and not is_own:
        return [f"{group}: write {text.lstrip('+')} without '+'."]
    if isinstance(value, list) and not isinstance(tree.choices.get(group, []), list):
        return [f"{group}: expected one option, but got {written}."]
    return [
        fault
        for option in (value if isinstance(value, list) else [written])
        for fault in _option_faults(tree, group, option)
    ]


def _option_faults(tree: Tree, group: str, option: object) -> Iterator[str]:
    name = str(option).strip("'\"")
    options = tree.options(group)
    if name in options:
        return
    if gone := gone_message(f"{group}={name}"):
        yield f"{group}: {gone}"
    elif name == "null" and ("none" in options or not isinstance(tree.choices.get(group), str)):
        yield f"{group}: null is no option. Write {f'{group}=none' if 'none' in options else f'~{group}'}."
    else:
        stem = name.removesuffix(".yaml").removesuffix(".yml")
        meant = f" Did you mean {group}={stem}?" if stem in options else did_you_mean(stem, options)
        if not meant and Path(name).suffix:  # a file, where an option is expected
            meant = f" {_other_tool(tree, tree.load([]), group, name)}".rstrip()
        is_long = meant and len(options) > _MOST_LISTED
        there = f"{len(options)}: hrpose {tree.verb} --help lists them" if is_long else ", ".join(options)
        yield f"{group}: there is no option '{name}'.{meant} There are {there}."


def _is_ours(tree: Tree, group: str) -> bool:
    return bool(tree.loader.get_group_options(group, ObjectType.CONFIG))


def _file_fault(tree: Tree, text: str, error: Exception) -> str:
    """Explain why the file of an option cannot be composed."""
    sentence = one_line(error)
    missing = getattr(error, "missing_cfg_file", None) if isinstance(error, MissingConfigException) else None
    if missing:
        group, _, option = str(missing).rpartition("/")
        there = f"there is no such file.{did_you_mean(option, tree.options(group))}"
        return f"the file of {text} names {missing}: {gone_message(f'{group}={option}') or there}"
    if unmatched := re.search(r"Could not override '([^']+)'", sentence):
        group = unmatched[1]
        return (
            f"the file of {text} overrides {group}, which {tree.verb} does not have.{did_you_mean(group, tree.choices)}"
        )
    return f"the file of {text} cannot be composed: {sentence}"


def _value_faults(
    tree: Tree, cfg: DictConfig, right: Sequence[str], values: Sequence[Override]
) -> list[tuple[str, str]]:
    all_keys = _keys(tree, cfg)
    own_keys = [key for key in all_keys if not key.startswith("hydra")]
    faults: list[tuple[str, str]] = []
    for override in values:
        text = str(override.input_line)
        if fault := _value_fault(tree, cfg, override, all_keys if text.startswith("hydra") else own_keys):
            faults.append((text, fault))
            continue
        try:
            tree.load([*right, text])
        except COMPOSE_ERRORS as error:
            reason = str(error.__cause__ or error).splitlines()[0]
            faults.append((text, f"{override.key_or_group}: {text} does not fit there. {reason}."))
    return faults


def _value_fault(tree: Tree, cfg: DictConfig, override: Override, keys: Sequence[str]) -> str | None:
    """Return what is wrong with an override of a value, or None."""
    key, text = override.key_or_group, str(override.input_line)
    value = text.partition("=")[2]
    if override.package is not None:
        return f"{key}: there is no such group.{did_you_mean(key, tree.choices)}"
    found, owner, stands = _walk(cfg, key)
    if found and override.is_delete() and value and str(stands) != str(override.value()):
        return f"{key}: it is {stands!r}, not {value}. Write ~{key}."
    if override.is_add() and found and stands is not None and not isinstance(stands, DictConfig | ListConfig):
        return f"{key}: it is there already. Write {text.lstrip('+')} without '+'."
    if isinstance(stands, ListConfig) and not found:
        return f"{key}: {owner} has {len(stands)} elements, counted from 0. Give all of them: {owner}=[...]."
    if found or override.is_add() or override.is_force_add():
        return None
    if advice := _other_tool(tree, cfg, key, value):
        return f"{key}: there is no such key. {advice}"
    if owner and stands is None:
        options = tree.options(owner.replace(".", "/"))
        advice = f" Switch it on with {owner.replace('.', '/')}={options[0]}." if options else ""
        return f"{key}: {owner} is null, so there is nothing below it.{advice}"
    if not isinstance(stands, DictConfig):
        return f"{key}: {owner} is {stands!r}, so there is nothing below it."
    advice = did_you_mean(key.replace("/", "."), keys)
    if not advice and (meant := _other_tool(tree, cfg, key.rpartition(".")[2], value)):
        advice = f" {meant}"
    if "." in key and not override.is_delete():
        target = f" as an argument of {stands['_target_']}" if "_target_" in stands else ""
        advice += f" To add it{target}, write +{text}." if target or not advice else ""
    return f"{key}: there is no such key.{advice or f' {tree.describe()}'}"


def _keys(tree: Tree, cfg: DictConfig) -> list[str]:
    return [*_leaves(cfg), *tree.choices]


def _other_tool(tree: Tree, cfg: DictConfig, key: str, value: str) -> str:
    return replace_argument(tree.verb, key, value, lambda known: _is_known(tree, cfg, known))


def _is_known(tree: Tree, cfg: DictConfig, key: str) -> bool:
    """Check whether a verb has a group or a key; below null, and after a `+`, only what is above has to be there."""
    bare = key.removeprefix("+")
    found, owner, stands = _walk(cfg, bare)
    return (
        bare in tree.choices
        or found
        or bool(owner and (stands is None or (key != bare and owner == bare.rpartition(".")[0])))
    )


def _walk(cfg: DictConfig, key: str) -> tuple[bool, str, object]:
    """Follow a dotted key: whether it is there; how far it goes; what stands there."""
    here: object = cfg
    passed: list[str] = []
    for part in key.split("."):
        if isinstance(here, DictConfig) and part in here.keys():  # noqa: SIM118 (`in` a DictConfig is False for ???)
            here = _value(here, part)
        elif isinstance(here, ListConfig) and part.isdigit() and int(part) < len(here):
            here = _value(here, int(part))
        else:
            return False, ".".join(passed), here
        passed.append(part)
    return True, key, here


def _value(node: DictConfig | ListConfig, key: Any) -> Any:
    if OmegaConf.is_missing(node, key):
        return "???"
    try:
        return node[key]
    except OmegaConfBaseException:
        return "${...}"


def _leaves(node: DictConfig | ListConfig, prefix: str = "") -> Iterator[str]:
    """Give all dotted keys, those of branches too."""
    names: Iterable[Any] = node.keys() if isinstance(node, DictConfig) else range(len(node))
    for name in names:
        value = _value(node, name)
        yield f"{prefix}{name}"
        if isinstance(value, DictConfig | ListConfig):
            yield from _leaves(value, f"{prefix}{name}.")
