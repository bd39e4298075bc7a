"""The tree that grows from a child's events."""

from __future__ import annotations

from typing import Any

from lazyguard.audit.analysis.import_tree import Scope, Span, build

SCOPE = Scope("/app", ("/app/core/",))


def begin(at: float, name: str, file: str, thread: int = 1) -> list[Any]:
    return ["begin", at, thread, name, file, "/app/core/x.py", 7, "/app/core/x.py", 7, None, None]


def end(at: float, name: str, thread: int = 1) -> list[Any]:
    return ["end", at, thread, name, False]


EVENTS = [
    begin(0.0, "core", "/app/core/__init__.py"),
    begin(1.0, "redis", "/site/redis.py"),
    begin(2.0, "socket", "/lib/socket.py"),
    end(5.0, "socket"),
    end(6.0, "redis"),
    begin(6.0, "other", "/site/other.py", thread=2),
    end(7.0, "core"),
    begin(8.0, "core.views", "/app/core/views.py"),
]


def test_own_time_leaves_out_what_is_imported_within() -> None:
    """A body is charged with itself alone; the standard library counts as third-party, other threads do not count."""
    tree = build("core.views", EVENTS, SCOPE, main=1, now=10.0)
    assert tree.own_seconds("core") == 2.0
    assert tree.own_seconds("core.views") == 2.0
    assert tree.third_party_seconds() == 5.0


def test_what_did_not_end_is_open_until_now() -> None:
    """The innermost module that was running when the child ended, with the chain to it."""
    nested = [*EVENTS, begin(9.0, "core.cache", "/app/core/cache.py")]
    tree = build("core.views", nested, SCOPE, main=1, now=10.0)
    assert tree.open is not None
    assert tree.chain(tree.open) == ("core.views", "core.cache")
    assert tree.own_seconds("core.views") == 1.0


def test_an_end_without_its_begin_is_ignored() -> None:
    """A lost line costs no exception."""
    assert build("core", [end(1.0, "core")], SCOPE, main=1, now=2.0).spans == []


def test_what_was_executed_is_reported_with_its_parents() -> None:
    """Places in the list stand for parents, times begin with the import; what other threads imported is left out."""
    tree = build("core.views", EVENTS, SCOPE, main=1, now=10.0)
    reported = tree.executed(SCOPE, 0.0)
    assert [(each.module, each.parent, each.start, each.seconds) for each in reported] == [
        ("core", None, 0.0, 7.0),
        ("redis", 0, 1.0, 5.0),
        ("socket", 1, 2.0, 3.0),
        ("core.views", None, 8.0, 2.0),
    ]
    assert reported[0].first_party
    assert not reported[1].first_party
    assert (reported[3].file, str(reported[3].by)) == ("core/views.py", "core/x.py:7")


def test_a_short_import_of_a_foreign_module_is_not_reported() -> None:
    """What takes less than a millisecond is left out, and a first-party module below it has the next one above."""
    events = [
        begin(0.0, "core", "/app/core/__init__.py"),
        begin(1.0, "plugins", "/site/plugins.py"),
        begin(1.0001, "core.late", "/app/core/late.py"),
        end(1.0002, "core.late"),
        end(1.0003, "plugins"),
        end(2.0, "core"),
    ]
    reported = build("core", events, SCOPE, main=1, now=2.0).executed(SCOPE, 0.0)
    assert [(each.module, each.parent) for each in reported] == [("core", None), ("core.late", 0)]


def test_what_begins_after_the_import_has_ended_takes_no_time() -> None:
    """An import in an exit function has no time below zero."""
    late = Span("late", None, None, None, None, None, 1, 5.0, False)
    assert late.seconds(4.0) == 0.0
