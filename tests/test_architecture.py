"""Check the rules of docs/architecture.md: where libraries are imported, and the sizes and names of files and functions.

import-linter checks the imports inside hrpose: see .importlinter and `make lint`.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "hrpose"
FILES = sorted(SOURCE.rglob("*.py"))
MAX_FILE_LINES = 450
MAX_FUNCTION_LINES = 40  # of its body, without the docstring

# Library -> the parts of hrpose that may import it.
IMPORTERS = {
    "hydra": ("config", "cli", "tasks"),
    "omegaconf": ("config", "cli", "tasks"),
    "lightning": ("data/datamodule", "module", "callbacks", "tasks"),
    "torchmetrics": ("metrics",),
    "cv2": ("data", "media", "annotations/images", "synthetic", "visualize", "estimator/detectors"),
    "albumentations": ("data",),
    "simplejpeg": ("media",),
    "pycocotools": ("metrics", "annotations/regions"),
    "onnxruntime": ("export", "estimator/detectors"),
    "transformers": ("estimator/detectors",),
    "openvino": ("export",),
}
# Parts that import only torch and numpy.
ARITHMETIC = (
    *("models", "codecs", "losses", "schedules", "inference", "metrics/functional", "tracking", "structures", "geometry"),
    "skeletons",
    "soft_argmax",
    "errors",
    "files",
)
UNUSED_WORDS = {"joints", "pts", "kpts", "utils", "util", "helper", "helpers", "manager", "misc"}
DRAWN_BODIES = ("synthetic",)  # its joints connect bones; they are not keypoints of an annotation


def part_of(file: Path) -> str:
    return file.relative_to(SOURCE).with_suffix("").as_posix()


def is_in(file: Path, parts: tuple[str, ...]) -> bool:
    return any(part_of(file) == name or part_of(file).startswith(f"{name}/") for name in parts)


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(), filename=str(file))


def imported_packages(tree: ast.AST) -> set[str]:
    """Collect the top-level names of all packages that are imported anywhere in a file."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names


def is_import(node: ast.AST) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def num_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function's body without its docstring."""
    has_docstring = ast.get_docstring(function, clean=False) is not None
    body = function.body[1:] if has_docstring else function.body
    return (function.end_lineno or 0) - body[0].lineno + 1 if body else 0


def defined_names(tree: ast.AST) -> set[str]:
    """Collect the names of all functions, classes, arguments and assigned variables."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def faults(find: Callable[[Path], object]) -> dict[str, object]:
    """Collect what `find` finds in each file of the package."""
    found = {part_of(file): find(file) for file in FILES}
    return {name: fault for name, fault in found.items() if fault}


def test_a_library_is_imported_only_in_its_parts() -> None:
    def misplaced(file: Path) -> set[str]:
        return {name for name in imported_packages(tree_of(file)) if name in IMPORTERS and not is_in(file, IMPORTERS[name])}

    assert faults(misplaced) == {}


def test_arithmetic_imports_only_torch_and_numpy() -> None:
    def needed(file: Path) -> set[str]:
        if not is_in(file, ARITHMETIC):
            return set()
        imports = ast.Module(body=[node for node in tree_of(file).body if is_import(node)], type_ignores=[])
        return imported_packages(imports) - {"torch", "numpy", "hrpose"} - sys.stdlib_module_names

    assert faults(needed) == {}


def test_an_import_inside_a_function_has_a_comment() -> None:
    def uncommented(file: Path) -> list[str]:
        lines, found = file.read_text().splitlines(), []
        for function in functions(tree_of(file)):
            for node in filter(is_import, ast.walk(function)):
                first = node.lineno - 1
                while lines[first - 1].lstrip().startswith(("from ", "import ")):
                    first -= 1
                if not any("#" in line for line in lines[first - 1 : node.lineno]):
                    found.append(f"line {node.lineno}: {lines[node.lineno - 1].strip()}")
        return found

    assert faults(uncommented) == {}


def test_files_and_functions_are_short() -> None:
    def long(file: Path) -> dict[str, int]:
        sizes = {function.name: num_lines(function) for function in functions(tree_of(file))}
        found = {name: count for name, count in sizes.items() if count > MAX_FUNCTION_LINES}
        count = len(file.read_text().splitlines())
        return {**found, **({"the file": count} if count > MAX_FILE_LINES else {})}

    assert faults(long) == {}


def test_names_to_avoid_are_not_used() -> None:
    def unused(file: Path) -> set[str]:
        words = {word for name in defined_names(tree_of(file)) for word in name.lower().split("_")}
        allowed = {"joints"} if is_in(file, DRAWN_BODIES) else set()
        return (words - allowed | set(part_of(file).split("/"))) & UNUSED_WORDS

    assert faults(unused) == {}


def test_there_are_no_relative_imports_and_no_stars() -> None:
    def loose(file: Path) -> list[int]:
        imports = [node for node in ast.walk(tree_of(file)) if isinstance(node, ast.ImportFrom)]
        return [node.lineno for node in imports if node.level or any(alias.name == "*" for alias in node.names)]

    assert faults(loose) == {}


def test_json_is_written_without_nan() -> None:
    """json.dumps writes NaN and Infinity, which are not JSON."""

    def writers(file: Path) -> set[str]:
        calls = [node.func for node in ast.walk(tree_of(file)) if isinstance(node, ast.Call)]
        attributes = [call for call in calls if isinstance(call, ast.Attribute)]
        names = {call.attr for call in attributes if ast.unparse(call.value) == "json"}
        return set() if part_of(file) == "files" else names & {"dump", "dumps"}

    assert faults(writers) == {}
