"""Who counts calls and attempts: each of them all, and nobody after they have ended it."""

from __future__ import annotations

import pytest

from lazyguard._core import observers
from lazyguard._core.cell import Cell
from lazyguard._core.state import Outcome
from lazyguard._core.threads import resolved
from lazyguard.errors import ResolutionError


class Counter:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.attempts: list[tuple[str, str]] = []
        self.end = observers.observe(self)

    def counter(self, name: str, ended: str):
        return lambda: self.calls.append((name, ended))

    def attempted(self, name: str, ended: str, seconds: float) -> None:
        assert seconds >= 0.0 or ended == "interrupted"  # what another test has left, under another clock
        self.attempts.append((name, ended))


@pytest.fixture
def observe(monkeypatch):
    """Return what makes a counter; nobody else counts in the test."""
    monkeypatch.setattr(observers, "observers", {})
    return Counter


@pytest.mark.parametrize("many", [1, 2, 3])
def test_all_who_count_are_told(observe, many):
    """Each is told of every call by its name and its end, after the one whose count it is."""
    counters = [observe() for _ in range(many)]
    own: list[bool] = []
    count = observers.counting("f", own.append)
    count(True)
    count(False)
    observers.called("f", "refused")
    assert own == [True, False]
    for counter in counters:
        assert counter.calls == [("f", "ok"), ("f", "failed"), ("f", "refused")]
        assert counter.attempts == []


def test_where_nobody_counts_nothing_is_put_between(observe):
    """The count itself is what is called then; so it is again after the last one has ended."""
    own: list[bool] = []
    count = own.append
    assert observers.counting("f", count) is count
    first, second = observe(), observe()
    first.end()
    assert list(observers.observers.values()) == [second]
    assert observers.counting("f", count) is not count
    second.end()
    assert observers.counting("f", count) is count


def test_a_change_is_told(observe, monkeypatch):
    """Whoever counts calls is told when somebody begins or ends to count, each time once."""
    told: list[int] = []
    monkeypatch.setattr(observers, "changed", [lambda: told.append(len(observers.observers))])
    observe().end()
    assert told == [1, 0]


def test_how_attempts_end(observe):
    """An attempt counts as ok, failed, late or interrupted, under the name of its cell."""
    counter = observe()
    fates = [None, OSError(), KeyboardInterrupt()]

    def factory() -> object:
        fate = fates.pop(0)
        if fate is not None:
            raise fate
        return object()

    cell = Cell(factory, name="c", place="p")
    resolved(cell)
    cell.reset()
    with pytest.raises(ResolutionError):
        resolved(cell)
    with pytest.raises(KeyboardInterrupt):
        resolved(cell)
    late = Cell(object, name="late", place="p")
    attempt, _, _ = late.find_attempt(late.now)
    assert attempt is not None
    late.reset()
    late.settle(attempt, Outcome("too late"))
    assert counter.attempts == [("c", "ok"), ("c", "failed"), ("c", "interrupted"), ("late", "late")]
