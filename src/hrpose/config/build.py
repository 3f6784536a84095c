"""Build objects from configuration nodes, and read the signatures of their targets. There is no registry of names."""

import inspect
import re
import sys
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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
_VARIADIC = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
# keys of nodes, with types, that the tasks read and that are not passed to the targets
OF_TASKS: Mapping[str, Mapping[str, Any]] = {"optim": {"backbone_factor": float}}


def build(node: DictConfig | None, /, **given: Any) -> Any:
    """Build the object of a node with a `_target_`; return None for None, a disabled part.

    Lists and mappings are passed as plain Python containers. A node with `_partial_: true` returns a callable that takes the
    remaining arguments. Arguments in `given` replace those of the node and are passed unchanged, while Hydra would convert
    dataclasses to configuration.

    Raises:
        ConfigError: if the target raises an error, with the full key and the message of the target.
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
    """Convert a node to plain containers with all interpolations resolved; return other values unchanged."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def _refusal(key: str, error: BaseException) -> str:
    if isinstance(error, ConfigError):
        return str(error)
    text = str(error) if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {error}"
    return f"{key}: {text}" if key else text


@dataclass(frozen=True)
class Parameter:
    """A keyword argument of a target."""

    name: str
    required: bool = True
    nullable: bool = False  # its default is None
    hint: Any = Any  # the resolved annotation; Any if there is none or it cannot be resolved
    text: str = ""  # the annotation in the source code


@dataclass(frozen=True)
class Signature:
    """The arguments of a target; with `open_ended` it accepts others (`**kwargs`)."""

    parameters: Mapping[str, Parameter]
    open_ended: bool = False


class UnknownTargetError(Exception):
    """A class or function does not exist; the message lists similar names."""


@cache
def find_signature(target: str) -> Signature:
    """Return the arguments of a class or function by its dotted name; see `import_target`."""
    called = import_target(target)
    try:
        signature = inspect.signature(called)
    except (TypeError, ValueError):  # a compiled function without signature
        return Signature({}, open_ended=True)
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    torch = sys.modules.get("torch")  # imported if a subclass of torch.nn.Module exists
    if kinds == _VARIADIC and torch is not None and inspect.isclass(called) and issubclass(called, torch.nn.Module):
        return Signature({})  # the constructor of torch.nn.Module, which accepts no argument
    parameters = {
        name: Parameter(
            name,
            parameter.default is inspect.Parameter.empty,
            parameter.default is None,
            _hint(called, parameter),
            show_annotation(parameter.annotation),
        )
        for name, parameter in signature.parameters.items()
        if parameter.kind not in _VARIADIC
    }
    return Signature(parameters, inspect.Parameter.VAR_KEYWORD in kinds)


def import_target(target: str) -> Callable[..., Any]:
    """Import a class or function by its dotted name.

    Raises:
        UnknownTargetError: if it does not exist, or its module cannot be imported.
    """
    first, *rest = target.split(".")
    found, name = _import(first) if first else None, first
    if found is None:
        raise UnknownTargetError(f"there is no package '{first}'. Check that it is installed.")
    for part in rest:
        owner, name = found, f"{name}.{part}"
        found = getattr(owner, part, None)
        if found is None and inspect.ismodule(owner):
            found = _import(name)
        if found is None:
            raise UnknownTargetError(f"there is no '{name}'.{_close_names(owner, name)}")
    if not callable(found):
        kind = "module" if inspect.ismodule(found) else type(found).__name__
        raise UnknownTargetError(f"expected a class or function, but '{target}' is a {kind}.")
    called: Callable[..., Any] = found
    return called


def _import(name: str) -> Any:
    """Import a module; return None if it does not exist."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            return None
        raise UnknownTargetError(f"{name} needs {error.name}, which is not installed: pip install {error.name}.") from error
    except Exception as error:  # importing a custom module may raise any error
        raise UnknownTargetError(f"{name} cannot be imported: {type(error).__name__}: {error}") from error


def _close_names(owner: Any, name: str) -> str:
    parent, _, last = name.rpartition(".")
    choices = {known for known in dir(owner) if not known.startswith("_")}
    for folder in getattr(owner, "__path__", ()):
        choices |= {file.stem for file in Path(folder).glob("[!_]*") if file.suffix in ("", ".py")}
    return did_you_mean(last, sorted(choices), prefix=f"{parent}.")


def show_annotation(annotation: Any) -> str:
    """Return an annotation as in source code; "" for none."""
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
    """Return the module of the base class that defines an argument, in which its annotation is evaluated."""
    if not inspect.isclass(called):
        return str(inspect.unwrap(getattr(called, "__func__", called)).__module__)
    if is_dataclass(called):
        owners = [base for base in called.__mro__ if name in vars(base).get("__annotations__", {})]
    else:
        owners = [base for base in called.__mro__ if "__init__" in vars(base) or "__new__" in vars(base)]
    return str((owners[0] if owners else called).__module__)


def fits(value: object, hint: Any) -> bool:
    """Check whether a plain value of a YAML file is valid for a type.

    Nodes with a `_target_`, and types that cannot be checked (TypeVar, Protocol, callable), are accepted.
    """
    if isinstance(value, dict) and "_target_" in value:
        return True
    generic, arguments = get_origin(hint), get_args(hint)
    if generic is Annotated:
        return fits(value, arguments[0])
    if generic in _UNIONS:
        return any(fits(value, choice) for choice in arguments)
    if generic is Literal:
        return any(value == choice and type(value) is type(choice) for choice in arguments)
    if generic is tuple and arguments[-1:] != (...,) and arguments:
        return isinstance(value, list) and len(value) == len(arguments) and all(map(fits, value, arguments))
    if isinstance(hint, TypeVar) or hint in (Any, object):
        return True
    return _fits_class(value, generic or hint, arguments)


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
        return isinstance(value, dict) and all(fits(item, hint) for item in value.values() for hint in arguments[1:])
    if issubclass(kind, Collection | Iterable) and kind.__module__ in ("builtins", "collections.abc"):
        return isinstance(value, list) and all(fits(element, hint) for element in value for hint in arguments[:1])
    # subclasses of str and float, enums, protocols and callables accept plain values
    is_open = issubclass(kind, str | float) or hasattr(kind, "__members__") or kind.__name__ == "Callable"
    return is_open or getattr(kind, "_is_protocol", False) or not isinstance(value, bool | int | float | str | dict)


def describe(hint: Any, text: str) -> str:
    """Describe a type for a message: the choices of a `Literal` or of a list of these, or the annotation in the source code."""
    if choices := literals(hint):
        return f"one of {_list(choices)}"
    if get_origin(hint) in (list, Sequence) and (choices := literals(get_args(hint)[0])):
        return f"a list of {_list(choices)}"
    return text


def literals(hint: Any) -> list[object]:
    """Return the choices of a `Literal`, or of a union of `Literal`s and None; empty for other types."""
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    if hint is types.NoneType:
        return [None]
    parts = [literals(choice) for choice in get_args(hint)] if get_origin(hint) in _UNIONS else []
    return [value for part in parts for value in part] if all(parts) else []


def _list(choices: Iterable[object]) -> str:
    return ", ".join(dict.fromkeys("null" if value is None else str(value) for value in choices))
