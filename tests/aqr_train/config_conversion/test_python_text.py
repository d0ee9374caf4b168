"""The text of a config says what the config says."""

from __future__ import annotations

import keyword
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from aqr_train.config_conversion.python_text import WIDTH, assignment

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(
            st.sampled_from(["type", "a", "class", "img_backbone.*", "b_1"]) | st.text(), inner, max_size=4
        )
    ),
)


def run(text: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(text, names)  # noqa: S102 - what was just written
    return names


@given(VALUES)
def test_the_text_is_the_value(value: Any) -> None:
    found = run(assignment("value", value))["value"]
    assert found == value and repr(found) == repr(run(f"value = {found!r}")["value"])


@given(VALUES)
def test_shared_values_are_named(value: Any) -> None:
    shared = [1, 2, 3]
    text = assignment("value", {"points": shared, "rest": value, "again": (1, 2, 3)}, {"_range": shared})
    assert run(f"_range = {shared!r}\n{text}")["value"] == {"points": shared, "rest": value, "again": shared}
    assert "points=_range" in text and "again=_range" in text


def test_type_stands_first_and_long_dicts_break() -> None:
    step = dict(rot_range=[-0.785, 0.785], type="GlobalRotScaleTransAll")
    assert assignment("step", step) == 'step = dict(type="GlobalRotScaleTransAll", rot_range=[-0.785, 0.785])'
    text = assignment("model", {"a": [step] * 3, "keys": {"img_backbone.*": dict(lr_mult=0.1), "for": 1}})
    assert text.startswith("model = dict(\n    a=[\n        dict(type=")
    assert keyword.iskeyword("for") and '"for": 1' in text
    assert max(map(len, text.splitlines())) <= WIDTH
