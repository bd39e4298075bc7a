"""What `guarded` promises where policies meet: what it keeps of a failure, whose haste counts, recursion."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref

import pytest
import tenacity

import lazyguard
from lazyguard._base import interpreter
from lazyguard._core import clock as clocks
from lazyguard.testing import set_testing

ONCE = lazyguard.Breaker(failure_threshold=1)


@pytest.fixture
def no_collection():
    """Let only counts of references free anything."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Argument:
    """What a call is made with; can be referred to weakly."""


class GaveUp(tenacity.RetryError):
    """A Retrying object's own error."""


KEEPING = {
    "nothing": {},
    "breaker": {"breaker": lazyguard.Breaker()},
    "timeout": {"timeout": 60.0},
    "one attempt": {"retry": lazyguard.Retry(attempts=1)},
    "more attempts": {"retry": lazyguard.Retry(attempts=3, initial=0.0)},
    "another error": {"retry": lazyguard.Retry(on=KeyError)},
    "reraise": {"retry": tenacity.Retrying(stop=tenacity.stop_after_attempt(2), reraise=True)},
    "its own error": {"retry": tenacity.Retrying(stop=tenacity.stop_after_attempt(2), retry_error_cls=GaveUp)},
    "all": {
        "retry": lazyguard.Retry(initial=0.0),
        "breaker": lazyguard.Breaker(failure_threshold=9),
        "timeout": 60.0,
    },
}


@pytest.mark.parametrize("options", KEEPING.values(), ids=KEEPING)
def test_no_cycle_is_left_by_a_failure(options, no_collection):
    """What failed is freed at once: neither a frame of ours nor one of tenacity's keeps its arguments."""

    @lazyguard.guarded(**options)
    def call(_: Argument) -> None:
        raise ValueError

    argument = Argument()
    gone = weakref.ref(argument)
    try:
        call(argument)
    except (ValueError, GaveUp):
        pass
    del argument
    assert gone() is None


@pytest.mark.parametrize("options", KEEPING.values(), ids=KEEPING)
def test_no_cycle_is_left_by_a_failure_of_a_task(options, no_collection):
    """Nor does an async call keep them."""

    @lazyguard.guarded(**options)
    async def call(_: Argument) -> None:
        raise ValueError

    async def main() -> object:
        argument = Argument()
        gone = weakref.ref(argument)
        try:
            await call(argument)
        except (ValueError, GaveUp):
            pass
        del argument
        return gone()

    assert asyncio.run(main()) is None


def test_no_cycle_is_left_by_an_interruption(no_collection):
    """Nor does a call that Ctrl-C ended."""

    @lazyguard.guarded(timeout=60.0, breaker=lazyguard.Breaker())
    def call(_: Argument) -> None:
        raise KeyboardInterrupt

    argument = Argument()
    gone = weakref.ref(argument)
    try:
        call(argument)
    except KeyboardInterrupt:
        pass
    del argument
    assert gone() is None


def test_tenacitys_frames_are_not_in_the_traceback():
    """The failure that is raised in the end leads to the function, and not through the retries."""

    @lazyguard.guarded(retry=tenacity.Retrying(stop=tenacity.stop_after_attempt(2), reraise=True))
    def call() -> None:
        raise ValueError

    with pytest.raises(ValueError) as caught:
        call()
    assert not any("tenacity" in str(entry.path) for entry in caught.traceback)
    assert caught.traceback[-1].name == "call"


def test_an_open_breaker_keeps_one_failure(clock):
    """The one that opened it, whole, as the cause of each refusal; when it has closed not even that."""
    fails = True

    @lazyguard.guarded(breaker=lazyguard.Breaker(failure_threshold=2))
    def call(_: object) -> None:
        if fails:
            raise OSError

    kept = []
    for _ in range(2):
        argument = Argument()
        kept.append(weakref.ref(argument))
        with pytest.raises(OSError):
            call(argument)
        del argument
    gc.collect()
    assert [each() is None for each in kept] == [True, False]
    causes = set()
    for _ in range(3):
        with pytest.raises(lazyguard.CircuitOpen) as refused:
            call(None)
        assert isinstance(refused.value.__cause__, OSError)
        causes.add(id(refused.value.__cause__))
        frames = []
        trace = refused.value.__cause__.__traceback__
        while trace is not None:
            frames.append(trace.tb_frame.f_code.co_name)
            trace = trace.tb_next
        assert frames[-1] == "call"
    assert len(causes) == 1
    del refused, trace
    fails = False
    clock.advance(10.0)
    call(None)
    gc.collect()
    assert kept[1]() is None


