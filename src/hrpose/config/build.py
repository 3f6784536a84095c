"""Build objects from configuration nodes, and read the signatures of their targets.

`_target_` names the class itself, there is no registry.
"""

import inspect
import re
import sys
import types
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from hrpose.config.advice import did_you_mean
from hrpose.errors import ConfigError

_UNIONS = (Union, types.UnionType)
# Keys of nodes that the tasks read themselves, and their types; the targets do not receive them.
OF_TASKS: Mapping[str, Mapping[str, Any]] = {"optim": {"backbone_factor": float}}


def build(node: DictConfig | None, /, **given: Any) -> Any:
    """Build what a node describes.

    Lists and mappings reach the constructor as plain Python containers. A node with `_partial_: true` becomes a callable that
    waits for the rest of its arguments. The given objects are passed as they are; Hydra would turn dataclasses among them into
    configuration.

    Args:
        node: a node with a `_target_`, or None for a part that is switched off.
        given: arguments beside those of the node; they win over the node's own.

    Returns:
        The object; None for None.

    Raises:
        ConfigError: the target refused its arguments; the text has the full key and the target's own message.
    """
    if node is None:
        return None
    key = node._get_full_key(None)
    try:
        factory = instantiate(node, _partial_=True, _convert_="all")
        if key in OF_TASKS:
            arguments = {name: value for name, value in factory.keywords.items() if name not in OF_TASKS[key]}
            factory = partial(factory.func, *factory.args, **arguments)
        if node.get("_partial_", False):
            return partial(factory, **given) if given else factory
        return factory(**given)
    except InstantiationException as error:
        where = re.search(r"full_key: (\S+)", str(error))
        raise ConfigError(_refusal(where.group(1) if where else key, error.__cause__ or error)) from error
    except ConfigError:
        raise
    except (TypeError, ValueError, OSError) as error:
        raise ConfigError(_refusal(key, error)) from error


def plain(node: Any) -> Any:
    """Convert a node to plain containers with every reference resolved; any other value is returned as it is."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def _refusal(key: str, error: BaseException) -> str:
    if isinstance(error, ConfigError):
        return str(error)
    text = str(error) if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {error}"
    return f"{key}: {text}" if key else text


@dataclass(frozen=True)
class Parameter:
    """One argument that can be given by name.

    Attributes:
        name: of the argument.
        required: whether it has no default.
        nullable: whether its default is None.
        hint: its resolved annotation; Any where there is none or it cannot be resolved.
        text: the annotation as the source has it.
    """

    name: str
    required: bool = True
    nullable: bool = False
    hint: Any = Any
    text: str = ""


@dataclass(frozen=True)
class Signature:
    """The arguments of a target. With `open_ended` it takes others too (`**kwargs`)."""

    parameters: Mapping[str, Parameter]
    open_ended: bool = False


class UnknownTargetError(Exception):
    """There is no such class or function; the text lists close names."""


@cache
def find_signature(target: str) -> Signature:
    """Return the arguments of a class or function.

    Args:
        target: its dotted name; the module is imported.

    Raises:
        UnknownTargetError: no such class or function, or its module cannot be imported.
    """
    called = import_target(target)
    try:
        signature = inspect.signature(called)
    except (TypeError, ValueError):  # compiled, and without a signature
        return Signature({}, open_ended=True)
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    if kinds == {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD} and _is_module(called):
        return Signature({})  # the constructor of torch.nn.Module itself, which refuses any argument
    parameters = {
        name: Parameter(
            name,
            parameter.default is inspect.Parameter.empty,
            parameter.default is None,
            _hint(called, parameter),
            show_annotation(parameter.annotation),
        )
        for name, parameter in signature.parameters.items()
        if parameter.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    }
    return Signature(parameters, inspect.Parameter.VAR_KEYWORD in kinds)


def import_target(target: str) -> Callable[..., Any]:
    """Import a class or function by its dotted name.

    Raises:
        UnknownTargetError: no such class or function, or its module cannot be imported.
    """
    first, *rest = target.split(".")
    here, name = _import(first) if first else None, first
    if here is None:
        raise UnknownTargetError(f"no package is named '{first}'; is it installed?")
    for part in rest:
        owner, name = here, f"{name}.{part}"
        here = getattr(owner, part, None)
        if here is None and inspect.ismodule(owner):
            here = _import(name)
        if here is None:
            raise UnknownTargetError(f"there is no '{name}'.{_close_names(owner, name)}")
    if not callable(here):
        kind = "module" if inspect.ismodule(here) else type(here).__name__
        raise UnknownTargetError(f"'{target}' is a {kind}, not a class or function.")
    called: Callable[..., Any] = here
    return called


def _import(name: str) -> Any:
    """Import a module; None where there is none."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            return None
        raise UnknownTargetError(
            f"{name} needs {error.name}, which is not installed: pip install {error.name}."
        ) from error
    except Exception as error:  # the module is the user's own or a library's: whatever its import raises
        raise UnknownTargetError(f"{name} cannot be imported: {type(error).__name__}: {error}") from error


