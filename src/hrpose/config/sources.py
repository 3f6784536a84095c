"""Find a class or function by its dotted name in source files, without importing anything.

Checking `_target_: torch.optim.Adam` must not cost the seconds that importing torch takes, so names are followed from file to
file with `ast`: through packages, `from .x import Y`, `import x as y`, `Y = x.Y` and `from x import *`.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, cached_property
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_Binding: TypeAlias = ast.ClassDef | Function | ast.expr | tuple[str, str | None]


class NotUnderstoodError(Exception):
    """The name may exist, but only importing its module can tell."""


class NotFoundError(Exception):
    """The name does not exist.

    Args:
        owner: the dotted name of the module or class where it was sought; empty for a package.
        name: what was sought there.
        choices: what stands there.
    """

    def __init__(self, owner: str, name: str, choices: list[str]) -> None:
        super().__init__(name)
        self.owner = owner
        self.name = name
        self.choices = choices


@dataclass(frozen=True, eq=False)
class Module:
    """The source of a module: `file` is None for a package without `__init__.py`, `folder` is None for a plain module."""

    name: str
    file: Path | None
    folder: Path | None

    @cached_property
    def text(self) -> str:
        """The source text."""
        return self.file.read_text(encoding="utf-8") if self.file else ""

    @cached_property
    def names(self) -> dict[str, _Binding]:
        """What the module binds: classes, functions, expressions, and (module, name) for imports."""
        names: dict[str, _Binding] = {}
        for statement in _statements(ast.parse(self.text).body):
            for name, binding in self._bindings(statement):
                names[name] = binding
        return names

    @cached_property
    def stars(self) -> list[str]:
        """The modules that it imports everything from."""
        if "import *" not in self.text:
            return []
        found = [node for node in _statements(ast.parse(self.text).body) if isinstance(node, ast.ImportFrom)]
        return [self._absolute(node) for node in found if node.names[0].name == "*"]

    def _bindings(self, statement: ast.stmt) -> Iterator[tuple[str, _Binding]]:
        match statement:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name, statement
            case ast.ImportFrom(names=aliases):
                home = self._absolute(statement)
                yield from ((alias.asname or alias.name, (home, alias.name)) for alias in aliases if alias.name != "*")
            case ast.Import(names=aliases):
                for alias in aliases:
                    first = alias.name.partition(".")[0]
                    yield (alias.asname, (alias.name, None)) if alias.asname else (first, (first, None))
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                yield name, value
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                yield name, value
            case _:
                pass

    def _absolute(self, node: ast.ImportFrom) -> str:
        if node.level == 0:
            return node.module or ""
        parts = self.name.split(".")
        up = node.level - 1 if self.folder else node.level
        return ".".join(parts[: len(parts) - up] + ([node.module] if node.module else []))


@dataclass(frozen=True, eq=False)
class Definition:
    """A class, a function or an expression, and the module whose names it uses."""

    name: str
    node: ast.ClassDef | Function | ast.expr
    module: Module


Found: TypeAlias = Module | Definition


@cache
def load_module(name: str) -> Module | None:
    """Find a module's source, or None where there is no such module.

    Raises:
        NotUnderstoodError: the module is not made of Python source.
    """
    parent, _, last = name.rpartition(".")
    if not parent:
        return _load_top(name)
    package = load_module(parent)
    if package is None or package.folder is None:
        return None
    folder = package.folder / last
    if folder.is_dir():
        init = folder / "__init__.py"
        return Module(name, init if init.is_file() else None, folder)
    if (file := package.folder / f"{last}.py").is_file():
        return Module(name, file, None)
    if any(package.folder.glob(f"{last}.*.so")) or any(package.folder.glob(f"{last}.*.pyd")):
        raise NotUnderstoodError(name)
    return None


def find(target: str) -> Found:
    """Find what a dotted name stands for.

    Raises:
        NotFoundError: there is no such name.
        NotUnderstoodError: only importing can tell.
    """
    first, *rest = target.split(".")
    here: Found | None = load_module(first)
    if here is None:
        raise NotFoundError("", first, [])
    for position, part in enumerate(rest):
        here = _member(here, part, is_last=position == len(rest) - 1)
    return here


def look_up(module: Module, name: str, seen: frozenset[tuple[str, str]] = frozenset()) -> Found | None:
    """Find what a name stands for inside a module, or None where the module does not bind it.

    Raises:
        NotUnderstoodError: only importing can tell.
    """
    if (module.name, name) in seen:
        return None
    seen |= {(module.name, name)}
    if name in module.names:
        return _follow(module, name, module.names[name], seen)
    for star in module.stars:
        source = load_module(star)
        if source is None:
            raise NotUnderstoodError(f"{module.name}.{name}")
        mentioned = name in source.text or "import *" in source.text
        if mentioned and (found := look_up(source, name, seen)) is not None:
            return found
    if "__getattr__" in module.names:
        raise NotUnderstoodError(f"{module.name}.{name}")
    return None


def resolve(module: Module, expression: ast.expr) -> Found | None:
    """Find what `Name` or `package.Name` stands for inside a module; None for builtins and for other expressions.

    Raises:
        NotUnderstoodError: only importing can tell.
    """
    match expression:
        case ast.Name(id=name):
            return look_up(module, name)
        case ast.Attribute(value=value, attr=attribute):
            owner = resolve(module, value)
            return None if owner is None else _member(owner, attribute, is_last=True)
        case ast.Subscript(value=value):
            return resolve(module, value)
        case _:
            return None


def public_names(module: Module) -> list[str]:
    """List what a module offers: what it binds, and its submodules."""
    below = [entry.stem for entry in module.folder.iterdir() if entry.suffix in ("", ".py")] if module.folder else []
    imported = [name for star in module.stars if (source := load_module(star)) for name in public_names(source)]
    return sorted({name for name in [*module.names, *below, *imported] if not name.startswith("_")})


def class_bases(definition: Definition) -> Iterator[Definition]:
    """Give the classes that a class inherits from, in order; those that are no Python source (`object`) are left out.

    Raises:
        NotUnderstoodError: a base cannot be found without importing.
    """
    assert isinstance(definition.node, ast.ClassDef)
    for base in definition.node.bases:
        found = resolve(definition.module, base)
        if isinstance(found, Definition) and isinstance(found.node, ast.ClassDef):
            yield found
        elif found is not None or not isinstance(base, ast.Name | ast.Subscript | ast.Attribute):
            raise NotUnderstoodError(f"{definition.module.name}.{definition.name}")


def class_member(definition: Definition, name: str) -> Definition | None:
    """Find a method of a class, or of the classes it inherits from.

    Raises:
        NotUnderstoodError: a base cannot be found without importing.
    """
    assert isinstance(definition.node, ast.ClassDef)
    for statement in definition.node.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and statement.name == name:
            return Definition(name, statement, definition.module)
    found = (class_member(base, name) for base in class_bases(definition))
    return next((member for member in found if member is not None), None)


def _load_top(name: str) -> Module | None:
    spec: ModuleSpec | None = find_spec(name) if name.isidentifier() else None
    if spec is None:
        return None
    folder = Path(next(iter(spec.submodule_search_locations))) if spec.submodule_search_locations else None
    if spec.origin is None:
        return Module(name, None, folder)
    if not spec.origin.endswith(".py"):
        raise NotUnderstoodError(name)
    return Module(name, Path(spec.origin), folder)


def _member(owner: Found, name: str, *, is_last: bool) -> Found:
    """Find `owner.name`. On the way, a submodule goes before a name of the package: its file need not be read then."""
    if isinstance(owner, Module):
        module = load_module(f"{owner.name}.{name}")
        if module is not None and (not is_last or name not in owner.names):
            return module
        found = _look_up_or_guess(owner, name, is_last=is_last) or module
        if found is None:
            raise NotFoundError(owner.name, name, public_names(owner))
        return found
    if not isinstance(owner.node, ast.ClassDef):
        raise NotUnderstoodError(name)
    member = class_member(owner, name)
    if member is None:
        methods = [node.name for node in owner.node.body if isinstance(node, ast.FunctionDef)]
        full = f"{owner.module.name}.{owner.name}"
        raise NotFoundError(full, name, [known for known in methods if not known.startswith("_")])
    return member


def _look_up_or_guess(module: Module, name: str, *, is_last: bool) -> Found | None:
    """Look a name up; a misspelt package among real ones is a mistake, even where a module could make up names as it runs."""
    try:
        return look_up(module, name)
    except NotUnderstoodError:
        if is_last or not get_close_matches(name, public_names(module), cutoff=0.8):
            raise
        return None


def _follow(module: Module, name: str, binding: _Binding, seen: frozenset[tuple[str, str]]) -> Found | None:
    match binding:
        case (home, None):
            return load_module(home)
        case (home, str() as original):
            source = load_module(home)
            if source is None:
                return None
            return look_up(source, original, seen) or load_module(f"{home}.{original}")
        case ast.Name() | ast.Attribute():
            return resolve(module, binding) or Definition(name, binding, module)
        case _:
            assert isinstance(binding, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.expr)
            return Definition(name, binding, module)


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Walk a module's statements, those under `if`, `try` and `with` too; the first branch comes last, so that it wins."""
    for statement in body:
        match statement:
            case ast.If(body=then, orelse=otherwise):
                yield from _statements(otherwise)
                yield from _statements(then)
            case ast.Try(body=then, handlers=handlers, orelse=otherwise):
                for handler in handlers:
                    yield from _statements(handler.body)
                yield from _statements(then)
                yield from _statements(otherwise)
            case ast.With(body=then):
                yield from _statements(then)
            case _:
                yield statement
