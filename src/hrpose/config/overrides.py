"""Explain all wrong overrides at once, while Hydra stops at the first one.

Overrides are compared with the composed configuration without importing any `_target_`.
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

# errors of composing; Hydra raises ValueError for `model=1`
COMPOSE_ERRORS = (HydraException, OmegaConfBaseException, YAMLError, ValueError)
# keys with paths as values, in addition to those of the group `paths`
_PATHS = (*("source", "weights", "ckpt_path", "annotations", "results", "boxes", "a", "b"), *("detector.file", "detector.model"))
_PLAIN_TEXT = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")  # needs no quotes in Hydra
_OWN_CLASS = re.compile(r"(\w+)=\{.*\b_target_\b.*\}", re.DOTALL)
_OTHER_VALUES = ("null", "true", "false", "nan", "inf")
_LAUNCHERS = ("joblib", "submitit_local", "submitit_slurm")  # of the extra `sweep`
_MOST_LISTED = 20  # options in a message with a suggestion


def normalise_overrides(texts: Sequence[str]) -> list[str]:
    """Rewrite overrides for Hydra; see `normalise_override`.

    A custom class, `model={_target_: my_module.MyNet}`, replaces the option of its group, while Hydra would merge the two.
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
    """Rewrite an override for Hydra.

    `+experiment=x` becomes `experiment=x`, because the experiment is in the defaults list. A path is quoted if Hydra's grammar
    would reject it, or would not read it as the name of an existing file. Several values for a sweep are unchanged.
    """
    bare = text.lstrip("+")
    if bare.startswith("experiment="):
        return bare
    key, equals, value = text.partition("=")
    if equals and (key.lstrip("+") in _PATHS or key.startswith("paths.")) and not _needs_no_quotes(value):
        return f"{key}={quote(value)}"
    return text


def quote(text: str) -> str:
    """Quote a string for Hydra, where backslashes are escapes only before a quote and at the end."""
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text.replace("${", r"\${"))
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    return f"'{escaped}{trailing * chr(92)}'"


