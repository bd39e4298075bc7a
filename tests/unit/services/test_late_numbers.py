"""Numbers of policies that are functions: asked at the first use, never before, and checked when they are read."""

import pytest

import lazyguard
from lazyguard.errors import ConfigurationError


@pytest.fixture
def asked():
    """Return a function that makes such functions, and the list of what they were asked for."""
    values = []

    def of(value):
        def number():
            values.append(value)
            return value

        return number

    of.values = values
    return of


def test_a_service_asks_at_its_first_use(asked):
    """Declaring, the reference and looking ask nothing; the first use asks for all, those of its fallback too."""

    @lazyguard.service(
        timeout=asked(8.0),
        grace=asked(0.5),
        retry=lazyguard.Retry(attempts=asked(2), initial=asked(0.0)),
        recovery=lazyguard.Recovery(initial=asked(40.0)),
    )
    def get_numbers() -> list[int]:
        raise ConnectionError

    @get_numbers.fallback(timeout=asked(2.0), max_degraded=asked(60.0))
    def _() -> list[int]:
        return [1]

    numbers = get_numbers()
    assert repr(numbers)
    assert get_numbers.health().state == "pending"
    assert lazyguard.health()
    assert asked.values == []
    assert len(numbers) == 1
    assert sorted(asked.values) == [0.0, 0.5, 2, 2.0, 8.0, 40.0, 60.0]
    plan = get_numbers._cell.plan
    assert (plan.timeout, plan.abandon_after, plan.grace, plan.retry.attempts) == (8.0, 80.0, 0.5, 2)
    assert [one.plan.share for one in get_numbers._cell.fallbacks] == [0.25]
    get_numbers.reset()


def test_keys_ask_for_their_numbers(asked):
    """Each key asks at its own first use; all keys have one limit of attempts."""

    @lazyguard.service(timeout=asked(8.0), max_concurrent=asked(3))
    def get_numbers(first: int) -> list[int]:
        return [first]

    @get_numbers.fallback(timeout=asked(2.0))
    def _() -> list[int]:
        return []

    held = [get_numbers(1), get_numbers(2)]
    assert asked.values == []
    assert [list(one) for one in held] == [[1], [2]]
    plans = [get_numbers.of(key)._cell.plan for key in (1, 2)]
    assert plans[0].bulkhead is plans[1].bulkhead
    assert plans[0].bulkhead.most == 3


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_guarded_function_asks_at_its_first_call(asked, kind):
    """A number may turn out to be None where that may be given."""
    import asyncio

    breaker = lazyguard.Breaker(failure_threshold=asked(2), slow_call_duration=asked(None), open_time=asked(3.0))
    options = {
        "timeout": asked(None),
        "retry": lazyguard.Retry(attempts=asked(1)),
        "breaker": breaker,
        "max_concurrent": asked(4),
    }
    if kind == "sync":
        call = lazyguard.guarded(**options)(lambda: 1)
    else:

        @lazyguard.guarded(**options)
        async def acall():
            return 1

        def call():
            return asyncio.run(acall())

    assert asked.values == []
    assert [call(), call()] == [1, 1]
    assert len(asked.values) == 6


WRONG = {
    "service": lambda number: len(lazyguard.service(timeout=number)(lambda: [1])()),
    "retry of a service": lambda number: len(lazyguard.service(retry=lazyguard.Retry(attempts=number))(list)()),
    "guarded": lambda number: lazyguard.guarded(timeout=number)(lambda: 1)(),
    "retry": lambda number: lazyguard.guarded(retry=lazyguard.Retry(maximum=number))(lambda: 1)(),
    "breaker": lambda number: lazyguard.guarded(breaker=lazyguard.Breaker(failure_threshold=number))(lambda: 1)(),
    "max_concurrent": lambda number: lazyguard.guarded(max_concurrent=number)(lambda: 1)(),
    "key": lambda number: lazyguard.guarded(breaker=lazyguard.Breaker(open_time=number), key=len)(len)("x"),
}


@pytest.mark.parametrize("use", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_when_it_is_read(use):
    """The error has the option, its value, and where the function or service was declared."""
    with pytest.raises(ConfigurationError, match=r"(?s)test_late_numbers.py:\d+\).* (\w+)=-7 is out of range"):
        use(lambda: -7)
    with pytest.raises(ConfigurationError, match=r"(\w+)= of .*test_late_numbers.py:\d+\) cannot be read") as caught:
        use(lambda: {}["missing"])
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(ConfigurationError, match=r"test_late_numbers.py:\d+\).* returned another one"):
        use(lambda: lambda: 1)


@pytest.mark.parametrize("wrong", [lambda number: 1.0, int, len], ids=["needs an argument", "a type", "a builtin"])
def test_only_plain_functions_without_arguments(wrong):
    """Anything else is refused where it is given."""
    for declare in (lazyguard.service, lazyguard.guarded):
        with pytest.raises(ConfigurationError, match="timeout="):
            declare(timeout=wrong)


def test_numbers_that_exclude_each_other_are_found_when_both_are_known():
    """As if they had been given as numbers."""
    breaker = lazyguard.Breaker(open_time=lambda: 10.0, max_open_time=5.0)
    with pytest.raises(ConfigurationError, match="max_open_time=5.0 is less than open_time=10.0"):
        lazyguard.guarded(breaker=breaker)(lambda: 1)()
    rate = lazyguard.Breaker(failure_rate=lambda: 0.5, window_calls=lambda: 5)
    assert rate.read("x").minimum_calls == 5


def test_a_fallback_that_is_declared_late_is_read_at_once(asked):
    """A service that is in use has no first use to come."""
    get_numbers = lazyguard.service(timeout=4.0)(lambda: [1])
    assert len(get_numbers()) == 1
    get_numbers.fallback(timeout=asked(1.0))(lambda: [2])
    assert [one.plan.share for one in get_numbers._cell.fallbacks] == [0.25]
