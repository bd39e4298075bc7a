"""A service that is isolated is out of use until it is reset: no use, no recovery and no key gets the real object."""

import asyncio

import pytest

import lazyguard
from lazyguard.errors import CircuitOpen, ServiceUnavailable
from lazyguard.testing import FakeClock


@pytest.fixture
def built():
    """Return the list of what factories have made."""
    return []


@pytest.mark.parametrize("used", [False, True], ids=["pending", "ready"])
@pytest.mark.parametrize("falls_back", [False, True])
def test_out_of_use_until_reset(built, used, falls_back):
    """It holds whether it was built before or not, and for what asks for the real object; no attempt is made."""

    @lazyguard.service(grace=0.0)
    def get_numbers() -> list[int]:
        built.append(1)
        return [1]

    if falls_back:
        get_numbers.fallback(lambda: [1, 2])
    numbers = get_numbers()
    if used:
        assert len(numbers) == 1
    get_numbers.isolate()
    if falls_back:
        assert len(numbers) == 2
        assert lazyguard.is_fallback(numbers)
    else:
        with pytest.raises(CircuitOpen, match="isolate"):
            len(numbers)
    with pytest.raises(ServiceUnavailable, match="isolate"):
        get_numbers.require_real()
    with pytest.raises(ServiceUnavailable, match="isolate"):
        lazyguard.resolve(numbers)
    check = get_numbers.health()
    assert (check.status, check.state) == ("warn", "degraded" if falls_back else "failed")
    assert "CircuitOpen" in check.cause
    assert len(built) == used
    lazyguard.reset(get_numbers)
    assert len(numbers) == 1
    assert get_numbers.health().state == "ready"


def test_no_recovery_begins(built):
    """However much time passes; after the reset a use builds it, and a failure is recovered from as ever."""
    with FakeClock() as time:

        @lazyguard.service
        def get_numbers() -> list[int]:
            built.append(1)
            return [1]

        @get_numbers.fallback
        def _() -> list[int]:
            return []

        numbers = get_numbers()
        get_numbers.isolate()
        assert len(numbers) == 0
        for _ in range(20):
            time.advance(60.0)
        assert built == []
        assert len(numbers) == 0
        get_numbers.reset()
        assert len(numbers) == 1


def test_a_run_that_is_under_way_ends(built):
    """A service that is degraded already is isolated too."""
    with FakeClock() as time:
        fails = [True]

        @lazyguard.service
        def get_numbers() -> list[int]:
            built.append(1)
            if fails:
                raise ConnectionError
            return [1]

        @get_numbers.fallback
        def _() -> list[int]:
            return []

        numbers = get_numbers()
        assert len(numbers) == 0
        get_numbers.isolate()
        fails.clear()
        for _ in range(20):
            time.advance(60.0)
        assert len(numbers) == 0
        assert len(built) == 1


def test_keys(built):
    """One key alone, or all of them: those to come too."""

    @lazyguard.service
    def get_numbers(first: int) -> list[int]:
        built.append(first)
        return [first]

    one, two = get_numbers(1), get_numbers(2)
    get_numbers.of(1).isolate()
    assert list(two) == [2]
    with pytest.raises(CircuitOpen):
        len(one)
    get_numbers.isolate()
    for numbers in (one, two, get_numbers(3)):
        with pytest.raises(CircuitOpen):
            len(numbers)
    get_numbers.reset()
    assert [list(numbers) for numbers in (one, two, get_numbers(3))] == [[1], [2], [3]]


def test_what_is_being_built_is_not_served(built):
    """Its result is of an older generation: it is closed."""
    closed = []

    @lazyguard.service(close=closed.append, grace=0.0)
    def get_numbers() -> list[int]:
        get_numbers.isolate()
        return [1]

    numbers = get_numbers()
    with pytest.raises(CircuitOpen):
        len(numbers)
    lazyguard.close()
    assert closed == [[1]]


def test_an_async_service():
    """As a sync one; what awaits it gets the error."""

    @lazyguard.service
    async def get_numbers() -> list[int]:
        return [1]

    async def use():
        get_numbers.isolate()
        with pytest.raises(CircuitOpen, match="isolate"):
            await get_numbers.aget()
        get_numbers.reset()
        return len(await get_numbers.aget())

    assert asyncio.run(use()) == 1


def test_an_override_is_served_all_the_same():
    """It is there for tests; when it ends the service is isolated still."""
    get_numbers = lazyguard.service(lambda: [1])
    numbers = get_numbers()
    assert len(numbers) == 1
    with get_numbers.override([1, 2, 3]):
        get_numbers.isolate()
        assert len(numbers) == 3
    with pytest.raises(CircuitOpen):
        len(numbers)
