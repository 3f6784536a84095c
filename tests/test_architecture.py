"""The house as docs/architecture.md draws it: fences by package, and sizes and names that keep files readable.

The floors (who may import whom inside hrpose) are import-linter's part, see .importlinter and `make lint`.
"""

from __future__ import annotations

import ast
import sys
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "hrpose"
FILES = sorted(SOURCE.rglob("*.py"))
MAX_FILE_LINES = 450
MAX_FUNCTION_LINES = 40  # of its body, without the docstring

# Package -> the rooms that may import it.
FENCES = {
    "hydra": ("config", "cli", "tasks"),
    "omegaconf": ("config", "cli", "tasks"),
    "lightning": ("data/datamodule", "module", "callbacks", "tasks"),
    "torchmetrics": ("metrics",),
    "cv2": ("data", "media", "annotations/image_checks", "synthetic", "visualize", "estimator/detectors"),
    "albumentations": ("data",),
    "simplejpeg": ("media",),
    "pycocotools": ("metrics",),
    "onnxruntime": ("export", "estimator/detectors"),
    "transformers": ("estimator/detectors",),
    "openvino": ("export",),
}
# Rooms that need torch and numpy alone.
ARITHMETIC = (
    *(
        "models",
        "codecs",
        "losses",
        "schedules",
        "inference",
        "metrics/functional",
        "tracking",
        "structures",
        "geometry",
    ),
    "skeletons",
    "soft_argmax",
    "errors",
    "files",
)
UNUSED_WORDS = {"joints", "pts", "kpts", "utils", "util", "helper", "helpers", "manager", "misc"}
DRAWN_BODIES = ("synthetic",)  # their joints are of bones, not keypoints of an annotation


def room(file: Path) -> str:
    return file.relative_to(SOURCE).with_suffix("").as_posix()


def is_in(file: Path, rooms: tuple[str, ...]) -> bool:
    return any(room(file) == name or room(file).startswith(f"{name}/") for name in rooms)


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


@pytest.fixture(params=FILES, ids=room)
def file(request) -> Path:
    return request.param


def test_a_fenced_package_is_imported_in_its_rooms_only(file):
    trespassing = {
        name for name in imported_packages(tree_of(file)) if name in FENCES and not is_in(file, FENCES[name])
    }
    assert trespassing == set()


def test_arithmetic_needs_torch_and_numpy_alone(file):
    tree = tree_of(file)
    if is_in(file, ARITHMETIC):
        needed = imported_packages(ast.Module(body=[node for node in tree.body if is_import(node)], type_ignores=[]))
        assert needed - {"torch", "numpy", "hrpose"} - sys.stdlib_module_names == set()


def test_an_import_inside_a_function_says_why(file):
    lines = file.read_text().splitlines()
    silent = []
    for function in functions(tree_of(file)):
        for node in filter(is_import, ast.walk(function)):
            first = node.lineno - 1
            while lines[first - 1].lstrip().startswith(("from ", "import ")):
                first -= 1
            if not any("#" in line for line in lines[first - 1 : node.lineno]):
                silent.append(f"line {node.lineno}: {lines[node.lineno - 1].strip()}")
    assert silent == []


def test_files_and_functions_can_be_read(file):
    assert len(file.read_text().splitlines()) <= MAX_FILE_LINES
    long = {function.name: num_lines(function) for function in functions(tree_of(file))}
    assert {name: count for name, count in long.items() if count > MAX_FUNCTION_LINES} == {}


def test_one_word_per_concept(file):
    words = {word for name in defined_names(tree_of(file)) for word in name.lower().split("_")}
    unused = UNUSED_WORDS - {"joints"} if is_in(file, DRAWN_BODIES) else UNUSED_WORDS
    assert words & unused == set()
    assert set(room(file).split("/")) & UNUSED_WORDS == set()


def test_no_relative_imports_and_no_stars(file):
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: name the module in full"
            assert all(alias.name != "*" for alias in node.names), f"line {node.lineno}: name what is imported"


def test_json_is_written_without_nan(file):
    """json.dumps writes NaN and Infinity, which are no JSON; config/annotations only quotes a value in a message."""
    writers = {
        node.func.attr
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and ast.unparse(node.func.value) == "json"
    }
    assert not writers & {"dump", "dumps"} or room(file) in ("files", "config/annotations")
