"""Explain all wrong overrides at once, while Hydra stops at the first one.

Overrides are compared with the composed configuration without importing any `_target_`.
"""

import glob
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TypeAlias

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, ListConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from hrpose.config.advice import did_you_mean, replace_argument, replace_bare
from hrpose.config.loading import Tree
from hrpose.errors import ConfigError
from hrpose.files import conf_dir
from hrpose.moved import gone_message

Fault: TypeAlias = tuple[str, str]  # an override, what is wrong with it

SEARCH_PATH = "hydra.searchpath"
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
    if callable(item := getattr(value, "item", None)) and getattr(value, "ndim", None) == 0:  # a number of NumPy or torch
        value = item()
    if value is None or isinstance(value, bool):
        return {None: "null", False: "false", True: "true"}[value]
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str | Path):
        text = str(value)
        return text if _PLAIN_TEXT.fullmatch(text) and text.lower() not in _OTHER_VALUES else quote(text)
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{_write_value(key, name)}:{_write_value(key, entry)}' for name, entry in value.items())}}}"
    if isinstance(value, Sequence):
        return f"[{','.join(_write_value(key, entry) for entry in value)}]"
    raise ConfigError(
        f"{key}: expected a number, string, path, list, mapping, boolean or None, but got {value!r} ({type(value).__name__})."
    )


def _parse(text: str) -> Override | None:
    """Parse one override; None if it does not follow Hydra's grammar."""
    try:
        return OverridesParser.create().parse_override(text)
    except HydraException:
        return None


def _needs_no_quotes(value: str) -> bool:
    """Check whether Hydra reads a path correctly: literally, already quoted, or as several values for a sweep."""
    override = _parse(f"path={value}")
    if override is None:
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
    intervals = find_intervals(overrides)
    return list(product(*(_choices_of(text) for text in overrides if text not in intervals)))


def sample_sweep(overrides: Sequence[str]) -> list[tuple[str, ...]]:
    """Return jobs in which each value that a sweeper can choose occurs once, and both ends of each range of numbers.

    One job has the first values; each other job differs from it in one override.
    """
    choices = [_choices_of(text) for text in overrides]
    first = tuple(values[0] for values in choices if values)
    others = ((*first[:place], value, *first[place + 1 :]) for place, values in enumerate(choices) for value in values[1:])
    return [first, *others]


def _choices_of(text: str) -> list[str]:
    """Return the override with each of its values, or with both ends of its range; one with a single value alone."""
    override = _parse(text)
    if override is None or not override.is_sweep_override():
        return [text]
    sweep = override.value()
    values = [sweep.start, sweep.end] if isinstance(sweep, IntervalSweep) else override.sweep_string_iterator()
    return [f"{override.get_key_element()}={value}" for value in values]


def find_intervals(overrides: Sequence[str]) -> list[str]:
    """Return the overrides with ranges of numbers without a step, which not every sweeper can use."""
    return [text for text in overrides if (override := _parse(text)) is not None and override.is_interval_sweep()]


def is_swept(text: str) -> bool:
    """Check whether an override has several values, or a range."""
    override = _parse(text)
    return override is not None and override.is_sweep_override()


def find_override_faults(loader: ConfigLoader, verb: str, overrides: Sequence[str]) -> list[Fault]:
    """Return every wrong override of a verb with a message; overrides must be normalised."""
    tree = Tree(loader, verb, [text for text in overrides if text.startswith(SEARCH_PATH) and not search_path_fault(text)])
    bare = [text for text in overrides if "=" not in text and not text.startswith("~")]
    faults = [(text, _bare_fault(tree, bare)) for text in bare]
    rest = [text for text in overrides if text not in (*bare, *tree.added)]
    malformed = {text: fault for text in rest if (fault := _form_fault(text))}
    faults += malformed.items()
    groups: list[Override] = []
    values: list[Override] = []
    for override in OverridesParser.create().parse_overrides([text for text in rest if text not in malformed]):
        text = str(override.input_line)
        if not isinstance(override.value(), dict) and tree.options(override.key_or_group):
            groups.append(override)
        elif gone := gone_message(text):
            faults.append((text, f"{override.key_or_group}: {gone}"))
        else:
            values.append(override)
    right, group_faults = _choose_groups(tree, groups)
    tree.cfg = tree.load(right)
    faults += group_faults
    faults += [(str(each.input_line), fault) for each in values if (fault := _value_fault(tree, each))]
    return faults or list(_merge_faults(tree, right, values))


