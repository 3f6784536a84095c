import textwrap
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from itertools import count
from typing import Annotated, Any, Literal, Optional, Protocol, TypeVar, Union

import pytest
import torch
from compositions import CONF
from omegaconf import OmegaConf

from hrpose.config.build import UnknownTargetError, describe, find_signature, fits, literals, show_annotation

_numbers = count()
T = TypeVar("T")
Mode = Literal["min", "max"]
Precision = Union[Literal[16, 32], Mode]  # noqa: UP007 - as libraries write it


class Color(str, Enum):
    RED = "red"


class Source(Protocol): ...


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Write the files of a package, and return its name."""
    name = f"written_{next(_numbers)}"
    monkeypatch.syspath_prepend(tmp_path)

    def write(**files: str) -> str:
        for module, text in {"init": "", **files}.items():
            path = tmp_path / name / ("__init__.py" if module == "init" else module.replace("__", "/") + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return name

    return write


def names(target: str) -> list[str]:
    return list(find_signature(target).parameters)


def required(target: str) -> list[str]:
    return [parameter.name for parameter in find_signature(target).parameters.values() if parameter.required]


def hints(target: str) -> dict[str, Any]:
    return {parameter.name: parameter.hint for parameter in find_signature(target).parameters.values()}


def test_arguments_of_a_class_and_of_a_function(package):
    name = package(
        a="""
        class Net:
            def __init__(self, width, /, depth: int = 3, *, bias: bool): ...
        class Empty: ...
        def make(folder, size=2, **others): ...
        """
    )
    assert names(f"{name}.a.Net") == ["width", "depth", "bias"]
    assert required(f"{name}.a.Net") == ["width", "bias"]
    assert hints(f"{name}.a.Net") == {"width": Any, "depth": int, "bias": bool}
    assert names(f"{name}.a.Empty") == []
    assert names(f"{name}.a.make") == ["folder", "size"]
    assert find_signature(f"{name}.a.make").open_ended
    assert not find_signature(f"{name}.a.Net").open_ended


def test_annotations_are_resolved_in_the_class_that_defines_them(package):
    name = package(
        a="""
        from __future__ import annotations
        from dataclasses import dataclass
        from pathlib import Path as Place
        class Base:
            def __init__(self, folder: Place): ...
        @dataclass
        class Codec:
            first: Place
        """,
        b="""
        from __future__ import annotations
        from dataclasses import dataclass, field
        from typing import ClassVar
        from . import a
        class Net(a.Base): ...
        @dataclass
        class Codec(a.Codec):
            second: Size = 2
            third: list[int] = field(default_factory=list)
            fourth: int = field(init=False, default=3)
            fifth: int = field(kw_only=True)
            sixth: ClassVar[int] = 1
        Size = float
        """,
    )
    assert [hint.__name__ for hint in hints(f"{name}.b.Net").values()] == ["Path"]
    assert names(f"{name}.b.Codec") == ["first", "second", "third", "fifth"]
    assert required(f"{name}.b.Codec") == ["first", "fifth"]
    assert [hints(f"{name}.b.Codec")[key] for key in ("second", "third", "fifth")] == [float, list[int], int]
    assert hints(f"{name}.b.Codec")["first"].__name__ == "Path"


def test_only_an_annotation_that_cannot_be_resolved_is_skipped(package):
    name = package(
        a="""
        from __future__ import annotations
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            from nowhere import Thing
        def make(thing: Thing, size: int, other: list[Thing]): ...
        """
    )
    assert hints(f"{name}.a.make") == {"thing": Any, "size": int, "other": Any}


def test_class_methods_are_targets(package):
    name = package(
        a="""
        class Base:
            @classmethod
            def from_names(cls, names: str, title=""): ...
        class Skeleton(Base):
            @staticmethod
            def from_file(file): ...
        """,
        below__deep="def make(size): ...",
    )
    assert hints(f"{name}.a.Skeleton.from_names") == {"names": str, "title": Any}
    assert names(f"{name}.a.Skeleton.from_file") == ["file"]
    assert names(f"{name}.below.deep.make") == ["size"]


def test_a_torch_module_without_constructor_has_no_arguments():
    signature = find_signature("hrpose.losses.HeatmapOffsetMSELoss")
    assert (dict(signature.parameters), signature.open_ended) == ({}, False)


def test_compiled_functions_have_signatures():
    assert names("math.fsum") == ["seq"]
    assert find_signature("builtins.dict").open_ended


@pytest.mark.parametrize(
    ("target", "named"),
    [
        ("torch.optim.Adm", "Did you mean torch.optim.Adam?"),
        ("torch.optm.Adam", "Did you mean torch.optim?"),
        ("hrpose.models.HRNett", "Did you mean hrpose.models.HRNet?"),
        ("hrpose.skeletons.Skeleton.from_name", "Did you mean hrpose.skeletons.Skeleton.from_names?"),
        ("torhc.optim.Adam", "'torhc'"),
        ("torch.optim", "is a module"),
        ("math.pi", "is a float"),
        ("", "''"),
    ],
)
def test_an_unknown_target_is_refused_with_similar_names(target, named):
    with pytest.raises(UnknownTargetError) as caught:
        find_signature(target)
    assert named in str(caught.value)


def test_a_module_that_cannot_be_imported_is_refused_with_the_reason(package):
    name = package(a="import nowhere_at_all", b="1 / 0")
    with pytest.raises(UnknownTargetError, match="nowhere_at_all"):
        find_signature(f"{name}.a.Net")
    with pytest.raises(UnknownTargetError, match="ZeroDivisionError"):
        find_signature(f"{name}.b.Net")


def test_the_arguments_of_every_target_in_the_conf_folder_have_resolved_types():
    """A type that is imported for type checkers only would go unchecked. Two of libraries do."""
    unresolved: set[str] = set()
    for file in CONF.rglob("*.yaml"):
        for target in _targets(OmegaConf.to_container(OmegaConf.load(file))):
            try:
                parameters = find_signature(target).parameters.values()
            except UnknownTargetError as error:
                assert "is not installed" in str(error)  # noqa: PT017 - an optional library
                continue
            unresolved |= {f"{target}.{p.name}" for p in parameters if p.hint is Any and p.text not in ("Any", "")}
    assert unresolved <= {"lightning.pytorch.loggers.WandbLogger.experiment", "torch.optim.lr_scheduler.MultiStepLR.milestones"}


def _targets(node: object) -> list[str]:
    if isinstance(node, list):
        return [target for value in node for target in _targets(value)]
    if not isinstance(node, dict):
        return []
    return [*([node["_target_"]] if "_target_" in node else []), *(t for value in node.values() for t in _targets(value))]


@pytest.mark.parametrize(
    ("hint", "good", "bad"),
    [
        (int, [1, 0, -3], [True, 1.5, "1", None, [1], {}]),
        (float, [1, 1.5, 1e-3], [True, "1e-3", None, [1.0]]),
        (str, ["", "a"], [1, True, None, ["a"]]),
        (bool, [True, False], [0, 1, "true", None]),
        (type(None), [None], [0, ""]),
        (int | None, [1, None], ["a", 1.5]),
        (Optional[int], [1, None], ["a"]),  # noqa: UP045
        (Union[int, str], [1, "a"], [None, 1.5]),  # noqa: UP007
        (Sequence[int], [[], [1, 2]], [1, "ab", [1, "a"], None]),
        (list[list[int]], [[[1]], []], [[1]]),
        (tuple[int, int], [[1, 2]], [[1], [1, 2, 3], [1, 2.5], 1]),
        (tuple[int, ...], [[], [1, 2, 3]], [["a"]]),
        (Mapping[str, float], [{}, {"a": 1}], [[1], {"a": "b"}]),
        (dict, [{}], [[]]),
        (list, [[1]], ["a", {}]),
        (Mode, ["min"], ["mean", None, 1]),
        (Literal[1, "a"], [1, "a"], [True, "1"]),
        (Optional[Mode], ["max", None], ["mx"]),  # noqa: UP045
        (Precision, [16, "min"], ["16", 64]),
        (float | torch.Tensor, [1.0, [1]], ["abc", {"a": 1}]),
        (torch.Tensor, [[1], {"_target_": "torch.ones"}], [1, "a", True]),
        (Color, ["red"], []),
        (Source, ["a", 1], []),
        (Annotated[int, "pixels"], [1], ["a"]),
        (int, [{"_target_": "builtins.int"}], [{"a": 1}]),
        (Any, [1, None, "a", [], {}], []),
        (object, [1, None, "a"], []),
        (T, [1, "a"], []),
        (Callable[[int], int], ["a"], []),
    ],
)
def test_values_fit_their_annotation(hint, good, bad):
    assert [value for value in good if not fits(value, hint)] == []
    assert [value for value in bad if fits(value, hint)] == []


def test_choices_are_listed_through_aliases_and_unions():
    assert literals(Precision) == [16, 32, "min", "max"]
    assert describe(Precision, "Precision") == "one of 16, 32, min, max"
    assert literals(Mode | int) == []
    assert describe(int | None, show_annotation(int | None)) == "int | None"
    assert describe(int | None, show_annotation("'int | None'")) == "int | None"
