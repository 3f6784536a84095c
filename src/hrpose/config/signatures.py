"""What arguments the class or function named by a `_target_` takes."""

import ast
import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from hrpose.config.errors import did_you_mean
from hrpose.config.sources import (
    Definition,
    Function,
    Module,
    NotFoundError,
    NotUnderstoodError,
    class_bases,
    find,
    load_module,
)


@dataclass(frozen=True)
class Parameter:
    """One argument. `hint` is its annotation, if it has one, and the module whose names that uses."""

    name: str
    required: bool
    nullable: bool = False
    hint: tuple[ast.expr, Module] | None = None


@dataclass(frozen=True)
class Signature:
    """The arguments of a target. With `open_ended` it takes others too (`**kwargs`)."""

    parameters: dict[str, Parameter]
    open_ended: bool = False


class UnknownTargetError(Exception):
    """There is no such class or function; the text says what there is."""


@cache
def find_signature(target: str) -> Signature:
    """Find the arguments of a class or function by its dotted name.

    Source files are read, nothing is imported; only where the source does not tell (compiled modules, names made while a module
    runs) the module is imported and asked.

    Raises:
        UnknownTargetError: no such class or function.
    """
    try:
        return _read_signature(target)
    except NotFoundError as error:
        raise UnknownTargetError(_not_found(error.owner, error.name, error.choices)) from None
    except NotUnderstoodError:
        return _ask_signature(target)


def _read_signature(target: str) -> Signature:
    found = find(target)
    if isinstance(found, Module):
        raise UnknownTargetError(f"'{target}' is a module, not a class or function.")
    if isinstance(found.node, ast.ClassDef):
        return _constructor(found) or Signature({})
    if isinstance(found.node, ast.expr):
        raise NotUnderstoodError(target)
    owner = _owner(target)
    if isinstance(owner, Definition) and "staticmethod" not in _decorators(found.node):
        return _of_function(found.node, found.module, bound=True)
    return _of_function(found.node, found.module, bound=False)


def _owner(target: str) -> Module | Definition | None:
    parent = target.rpartition(".")[0]
    if not parent:
        return None
    try:
        return find(parent)
    except NotUnderstoodError:  # the package makes names while it runs, but the file of a module is enough
        module = load_module(parent)
        if module is None:
            raise
        return module


def _constructor(definition: Definition) -> Signature | None:
    """Find the constructor's arguments: of its own `__init__` or `__new__`, its dataclass fields, or what it inherits."""
    node = definition.node
    assert isinstance(node, ast.ClassDef)
    if (definition.module.name, definition.name) == ("torch.nn.modules.module", "Module"):
        return Signature({})  # it says *args and **kwargs, and refuses any
    methods = {statement.name: statement for statement in node.body if isinstance(statement, ast.FunctionDef)}
    for name in ("__init__", "__new__"):
        if name in methods:
            return _of_function(methods[name], definition.module, bound=True)
    if "dataclass" in _decorators(node):
        return Signature({field.name: field for field in _fields(definition)})
    if any(ast.unparse(base).rpartition(".")[2] in ("NamedTuple", "TypedDict") for base in node.bases):
        raise NotUnderstoodError(definition.name)
    inherited = (_constructor(base) for base in class_bases(definition))
    return next((signature for signature in inherited if signature is not None), None)


def _fields(definition: Definition) -> Iterator[Parameter]:
    """Give the fields of a dataclass, those it inherits first."""
    assert isinstance(definition.node, ast.ClassDef)
    for base in reversed(list(class_bases(definition))):
        assert isinstance(base.node, ast.ClassDef)
        if "dataclass" in _decorators(base.node):
            yield from _fields(base)
    for statement in definition.node.body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value):
                if "ClassVar" in ast.unparse(annotation) or _is_set_false(value, "init"):
                    continue
                yield Parameter(name, not _has_default(value), _is_none(value), (annotation, definition.module))


def _has_default(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Call) and ast.unparse(value.func).rpartition(".")[2] == "field":
        return any(keyword.arg in ("default", "default_factory") for keyword in value.keywords)
    return value is not None


def _is_set_false(value: ast.expr | None, name: str) -> bool:
    if not isinstance(value, ast.Call):
        return False
    return any(keyword.arg == name and ast.unparse(keyword.value) == "False" for keyword in value.keywords)


def _of_function(node: Function, module: Module, *, bound: bool) -> Signature:
    """Read the arguments that can be given by name; a bound function's first one (`self`, `cls`) is not among them."""
    spec = node.args
    positional = [*spec.posonlyargs, *spec.args]
    no_defaults: list[ast.expr | None] = [None] * (len(positional) - len(spec.defaults))
    defaults = [*no_defaults, *spec.defaults, *spec.kw_defaults]
    parameters = {
        arg.arg: Parameter(
            arg.arg, default is None, _is_none(default), (arg.annotation, module) if arg.annotation else None
        )
        for arg, default in zip([*positional, *spec.kwonlyargs], defaults, strict=True)
    }
    if bound and positional:
        del parameters[positional[0].arg]
    return Signature(parameters, open_ended=spec.kwarg is not None)


def _is_none(default: ast.expr | None) -> bool:
    return isinstance(default, ast.Constant) and default.value is None


def _decorators(node: ast.ClassDef | Function) -> set[str]:
    bare = (decorator.func if isinstance(decorator, ast.Call) else decorator for decorator in node.decorator_list)
    return {ast.unparse(decorator).rpartition(".")[2] for decorator in bare}


def _ask_signature(target: str) -> Signature:
    """Import the target and ask it."""
    called = _import(target)
    try:
        asked = inspect.signature(called)
    except (TypeError, ValueError):
        return Signature({}, open_ended=True)
    kinds = inspect.Parameter
    named = [p for p in asked.parameters.values() if p.kind not in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD)]
    return Signature(
        {parameter.name: Parameter(parameter.name, parameter.default is kinds.empty) for parameter in named},
        open_ended=any(parameter.kind is kinds.VAR_KEYWORD for parameter in asked.parameters.values()),
    )


def _not_found(owner: str, name: str, choices: Iterable[str]) -> str:
    if not owner:
        return f"no package is named '{name}'; is it installed?"
    return f"there is no '{owner}.{name}'.{did_you_mean(name, choices, prefix=f'{owner}.')}"


def _import(target: str) -> Any:
    first, *rest = target.split(".")
    here, name = import_module(first), first
    for part in rest:
        name = f"{name}.{part}"
        if not hasattr(here, part):
            try:
                import_module(name)
            except ModuleNotFoundError:
                raise UnknownTargetError(_not_found(name.rpartition(".")[0], part, dir(here))) from None
        here = getattr(here, part)
    if not callable(here):
        raise UnknownTargetError(f"'{target}' is a {type(here).__name__}, not a class or function.")
    return here