def write_override(key: str, value: object) -> str:
    """Return the override of a key and a Python value: `("data.val_boxes", ["gt"])` gives `data.val_boxes=['gt']`.

    Raise ConfigError for other values than numbers, strings, paths, lists, mappings, booleans and None.
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
        return f"{{{','.join(f'{_write_value(key, name)}:{_write_value(key, entry)}' for name, entry in value.items())}}}"
    if isinstance(value, Sequence):
        return f"[{','.join(_write_value(key, entry) for entry in value)}]"
    if callable(item := getattr(value, "item", None)) and getattr(value, "ndim", None) == 0:  # a number of NumPy or torch
        return _write_value(key, item())
    raise ConfigError(
        f"{key}: expected a number, string, path, list, mapping, boolean or None, but got {value!r} ({type(value).__name__})."
    )


def _needs_no_quotes(value: str) -> bool:
    """Check whether Hydra reads a path correctly: literally, already quoted, or as several values for a sweep."""
    try:
        override = OverridesParser.create().parse_override(f"path={value}")
    except HydraException:
        return False
    if not override.is_sweep_override() and override.value() == value:
        return "${" not in value or not _names_a_file(value)
    return not _names_a_file(value) or value.isdecimal()


def _names_a_file(value: str) -> bool:
    path = Path(os.path.expanduser(value))  # noqa: PTH111 - leaves the home folder of an unknown user unchanged
    return bool(value) and "\0" not in value and (path.exists() or bool(glob.glob(str(path), recursive=True)))  # noqa: PTH207 - absolute ones too


def expand_sweep(overrides: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the overrides of every job of a sweep: `["a=1,2", "b=3"]` gives `[("a=1", "b=3"), ("a=2", "b=3")]`.

    Wrong overrides are unchanged. Ranges without a step are left out.
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
    others = ((*first[:place], value, *first[place + 1 :]) for place, values in enumerate(choices) for value in values[1:])
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
    """Find every wrong override of a verb; overrides must be normalised.

    Returns:
        Pairs of override and message; empty if no override is the cause.
    """
    added = [text for text in overrides if text.startswith(SEARCH_PATH) and not search_path_fault(text)]
    tree = Tree(loader, verb, added)
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
    """Return the override to use instead of a flag `--key value` of another tool."""
    tree = Tree(loader, verb)
    key = name.lstrip("-").replace("-", "_")
    advice = "" if tree.has(key) else replace_argument(tree, key, value) or did_you_mean(key, tree.keys()).strip()
    return advice or f"Write it without dashes: {key}={value or '...'}."


def one_line(error: BaseException) -> str:
    """Return the messages of an error and its cause on one line."""
    texts = dict.fromkeys((str(error), str(error.__cause__ or "")))
    return " ".join(line.strip() for text in texts for line in text.splitlines() if line.strip())


SEARCH_PATH = "hydra.searchpath"


def search_path_fault(text: str) -> str:
    """Return what is wrong with the folders of `hydra.searchpath`; "" if they exist."""
    folders = re.fullmatch(r"\[(.*)\]", text.partition("=")[2].strip())
    for folder in folders[1].split(",") if folders else ():
        scheme, _, path = folder.strip(" '\"").partition("://")
        if scheme != "pkg" and not (scheme == "file" and Path(path).is_dir()):
            return f"{SEARCH_PATH}: there is no folder {folder}. Add a folder with --config-dir <folder>."
    return "" if folders else f"{SEARCH_PATH}: expected a list. Add a folder with --config-dir <folder>."


def _grammar_fault(text: str) -> str:
    key, _, value = text.partition("=")
    key, value = key.strip(), value.strip()
    if not re.fullmatch(r"[+~]*[\w@/-]+([.][\w-]+)*", key):
        advice = f" {key!r} is not a key: write names joined by dots."
    elif text != f"{key}={value}" and "'" not in value and _parses(f"{key}={value}"):
        advice = f" Write it without spaces: {key}={value}."
    elif '"' not in value and _parses(f'{key}="{value}"'):
        advice = f" Quote the value, and the override for the shell: '{key}=\"{value}\"'."
    else:
        advice = " Quote values with spaces, commas or brackets twice, also for the shell: 'name=\"a, b\"'."
    return f"{text!r} does not have the form key=value.{advice}"


def _parses(text: str) -> bool:
    try:
        OverridesParser.create().parse_override(text)
    except HydraException:
        return False
    return True


def _bare_fault(tree: Tree, texts: Sequence[str]) -> str:
    """Explain arguments without "=": files, or an option without its group."""
    listing = " ".join(texts)
    meant = [f"{group}={texts[0]}" for group in sorted(tree.choices, key=lambda group: group != "experiment")]
    meant = [text for text in meant if texts[0] in tree.options(text.partition("=")[0])]
    if meant and len(texts) == 1:
        return f"{listing!r} does not have the form key=value. Did you mean {', or '.join(meant[:3])}?"
    close = "" if tree.has(texts[0]) else did_you_mean(texts[0], tree.keys()).strip()
    return f"{listing!r} does not have the form key=value. {replace_bare(tree, texts) or close or 'Write key=value.'}"


def _several_values(override: Override) -> str:
    key, _, values = str(override.input_line).lstrip("+").partition("=")
    return (
        f"{key}: expected one value, but got several ({values}). Add -m to run a sweep, write '{key}=[{values}]' for a list, or "
        "quote a string with commas."
    )


def _choose_groups(tree: Tree, groups: Sequence[Override]) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the group choices that can be composed, and the faults of the others."""
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
        return [f"{group}: a group cannot have another package. Write {group}={written}."]
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
        return f"{group}: the library of {name} is not installed. Install it with: pip install 'hrpose[sweep]'."
    if name == "null" and ("none" in options or not isinstance(tree.choices.get(group), str)):
        return f"{group}: null is not an option. Write '{f'{group}=none' if 'none' in options else f'~{group}'}'."
    stem = name.removesuffix(".yaml").removesuffix(".yml")
    meant = did_you_mean(stem, options)
    if not meant and Path(name).suffix:  # a file instead of an option
        meant = f" {replace_argument(tree, group, name)}".rstrip()
    is_long = meant and len(options) > _MOST_LISTED
    listing = f"`hrpose {tree.verb} --help` lists all {len(options)}" if is_long else f"Options: {', '.join(options)}"
    return f"{group}: there is no option '{name}'.{meant} {listing}."