def one_line(error: BaseException) -> str:
    """Return the messages of an error and its cause on one line."""
    texts = dict.fromkeys((str(error), str(error.__cause__ or "")))
    return " ".join(line.strip() for text in texts for line in text.splitlines() if line.strip())


def search_path_fault(text: str) -> str:
    """Return what is wrong with the folders of `hydra.searchpath`; "" if they exist."""
    folders = re.fullmatch(r"\[(.*)\]", text.partition("=")[2].strip())
    for folder in folders[1].split(",") if folders else ():
        scheme, _, path = folder.strip(" '\"").partition("://")
        if scheme != "pkg" and not (scheme == "file" and Path(path).is_dir()):
            return f"{SEARCH_PATH}: there is no folder {folder}. Add a folder with --config-dir <folder>."
    return "" if folders else f"{SEARCH_PATH}: expected a list. Add a folder with --config-dir <folder>."


def _form_fault(text: str) -> str:
    """Return what is wrong with the form of an override, whatever its key; "" if nothing."""
    override = _parse(text)
    if text.startswith(SEARCH_PATH):
        return search_path_fault(text)
    if override is None:
        return _grammar_fault(text)
    if not override.key_or_group:
        return f"{text!r} has no key. Write key=value."
    if override.is_sweep_override():
        key, _, values = text.lstrip("+").partition("=")
        return (
            f"{key}: expected one value, but got several ({values}). Add -m to run a sweep, write '{key}=[{values}]' for a list, "
            "or quote a string with commas."
        )
    return ""


def _grammar_fault(text: str) -> str:
    key, _, value = (part.strip() for part in text.partition("="))
    if not re.fullmatch(r"[+~]*[\w@/-]+([.][\w-]+)*", key):
        advice = f" {key!r} is not a key: write names joined by dots."
    elif text != f"{key}={value}" and "'" not in value and _parse(f"{key}={value}"):
        advice = f" Write it without spaces: {key}={value}."
    elif '"' not in value and _parse(f'{key}="{value}"'):
        advice = f" Quote the value, and the override for the shell: '{key}=\"{value}\"'."
    else:
        advice = " Quote values with spaces, commas or brackets twice, also for the shell: 'name=\"a, b\"'."
    return f"{text!r} does not have the form key=value.{advice}"


def _bare_fault(tree: Tree, texts: Sequence[str]) -> str:
    """Explain arguments without "=": files, or an option without its group."""
    meant = [f"{group}={texts[0]}" for group in sorted(tree.choices, key=lambda group: group != "experiment")]
    meant = [text for text in meant if texts[0] in tree.options(text.partition("=")[0])]
    advice = f"Did you mean {', or '.join(meant[:3])}?" if meant and len(texts) == 1 else replace_bare(tree, texts)
    if not advice and not tree.has(texts[0]):
        advice = did_you_mean(texts[0], tree.keys()).strip()
    return f"{' '.join(texts)!r} does not have the form key=value. {advice or 'Write key=value.'}"


def _choose_groups(tree: Tree, groups: Sequence[Override]) -> tuple[list[str], list[Fault]]:
    """Return the group choices that can be composed, and the faults of the others."""
    faults: list[Fault] = []
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
    written, chosen = text.partition("=")[2], tree.choices.get(group, [])
    is_own = override.is_add() and group not in tree.choices and not tree.options(group, own=False)
    options = value if isinstance(value, list) else [written]
    if group not in tree.choices and not is_own and group.partition("/")[0] != "hydra":
        fault = f"{tree.verb} has no such group. {replace_argument(tree, group, written) or tree.describe()}"
    elif override.package is not None:
        fault = f"a group cannot have another package. Write {group}={written}."
    elif override.is_delete():
        fault = f"it is {chosen or None}, not {value}. Write '~{group}'." if value not in (None, "", chosen) else ""
    elif override.is_add() and not is_own:
        fault = f"write {text.lstrip('+')} without '+'."
    elif isinstance(value, list) and not isinstance(chosen, list):
        fault = f"expected one option, but got {written}."
    else:
        return [f"{group}: {fault}" for each in options if (fault := _option_fault(tree, group, str(each).strip("'\"")))]
    return [f"{group}: {fault}"] if fault else []