def _close_names(owner: Any, name: str) -> str:
    parent, _, last = name.rpartition(".")
    choices = {known for known in dir(owner) if not known.startswith("_")}
    for folder in getattr(owner, "__path__", ()):
        choices |= {file.stem for file in Path(folder).glob("[!_]*") if file.suffix in ("", ".py")}
    return did_you_mean(last, sorted(choices), prefix=f"{parent}.")


def _is_module(called: Any) -> bool:
    torch = sys.modules.get("torch")  # where a subclass of torch.nn.Module exists, torch has been imported
    return torch is not None and inspect.isclass(called) and issubclass(called, torch.nn.Module)


def show_annotation(annotation: Any) -> str:
    """Return an annotation as a source file has it; an empty text for none."""
    if isinstance(annotation, str):
        return annotation.strip("'\"")
    if annotation is inspect.Parameter.empty:
        return ""
    return inspect.formatannotation(annotation).replace("typing.", "").replace("collections.abc.", "")


def _hint(called: Any, parameter: inspect.Parameter) -> Any:
    """Resolve the annotation of one argument; Any if there is none or it cannot be resolved."""
    if parameter.annotation is inspect.Parameter.empty:
        return Any
    names = vars(sys.modules[_module_of(called, parameter.name)])
    annotated = types.SimpleNamespace(__annotations__={"hint": parameter.annotation})
    try:
        return get_type_hints(annotated, names, include_extras=True)["hint"]
    except Exception:
        return Any


def _module_of(called: Any, name: str) -> str:
    """Return the module whose names the annotation of an argument uses: that of the base class which states the argument."""
    if not inspect.isclass(called):
        return str(inspect.unwrap(getattr(called, "__func__", called)).__module__)
    if is_dataclass(called):
        owners = [base for base in called.__mro__ if name in vars(base).get("__annotations__", {})]
    else:
        owners = [base for base in called.__mro__ if "__init__" in vars(base) or "__new__" in vars(base)]
    return str((owners[0] if owners else called).__module__)


def fits(value: object, hint: Any) -> bool:
    """Check whether a plain value of a YAML file can be given where a type is expected.

    What cannot be decided (a TypeVar, a Protocol, a callable) is taken to fit, as is a node with a `_target_`.
    """
    if isinstance(value, dict) and "_target_" in value:
        return True
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return fits(value, arguments[0])
    if origin in _UNIONS:
        return any(fits(value, choice) for choice in arguments)
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in arguments)
    if origin is tuple and arguments[-1:] != (...,) and arguments:
        return isinstance(value, list) and len(value) == len(arguments) and all(map(fits, value, arguments))
    if isinstance(hint, TypeVar) or hint in (Any, object):
        return True
    return _fits_class(value, origin or hint, arguments)


def _fits_class(value: object, kind: Any, arguments: tuple[Any, ...]) -> bool:
    if not isinstance(kind, type):
        return True
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind in (bool, str, bytes, types.NoneType) or issubclass(kind, int):
        return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if issubclass(kind, Path):
        return isinstance(value, str)
    if issubclass(kind, Mapping):
        return isinstance(value, dict) and all(
            fits(element, hint) for element in value.values() for hint in arguments[1:]
        )
    if issubclass(kind, Collection | Iterable) and kind.__module__ in ("builtins", "collections.abc"):
        return isinstance(value, list) and all(fits(element, hint) for element in value for hint in arguments[:1])
    if _may_be_plain(kind):
        return True
    return not isinstance(value, bool | int | float | str | dict)


def _may_be_plain(kind: type) -> bool:
    """Check whether plain values may stand for a class: enums, subclasses of str and numbers, protocols and callables."""
    return (
        issubclass(kind, str | float)
        or hasattr(kind, "__members__")
        or getattr(kind, "_is_protocol", False)
        or kind.__name__ == "Callable"
    )


def describe(hint: Any, text: str) -> str:
    """Return what an annotation asks for; the choices of a `Literal` are listed.

    Args:
        hint: the resolved annotation.
        text: how the source has it.
    """
    choices = literals(hint)
    return "one of " + ", ".join(dict.fromkeys(map(_as_yaml, choices))) if choices else text


def literals(hint: Any) -> list[object]:
    """Return the choices of a `Literal`, or of a union of nothing but these and None."""
    return list(_literals(hint)) if all(value is not Ellipsis for value in _literals(hint)) else []


def _literals(hint: Any) -> Iterator[object]:
    """Give the choices; Ellipsis for what is none."""
    if get_origin(hint) is Literal:
        yield from get_args(hint)
    elif get_origin(hint) in _UNIONS:
        for choice in get_args(hint):
            yield from _literals(choice)
    else:
        yield None if hint is types.NoneType else ...


def _as_yaml(value: object) -> str:
    return "null" if value is None else str(value)