def _file_fault(tree: Tree, text: str, error: Exception) -> str:
    """Explain why the file of an option cannot be composed."""
    sentence = one_line(error)
    missing = getattr(error, "missing_cfg_file", None) if isinstance(error, MissingConfigException) else None
    if missing:
        group, _, option = str(missing).rpartition("/")
        fault = gone_message(f"{group}={option}") or f"there is no such file.{did_you_mean(option, tree.options(group))}"
        return f"the file of {text} refers to {missing}: {fault}"
    if unmatched := re.search(r"Could not override '([^']+)'", sentence):
        group = unmatched[1]
        return f"the file of {text} overrides {group}, which {tree.verb} does not have.{did_you_mean(group, tree.choices)}"
    return f"the file of {text} cannot be composed: {sentence}"


def _merge_faults(tree: Tree, right: Sequence[str], values: Sequence[Override]) -> list[tuple[str, str]]:
    """Find overrides of existing keys whose values cannot be merged."""
    faults: list[tuple[str, str]] = []
    for override in values:
        text = str(override.input_line)
        try:
            tree.load([*right, text])
        except COMPOSE_ERRORS as error:
            reason = str(error.__cause__ or error).splitlines()[0]
            faults.append((text, f"{override.key_or_group}: {text} is not valid. {reason}."))
    return faults


def _value_fault(tree: Tree, override: Override) -> str | None:
    """Return what is wrong with an override of a value; None if it is valid."""
    key, text = override.key_or_group, str(override.input_line)
    value = text.partition("=")[2]
    if override.package is not None:
        return f"{key}: there is no such group.{did_you_mean(key, tree.choices)}"
    found, owner, current = tree.walk(key)
    if found and override.is_delete() and value and str(current) != str(override.value()):
        return f"{key}: it is {current!r}, not {value}. Write '~{key}'."
    if override.is_add() and found and current is not None and not isinstance(current, DictConfig | ListConfig):
        return f"{key}: the key exists. Write {text.lstrip('+')} without '+'."
    if isinstance(current, ListConfig) and not found:
        return f"{key}: {owner} has {len(current)} elements, counted from 0. Set all of them: {owner}=[...]."
    if found or override.is_add() or override.is_force_add():
        return None
    if advice := replace_argument(tree, key, value):
        return f"{key}: there is no such key. {advice}"
    if owner and current is None:
        options = tree.options(owner.replace(".", "/"))
        advice = f" Enable it with {owner.replace('.', '/')}={options[0]}." if options else ""
        return f"{key}: {owner} is null and has no keys.{advice}"
    if not isinstance(current, DictConfig):
        return f"{key}: {owner} is {current!r} and has no keys."
    siblings = [f"{owner}.{name!s}" for name in current] if key.startswith("hydra.") else tree.keys()
    advice = did_you_mean(key.replace("/", "."), siblings)
    if not advice and (meant := replace_argument(tree, key.rpartition(".")[2], value)):
        advice = f" {meant}"
    if "." in key and not override.is_delete():
        target = f" as an argument of {current['_target_']}" if "_target_" in current else ""
        advice += f" To add it{target}, write +{text}." if target or not advice else ""
    return f"{key}: there is no such key.{advice or f' {tree.describe()}'}"
