"""Does a value from a YAML file fit the type that an argument is annotated with?

What cannot be decided from the source (a TypeVar, a Protocol, an alias made by a call) is taken to fit: a false alarm would
be worse.
"""

import ast
import json
from typing import TypeAlias

from hrpose.config.sources import Definition, Module, NotFoundError, NotUnderstoodError, resolve

Plain: TypeAlias = object  # None, bool, int, float, str, list, dict: what YAML holds

_SCALARS: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "str": (str,),
    "bool": (bool,),
    "bytes": (bytes,),
    "Path": (str,),
    "None": (type(None),),
}
_SEQUENCES = {
    "list",
    "List",
    "Sequence",
    "Iterable",
    "Collection",
    "tuple",
    "Tuple",
    "set",
    "frozenset",
    "MutableSequence",
}
_MAPPINGS = {"dict", "Dict", "Mapping", "MutableMapping"}


def fits(value: Plain, annotation: ast.expr, module: Module) -> bool:
    """Tell whether a plain value can be given where the annotation stands; a node with a `_target_` always can."""
    if isinstance(value, dict) and "_target_" in value:
        return True
    match annotation:
        case ast.Constant(value=None):
            return value is None
        case ast.Constant(value=str() as text):
            return fits(value, ast.parse(text, mode="eval").body, module)
        case ast.BinOp(op=ast.BitOr(), left=left, right=right):
            return fits(value, left, module) or fits(value, right, module)
        case ast.Subscript(value=outer, slice=inner):
            return _fits_generic(value, _last_word(outer), _elements(inner), module)
        case ast.Name() | ast.Attribute():
            return _fits_name(value, annotation, module)
        case _:
            return True


def asks_for_list(annotation: ast.expr) -> bool:
    """Tell whether a list of something is what an annotation asks for, `None` aside."""
    match annotation:
        case ast.BinOp(left=left, right=ast.Constant(value=None)):
            return asks_for_list(left)
        case ast.Subscript(value=outer):
            return _last_word(outer) in _SEQUENCES
        case _:
            return False


def describe(annotation: ast.expr, module: Module) -> str:
    """Say in words what an annotation asks for; the choices of a `Literal` are listed."""
    choices = literals(annotation, module)
    if choices:
        return "one of " + ", ".join(dict.fromkeys(map(_as_yaml, choices)))
    return ast.unparse(annotation).strip("'\"")


def literals(annotation: ast.expr, module: Module) -> list[Plain]:
    """Give the choices of a `Literal`, also of one behind an alias or inside a union."""
    match annotation:
        case ast.Constant(value=str() as text):
            return literals(ast.parse(text, mode="eval").body, module)
        case ast.Constant(value=None):
            return [None]
        case ast.BinOp(left=left, right=right):
            parts = [left, right]
        case ast.Subscript(value=outer, slice=inner) if _last_word(outer) == "Literal":
            return [element.value for element in _elements(inner) if isinstance(element, ast.Constant)]
        case ast.Subscript(value=outer, slice=inner) if _last_word(outer) in ("Optional", "Union"):
            parts = _elements(inner)
        case ast.Name() | ast.Attribute():
            alias = _alias(annotation, module)
            return literals(alias.node, alias.module) if alias and isinstance(alias.node, ast.expr) else []
        case _:
            return []
    found = [literals(part, module) for part in parts]
    return [choice for choices in found for choice in choices] if all(found) else []


def _fits_generic(value: Plain, outer: str, inner: list[ast.expr], module: Module) -> bool:
    if outer == "Literal":
        choices = [element.value for element in inner if isinstance(element, ast.Constant)]
        return any(value == choice and type(value) is type(choice) for choice in choices)
    if outer == "Optional":
        return value is None or fits(value, inner[0], module)
    if outer == "Union":
        return any(fits(value, choice, module) for choice in inner)
    if outer in _SEQUENCES:
        return isinstance(value, list) and _elements_fit(value, outer, inner, module)
    if outer in _MAPPINGS:
        return isinstance(value, dict) and all(fits(element, inner[-1], module) for element in value.values())
    if outer in ("Annotated", "Final", "Required", "NotRequired"):
        return fits(value, inner[0], module)
    return True


def _elements_fit(values: list[Plain], outer: str, inner: list[ast.expr], module: Module) -> bool:
    open_ended = outer not in ("tuple", "Tuple") or any(isinstance(e, ast.Constant) and e.value is ... for e in inner)
    if open_ended:
        return all(fits(value, inner[0], module) for value in values)
    return len(values) == len(inner) and all(fits(v, e, module) for v, e in zip(values, inner, strict=True))


def _fits_name(value: Plain, annotation: ast.Name | ast.Attribute, module: Module) -> bool:
    name = _last_word(annotation)
    if name in _SCALARS:
        return isinstance(value, _SCALARS[name]) and (name == "bool" or not isinstance(value, bool))
    if name in _SEQUENCES:
        return isinstance(value, list)
    if name in _MAPPINGS:
        return isinstance(value, dict)
    definition = _alias(annotation, module)
    if definition is None:
        return True
    if isinstance(definition.node, ast.ClassDef):
        return _is_plain_class(definition.node) or not isinstance(value, bool | int | float | str)
    return not isinstance(definition.node, ast.expr) or fits(value, definition.node, definition.module)


def _is_plain_class(node: ast.ClassDef) -> bool:
    """Tell whether a class may stand for plain values: enums, subclasses of str, and protocols."""
    bases = {_last_word(base.value if isinstance(base, ast.Subscript) else base) for base in node.bases}
    return bool(bases & {"Enum", "StrEnum", "IntEnum", "LightningEnum", "str", "int", "float", "Protocol"})


def _alias(annotation: ast.Name | ast.Attribute, module: Module) -> Definition | None:
    try:
        found = resolve(module, annotation)
    except (NotFoundError, NotUnderstoodError):
        return None
    return found if isinstance(found, Definition) and found.node is not annotation else None


def _elements(inner: ast.expr) -> list[ast.expr]:
    return list(inner.elts) if isinstance(inner, ast.Tuple) else [inner]


def _last_word(expression: ast.expr) -> str:
    return ast.unparse(expression).rpartition(".")[2]


def _as_yaml(value: Plain) -> str:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else json.dumps(value).strip('"')
