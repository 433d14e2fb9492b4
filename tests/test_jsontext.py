"""JSON that every parser takes, whatever it is made from."""

import json
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vlad.jsontext import to_json
from vlad.messages import Level, Mode

texts = st.text(st.characters(exclude_categories=()))
leaves = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=20)


def strict(text: str) -> object:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    assert "\n" not in text
    return json.loads(text, parse_constant=refuse)


@given(values)
def test_any_plain_value_becomes_one_line_of_strict_json(value: object) -> None:
    strict(to_json(value))


def test_what_has_no_json_form_becomes_the_nearest_that_has() -> None:
    value = {"a": np.float64("nan"), "b": np.arange(2), "c": Path("/x"), 1: {2}, "m": Mode.ESTOP,
             "l": Level.DANGER, "o": object}  # fmt: skip
    expected = {
        "a": None, "b": [0, 1], "c": "/x", "1": [2], "m": "estop", "l": 3, "o": "<class 'object'>",
    }  # fmt: skip
    assert strict(to_json(value)) == expected
    half = {"name": Path("/\udcff"), "half": "\udcff"}
    assert strict(to_json(value | half)) == expected | {"name": "/\udcff", "half": "\udcff"}
