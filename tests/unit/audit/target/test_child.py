"""The pieces of the program that runs in the audited interpreter."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazyguard.audit.target.child import encode, is_first_party

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


@pytest.mark.parametrize(
    ("file", "owned"),
    [
        ("/app/core/tasks.py", True),
        ("/app/core/.venv/lib/python3.11/site-packages/redis/client.py", False),
        ("/app/corex/tasks.py", False),
        ("/app/single.py", True),
        ("/app/single.py.bak", False),
        ("<string>", False),
    ],
)
def test_first_party_is_what_lies_below_a_root(file: str, owned: bool) -> None:
    """Files of the audited packages are first-party; what is installed below them is not."""
    assert is_first_party(file, ("/app/core/", "/app/single.py")) is owned


def test_a_root_in_site_packages_is_first_party() -> None:
    """An installed package can be the target itself."""
    assert is_first_party("/v/site-packages/celery/app.py", ("/v/site-packages/celery/",))
