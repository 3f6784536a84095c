from dataclasses import dataclass
from fractions import Fraction
from functools import partial

import pytest
from omegaconf import OmegaConf

from hrpose.config import ConfigError, build, plain


@dataclass(frozen=True)
class Size:
    width: int
    height: int = 1


def describe(*, size: object = None, options: object = None) -> tuple[object, object]:
    return size, options


def refuse(*, width: int) -> None:
    raise ValueError(f"Expected a positive width, but got {width}.")


HERE = __name__


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Import this file by the module name that nodes use."""
    import sys

    monkeypatch.setitem(sys.modules, "building", sys.modules[HERE])


def node(**content: object):
    return OmegaConf.create({"group": {"part": content}}).group.part


def test_null_builds_nothing():
    assert build(None) is None


def test_arguments_arrive_as_plain_containers():
    size, options = build(node(_target_="building.describe", size=[1, 2], options={"a": [3]}))
    assert (size, options) == ([1, 2], {"a": [3]})
    assert (type(size), type(options), type(options["a"])) == (list, dict, list)


def test_given_objects_are_passed_as_they_are():
    size = Size(2)
    given = build(node(_target_="building.describe"), size=size, options=[size])
    assert given[0] is size
    assert given[1][0] is size


def test_given_arguments_have_precedence():
    assert build(node(_target_="building.describe", size=1), size=2) == (2, None)


def test_nested_nodes_are_built():
    built = build(node(_target_="building.describe", size={"_target_": "building.Size", "width": 3}))
    assert built == (Size(3), None)


def test_interpolations_outside_the_node_are_resolved():
    cfg = OmegaConf.create({"width": 5, "part": {"_target_": "building.Size", "width": "${width}"}})
    assert build(cfg.part) == Size(5)


def test_a_partial_accepts_the_remaining_arguments():
    waiting = build(node(_target_="building.Size", _partial_=True, height=4))
    assert isinstance(waiting, partial)
    assert waiting(width=3) == Size(3, 4)
    assert build(node(_target_="building.Size", _partial_=True), height=6)(width=3) == Size(3, 6)


def test_an_error_has_the_full_key_and_the_message_of_the_target():
    with pytest.raises(ConfigError) as caught:
        build(node(_target_="building.refuse", width=-1))
    assert str(caught.value) == "group.part: Expected a positive width, but got -1."
    assert isinstance(caught.value.__cause__, ValueError)


def test_an_error_of_a_nested_node_has_its_own_key():
    with pytest.raises(ConfigError, match=r"group\.part\.size"):
        build(node(_target_="building.describe", size={"_target_": "building.refuse", "width": -1}))


def test_a_type_error_is_named():
    with pytest.raises(ConfigError, match=r"group\.part.*TypeError.*'depth'"):
        build(node(_target_="building.Size", width=1, depth=2))


def test_other_errors_are_not_converted():
    with pytest.raises(ZeroDivisionError):
        build(node(_target_="fractions.Fraction"), numerator=1, denominator=0)
    assert build(node(_target_="fractions.Fraction", numerator=1, denominator=2)) == Fraction(1, 2)


def test_plain_containers_have_resolved_interpolations():
    cfg = OmegaConf.create({"a": [1, {"b": "${c}"}], "c": 3})
    assert plain(cfg) == {"a": [1, {"b": 3}], "c": 3}
    assert type(plain(cfg)["a"]) is list
    assert plain("${c}") == "${c}"
