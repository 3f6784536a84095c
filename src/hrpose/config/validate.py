"""Find all faults of a composed configuration before objects are built."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hrpose.config.advice import did_you_mean
from hrpose.config.build import (
    OF_TASKS,
    Signature,
    UnknownTargetError,
    describe,
    find_signature,
    fits,
    literals,
    plain,
    show_annotation,
)
from hrpose.config.compose import compose
from hrpose.config.loading import entries, find_targets, is_target, value_at
from hrpose.config.paths import find_file_faults
from hrpose.config.settings import HINTS, SETTINGS, SETTINGS_OF, find_library_faults, find_range_faults
from hrpose.errors import ConfigError, OverrideError
from hrpose.files import conf_dir
from hrpose.moved import GONE_DEFAULTS, gone_message, new_name

Fault: TypeAlias = tuple[str, str]  # full key, what is wrong with it

# arguments that the tasks pass to the targets of these groups, and that configurations must not set
HANDED_OVER: Mapping[str, Mapping[str, str]] = {
    "model": {"num_keypoints": "it follows from the skeleton"},
    "data": {
        "codec": "it is the group codec",
        "skeleton": "it is the group skeleton",
        "augment": "it is the group augment",
        "pixel_transforms": "it is the group pixels",
    },
    "metric": {
        "sigmas": "they belong to the skeleton",
        "ground_truth": "it is read from data.val_annotations, or for PCKh from data.val_ground_truth",
        "area_keypoints": "it follows from data.keypoint_fields",
    },
    "tracking": {"sigmas": "they belong to the skeleton"},
    "trainer": {"callbacks": "they are the group callbacks", "logger": "it is the group logger"},
}
# groups that are one node and must not be null
_NODES = ("data", "skeleton", "codec", "model", "loss", "optim", "metric", "protocol", "trainer")
# groups of named nodes, each with a `_target_` or null
_NAMED_PARTS = ("augment", "callbacks", "logger")
# keys that `fit` needs and `doctor` does not
_NULL_FOR_DOCTOR = (
    "skeleton.file",
    *(f"data.{split}_{kind}" for split in ("train", "val") for kind in ("annotations", "images")),
)
_INSTRUCTIONS = {"_target_", "_partial_", "_recursive_", "_convert_", "_args_"}  # keys of Hydra
_UNRESOLVED = object()


def validate(cfg: DictConfig, *, imports: bool = True) -> None:
    """Check a composed configuration.

    Finds missing values, interpolations that cannot be resolved, unknown targets, unknown, missing and wrongly typed arguments,
    numbers out of range, missing libraries and missing files.

    Args:
        cfg: from `compose` or Hydra.
        imports: whether to import the targets and check their arguments, which takes seconds.

    Raises:
        ConfigError: with the full key of every fault.
    """
    targets = find_targets(cfg)
    missing_libraries = list(find_library_faults(cfg, targets))
    skipped = {key for key, _ in missing_libraries}
    faults = [
        *(fault for search in (_value_faults, _unread_keys, _setting_faults, _part_faults) for fault in search(cfg)),
        *(fault for key, node in targets if imports and key not in skipped for fault in _target_faults(key, node)),
        *_size_faults(cfg),
        *find_range_faults(cfg),
        *missing_libraries,
        *find_file_faults(cfg),
    ]
    if cfg.get("task") == "doctor":
        faults = [(key, text) for key, text in faults if key not in _NULL_FOR_DOCTOR or OmegaConf.select(cfg, key) is not None]
    faulty = {key for key, _ in faults}
    own = [f"{key}: {text}" for key, text in faults if not _references(cfg, key) & (faulty - {key})]
    if own:
        raise ConfigError(*dict.fromkeys(own))


def check(verb: str, overrides: Sequence[str]) -> None:
    """Compose and validate; report the faults of overrides, and those of the configuration of the valid overrides.

    The arguments of targets are checked only if there is no other fault, so missing files and wrong overrides are reported
    within a second, without imports.

    Raises:
        ConfigError: with every fault.
    """
    faults: list[str] = []
    try:
        cfg = compose(verb, overrides)
    except OverrideError as error:
        if not error.sound:
            raise
        faults += error.faults
        cfg = compose(verb, error.sound)
    if cfg.get("task") != verb:
        faults.append(f"task: it is set by the verb. Run hrpose {cfg.get('task')}.")
    try:
        validate(cfg, imports=False)
    except ConfigError as error:
        faults += error.faults
    if faults:
        raise ConfigError(*faults)
    validate(cfg)


def _references(cfg: DictConfig, key: str) -> set[str]:
    """Return the keys that a value refers to; a fault of one of these explains its fault."""
    *path, last = key.split(".")
    node = OmegaConf.select(cfg, ".".join(path)) if path else cfg
    if not isinstance(node, DictConfig) or last not in node or not OmegaConf.is_interpolation(node, last):
        return set()
    return set(re.findall(r"\$\{([\w.]+)\}", str(_written(node, last))))


def _written(node: Any, name: Any) -> Any:
    """Return an unresolved value."""
    return OmegaConf.to_container(node, resolve=False)[name]  # type: ignore[index]


def _value_faults(cfg: DictConfig) -> Iterator[Fault]:
    """Find values that are missing, and interpolations that cannot be resolved."""
    for key, node, name, _ in entries(cfg):
        if OmegaConf.is_missing(node, name):
            yield key, f"expected a value, but none is set. Set {key}=..."
            continue
        try:
            node[name]
        except OmegaConfBaseException as error:
            yield key, f"{_written(node, name)} cannot be resolved. {_interpolation_advice(cfg, str(error))}"


def _interpolation_advice(cfg: DictConfig, text: str) -> str:
    reason = text.splitlines()[0].replace("\\", "")
    if "Interpolation key" not in reason:
        return reason.rpartition("interpolation: ")[2].strip('"') + "."
    sought = reason.split("'")[1]
    return f"There is no key {sought}.{did_you_mean(sought, [entry[0] for entry in entries(cfg)])}"


def _unread_keys(cfg: DictConfig) -> Iterator[Fault]:
    """Find top-level keys that no task reads and no interpolation refers to, such as misspelt ones added with '+'."""
    groups = [path.name for path in conf_dir().iterdir() if path.is_dir()]
    known = [*_settings(cfg), "task", "prepare", "layout", *groups]
    text = OmegaConf.to_yaml(cfg, resolve=False)
    for key in map(str, cfg):
        if key in known or f"${{{key}" in text:
            continue
        value = _plain_value(cfg, key)
        if key not in GONE_DEFAULTS or GONE_DEFAULTS[key] != value:
            yield key, gone_message(f"{key}={value}") or f"there is no such key.{did_you_mean(key, known)}"


def _settings(cfg: DictConfig) -> Mapping[str, Any]:
    return SETTINGS_OF.get(str(cfg.get("task")), SETTINGS)


def _setting_faults(cfg: DictConfig) -> Iterator[Fault]:
    """Check the types of the top-level settings."""
    for name, hint in _settings(cfg).items():
        value = _plain_value(cfg, name)
        if fault := _type_fault(name, value, hint, show_annotation(hint)):
            yield name, gone_message(f"{name}={value}") or fault


def _part_faults(cfg: DictConfig) -> Iterator[Fault]:
    """Check that groups are nodes, and that named parts are nodes or null."""
    for group in _NODES:
        value = _plain_value(cfg, group)
        if group not in cfg and cfg.get("task") in ("fit", "test"):
            yield group, f"expected an option, but none is chosen. Set {group}=<option>."
        if value is not _UNRESOLVED and not is_target(value):
            yield group, f"expected a node with a _target_, but got {_show(value)}."
    for group in _NAMED_PARTS:
        parts = cfg.get(group)
        for name in map(str, parts if isinstance(parts, DictConfig) else ()):
            value = _plain_value(parts, name)
            if value is not None and value is not _UNRESOLVED and not is_target(value):
                yield (f"{group}.{name}", f"expected a node with a _target_, or null to disable it, but got {_show(value)}.")


def _size_faults(cfg: DictConfig) -> Iterator[Fault]:
    """Find an input size that is given as (height, width), by comparison with the heatmap size."""
    sizes: list[Any] = [_plain_value(cfg, f"codec.{name}") for name in ("input_size", "heatmap_size")]
    if not is_target(cfg.get("codec")) or not all(fits(size, tuple[int, int]) for size in sizes):
        return
    (width, height), (columns, rows) = sizes
    if width * rows != height * columns and height * rows == width * columns:
        advice = f"Sizes are (width, height): write codec.input_size=[{height},{width}]."
        yield (
            "codec.input_size",
            f"[{width},{height}] and codec.heatmap_size=[{columns},{rows}] have different aspect ratios. {advice}",
        )


def _target_faults(key: str, node: DictConfig) -> Iterator[Fault]:
    """Check the arguments of a node against the signature of its target."""
    target = _plain_value(node, "_target_")
    if not isinstance(target, str):
        if target is not _UNRESOLVED:
            yield f"{key}._target_", f"expected the dotted name of a class or function, but got {_show(target)}."
        return
    try:
        if moved := new_name(target):
            raise UnknownTargetError(f"{target} is now {moved}. Write the new name.")
        signature = find_signature(target)
    except UnknownTargetError as error:
        yield f"{key}._target_", str(error)
        return
    handed_over, beside = HANDED_OVER.get(key, {}), OF_TASKS.get(key, {})
    for name, hint in beside.items():
        if fault := _type_fault(f"{key}.{name}", _plain_value(node, name), hint, show_annotation(hint)):
            yield f"{key}.{name}", fault
    names = [str(name) for name in node if str(name) not in {*_INSTRUCTIONS, *beside}]
    wrong = {name: fault for name in names if (fault := _name_fault(name, target, signature))}
    unknown = [name for name in names if name not in {*signature.parameters, *handed_over}]
    if len(unknown) > 2 and "." not in key and not signature.open_ended:  # the keys of another class
        yield (
            key,
            f"{target} has no arguments {', '.join(unknown)}, which belong to the previous class. To replace the whole node, "
            f"write '~{key}' '+{key}={{_target_:{target}}}'.",
        )
        return
    for name in names:
        value, parameter = _plain_value(node, name), signature.parameters.get(name)
        if name in handed_over:
            fault = f"it cannot be set here: {handed_over[name]}."
        elif parameter is None or (value is None and parameter.nullable):
            fault = wrong.get(name, "")
        else:
            fault = _type_fault(f"{key}.{name}", value, parameter.hint, parameter.text)
        if fault:
            yield f"{key}.{name}", fault
    if not node.get("_partial_") and "_args_" not in node:
        for name, parameter in signature.parameters.items():
            if parameter.required and name not in {*names, *handed_over} and not did_you_mean(name, wrong):
                yield f"{key}.{name}", f"{target} requires it. Set +{key}.{name}=..."


def _name_fault(name: str, target: str, signature: Signature) -> str:
    """Return the fault of an unknown argument; for targets with `**kwargs` only misspelt arguments are faults."""
    if name in signature.parameters:
        return ""
    close = did_you_mean(name, signature.parameters, cutoff=0.8 if signature.open_ended else 0.6)
    if signature.open_ended and not close:
        return ""
    known = ", ".join(signature.parameters)
    return f"{target} has no such argument.{close or (f' Its arguments: {known}.' if known else ' It has no arguments.')}"


def _type_fault(key: str, value: Any, hint: Any, text: str) -> str:
    """Return the fault of a value of another type than `hint`, in the source code `text`; "" if it fits or is unresolved."""
    if value is _UNRESOLVED or fits(value, hint):
        return ""
    name = key.rpartition(".")[2]
    advice = did_you_mean(str(value), [str(choice) for choice in literals(hint)]) or (f" {HINTS[name]}" if name in HINTS else "")
    if isinstance(value, str) and fits([value], hint) and not fits([object()], hint):
        advice = f" Write a list of one: {key}=[{value}]."
    return f"expected {describe(hint, text)}, but got {_show(value)}.{advice}"


def _plain_value(node: DictConfig, key: str) -> Any:
    """Return a value as plain Python, or `_UNRESOLVED` if it is missing or cannot be resolved."""
    try:
        return plain(value_at(node, key, _UNRESOLVED))
    except OmegaConfBaseException:
        return _UNRESOLVED


def _show(value: object) -> str:
    return f"{value!r} ({type(value).__name__})"
