"""`Retry` tries failed attempts again, within its bounds."""

from __future__ import annotations

import asyncio
import builtins
import inspect
import sys
from typing import Any

import pytest
import tenacity

import lazyguard
from lazyguard import errors
from lazyguard._core import clock, tasks, threads
from lazyguard._core.effects import Call, Sleep
from lazyguard._core.state import Outcome
from lazyguard._policies import retries as attempts
from lazyguard._policies.retry import Retry, of
from lazyguard.testing import set_testing

ExceptionGroup: Any = getattr(builtins, "ExceptionGroup", None)  # since 3.11


def decide(retries, outcome: Outcome, until: float | None = None) -> tuple[float | None, Outcome | None]:
    """Return the seconds that `again` sleeps, if it does, and its outcome."""
    steps = retries.again(outcome, until)
    slept = None
    answer = None
    while True:
        try:
            effect = steps.send(answer)
        except StopIteration as stop:
            return slept, stop.value
        if isinstance(effect, Sleep):
            slept, answer = effect.seconds, None
        else:
            assert isinstance(effect, Call)
            answer = threads.call(effect)


def waits(retry: Retry, *errors: BaseException) -> list[float | None]:
    retries = retry.begin()
    return [decide(retries, Outcome(error=error))[0] for error in errors]


def test_attempts_are_counted():
    """`attempts` is the number of all attempts, the first one included."""
    found = waits(Retry(attempts=3, initial=0.0), *[OSError()] * 3)
    assert found == [0.0, 0.0, None]
    assert waits(Retry(attempts=1), OSError()) == [None]


def test_full_jitter():
    """The wait before attempt n + 1 is between zero and min(maximum, initial * 2 ** (n - 1))."""
    retry = Retry(attempts=6, initial=1.0, maximum=5.0)
    found = [waits(retry, *[OSError()] * 5) for _ in range(200)]
    for number, bound in enumerate([1.0, 2.0, 4.0, 5.0, 5.0]):
        column = [row[number] for row in found]
        assert all(0.0 <= wait <= bound for wait in column)
        assert max(column) > bound * 0.9
        assert min(column) < bound * 0.1


def test_only_what_on_says():
    """An error outside `on` ends the retries, at any attempt; the outcome is that of the attempt."""
    retry = Retry(attempts=5, initial=0.0, on=(OSError, KeyError))
    assert waits(retry, OSError(), KeyError(), ValueError()) == [0.0, 0.0, None]
    assert waits(retry, ConnectionError()) == [0.0]
    failed = Outcome(error=ValueError())
    ended = decide(retry.begin(), failed)[1]
    assert ended is not None
    assert ended.error is failed.error


def test_by_name():
    """An exception that is given by name counts once its library is loaded."""
    retry = Retry(attempts=5, initial=0.0, on=("no_such_library:Error", "decimal:InvalidOperation"))
    import decimal

    assert waits(retry, decimal.InvalidOperation(), ValueError()) == [0.0, None]


@pytest.mark.parametrize(
    "error",
    [SystemExit(), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError(), lazyguard.CircuitOpen()],
)
def test_what_is_never_tried_again(error):
    """What is no Exception, and a CircuitOpen, are never tried again."""
    assert waits(Retry(on=BaseException), error) == [None]
    assert waits(Retry(retry=tenacity.retry_always), error) == [None]
    assert waits(Retry(retrying=tenacity.Retrying(retry=tenacity.retry_always)), error) == [None]


def test_attempts_do_not_share_a_count():
    """Each call has its own count of attempts, also where calls share a Retrying object."""
    for retry in (
        Retry(attempts=2, initial=0.0),
        Retry(retrying=tenacity.Retrying(stop=tenacity.stop_after_attempt(2))),
    ):
        first, second = retry.begin(), retry.begin()
        assert decide(first, Outcome(error=OSError())) == decide(second, Outcome(error=OSError())) == (0.0, None)
        assert decide(first, Outcome(error=OSError()))[0] is None


