"""What `Retry` promises."""

from __future__ import annotations

import asyncio

import pytest

from lazyguard._policies.retry import Retry


def waits(retry: Retry, *errors: BaseException) -> list[float | None]:
    retries = retry.after(errors[0])
    return [retries.delay(error) for error in errors]


def test_attempts_are_counted():
    """So many attempts in all, the first one included."""
    found = waits(Retry(attempts=3, initial=0.0), *[OSError()] * 3)
    assert found == [0.0, 0.0, None]
    assert waits(Retry(attempts=1), OSError()) == [None]


def test_full_jitter():
    """Before attempt n + 1 a random time between zero and min(maximum, initial * 2 ** (n - 1))."""
    retry = Retry(attempts=6, initial=1.0, maximum=5.0)
    found = [waits(retry, *[OSError()] * 5) for _ in range(200)]
    for number, bound in enumerate([1.0, 2.0, 4.0, 5.0, 5.0]):
        column = [row[number] for row in found]
        assert all(0.0 <= wait <= bound for wait in column)
        assert max(column) > bound * 0.9
        assert min(column) < bound * 0.1


def test_only_what_on_says():
    """Another error ends it, at whichever attempt it comes."""
    retry = Retry(attempts=5, initial=0.0, on=(OSError, KeyError))
    assert waits(retry, OSError(), KeyError(), ValueError()) == [0.0, 0.0, None]
    assert waits(retry, ConnectionError()) == [0.0]


@pytest.mark.parametrize("error", [SystemExit(), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError()])
def test_what_is_no_exception(error):
    """It is never retried, whatever `on` says."""
    assert waits(Retry(on=BaseException), error) == [None]


def test_flights_do_not_share_a_count():
    """Each flight has its own attempts."""
    retry = Retry(attempts=2, initial=0.0)
    first, second = retry.after(OSError()), retry.after(OSError())
    assert first.delay(OSError()) == second.delay(OSError()) == 0.0
    assert first.delay(OSError()) is None
