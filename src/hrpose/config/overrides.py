"""Explain overrides that do not fit the configuration of a verb: all of them at once, where Hydra stops at the first.

Nothing that a `_target_` names is imported: every override is compared with the composed configuration.
"""

import glob
import os
import re
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, ListConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from hrpose.config.advice import Tree, did_you_mean, replace_argument, replace_bare
from hrpose.errors import ConfigError
from hrpose.files import conf_dir
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
_PLAIN_TEXT = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")  # that Hydra reads without quotes
_OWN_CLASS = re.compile(r"(\w+)=\{.*\b_target_\b.*\}", re.DOTALL)
_OTHER_VALUES = ("null", "true", "false", "nan", "inf")
_LAUNCHERS = ("joblib", "submitit_local", "submitit_slurm")  # of the extra `sweep`
_MOST_LISTED = 20  # options beside one that was probably meant


def normalise_overrides(texts: Sequence[str]) -> list[str]:
    """Return overrides in the form that Hydra reads as they were meant, see `normalise_override`.

    A class of the user's own, `model={_target_: my_module.MyNet}`, replaces the option of its group. Hydra would merge the two.
    """
    normalised: list[str] = []
    for text in map(normalise_override, texts):
        own = _OWN_CLASS.fullmatch(text)
        if own and (conf_dir() / own[1]).is_dir():
            normalised += [f"~{own[1]}"] if f"~{own[1]}" not in texts else []
            text = f"+{text}"
        normalised.append(text)
    return normalised


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


def write_override(key: str, value: object) -> str:
    """Write a key and a value of Python as an override: `("data.val_boxes", ["gt"])` -> `data.val_boxes=['gt']`.

    Args:
        key: of the configuration, or a group with the name of an option as its value.
        value: a number, text, path, list, mapping, boolean or None.

    Raises:
        ConfigError: the value is of another type.
    """
    return f"{key}={_write_value(key, value)}"


def _write_value(key: str, value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str | Path):
        text = str(value)
        return text if _PLAIN_TEXT.fullmatch(text) and text.lower() not in _OTHER_VALUES else quote(text)
    if isinstance(value, Mapping):
        return (
            f"{{{','.join(f'{_write_value(key, name)}:{_write_value(key, entry)}' for name, entry in value.items())}}}"
        )
    if isinstance(value, Sequence):
        return f"[{','.join(_write_value(key, entry) for entry in value)}]"
    if (
        callable(item := getattr(value, "item", None)) and getattr(value, "ndim", None) == 0
    ):  # a number of numpy or torch
        return _write_value(key, item())
    raise ConfigError(
        f"{key}: expected a number, text, path, list, mapping, boolean or None, but got {value!r} ({type(value).__name__})."
    )


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
    path = Path(os.path.expanduser(value))  # noqa: PTH111 - which leaves the home of a user who does not exist as it is
    return bool(value) and "\0" not in value and (path.exists() or bool(glob.glob(str(path), recursive=True)))  # noqa: PTH207 - absolute ones too