# whose haste counts


def test_a_callers_haste_does_not_count_on_a_thread(clock):
    """A call that ends with its caller's deadline says nothing; a probe that does leaves the breaker open."""

    @lazyguard.guarded(breaker=ONCE)
    def call(seconds: float = 0.0) -> None:
        clock.advance(seconds)
        lazyguard.remaining()

    with lazyguard.deadline(1.0), pytest.raises(lazyguard.DeadlineExceeded):
        call(2.0)
    assert call.health().state == "closed"

    with lazyguard.deadline(3.0), pytest.raises(lazyguard.DeadlineExceeded):
        with lazyguard.deadline(1.0):
            call(2.0)
    assert call.health().state == "closed"

    @lazyguard.guarded(breaker=ONCE)
    def probed(fate: BaseException | None, seconds: float = 0.0) -> None:
        clock.advance(seconds)
        lazyguard.remaining()
        if fate is not None:
            raise fate

    with pytest.raises(OSError):
        probed(OSError())
    clock.advance(10.0)
    with lazyguard.deadline(1.0), pytest.raises(lazyguard.DeadlineExceeded):
        probed(None, 2.0)
    assert probed.health().state == "open"
    clock.advance(10.0)
    probed(None)
    assert probed.health().state == "closed"


def test_its_own_haste_counts(clock):
    """What ends with the function's own timeout, or with a deadline inside it, took too long."""

    @lazyguard.guarded(breaker=ONCE, timeout=1.0)
    def limited() -> None:
        clock.advance(1.0)
        lazyguard.remaining()

    with lazyguard.deadline(60.0), pytest.raises(lazyguard.DeadlineExceeded):
        limited()
    assert limited.health().state == "open"

    @lazyguard.guarded(breaker=ONCE)
    def inside() -> None:
        with lazyguard.deadline(1.0):
            clock.advance(1.0)
            lazyguard.remaining()

    with lazyguard.deadline(60.0), pytest.raises(lazyguard.DeadlineExceeded):
        inside()
    assert inside.health().state == "open"


def test_a_deadline_that_passes_in_a_wait(clock, monkeypatch):
    """No attempt begins after it; the error tells what failed before."""
    calls = []

    @lazyguard.guarded(timeout=5.0, retry=lazyguard.Retry(wait=tenacity.wait_fixed(1.0)))
    def call() -> None:
        calls.append(1)
        raise OSError

    monkeypatch.setattr(time, "sleep", lambda _: clock.advance(10.0))
    with pytest.raises(lazyguard.DeadlineExceeded) as caught:
        call()
    assert len(calls) == 1
    assert isinstance(caught.value.__context__, OSError)


# several calls at once, and inside each other


def test_one_breaker_object_for_two_functions():
    """It holds options: each function has a state of its own."""

    @lazyguard.guarded(breaker=ONCE)
    def first() -> None:
        raise OSError

    @lazyguard.guarded(breaker=ONCE)
    def second() -> str:
        return "well"

    with pytest.raises(OSError):
        first()
    assert first.health().state == "open"
    assert second() == "well"
    assert second.health().state == "closed"


