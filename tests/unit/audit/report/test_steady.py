"""What is compared between two runs of the same program is the same."""

from __future__ import annotations

import tempfile
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazyguard.audit.report.modules import steady

RANDOM = st.text("abcdefghijklmnopqrstuvwxyz0123456789_", min_size=8, max_size=8)
NAMES = {
    "makes the directory /tmp/app-local-{}-x": st.integers(1, 4_000_000),
    "opens /tmp/app-{}.lock for writing": st.uuids().map(lambda each: each.hex),
    "opens /tmp/{}/x for writing": st.uuids().map(str),
    "opens /tmp/tmp{} for writing": RANDOM,
    "makes the directory /tmp/app-local-7-{}": RANDOM,
    "makes the directory /srv/app/tmp/app-local-{}": st.integers(100, 4_000_000).flatmap(
        lambda pid: RANDOM.map(lambda end: f"{pid}{end}")
    ),
    "makes the directory /tmp/app_{}": st.text("abcdefghijklmnopqrstuvwxyz", min_size=8, max_size=8),
    "feed-{}": st.integers(0, 99999),
    "sleeps {} s": st.floats(0.001, 100, allow_nan=False).map(lambda each: f"{each:g}"),
    "Thread-{} (run)": st.integers(1, 50),
    "<object at 0x{:x}>": st.integers(2**30, 2**47),
    "core.a (core/a.py:{}) > core.b": st.integers(1, 9999),
}


@pytest.mark.parametrize("text", NAMES)
@given(data=st.data())
def test_what_a_run_chose_is_not_compared(text: str, data: st.DataObject) -> None:
    first, second = data.draw(NAMES[text]), data.draw(NAMES[text])

    assert steady("file-write", text.format(first)) == steady("file-write", text.format(second))


def test_a_temporary_name_that_looks_like_an_address_is_left_out_as_a_whole() -> None:
    assert steady("file-write", "opens /tmp/tmp00000x0g") == steady("file-write", "opens /tmp/tmpabcdefgh")


def test_an_endpoint_is_compared_whole() -> None:
    assert steady("connect", "10.0.0.1:5432") != steady("connect", "10.0.0.1:6379")
    assert steady("dns", "db1.example") != steady("dns", "db2.example")


def test_names_that_a_program_chose_are_kept() -> None:
    """Also beside one that the standard library made."""
    for text in ("opens /var/log/application.log for writing", "makes the directory cache-settings", "worker"):
        assert steady("file-write", text) == text
    assert steady("", tempfile.mktemp(prefix="a-")) != steady("", tempfile.mktemp(prefix="b-"))
    assert steady("", str(uuid.uuid4())) == "*"