def test_no_wait_passes_the_deadline(clock):
    """A wait that would pass the deadline does not begin; the failure is raised."""
    retry = Retry(attempts=5, wait=tenacity.wait_fixed(3.0))
    failed = Outcome(error=OSError())
    assert decide(retry.begin(), failed, clock.now() + 3.0) == (None, failed)
    assert decide(retry.begin(), failed, clock.now() + 3.1) == (3.0, None)


# tenacity's objects


def test_parts_of_tenacity():
    """`stop`, `wait` and `retry` objects replace our options, in any combination."""
    assert waits(Retry(stop=tenacity.stop_after_attempt(2), wait=tenacity.wait_fixed(7)), *[OSError()] * 2) == [
        7.0,
        None,
    ]
    combined = Retry(
        stop=tenacity.stop_after_attempt(9) | tenacity.stop_after_delay(100),
        wait=tenacity.wait_fixed(1) + tenacity.wait_fixed(2),
        retry=tenacity.retry_if_exception_type(OSError) & tenacity.retry_if_exception_message(match="again"),
    )
    assert waits(combined, OSError("again"), OSError("not")) == [3.0, None]
    assert waits(Retry(wait=tenacity.wait_none(), on=KeyError), KeyError(), OSError()) == [0.0, None]


def test_a_whole_retrying_object():
    """A Retrying object's stop, wait, retry and callbacks are used; the failure itself is raised in the end."""
    seen: list[str] = []
    whole = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(2),
        wait=tenacity.wait_fixed(4),
        before=lambda state: seen.append(f"before {state.attempt_number}"),
        after=lambda state: seen.append(f"after {state.attempt_number}"),
        before_sleep=lambda state: seen.append(f"sleep {state.next_action.sleep}"),
    )
    retries = Retry(retrying=whole).begin()
    failed = Outcome(error=OSError())
    assert decide(retries, failed) == (4.0, None)
    assert decide(retries, failed) == (None, failed)
    assert seen == ["after 1", "sleep 4.0", "before 2", "after 2"]
    if "enabled" in inspect.signature(tenacity.Retrying).parameters:  # since tenacity 9.1
        assert waits(Retry(retrying=tenacity.Retrying(enabled=False)), OSError()) == [None]


def test_how_a_retrying_object_ends():
    """With or without `reraise` the failure is raised; with a `retry_error_cls` that, with the failure chained."""

    class GaveUp(tenacity.RetryError):
        pass

    failed = Outcome(error=OSError())
    for options in ({}, {"reraise": True}):
        retries = Retry(retrying=tenacity.Retrying(stop=tenacity.stop_after_attempt(1), **options)).begin()
        assert decide(retries, failed)[1].error is failed.error
    own = tenacity.Retrying(stop=tenacity.stop_after_attempt(1), retry_error_cls=GaveUp)
    error = decide(Retry(retrying=own).begin(), failed)[1].error
    assert type(error) is GaveUp
    assert error.__cause__ is failed.error


def test_a_callback_that_raises():
    """An exception of a callback ends the call; it is no failure of the factory, and it is not lost."""
    broken = ZeroDivisionError()

    def raising(_: object) -> float:
        raise broken

    for options in ({"wait": raising}, {"stop": raising}, {"retry": raising}):
        ended = decide(Retry(**options).begin(), Outcome(error=OSError()))[1]
        assert ended.error is broken
    before = Retry(retrying=tenacity.Retrying(before=raising))
    assert decide(before.begin(), Outcome(error=OSError()))[1].error is broken


