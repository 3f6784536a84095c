import ast

import pytest

from hrpose.config.annotations import describe, fits, literals
from hrpose.config.sources import Module


@pytest.fixture
def module(tmp_path) -> Module:
    file = tmp_path / "annotated.py"
    file.write_text(
        "from enum import Enum\n"
        "from typing import Literal, Optional, Protocol, TypeVar, Union\n"
        "T = TypeVar('T')\n"
        "Mode = Literal['min', 'max']\n"
        "Precision = Union[Literal[16, 32], Mode]\n"
        "class Tensor: ...\n"
        "class Color(str, Enum): ...\n"
        "class Source(Protocol): ...\n"
    )
    return Module("annotated", file, None)


def parse(annotation: str) -> ast.expr:
    return ast.parse(annotation, mode="eval").body


@pytest.mark.parametrize(
    ("annotation", "good", "bad"),
    [
        ("int", [1, 0, -3], [True, 1.5, "1", None, [1], {}]),
        ("float", [1, 1.5, 1e-3], [True, "1e-3", None, [1.0]]),
        ("str", ["", "a"], [1, True, None, ["a"]]),
        ("bool", [True, False], [0, 1, "true", None]),
        ("None", [None], [0, ""]),
        ("str | Path", ["a"], [1, None]),
        ("int | None", [1, None], ["a", 1.5]),
        ("Optional[int]", [1, None], ["a"]),
        ("Union[int, str]", [1, "a"], [None, 1.5]),
        ("'int | None'", [1, None], ["a"]),
        ("Sequence[int]", [[], [1, 2]], [1, "ab", [1, "a"], None]),
        ("list[list[int]]", [[[1]], []], [[1]]),
        ("tuple[int, int]", [[1, 2]], [[1], [1, 2, 3], [1, 2.5], 1]),
        ("tuple[int, ...]", [[], [1, 2, 3]], [["a"]]),
        ("Tuple[float, float]", [[0.9, 0.999]], [[0.9]]),
        ("Mapping[str, float]", [{}, {"a": 1}], [[1], {"a": "b"}]),
        ("dict", [{}], [[]]),
        ("list", [[1]], ["a", {}]),
        ("Literal['min', 'max']", ["min"], ["mean", None, 1]),
        ("Literal[1, 'a']", [1, "a"], [True, "1"]),
        ("Optional[Mode]", ["max", None], ["mx"]),
        ("Precision", [16, "min"], ["16", 64]),
        ("float | Tensor", [1.0], ["abc", [1]]),
        ("Tensor", [None, [1], {"_target_": "torch.ones"}], [1, "a", True]),
        ("Color", ["red"], []),
        ("Source", ["a", 1], []),
        ("Annotated[int, 'pixels']", [1], ["a"]),
        ("int", [{"_target_": "builtins.int"}], [{"a": 1}]),
        ("Any", [1, None, "a", [], {}], []),
        ("object", [1, None, "a"], []),
        ("T", [1, "a"], []),
        ("unheard.of", [1, "a"], []),
        ("Callable[[int], int]", ["a"], []),
    ],
)
def test_values_fit_their_annotation(module, annotation, good, bad):
    assert [value for value in good if not fits(value, parse(annotation), module)] == []
    # a list may stand for a class that takes one; only plain scalars are surely wrong
    bad = [value for value in bad if not (annotation == "float | Tensor" and isinstance(value, list))]
    assert [value for value in bad if fits(value, parse(annotation), module)] == []


def test_an_annotation_is_described_in_its_own_words(module):
    assert describe(parse("int | None"), module) == "int | None"
    assert describe(parse("'int | None'"), module) == "int | None"


def test_choices_are_listed_through_aliases_and_unions(module):
    assert literals(parse("Precision"), module) == [16, 32, "min", "max"]
    assert describe(parse("Precision"), module) == "one of 16, 32, min, max"
    assert literals(parse("Mode | int"), module) == []