def test_a_lost_probe_on_a_thread(clock, limited):
    """A probe that hangs longer than its lease is replaced, and what becomes of it then counts nowhere."""
    begun, go_on = threading.Event(), threading.Event()

    @lazyguard.guarded(breaker=lazyguard.Breaker(failure_threshold=1, half_open_timeout=5.0))
    def call(hangs: bool = False, fails: bool = False) -> str:
        if hangs:
            begun.set()
            assert go_on.wait(30)
        if fails:
            raise OSError
        return "well"

    with pytest.raises(OSError):
        call(fails=True)
    clock.advance(10.0)
    lost = []

    def probe() -> None:
        try:
            call(hangs=True, fails=True)
        except OSError as error:
            lost.append(error)

    thread = threading.Thread(target=probe)
    thread.start()
    assert begun.wait(30)
    with pytest.raises(lazyguard.CircuitOpen, match="is half-open"):
        call()
    clock.advance(5.0)
    assert call() == "well"
    go_on.set()
    thread.join(30)
    assert len(lost) == 1
    assert call.health().state == "closed"


def test_a_fallback_that_calls_the_function():
    """With other arguments it gets their answer; with the same ones the recursion ends where Python ends it."""

    @lazyguard.guarded(retry=lazyguard.Retry(attempts=1))
    def price(article: str) -> str:
        if article != "tea":
            raise KeyError(article)
        return "3"

    @price.fallback
    def _(article: str) -> str:
        return "like tea: " + price("tea" if article == "apple" else article)

    assert price("apple") == "like tea: 3"
    with pytest.raises(RecursionError):
        price("pear")
    assert price("tea") == "3"


def test_recursion_counts_each_level():
    """A breaker counts calls, and a call inside another one is a call."""

    @lazyguard.guarded(breaker=lazyguard.Breaker(failure_threshold=3))
    def descend(levels: int) -> None:
        if levels == 0:
            raise OSError
        descend(levels - 1)

    with pytest.raises(OSError):
        descend(1)
    assert descend.health().state == "closed"
    descend.reset()
    with pytest.raises(OSError):
        descend(2)
    assert descend.health().state == "open"


# exceptions that are none


def test_ignore_is_stronger_than_on():
    """What is in both counts as nothing."""

    @lazyguard.guarded(breaker=lazyguard.Breaker(failure_threshold=1, on=OSError, ignore=OSError))
    def call() -> None:
        raise OSError

    with pytest.raises(OSError):
        call()
    assert call.health().state == "closed"


def test_an_interruption_of_a_wait(monkeypatch):
    """Ctrl-C while a retry waits ends the call; what failed before it has counted, and nothing is left behind."""
    calls = []

    @lazyguard.guarded(retry=lazyguard.Retry(wait=tenacity.wait_fixed(60.0)), breaker=lazyguard.Breaker(), timeout=90.0)
    def call() -> None:
        calls.append(lazyguard.remaining())
        raise OSError

    @call.fallback
    def _() -> None:
        raise AssertionError("it is no failure")

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupted)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            call()
    assert len(calls) == 2
    assert lazyguard.remaining() is None
    assert call.health().state == "closed"
    with lazyguard.fallbacks("deny"), pytest.raises(OSError):
        call()  # the third failure in a row opens it, so there is no wait
    assert call.health().state == "open"


# tests of a host


def test_set_testing():
    """`set_testing` cuts attempts and waits short; breaker and fallback stay as declared."""
    calls = []

    @lazyguard.guarded(
        retry=lazyguard.Retry(attempts=9, wait=tenacity.wait_fixed(3600.0)),
        breaker=lazyguard.Breaker(failure_threshold=3),
    )
    def call() -> str:
        calls.append(1)
        raise OSError

    with set_testing(True), pytest.raises(OSError):
        call()
    assert len(calls) == 1
    call.reset()
    call.fallback(lambda: "instead")
    with set_testing(True, attempts=2):
        assert call() == "instead"
    assert len(calls) == 3
    with set_testing(True), lazyguard.fallbacks("deny"), pytest.raises(OSError):
        call()
    assert call.health().state == "open"


def test_the_clock_of_a_window(clock):
    """`now` is the machine's own function, but in the block of another clock that clock's."""
    assert clocks.now() == clock.now()
    ours = clocks.install(clocks.Clock())
    try:
        assert clocks.now is interpreter.monotonic
    finally:
        clocks.install(ours)
    assert clocks.now == clock.now