def test_an_async_retrying_object(limited):
    """Callbacks of an AsyncRetrying are awaited where tenacity awaits them; for sync functions it is refused."""
    seen = []
    awaiting = inspect.iscoroutinefunction(tenacity.AsyncRetrying.iter)  # since tenacity 8.3

    async def tell(state: object) -> None:
        await asyncio.sleep(0)
        seen.append(state.attempt_number)

    whole = tenacity.AsyncRetrying(
        stop=tenacity.stop_after_attempt(3),
        before_sleep=tell if awaiting else lambda state: seen.append(state.attempt_number),
    )
    retry = Retry(retrying=whole)
    assert retry.awaits
    assert not Retry(retrying=tenacity.Retrying()).awaits

    async def main() -> list[object]:
        retries = retry.begin()
        return [await tasks.adrive(retries.again(Outcome(error=OSError()))) for _ in range(3)]

    found = asyncio.run(main())
    assert found[:2] == [None, None]
    assert isinstance(found[2].error, OSError)
    assert seen == [1, 2]
    with pytest.raises(errors.ConfigurationError, match="has a tenacity.AsyncRetrying, and the function is not async"):
        lazyguard.guarded(retry=whole)(lambda: 1)
    with pytest.raises(errors.ConfigurationError, match="has a tenacity.AsyncRetrying, and the factory is not async"):
        lazyguard.service(retry=retry)(lambda: [1])

    async def made() -> list[int]:
        return [1]

    lazyguard.service(retry=retry)(made)


def test_given_to_guarded_and_services():
    """A whole Retrying object can be given to `guarded` as it is, and to a service in a Retry."""
    whole = tenacity.Retrying(stop=tenacity.stop_after_attempt(3))
    calls = []

    @lazyguard.guarded(retry=whole)
    def call() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise OSError
        return "here"

    assert call() == "here"
    calls.clear()

    @lazyguard.service(retry=Retry(retrying=whole), recovery=None)
    def get() -> str:
        return call.__wrapped__()

    assert get().upper() == "HERE"
    assert len(calls) == 3
    assert of(whole).retrying is whole
    assert of(Retry()) == Retry()
    with pytest.raises(errors.ConfigurationError, match="retry='x' is invalid: give a lazyguard.Retry, a tenacity"):
        of("x")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"stop": 3}, "stop=3 is invalid: give a tenacity stop object"),
        ({"wait": 3}, "wait=3 is invalid"),
        ({"retry": 3}, "retry=3 is invalid"),
        ({"retrying": 3}, "retrying=3 is invalid: give a tenacity.Retrying"),
        ({"stop": tenacity.stop_never, "attempts": 3}, "stop= replaces attempts="),
        ({"wait": tenacity.wait_none(), "initial": 3}, "wait= replaces initial="),
        ({"wait": tenacity.wait_none(), "maximum": 3}, "wait= replaces maximum="),
        ({"retry": tenacity.retry_always, "on": OSError}, "retry= replaces on="),
        ({"retrying": tenacity.Retrying(), "attempts": 3}, "retrying= replaces attempts="),
        ({"retrying": tenacity.Retrying(), "stop": tenacity.stop_never}, "retrying= replaces stop="),
        ({"retry": tenacity.retry_if_result(bool)}, "retry= checks results"),
        (
            {"retry": tenacity.retry_if_exception_type() | tenacity.retry_if_not_result(bool)},
            "retry= checks results",
        ),
        ({"retrying": tenacity.Retrying(retry=tenacity.retry_if_result(bool))}, "retrying= checks results"),
        ({"retrying": tenacity.Retrying(retry_error_callback=bool)}, "retrying= has a retry_error_callback"),
    ],
)
def test_what_does_not_go_together(options, told):
    """Options that exclude each other are refused when the policy is made, with what to give."""
    with pytest.raises(errors.ConfigurationError, match=told):
        Retry(**options)


def test_the_first_attempt_is_bare(monkeypatch):
    """A call that succeeds does not enter tenacity."""
    monkeypatch.setattr(attempts, "Retries", None)

    @lazyguard.guarded(retry=Retry())
    def call() -> float:
        return clock.now()

    assert call() <= clock.now()