def expand_sweep(overrides: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the overrides of every job of a sweep: `["a=1,2", "b=3"]` -> `[("a=1", "b=3"), ("a=2", "b=3")]`.

    Overrides with mistakes stay as they are. Ranges without a step are left out.
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


def sample_sweep(overrides: Sequence[str]) -> list[tuple[str, ...]]:
    """Return jobs in which each value that a sweeper can choose occurs once, and both ends of each range of numbers.

    One job has the first values; each other job differs from it in one override.
    """
    parser = OverridesParser.create()
    choices: list[list[str]] = []
    for text in overrides:
        if not is_swept(text):
            choices.append([text])
            continue
        override = parser.parse_override(text)
        sweep, key = override.value(), override.get_key_element()
        values = [sweep.start, sweep.end] if isinstance(sweep, IntervalSweep) else [*override.sweep_string_iterator()]
        choices.append([f"{key}={value}" for value in values])
    first = tuple(values[0] for values in choices if values)
    others = (
        (*first[:place], value, *first[place + 1 :]) for place, values in enumerate(choices) for value in values[1:]
    )
    return [first, *others]


def find_intervals(overrides: Sequence[str]) -> list[str]:
    """Return the overrides with ranges of numbers without a step, which not every sweeper can use."""
    parser = OverridesParser.create()
    return [text for text in overrides if is_swept(text) and parser.parse_override(text).is_interval_sweep()]


def is_swept(text: str) -> bool:
    """Check whether an override has several values, or a range."""
    try:
        return OverridesParser.create().parse_override(text).is_sweep_override()
    except HydraException:
        return False


def find_override_faults(loader: ConfigLoader, verb: str, overrides: Sequence[str]) -> list[tuple[str, str]]:
    """Find every override that does not fit the configuration of a verb.

    Args:
        loader: reads the conf folder.
        verb: the primary configuration.
        overrides: normalised.

    Returns:
        The override and what is wrong with it, for each fault; empty if no override can be blamed.
    """
    tree = Tree(
        loader, verb, [text for text in overrides if text.startswith(SEARCH_PATH) and not search_path_fault(text)]
    )
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
    tree.cfg = tree.load(right)
    faults += group_faults
    faults += [(text, fault) for text, fault in ((str(o.input_line), _value_fault(tree, o)) for o in values) if fault]
    return faults or _merge_faults(tree, right, values)


def replace_flag(loader: ConfigLoader, verb: str, name: str, value: str) -> str:
    """Return what to write for a flag that does not exist: other tools have `--key value` where this one has `key=value`."""
    tree = Tree(loader, verb)
    key = name.lstrip("-").replace("-", "_")
    advice = "" if tree.has(key) else replace_argument(tree, key, value) or did_you_mean(key, tree.keys()).strip()
    return advice or f"Values are given without dashes: {key}={value or '...'}."


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
    return "" if folders else f"{SEARCH_PATH}: expected a list. Add a folder of your own with --config-dir <folder>."


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
    close = "" if tree.has(texts[0]) else did_you_mean(texts[0], tree.keys()).strip()
    return f"{shown!r} is not of the form key=value. {replace_bare(tree, texts) or close or 'Write key=value.'}"


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
    is_own = override.is_add() and group not in tree.choices and not tree.options(group, own=False)
    if group not in tree.choices and not is_own and group.partition("/")[0] != "hydra":
        return [f"{group}: {tree.verb} has no such group. {replace_argument(tree, group, written) or tree.describe()}"]
    if override.package is not None:
        return [f"{group}: a group has one place in the configuration. Write {group}={written}."]
    if override.is_delete():
        chosen = tree.choices.get(group)
        return [f"{group}: it is {chosen}, not {value}. Write '~{group}'."] if value not in (None, "", chosen) else []
    if override.is_add() and not is_own:
        return [f"{group}: write {text.lstrip('+')} without '+'."]
    if isinstance(value, list) and not isinstance(tree.choices.get(group, []), list):
        return [f"{group}: expected one option, but got {written}."]
    options = value if isinstance(value, list) else [written]
    return [fault for option in options if (fault := _option_fault(tree, group, str(option).strip("'\"")))]


def _option_fault(tree: Tree, group: str, name: str) -> str | None:
    options = tree.options(group)
    if name in options:
        return None
    if gone := gone_message(f"{group}={name}"):
        return f"{group}: {gone}"
    if group == "hydra/launcher" and name in _LAUNCHERS:
        return f"{group}: the library of {name} is not installed here: pip install 'hrpose[sweep]'."
    if name == "null" and ("none" in options or not isinstance(tree.choices.get(group), str)):
        return f"{group}: null is no option. Write '{f'{group}=none' if 'none' in options else f'~{group}'}'."
    stem = name.removesuffix(".yaml").removesuffix(".yml")
    meant = did_you_mean(stem, options)
    if not meant and Path(name).suffix:  # a file, where an option is expected
        meant = f" {replace_argument(tree, group, name)}".rstrip()
    is_long = meant and len(options) > _MOST_LISTED
    there = f"{len(options)}: hrpose {tree.verb} --help lists them" if is_long else ", ".join(options)
    return f"{group}: there is no option '{name}'.{meant} There are {there}."


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


def _merge_faults(tree: Tree, right: Sequence[str], values: Sequence[Override]) -> list[tuple[str, str]]:
    """Find the overrides of keys that exist, whose values cannot be merged."""
    faults: list[tuple[str, str]] = []
    for override in values:
        text = str(override.input_line)
        try:
            tree.load([*right, text])
        except COMPOSE_ERRORS as error:
            reason = str(error.__cause__ or error).splitlines()[0]
            faults.append((text, f"{override.key_or_group}: {text} does not fit there. {reason}."))
    return faults


def _value_fault(tree: Tree, override: Override) -> str | None:
    """Return what is wrong with an override of a value, or None."""
    key, text = override.key_or_group, str(override.input_line)
    value = text.partition("=")[2]
    if override.package is not None:
        return f"{key}: there is no such group.{did_you_mean(key, tree.choices)}"
    found, owner, stands = tree.walk(key)
    if found and override.is_delete() and value and str(stands) != str(override.value()):
        return f"{key}: it is {stands!r}, not {value}. Write '~{key}'."
    if override.is_add() and found and stands is not None and not isinstance(stands, DictConfig | ListConfig):
        return f"{key}: it is there already. Write {text.lstrip('+')} without '+'."
    if isinstance(stands, ListConfig) and not found:
        return f"{key}: {owner} has {len(stands)} elements, counted from 0. Give all of them: {owner}=[...]."
    if found or override.is_add() or override.is_force_add():
        return None
    if advice := replace_argument(tree, key, value):
        return f"{key}: there is no such key. {advice}"
    if owner and stands is None:
        options = tree.options(owner.replace(".", "/"))
        advice = f" Switch it on with {owner.replace('.', '/')}={options[0]}." if options else ""
        return f"{key}: {owner} is null, so there is nothing below it.{advice}"
    if not isinstance(stands, DictConfig):
        return f"{key}: {owner} is {stands!r}, so there is nothing below it."
    siblings = [f"{owner}.{name!s}" for name in stands] if key.startswith("hydra.") else tree.keys()
    advice = did_you_mean(key.replace("/", "."), siblings)
    if not advice and (meant := replace_argument(tree, key.rpartition(".")[2], value)):
        advice = f" {meant}"
    if "." in key and not override.is_delete():
        target = f" as an argument of {stands['_target_']}" if "_target_" in stands else ""
        advice += f" To add it{target}, write +{text}." if target or not advice else ""
    return f"{key}: there is no such key.{advice or f' {tree.describe()}'}"
