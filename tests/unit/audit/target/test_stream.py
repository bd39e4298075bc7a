"""The lines that a child writes."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lazyguard.audit.target.stream import encode

values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    st.lists,
)


@given(values)
def test_encode_writes_json(value: Any) -> None:
    """What the child encodes without the json module, the parent reads with it, unchanged and from one ASCII line."""
    text = encode(value)
    assert text.isascii()
    assert "\n" not in text
    assert json.loads(text) == value


@given(st.text(alphabet=st.characters(categories=["Cs", "Cc", "So"])))
def test_encode_survives_any_text(text: str) -> None:
    """Lone surrogates, as file names have them, control characters and emoji come through."""
    read = json.loads(encode(text))
    assert read.encode("utf-16", "surrogatepass") == text.encode("utf-16", "surrogatepass")