def test_the_defaults():
    """The defaults are three attempts, and waits from 0.1 s to 5 s at the most, after any Exception."""
    retry = Retry()
    assert (retry.attempts, retry.initial, retry.maximum, retry.on) == (3, 0.1, 5.0, (Exception,))
    slept = waits(retry, OSError(), ValueError(), OSError())
    assert [wait is None for wait in slept] == [False, False, True]


@pytest.mark.parametrize("none", [{"initial": 0}, {"maximum": 0}])
def test_no_wait(none):
    """`initial=0` means no wait, not the default."""
    assert waits(Retry(attempts=5, **none), *[OSError()] * 4) == [0.0] * 4


def test_waits_of_a_test():
    """With `set_testing` there are so many attempts as it says, without a wait."""
    retries = Retry(attempts=9, initial=30.0, maximum=60.0).begin()
    failed = Outcome(error=OSError())
    with set_testing(True, attempts=3):
        assert [decide(retries, failed) for _ in range(3)] == [(0.0, None), (0.0, None), (None, failed)]


class Own(tenacity.RetryError):
    """A `retry_error_cls` of the user's."""


class Foreign(Exception):
    """Another error class, which is none of tenacity's."""


@pytest.mark.parametrize(("kind", "bare"), [(Own, True), (Foreign, False)])
def test_tenacitys_own_frames_are_not_kept(kind, bare):
    """An error that tenacity makes has no traceback, since it has no line of the user's; others keep theirs."""
    retrying = tenacity.Retrying(stop=tenacity.stop_after_attempt(1), retry_error_cls=kind)
    _, ended = decide(Retry(retrying=retrying).begin(), Outcome(error=OSError()))
    assert ended is not None
    assert type(ended.error) is kind
    assert (ended.error.__traceback__ is None) is bare


def test_callbacks_see_the_call():
    """Callbacks find in tenacity's state what they would find with tenacity itself."""
    seen = []

    def look(state):
        seen.append((state.fn, state.args, state.kwargs, state.attempt_number, state.idle_for))

    whole = tenacity.Retrying(stop=tenacity.stop_after_attempt(3), wait=tenacity.wait_fixed(0.01), after=look)

    def work(*args, **named):
        raise ConnectionError

    with pytest.raises(ConnectionError):
        lazyguard.guarded(retry=whole)(work)(1, two=2)
    assert seen == [(work, (1,), {"two": 2}, attempt, 0.01 * (attempt - 1)) for attempt in (1, 2, 3)]
    seen.clear()
    service = lazyguard.service(retry=lazyguard.Retry(retrying=whole), recovery=None)(work_without)
    with pytest.raises(lazyguard.ResolutionError):
        lazyguard.resolve(service())
    assert [fn for fn, *_ in seen] == [work_without] * 3


def work_without():
    raise ConnectionError


def test_nested_conditions_on_results():
    """A condition that looks at results is refused at any depth."""
    inner = tenacity.retry_all(tenacity.retry_if_exception_type(), tenacity.retry_any(tenacity.retry_if_result(bool)))
    for options in ({"retry": inner}, {"retrying": tenacity.Retrying(retry=tenacity.retry_any(inner))}):
        with pytest.raises(errors.ConfigurationError, match="checks results"):
            lazyguard.Retry(**options)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="there are no exception groups")
def test_exception_groups():
    """A group is tried again if all its leaves would be, and never where one of them is a `CircuitOpen`."""
    for inside, tries in (
        ([OSError(), ExceptionGroup("", [OSError()])], 3),
        ([OSError(), KeyError()], 1),
        ([OSError(), lazyguard.CircuitOpen()], 1),
    ):
        made = []

        def work(inside=inside, made=made):
            made.append(1)
            raise ExceptionGroup("", inside)

        on = (OSError, lazyguard.CircuitOpen)
        with pytest.raises(ExceptionGroup):
            lazyguard.guarded(retry=lazyguard.Retry(attempts=3, initial=0.0, on=on))(work)()
        assert len(made) == tries