def _option_fault(tree: Tree, group: str, name: str) -> str:
    options = tree.options(group)
    if name in options:
        return ""
    if gone := gone_message(f"{group}={name}"):
        return gone
    if group == "hydra/launcher" and name in _LAUNCHERS:
        return f"the library of {name} is not installed. Install it with: pip install 'hrpose[sweep]'."
    if name == "null" and ("none" in options or not isinstance(tree.choices.get(group), str)):
        return f"null is not an option. Write '{f'{group}=none' if 'none' in options else f'~{group}'}'."
    meant = did_you_mean(name.removesuffix(".yaml").removesuffix(".yml"), options)
    if not meant and Path(name).suffix:  # a file instead of an option
        meant = f" {replace_argument(tree, group, name)}".rstrip()
    is_long = meant and len(options) > _MOST_LISTED
    listing = f"`hrpose {tree.verb} --help` lists all {len(options)}" if is_long else f"Options: {', '.join(options)}"
    return f"there is no option '{name}'.{meant} {listing}."


def _file_fault(tree: Tree, text: str, error: Exception) -> str:
    """Explain why the file of an option cannot be composed."""
    sentence = one_line(error)
    missing = error.missing_cfg_file if isinstance(error, MissingConfigException) else None
    if missing:
        group, _, option = str(missing).rpartition("/")
        fault = gone_message(f"{group}={option}") or f"there is no such file.{did_you_mean(option, tree.options(group))}"
        return f"the file of {text} refers to {missing}: {fault}"
    if unmatched := re.search(r"Could not override '([^']+)'", sentence):
        group = unmatched[1]
        return f"the file of {text} overrides {group}, which {tree.verb} does not have.{did_you_mean(group, tree.choices)}"
    return f"the file of {text} cannot be composed: {sentence}"


def _merge_faults(tree: Tree, right: Sequence[str], values: Sequence[Override]) -> Iterator[Fault]:
    """Find overrides of existing keys whose values cannot be merged."""
    for override in values:
        text = str(override.input_line)
        try:
            tree.load([*right, text])
        except COMPOSE_ERRORS as error:
            reason = str(error.__cause__ or error).splitlines()[0]
            yield text, f"{override.key_or_group}: {text} is not valid. {reason}."


def _value_fault(tree: Tree, override: Override) -> str:
    """Return what is wrong with an override of a value; "" if it is valid."""
    key, text = override.key_or_group, str(override.input_line)
    value = text.partition("=")[2]
    found, owner, current = tree.walk(key)
    is_node = isinstance(current, DictConfig | ListConfig)
    if override.package is not None:
        fault = f"there is no such group.{did_you_mean(key, tree.choices)}"
    elif found and override.is_delete() and value and str(current) != str(override.value()):
        fault = f"it is {current!r}, not {value}. Write '~{key}'."
    elif override.is_add() and found and current is not None and not is_node:
        fault = f"the key exists. Write {text.lstrip('+')} without '+'."
    elif isinstance(current, ListConfig) and not found:
        fault = f"{owner} has {len(current)} elements, counted from 0. Set all of them: {owner}=[...]."
    elif found or override.is_add() or override.is_force_add():
        return ""
    elif advice := replace_argument(tree, key, value):
        fault = f"there is no such key. {advice}"
    elif owner and current is None:
        options = tree.options(owner.replace(".", "/"))
        fault = f"{owner} is null and has no keys."
        fault += f" Enable it with {owner.replace('.', '/')}={options[0]}." if options else ""
    elif not isinstance(current, DictConfig):
        fault = f"{owner} is {current!r} and has no keys."
    else:
        fault = f"there is no such key.{_key_advice(tree, override, owner, current) or f' {tree.describe()}'}"
    return f"{key}: {fault}"


def _key_advice(tree: Tree, override: Override, owner: str, node: DictConfig) -> str:
    """Suggest keys for one that does not exist in the node `owner`, or how to add it."""
    key, text = override.key_or_group, str(override.input_line)
    siblings = [f"{owner}.{name!s}" for name in node] if key.startswith("hydra.") else tree.keys()
    advice = did_you_mean(key.replace("/", "."), siblings)
    if not advice and (meant := replace_argument(tree, key.rpartition(".")[2], text.partition("=")[2])):
        advice = f" {meant}"
    target = f" as an argument of {node['_target_']}" if "_target_" in node else ""
    can_be_added = "." in key and not override.is_delete() and (target or not advice)
    return f"{advice} To add it{target}, write +{text}." if can_be_added else advice
