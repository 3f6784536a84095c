"""JSON that every reader takes: no NaN, no Infinity."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrpose.strict_json import dumps

CONTENT = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


def refuse(token):
    raise AssertionError(f"{token} is no JSON")


def is_finite(content) -> bool:
    if isinstance(content, dict):
        return all(map(is_finite, content.values()))
    if isinstance(content, list | tuple):
        return all(map(is_finite, content))
    return not isinstance(content, float) or math.isfinite(content)


@given(CONTENT)
def test_what_is_written_has_no_number_that_json_lacks(content):
    read = json.loads(dumps(content, undefined_as_null=True), parse_constant=refuse)
    if is_finite(content):
        assert read == json.loads(dumps(content))
    else:
        with pytest.raises(ValueError, match=r"found NaN or infinity at \$"):
            dumps(content)


def test_the_place_is_named_and_null_stands_for_it():
    content = {"numbers": {"AP": 0.5, "APM": [1, (math.inf,)]}}
    with pytest.raises(ValueError, match=r"at \$\.numbers\.APM\[1\]\[0\]\."):
        dumps(content)
    assert dumps(content, undefined_as_null=True) == '{"numbers": {"AP": 0.5, "APM": [1, [null]]}}'
