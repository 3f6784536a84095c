"""Ids are exact integers of 64 bits, or refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrpose.structures import exact_int64, exact_integer


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_integer_of_64_bits_is_exact(value: int) -> None:
    assert exact_integer(value) == value
    assert exact_int64(np.array([value]), "ids").tolist() == [value]


@given(st.floats())
def test_a_float_is_an_integer_if_it_is_whole_and_below_2_53(value: float) -> None:
    integer = exact_integer(value)
    assert (integer is not None) == (value.is_integer() and abs(value) < 2**53)
    assert integer is None or float(integer) == value


@pytest.mark.parametrize("value", [1.5, float("nan"), float("inf"), 2.0**53, -(2.0**53), 2**63, True, "1", None, [1]])
def test_everything_else_is_none(value: object) -> None:
    assert exact_integer(value) is None


@pytest.mark.parametrize(
    "values", [np.array([1.0]), np.array([2**63], np.uint64), np.array(["1"]), np.array([2**63, -1])]
)
def test_arrays_without_exact_integers_are_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="Expected my ids"):
        exact_int64(values, "my ids")


def test_short_and_unsigned_integers_are_widened() -> None:
    for kind in (np.uint64, np.int32, np.bool_):
        widened = exact_int64(np.array([1, 0], kind), "ids")
        assert (widened.dtype, widened.tolist()) == (np.int64, [1, 0])
